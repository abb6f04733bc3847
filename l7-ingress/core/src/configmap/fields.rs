//! Fields of requests and responses that ConfigMaps hold, and which of them there are to be.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::{HeaderName, HeaderValue};
use model::ObjectName;

use super::ConfigData;
use super::reader::Keys;
use crate::expression::Expression;
use crate::filter::FieldList;
use crate::forwarded::is_hop_by_hop;
use crate::global::{Global, Server};

/// What says where a request goes, and where it ends.
const FRAMING: [HeaderName; 3] = [CONTENT_LENGTH, HOST, EXPECT];

/// Finds a ConfigMap.
pub(crate) type Lookup<'a> = &'a dyn Fn(&ObjectName) -> Option<&'a ConfigData>;

/// Takes what the keys say over.
pub(super) fn apply(keys: &mut Keys<'_>, global: &mut Global, lookup: Lookup<'_>) {
    server(keys, global);
    if let Some(names) = keys.list("hide-headers") {
        for name in names {
            match name.parse() {
                Ok(name) => global.fields.hidden.push(name),
                Err(_) => keys.left_out("hide-headers", format!("{name:?} is no field name")),
            }
        }
    }
    if let Some(fields) = named(keys, "add-headers", lookup, value) {
        global.fields.added = fields;
    }
    if let Some(mut fields) = named(keys, "proxy-set-headers", lookup, |text| {
        Expression::parse(text).map_err(|unknown| unknown.to_string())
    }) {
        fields.retain(|(name, _)| {
            let is_ours = is_hop_by_hop(name.as_str()) || FRAMING.contains(name);
            if is_ours {
                let why = format!("{name} is for the proxy to set");
                keys.left_out("proxy-set-headers", why);
            }
            !is_ours
        });
        global.fields.told = fields;
    }
}

/// What stands in the ConfigMap that a key names.
fn named<T>(
    keys: &mut Keys<'_>,
    key: &'static str,
    lookup: Lookup<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<(HeaderName, T)>> {
    let text = keys.text(key).filter(|text| !text.is_empty())?;
    let config = text;
    let data = ObjectName::parse(config, "").and_then(|config| lookup(&config));
    let Some(data) = data else {
        keys.fault(key, format!("there is no ConfigMap {config}"));
        return None;
    };
    let mut fields = Vec::new();
    for (name, text) in data.iter() {
        let parsed = name.parse::<HeaderName>();
        let field = parsed
            .map_err(|_| "is no field name".to_owned())
            .and_then(|field| Ok((field, read(text)?)));
        match field {
            Ok(field) => fields.push(field),
            Err(why) => keys.left_out(key, format!("{name:?} of ConfigMap {config}: {why}")),
        }
    }
    Some(fields)
}

fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text.trim()).map_err(|_| format!("{text:?} is no field value"))
}

/// The fields that a ConfigMap holds.
///
/// # Errors
/// For the first one that is none.
pub(crate) fn list(data: &ConfigData) -> Result<FieldList, String> {
    let fields = data.iter().map(|(name, text)| {
        let name = name.parse::<HeaderName>();
        let name = name.map_err(|error| format!("{error}"))?;
        Ok((name, value(text)?))
    });
    let fields: Result<Vec<_>, String> = fields.collect();
    fields.map(Arc::from)
}

/// What `server-tokens` and `allow-backend-server-header` make of `Server`; where neither is set, it is as without a
/// ConfigMap.
fn server(keys: &mut Keys<'_>, global: &mut Global) {
    let own = keys.boolean("server-tokens");
    let endpoints = keys.boolean("allow-backend-server-header");
    global.fields.server = match (endpoints, own) {
        (None, None) => return,
        (Some(true), _) => Server::Endpoint,
        (_, Some(true)) => Server::Own,
        _ => Server::None,
    };
}

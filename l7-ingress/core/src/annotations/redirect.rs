//! Redirects and other names: `permanent-redirect`, `temporal-redirect` and their codes, `app-root`, `server-alias`.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::reader::{Effect, Reader};
use crate::filter::Redirect;
use crate::host;

const PERMANENT: &str = "permanent-redirect";
const PERMANENT_CODE: &str = "permanent-redirect-code";
const TEMPORAL: &str = "temporal-redirect";
const TEMPORAL_CODE: &str = "temporal-redirect-code";
const APP_ROOT: &str = "app-root";
const ALIAS: &str = "server-alias";
/// Names that one Ingress may give to its hosts beside those of its rules.
const MAX_ALIASES: usize = 256;

/// Where all requests are sent to; the temporary redirect wins.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Redirect> {
    let permanent = one(reader, (PERMANENT, PERMANENT_CODE), 301, 308);
    let temporal = one(reader, (TEMPORAL, TEMPORAL_CODE), 302, 307);
    temporal.or(permanent)
}

fn one(
    reader: &mut Reader<'_>,
    (name, code): (&'static str, &'static str),
    default: u16,
    last: u16,
) -> Option<Redirect> {
    let chosen = reader.integer(code);
    let location = reader.value(name, Effect::Refuse, url)?;
    let status = chosen.map_or(default, |number| match u16::try_from(number) {
        Ok(number) if (300..=last).contains(&number) => number,
        _ => {
            let message = format!("{number} is not between 300 and {last}; {default} is used");
            reader.fault(code, Effect::Skip, message);
            default
        }
    });
    Some(Redirect {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND),
        location,
    })
}

/// Where `/` is sent to. ingress-nginx passes over what is no absolute path.
pub(super) fn app_root(reader: &mut Reader<'_>) -> Option<Arc<str>> {
    let text = reader.value(APP_ROOT, Effect::Refuse, |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
        if text.bytes().all(allowed) {
            Ok(text)
        } else {
            Err(format!(
                "{text:?} holds something else than letters, digits and -._~/:"
            ))
        }
    })?;
    if text.starts_with('/') {
        return Some(text.into());
    }
    let what = format!("{text:?} does not begin with `/`; nothing is redirected");
    reader.fault(APP_ROOT, Effect::Skip, what);
    None
}

/// Other names of the hosts: names, and names whose first label is a lone `*`.
pub(super) fn aliases(reader: &mut Reader<'_>) -> Box<[Box<str>]> {
    let Some(text) = reader.text(ALIAS) else {
        return Box::default();
    };
    let mut aliases = Vec::new();
    for alias in text.split(',').map(str::trim) {
        if alias.is_empty() {
            continue;
        }
        let name = alias.to_ascii_lowercase();
        let bare = name.strip_prefix("*.").unwrap_or(&name);
        let is_name = host::canonical(bare).is_ok_and(|canonical| canonical == bare);
        let fault = match () {
            () if !is_name || bare.starts_with('[') => "is no host",
            () if aliases.len() == MAX_ALIASES => "is one name too many",
            () => {
                aliases.push(name.into());
                continue;
            }
        };
        let what = format!("{alias:?} {fault}; the others are served");
        reader.fault(ALIAS, Effect::Skip, what);
    }
    aliases.sort_unstable();
    aliases.dedup();
    aliases.into()
}

/// An absolute HTTP(S) URL, or a path, of characters that mean nothing to a template.
fn url(text: &str) -> Result<HeaderValue, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:,?&=".contains(&byte);
    if !text.bytes().all(allowed) {
        return Err(format!(
            "{text:?} holds something else than letters, digits and -._~/:,?&="
        ));
    }
    // Two slashes would name another host.
    if text.starts_with('/') && !text.starts_with("//") {
        return HeaderValue::from_str(text).map_err(|_| format!("{text:?} is no path"));
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (head, rest) = text.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let value = rest.filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
    value
        .and_then(|_| HeaderValue::from_str(text).ok())
        .ok_or_else(|| format!("{text:?} is no URL that begins with http:// or https://"))
}

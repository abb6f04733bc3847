//! `enable-cors` and `cors-*`.

use http::HeaderValue;

use super::reader::{Effect, Reader};
use crate::filter::{Cors, OriginPattern, Origins};

const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,\
                       Content-Type,Range,Authorization";
const MAX_AGE: i64 = 1_728_000;

/// What pages of other origins may do; values are judged whether it is switched on or not.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Box<Cors>> {
    let enabled = reader.boolean("enable-cors");
    let origins = reader.value("cors-allow-origin", Effect::Refuse, origins);
    let methods = reader.value("cors-allow-methods", Effect::Refuse, methods);
    let headers = reader.value("cors-allow-headers", Effect::Refuse, headers);
    let expose = reader.value("cors-expose-headers", Effect::Refuse, expose);
    let credentials = reader.boolean("cors-allow-credentials");
    let max_age = reader.integer("cors-max-age");
    (enabled == Some(true)).then(|| {
        Box::new(Cors {
            origins: origins.unwrap_or(Origins::Any),
            credentials: credentials.unwrap_or(true),
            methods: methods.unwrap_or(HeaderValue::from_static(METHODS)),
            headers: headers.unwrap_or(HeaderValue::from_static(HEADERS)),
            expose,
            max_age: max_age.unwrap_or(MAX_AGE).into(),
        })
    })
}

/// Empty elements say nothing, one star says everything, and so does nothing at all.
fn origins(text: &str) -> Result<Origins, String> {
    let elements = text.split(',').map(str::trim);
    let elements: Vec<_> = elements.filter(|element| !element.is_empty()).collect();
    if let Some(bad) = elements.iter().find(|element| !is_origin(element)) {
        return Err(format!(
            "{bad:?} is no origin such as https://shop.example, https://*.shop.example:8443 or *"
        ));
    }
    if elements.is_empty() || elements.contains(&"*") {
        return Ok(Origins::Any);
    }
    let patterns = elements.into_iter().map(OriginPattern::new);
    Ok(Origins::Some(patterns.collect()))
}

fn is_origin(text: &str) -> bool {
    if text == "*" || text == "null" {
        return true;
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let rest = rest.strip_prefix("*.").unwrap_or(rest);
    let (host, port) = rest.split_once(':').unwrap_or((rest, "0"));
    !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase())
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn methods(text: &str) -> Result<HeaderValue, String> {
    list(text, |byte| byte.is_ascii_alphabetic(), "methods")
}

fn headers(text: &str) -> Result<HeaderValue, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    list(text, allowed, "fields")
}

fn expose(text: &str) -> Result<HeaderValue, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte);
    list(text, allowed, "fields")
}

/// Names with commas or blanks between them, passed on as they are written.
fn list(text: &str, allowed: impl Fn(u8) -> bool, what: &str) -> Result<HeaderValue, String> {
    let good = text
        .bytes()
        .all(|byte| allowed(byte) || b", ".contains(&byte));
    let value = HeaderValue::from_str(text).ok().filter(|_| good);
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("{text:?} is no list of {what}"))
}

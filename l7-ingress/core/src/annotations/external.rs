//! `auth-url` and what belongs to it. The ConfigMap's `global-auth-*` are read by the same functions.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::{HeaderName, Method};
use model::ObjectName;

use super::reader::{Effect, Reader};
use super::snippet;
use crate::expression::{Expression, Known};
use crate::filter::{Caching, External, Kept, Lifetime, Policy};
use crate::forwarded::is_hop_by_hop;
use crate::{Settings, UrlTemplate};

const URL: &str = "auth-url";
const TOLD: &str = "auth-response-headers";
const CACHE_DURATION: &str = "auth-cache-duration";
const FIELDS: &str = "auth-proxy-set-headers";

/// Says who is asked: the server that the annotations name, else the one of all, unless the Ingress wants none.
/// Returns the ConfigMap with fields for it.
pub(super) fn read(
    reader: &mut Reader<'_>,
    settings: &Settings,
    policy: &mut Policy,
) -> Option<ObjectName> {
    if reader.value("enable-global-auth", Effect::Skip, super::boolean) == Some(false) {
        policy.external = None;
    }
    let snippet = snippet::told(reader, settings, "auth-snippet");
    // As if it were not there.
    if reader.text(URL)?.trim().is_empty() {
        return None;
    }
    let url = reader.value(URL, Effect::Refuse, |text| plain(text, b"?&=$"));
    let url = url.and_then(|url| reader.value(URL, Effect::Deny, |_| self::url(url)));
    let method = reader.value("auth-method", Effect::Deny, method);
    let keep_alive = keep_alive(reader);
    reader.value("auth-keepalive-share-vars", Effect::Skip, super::boolean);
    policy.external = Some(Arc::new(External {
        url,
        method: method.flatten(),
        signin: signin_of(reader),
        told: told_of(reader),
        redirect: redirect_of(reader),
        fields: snippet.unwrap_or_default(),
        caching: caching_of(reader),
        keep_alive,
        always_sets_cookies: reader.boolean("auth-always-set-cookie") == Some(true),
    }));
    reader.text(FIELDS)?;
    reader.object(FIELDS)
}

fn signin_of(reader: &mut Reader<'_>) -> Option<Expression> {
    let skip = Effect::Skip;
    let param = reader.value("auth-signin-redirect-param", skip, |text| {
        plain(text, b"?&=")
    });
    reader.value("auth-signin", skip, |text| {
        signin(plain(text, b"?&=$")?, param.unwrap_or_default())
    })
}

fn told_of(reader: &mut Reader<'_>) -> Box<[HeaderName]> {
    let (told, left_out) = reader.value(TOLD, Effect::Deny, told).unwrap_or_default();
    for name in left_out {
        let what = format!("{name} is for the proxy to set; it is left out");
        reader.fault(TOLD, Effect::Skip, what);
    }
    told
}

fn redirect_of(reader: &mut Reader<'_>) -> Expression {
    let redirect = reader.value("auth-request-redirect", Effect::Deny, |text| {
        redirect(plain(text, b"?&=")?)
    });
    redirect.unwrap_or_else(usual_redirect)
}

fn caching_of(reader: &mut Reader<'_>) -> Option<Caching> {
    let lifetimes = reader.value(CACHE_DURATION, Effect::Deny, |text| {
        Lifetime::list(plain(text, b",")?)
    });
    let key = reader.value("auth-cache-key", Effect::Skip, |text| {
        let fault = "holds something else than letters, digits and -_${}";
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_${} ".contains(&byte);
        match text.bytes().all(known) {
            true => cache_key(text),
            false => Err(format!("{text:?} {fault}")),
        }
    });
    caching(key.flatten(), lifetimes)
}

/// Only where `auth-keepalive` is set; with a bad count, nothing is kept.
fn keep_alive(reader: &mut Reader<'_>) -> Option<Kept> {
    let mut count = |name| {
        reader.value(name, Effect::Skip, |text| {
            let number: i64 = text
                .parse()
                .map_err(|_| format!("{text:?} is no whole number"))?;
            Ok(u32::try_from(number).unwrap_or(if number < 0 { 0 } else { u32::MAX }))
        })
    };
    let connections = count("auth-keepalive");
    let requests = count("auth-keepalive-requests").unwrap_or(USUAL_REQUESTS);
    let seconds = count("auth-keepalive-timeout").unwrap_or(USUAL_SECONDS);
    let connections = connections?;
    let kept = requests > 0 && seconds > 0;
    Some(Kept {
        connections: if kept { connections as usize } else { 0 },
        requests,
        idle: Duration::from_secs(seconds.into()),
    })
}

/// ingress-nginx's where they are not set.
const USUAL_REQUESTS: u32 = 1000;
const USUAL_SECONDS: u32 = 60;

/// Where it is asked.
pub(crate) fn url(text: &str) -> Result<UrlTemplate, String> {
    UrlTemplate::read(text.trim()).map_err(|error| format!("{text:?} is no URL: {error}"))
}

/// How; an empty one is none.
pub(crate) fn method(text: &str) -> Result<Option<Method>, String> {
    match text {
        "" => Ok(None),
        "CONNECT" => Err("CONNECT asks for a tunnel, not for an answer".to_owned()),
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE" => {
            Ok(Method::from_bytes(text.as_bytes()).ok())
        }
        _ => Err(format!("{text:?} is no method")),
    }
}

/// Where clients sign in, and how they come back from there: the parameter says it, unless the URL has it already.
pub(crate) fn signin(url: &str, param: &str) -> Result<Expression, String> {
    const BACK: &str = "$pass_access_scheme://$http_host$escaped_request_uri";
    let url = url.trim();
    let param = if param.is_empty() { "rd" } else { param };
    let (_, query) = url.split_once('?').unwrap_or_default();
    let is_there = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        name == param && !value.is_empty()
    };
    let text = match query.split('&').any(is_there) {
        true => url.to_owned(),
        false if query.is_empty() => {
            let start = url.strip_suffix('?').unwrap_or(url);
            format!("{start}?{param}={BACK}")
        }
        false => format!("{url}&{param}={BACK}"),
    };
    expression(&text)
}

/// Fields of its answer that endpoints get, and those that they get from the proxy in any case.
pub(crate) fn told(text: &str) -> Result<(Box<[HeaderName]>, Vec<HeaderName>), String> {
    let (mut told, mut ours) = (Vec::new(), Vec::new());
    for name in text.split(',').map(str::trim) {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() {
            continue;
        }
        let field = name.parse().ok().filter(|_| name.bytes().all(known));
        let field: HeaderName = field.ok_or_else(|| format!("{name:?} is no field name"))?;
        match is_ours(&field) {
            true => ours.push(field),
            false if told.contains(&field) => {}
            false => told.push(field),
        }
    }
    Ok((told.into(), ours))
}

/// Where the client shall come back to, as `X-Auth-Request-Redirect` says it; an empty one is the request's target.
pub(crate) fn redirect(text: &str) -> Result<Expression, String> {
    match text.trim() {
        "" => Ok(usual_redirect()),
        text => expression(text),
    }
}

pub(crate) fn usual_redirect() -> Expression {
    Expression::parse("$request_uri").expect("the variable is known")
}

/// What answers are remembered by; an empty one is none.
pub(crate) fn cache_key(text: &str) -> Result<Option<Expression>, String> {
    match text.trim() {
        "" => Ok(None),
        text => expression(text).map(Some),
    }
}

/// What is remembered, if there is a key.
pub(crate) fn caching(
    key: Option<Expression>,
    lifetimes: Option<Box<[Lifetime]>>,
) -> Option<Caching> {
    Some(Caching {
        key: key?,
        lifetimes: lifetimes.unwrap_or_else(Lifetime::usual),
    })
}

/// Text with variables of requests and their routes.
pub(crate) fn expression(text: &str) -> Result<Expression, String> {
    Expression::read(text, Known::Routes).map_err(|unknown| unknown.to_string())
}

/// Whether a field says where a message ends, where it goes, or what becomes of its connection.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    is_hop_by_hop(name.as_str()) || [CONTENT_LENGTH, EXPECT, HOST].contains(name)
}

/// ingress-nginx's validators: letters, digits, `-._~/:` and blanks, and what else this annotation may hold.
fn plain<'t>(text: &'t str, also: &[u8]) -> Result<&'t str, String> {
    let known = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"-._~/: ".contains(&byte) || also.contains(&byte)
    };
    match text.bytes().all(known) {
        true => Ok(text),
        false => Err(format!(
            "{text:?} holds something else than letters, digits and -._~/:{}",
            also.escape_ascii()
        )),
    }
}

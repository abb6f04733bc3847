//! Redirects.

use std::sync::Arc;

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use super::{Answer, Facts};
use crate::{Route, host};

/// Sends every request elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 300 to 308.
    pub status: StatusCode,
    /// An absolute URL, or a path of the same host.
    pub location: HeaderValue,
}

/// A route that is there to send clients to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The host with `www.`, or the one without, and the status.
    Host(Arc<str>, StatusCode),
    /// The same path with a trailing slash.
    Slash,
}

impl Redirect {
    pub(super) fn answer(&self, route: &Route, facts: &Facts<'_>) -> Answer {
        let text = self.location.to_str().unwrap_or_default();
        match text.starts_with('/') {
            true => to(self.status, here(route, facts, text)),
            false => Answer::status(self.status).with(LOCATION, self.location.clone()),
        }
    }
}

/// `https://HOST/TARGET`, less one trailing slash unless it is to be kept.
pub(super) fn to_https(route: &Route, facts: &Facts<'_>) -> Option<Answer> {
    let status = route.https_redirect?;
    if facts.forwarded.scheme != "http" {
        return None;
    }
    let target = facts.target();
    let target = match route.policy.keep_trailing_slash {
        true => target,
        false => target.strip_suffix('/').unwrap_or(target),
    };
    // What a trusted proxy in front was asked for, if there is one.
    let host = host::canonical(facts.forwarded.host);
    let host = host.as_deref().unwrap_or(facts.host);
    let location = match route.policy.redirect_port {
        Some(port) => format!("https://{host}:{port}{target}"),
        None => format!("https://{host}{target}"),
    };
    Some(to(status, location))
}

/// `app-root`: from `/` alone. It speaks of the connection, whatever a proxy in front says of the client's.
pub(super) fn to_app_root(route: &Route, facts: &Facts<'_>) -> Option<Answer> {
    let root = route.app_root.as_deref().filter(|_| facts.path == "/")?;
    let authority = facts.authority;
    Some(to(
        StatusCode::FOUND,
        match authority {
            "" => root.to_owned(),
            _ => format!("{}://{authority}{root}", scheme(facts)),
        },
    ))
}

/// To where the route has moved to.
pub(super) fn moved(route: &Route, facts: &Facts<'_>) -> Option<Answer> {
    Some(match route.moved.as_ref()? {
        Moved::Host(host, status) => {
            let (scheme, port) = (facts.forwarded.scheme, facts.forwarded.port);
            let target = facts.target();
            let target = target.strip_suffix('/').unwrap_or(target);
            to(*status, format!("{scheme}://{host}:{port}{target}"))
        }
        Moved::Slash => {
            let query = facts.query;
            let query = query.map(|query| format!("?{query}"));
            let target = format!("{}/{}", route.path, query.unwrap_or_default());
            let location = here(route, facts, &target);
            to(StatusCode::MOVED_PERMANENTLY, location)
        }
    })
}

/// `path` on the host that was asked for.
pub(crate) fn here(route: &Route, facts: &Facts<'_>, path: &str) -> String {
    if route.policy.relative_redirects {
        return path.to_owned();
    }
    let scheme = scheme(facts);
    let port = facts.forwarded.port;
    let usual = matches!((scheme, port), ("http", "80") | ("https", "443"));
    match route.policy.redirect_port.is_some() && !usual {
        true => format!("{scheme}://{}:{port}{path}", facts.host),
        false => format!("{scheme}://{}{path}", facts.host),
    }
}

fn scheme(facts: &Facts<'_>) -> &'static str {
    if facts.tls { "https" } else { "http" }
}

fn to(status: StatusCode, location: String) -> Answer {
    HeaderValue::try_from(location).map_or_else(
        |_| Answer::status(StatusCode::BAD_REQUEST),
        |location| Answer::status(status).with(LOCATION, location),
    )
}

//! What is done to responses, in the one order there is: what is written later overwrites, so that an endpoint never has
//! the last word.
//!
//! ```text
//!  an endpoint's ─▶ hide-headers, proxy-redirect-*, proxy-cookie-* ─┐
//!  our own ─────────────────────────────────────────────────────────┴▶ Server ▶ add-headers ▶ CORS ▶ custom-headers ▶ HSTS ▶ snippets
//! ```

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{SERVER, STRICT_TRANSPORT_SECURITY};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::Route;
use crate::global::{Global, Server};
use crate::snippet::Outcome;

use super::Policy;

/// Fields that are set, whatever was there.
pub type FieldList = Arc<[(HeaderName, HeaderValue)]>;

/// What response filters may look at beside the response.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// The request's head.
    pub head: &'r Parts,
    /// Whether it came through TLS, whatever a proxy in front says.
    pub tls: bool,
    /// What snippets have made of the request.
    pub scripted: Option<Scripted<'r>>,
}

/// What snippets do to a response.
#[derive(Clone, Copy, Debug)]
pub struct Scripted<'r> {
    /// What they have made of the request.
    pub outcome: &'r Outcome,
    /// The response's status.
    pub status: StatusCode,
    /// The time.
    pub now: SystemTime,
}

/// Takes what clients are not to see out of an endpoint's response.
pub fn take(global: &Global, policy: &Policy, headers: &mut HeaderMap) {
    for name in &global.fields.hidden {
        headers.remove(name);
    }
    if let Some(proxied) = &policy.proxied {
        proxied.apply(headers);
    }
}

/// Runs the response filters; `route` is the one that answered, if there is one.
pub fn respond(global: &Global, route: Option<&Route>, asked: &Asked<'_>, headers: &mut HeaderMap) {
    server(global.fields.server, headers);
    set(&global.fields.added, headers);
    if let Some(route) = route {
        let policy = &route.policy;
        if let Some(cors) = &policy.cors {
            cors.respond(asked.head, headers);
        }
        if let Some(custom) = &policy.custom_headers {
            set(custom, headers);
        }
    }
    if let Some(hsts) = global.hsts.as_ref().filter(|_| asked.tls) {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if let Some(scripted) = &asked.scripted {
        scripted
            .outcome
            .apply(scripted.status, scripted.now, headers);
    }
}

/// An empty value takes the field away, as nginx's `more_set_headers` does.
fn set(fields: &[(HeaderName, HeaderValue)], headers: &mut HeaderMap) {
    for (name, value) in fields {
        match value.is_empty() {
            true => headers.remove(name),
            false => headers.insert(name.clone(), value.clone()),
        };
    }
}

fn server(server: Server, headers: &mut HeaderMap) {
    let own = HeaderValue::from_static("penstock");
    match server {
        Server::None => {
            headers.remove(SERVER);
        }
        Server::Own => {
            headers.insert(SERVER, own);
        }
        Server::Endpoint => {
            headers.entry(SERVER).or_insert(own);
        }
    }
}

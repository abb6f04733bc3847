//! What is done to every response of a route, an endpoint's or our own, in the one order there is.

use http::HeaderMap;
use http::request::Parts;

use crate::Route;

/// What response filters may look at beside the response.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// The request's head.
    pub head: &'r Parts,
    /// Whether it came through TLS.
    pub tls: bool,
}

/// Runs the response filters of `route`.
///
/// nginx's order: what is written later overwrites, so that an endpoint never has the last word.
pub fn respond(route: &Route, asked: &Asked<'_>, headers: &mut HeaderMap) {
    let policy = &route.policy;
    if let Some(cors) = &policy.cors {
        cors.respond(asked.head, headers);
    }
}

//! One host pattern's routes and certificates.

use std::cmp::Reverse;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::paths::PathIndex;
use super::{Passthrough, PathType, Route};
use crate::client_auth::ClientAuth;

/// One host pattern.
#[derive(Debug)]
pub(crate) struct Host {
    pattern: Arc<str>,
    /// Whether an Ingress has rules for it; one that is only named under `tls` has a certificate and leaves
    /// requests to less specific patterns.
    served: bool,
    routes: Box<[Arc<Route>]>,
    /// None where paths are regular expressions, which are tried one after the other.
    paths: Option<PathIndex>,
    default: Option<Arc<Route>>,
    /// None without a `tls` entry; empty where none of its certificates can be used.
    certificates: Option<Box<[Arc<CertifiedKey>]>>,
    /// Where its TLS goes, if that is not ended here.
    passthrough: Option<Arc<Passthrough>>,
}

impl Host {
    /// A host with these routes, in any order, each (path, type) once.
    pub(crate) fn new(
        pattern: Arc<str>,
        served: bool,
        mut routes: Vec<Arc<Route>>,
        default: Option<Arc<Route>>,
        certificates: Option<Vec<Arc<CertifiedKey>>>,
    ) -> Self {
        let is_plain = routes.iter().all(|route| route.pattern.is_none());
        if is_plain {
            routes.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        } else {
            routes.sort_unstable_by(|a, b| pattern_order(a).cmp(&pattern_order(b)));
        }
        Self {
            pattern,
            served,
            paths: is_plain.then(|| PathIndex::new(&routes)),
            routes: routes.into(),
            default,
            certificates: certificates.map(Into::into),
            passthrough: None,
        }
    }

    /// The same, whose TLS goes somewhere else. One of its routes has to lead there, too.
    pub(crate) fn passing(mut self, passthrough: Option<Passthrough>) -> Self {
        self.passthrough = passthrough.map(Arc::new);
        self
    }

    pub(crate) const fn passthrough(&self) -> Option<&Arc<Passthrough>> {
        self.passthrough.as_ref()
    }

    pub(crate) fn pattern(&self) -> &str {
        &self.pattern
    }

    pub(crate) fn is_served(&self) -> bool {
        self.served
    }

    pub(crate) fn certificates(&self) -> Option<&[Arc<CertifiedKey>]> {
        self.certificates.as_deref()
    }

    /// What clients have to show: the same on all routes.
    pub(crate) fn client_auth(&self) -> Option<&ClientAuth> {
        self.routes().next()?.client_auth.as_deref()
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        let found = match &self.paths {
            Some(index) => index.find(&self.routes, path),
            None => self.routes.iter().find(|route| {
                let pattern = route.pattern.as_ref();
                pattern.is_some_and(|pattern| pattern.matches(path))
            }),
        };
        found.or(self.default.as_ref())
    }

    /// Every route, in the order in which they are tried.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().chain(&self.default)
    }
}

/// Longest path first, Exact before Prefix of the same path.
fn order(route: &Route) -> (Reverse<usize>, &str, PathType) {
    let length = Reverse(route.path.len());
    (length, &route.path, route.path_type)
}

/// ingress-nginx's order of regular expressions: the longest first, of equals the lexically last.
fn pattern_order(route: &Route) -> (Reverse<(usize, &str)>, PathType) {
    (Reverse((route.path.len(), &route.path)), route.path_type)
}

/// The wildcard key that covers `host`: `.rest` of `label.rest`. A wildcard stands for one whole label.
pub(crate) fn wildcard_of(host: &str) -> Option<&str> {
    match host.find('.') {
        None | Some(0) => None,
        Some(dot) => host.get(dot..),
    }
}

/// Under which key a pattern is kept: wildcards without their star, so that a lookup needs no new string.
pub(super) fn key(pattern: &str) -> &str {
    match pattern.strip_prefix('*') {
        Some(rest) if rest.starts_with('.') => rest,
        _ => pattern,
    }
}

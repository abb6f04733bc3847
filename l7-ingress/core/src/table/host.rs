//! One host pattern's routes and certificates, and the sharded map of all of them.

use std::sync::Arc;

use foldhash::quality::FixedState;
use rustls::sign::CertifiedKey;

use super::paths::PathIndex;
use super::{PathType, Route};

/// One host pattern.
#[derive(Debug)]
pub(crate) struct Host {
    pattern: Arc<str>,
    /// Whether an Ingress has rules for it; one that is only named under `tls` has a certificate and leaves
    /// requests to less specific patterns.
    served: bool,
    routes: Box<[Arc<Route>]>,
    paths: PathIndex,
    default: Option<Arc<Route>>,
    /// None without a `tls` entry; empty where none of its certificates can be used.
    certificates: Option<Box<[Arc<CertifiedKey>]>>,
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
        routes.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        Self {
            pattern,
            served,
            paths: PathIndex::new(&routes),
            routes: routes.into(),
            default,
            certificates: certificates.map(Into::into),
        }
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

    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.paths
            .find(&self.routes, path)
            .or(self.default.as_ref())
    }

    /// Every route, in the order in which they are tried.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().chain(&self.default)
    }
}

/// Longest path first, Exact before Prefix of the same path.
fn order(route: &Route) -> (std::cmp::Reverse<usize>, &str, PathType) {
    let length = std::cmp::Reverse(route.path.len());
    (length, &route.path, route.path_type)
}

/// The wildcard key that covers `host`: `.rest` of `label.rest`. A wildcard stands for one whole label.
pub(crate) fn wildcard_of(host: &str) -> Option<&str> {
    match host.find('.') {
        None | Some(0) => None,
        Some(dot) => host.get(dot..),
    }
}

/// Under which key a pattern is kept: wildcards without their star, so that a lookup needs no new string.
fn key(pattern: &str) -> &str {
    match pattern.strip_prefix('*') {
        Some(rest) if rest.starts_with('.') => rest,
        _ => pattern,
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "looked up by key; what iterates over it sorts or counts"
)]
type Shard = std::collections::HashMap<Arc<str>, Arc<Host>, FixedState>;

/// As many shards as keep both the copy of one (hosts / shards) and the copy of their list short.
const SHARDS: usize = 1024;

/// A map from pattern to [`Host`] whose clone shares everything and whose change copies one shard.
#[derive(Clone, Debug)]
pub(crate) struct Shards {
    shards: Box<[Arc<Shard>]>,
    hasher: FixedState,
}

impl Default for Shards {
    fn default() -> Self {
        let empty = Arc::new(Shard::default());
        Self {
            shards: vec![empty; SHARDS].into(),
            hasher: FixedState::default(),
        }
    }
}

impl Shards {
    /// The entry of an exact name. A name as odd as a wildcard's key is no host.
    pub(super) fn exact(&self, name: &str) -> Option<&Host> {
        self.get(name).filter(|_| !name.starts_with('.'))
    }

    /// The entry of the wildcard that covers `name`.
    pub(super) fn wildcard(&self, name: &str) -> Option<&Host> {
        self.get(wildcard_of(name)?)
    }

    /// The entry of one host pattern, itself a wildcard perhaps.
    pub(crate) fn pattern(&self, pattern: &str) -> Option<&Host> {
        self.get(key(pattern))
            .filter(|host| host.pattern() == pattern)
    }

    fn get(&self, key: &str) -> Option<&Host> {
        self.shards
            .get(self.index(key))
            .and_then(|shard| shard.get(key))
            .map(Arc::as_ref)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Host> {
        self.shards
            .iter()
            .flat_map(|shard| shard.values().map(Arc::as_ref))
    }

    /// Puts the host of `pattern` in place, or takes it away; returns what was there.
    pub(crate) fn set(&mut self, pattern: &str, host: Option<Host>) -> Option<Arc<Host>> {
        let key = key(pattern);
        let index = self.index(key);
        let shard = self.shards.get_mut(index)?;
        match host {
            Some(host) => {
                let name = match key.len() == pattern.len() {
                    true => Arc::clone(&host.pattern),
                    false => key.into(),
                };
                Arc::make_mut(shard).insert(name, Arc::new(host))
            }
            None if shard.contains_key(key) => Arc::make_mut(shard).remove(key),
            None => None,
        }
    }

    fn index(&self, key: &str) -> usize {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(key.as_bytes());
        // The maps use the low and the top bits of the same hash of the same key: take some from between.
        usize::try_from(hash >> 32).unwrap_or_default() % SHARDS
    }
}

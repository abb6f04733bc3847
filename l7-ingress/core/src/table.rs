//! What the proxy reads: hosts, their routes, their certificates. Immutable once published.
//!
//! Hosts are spread over hosts that successive tables share: publishing a change of one host copies one
//! shard, however many hosts there are.

mod backend;
mod host;
mod hosts;
mod paths;
mod streams;

use std::sync::Arc;

use http::StatusCode;
use model::ObjectName;
use rustls::sign::CertifiedKey;

use crate::Authorities;
use crate::client_auth::ClientAuth;
use crate::filter::{Moved, Pattern, Policy, Rewrite, Stages};
use crate::global::Global;
use crate::snippet::{Rule, Snippet};
use crate::tally::Tally;
use crate::upstream::Canary;

pub use backend::{Backend, BackendId, BackendProtocol, Balance, EndpointSet, Manner, Resolution};
pub(crate) use host::{Host, wildcard_of};
pub(crate) use hosts::Hosts;
pub(crate) use streams::Streams;
pub use streams::{Passthrough, Stream, StreamPort};

/// The routing table.
#[derive(Debug, Default)]
pub struct Table {
    hosts: Hosts,
    default_certificates: Box<[Arc<CertifiedKey>]>,
    global: Arc<Global>,
    streams: Arc<Streams>,
}

impl Table {
    pub(crate) fn new(
        hosts: Hosts,
        default_certificate: Arc<CertifiedKey>,
        (global, streams): (Arc<Global>, Arc<Streams>),
    ) -> Self {
        Self {
            hosts,
            default_certificates: Box::new([default_certificate]),
            global,
            streams,
        }
    }

    /// What holds for all routes.
    #[must_use]
    pub const fn global(&self) -> &Arc<Global> {
        &self.global
    }

    /// The route that answers for `path` on `host`.
    ///
    /// `host` is canonical (lower case, without port and trailing dot; see `host::canonical`), `path` is
    /// normalised (see `path::normalise`). `None` means that nothing was configured for it: the controller's
    /// 404.
    ///
    /// The exact host comes before the wildcard that covers it (one label), and that before rules without a
    /// host. The first of these that exists answers alone, as a server block of ingress-nginx does: a path that
    /// it does not know goes to its own default backend and never to a less specific host's rules.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        self.host(host)?.find(path)
    }

    /// Where what comes in on a port goes that is neither HTTP's nor HTTPS's.
    #[must_use]
    pub fn stream(&self, port: StreamPort) -> Option<&Arc<Stream>> {
        self.streams.get(&port)
    }

    /// All such ports.
    pub fn streams(&self) -> impl Iterator<Item = (StreamPort, &Arc<Stream>)> {
        self.streams.iter().map(|(port, stream)| (*port, stream))
    }

    /// The certificates to choose from for a handshake that asks for `sni` (lower case): exact before
    /// wildcard before default. Never empty once published by the compiler.
    #[must_use]
    pub fn certificates(&self, sni: Option<&str>) -> &[Arc<CertifiedKey>] {
        let named = |name: &str| {
            let exact = self.hosts.exact(name).and_then(Host::certificates);
            exact.or_else(|| self.hosts.wildcard(name)?.certificates())
        };
        sni.and_then(named)
            .filter(|certificates| !certificates.is_empty())
            .unwrap_or(&self.default_certificates)
    }

    /// Whether there is a host whose TLS is not ended here.
    #[must_use]
    pub const fn has_passthroughs(&self) -> bool {
        self.hosts.has_passthroughs()
    }

    /// Where a connection goes whose client asks for `sni` (lower case), if its TLS is not ended here.
    #[must_use]
    pub fn passthrough(&self, sni: &str) -> Option<&Arc<Passthrough>> {
        self.host(sni)?.passthrough()
    }

    /// Whose certificates a handshake that asks for `sni` (lower case) asks for; `None` for nobody's.
    #[must_use]
    pub fn authorities(&self, sni: Option<&str>) -> Option<&Arc<Authorities>> {
        let auth = self.host(sni.unwrap_or_default())?.client_auth()?;
        auth.authorities.as_ref().filter(|_| auth.asks())
    }

    /// Whether there are rules for `sni` (lower case) itself, be it by a wildcard: not those for all hosts.
    #[must_use]
    pub fn knows(&self, sni: &str) -> bool {
        self.host(sni)
            .is_some_and(|host| !host.pattern().is_empty())
    }

    /// Every route, by host, in the order in which they are tried.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let mut hosts: Vec<&Host> = self.hosts.iter().collect();
        hosts.sort_unstable_by_key(|host| host.pattern());
        hosts.into_iter().flat_map(Host::routes)
    }

    /// How many host patterns there are.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.iter().filter(|host| host.is_served()).count()
    }

    /// The rules that answer for `host`.
    pub(crate) fn host<'t>(&'t self, host: &str) -> Option<&'t Host> {
        let served = |found: Option<&'t Host>| found.filter(|host| host.is_served());
        served(self.hosts.exact(host))
            .or_else(|| served(self.hosts.wildcard(host)))
            .or_else(|| self.hosts.exact(""))
    }
}

/// How a path is matched (`networking.k8s.io/v1` pathType).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathType {
    /// The whole path, case-sensitive.
    Exact,
    /// Element by element. `ImplementationSpecific` is read as this, as ingress-nginx does.
    Prefix,
}

impl std::fmt::Display for PathType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Exact => "Exact",
            Self::Prefix => "Prefix",
        })
    }
}

/// One path of one Ingress, ready to be followed.
#[derive(Debug)]
pub struct Route {
    /// The Ingress it was written in; empty for the controller's own default backend on a host that no Ingress
    /// names.
    pub ingress: ObjectName,
    /// The field it was written in, as in `spec.rules[0].http.paths[1]` or `spec.defaultBackend`; empty for
    /// the controller's own default backend.
    pub field: Arc<str>,
    /// The host pattern, canonical; empty for rules without one.
    pub host: Arc<str>,
    /// The path as written.
    pub path: Box<str>,
    /// How it is matched, unless its host asks for regular expressions.
    pub path_type: PathType,
    /// The path as a regular expression, if its host asks for that.
    pub pattern: Option<Arc<Pattern>>,
    /// Where requests go.
    pub backend: Arc<Backend>,
    /// Where some of them go instead.
    pub canary: Option<Box<Canary>>,
    /// What answers in its place where that is asked for.
    pub errors: Option<Arc<Backend>>,
    /// Whether plain HTTP is sent to HTTPS, and with which status.
    pub https_redirect: Option<StatusCode>,
    /// Where `/` of the host is sent to.
    pub app_root: Option<Arc<str>>,
    /// Where all its requests are sent to, if that is what it is there for.
    pub moved: Option<Moved>,
    /// What else is done for its host.
    pub server: Option<Arc<Snippet>>,
    /// What clients of its host have to show.
    pub client_auth: Option<Arc<ClientAuth>>,
    /// What else its Ingress asks for.
    pub policy: Arc<Policy>,
    /// The filters that have something to do here.
    pub stages: Stages,
    /// What is counted of its requests.
    pub tally: Tally,
}

impl Route {
    /// Every Service port that it may lead to.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let canary = self.canary.iter().map(|canary| &canary.backend);
        [&self.backend]
            .into_iter()
            .chain(canary)
            .chain(&self.errors)
    }

    pub(crate) fn snippet(&self) -> Option<&Snippet> {
        self.policy.snippet.as_deref()
    }

    /// Whether a request has something that snippets remember of it.
    #[must_use]
    pub fn has_snippets(&self) -> bool {
        self.server.is_some() || self.policy.snippet.is_some()
    }

    /// Who may come in as snippets say it: the path's or, if it says nothing of that in any way, the host's.
    pub(crate) fn rules(&self) -> &[Rule] {
        let own = self.snippet().map_or(&[][..], Snippet::rules);
        match (&self.server, &self.policy.sources) {
            (Some(server), None) if own.is_empty() => server.rules(),
            _ => own,
        }
    }

    /// What the groups of its path match.
    pub(crate) fn groups(&self, path: &str) -> Option<Vec<Vec<u8>>> {
        self.pattern.as_ref()?.groups(path)
    }

    /// What the path is rewritten to; a target that is the path itself rewrites nothing, as in ingress-nginx.
    pub(crate) fn rewrite(&self) -> Option<&Rewrite> {
        let rewrite = self.policy.rewrite.as_deref()?;
        rewrite.changes(&self.path).then_some(rewrite)
    }
}

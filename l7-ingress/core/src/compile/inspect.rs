//! What explanations ask of a compiler.

use model::ObjectName;

use super::Compiler;
use super::Source;
use super::accept::Accepted;
use super::host::DEFAULT_BACKEND;
use super::ingresses::{Entry, Version, precedence};
use super::services::EndpointCounts;
use crate::table::Host;
use crate::{Backend, Ingress, Route};

impl Compiler {
    /// What was compiled for one host pattern.
    pub(crate) fn pattern(&self, pattern: &str) -> Option<&Host> {
        self.table.pattern(pattern)
    }

    /// The Secrets whose certificates are served for one host pattern.
    pub(crate) fn secrets_of(&self, pattern: &str) -> Vec<ObjectName> {
        let certificates = self.certified.get(pattern).into_iter().flatten();
        certificates
            .map(|certificate| certificate.secret.clone())
            .collect()
    }

    pub(crate) fn endpoint_counts(&self, backend: &Backend) -> EndpointCounts {
        self.services.counts(&backend.service, &backend.port)
    }

    /// The Ingresses that wanted what `route` has, and where, oldest first.
    pub(crate) fn conflicts(&self, route: &Route) -> Vec<(ObjectName, String)> {
        if route.field.is_empty() || &*route.field == DEFAULT_BACKEND {
            return Vec::new();
        }
        let users = self.hosts.get(&route.host).into_iter();
        let mut ingresses: Vec<&Accepted> = users
            .flat_map(|users| users.iter())
            .filter_map(|id| self.ingresses.serving(id))
            .map(AsRef::as_ref)
            .filter(|ingress: &&Accepted| !ingress.is_canary())
            .collect();
        ingresses.sort_unstable_by(|a, b| precedence((a.created, &a.name), (b.created, &b.name)));
        let mut losers = Vec::new();
        for ingress in ingresses {
            for rule in ingress.rules_for(&route.host) {
                let same = rule
                    .paths
                    .iter()
                    .filter(|path| path.path == route.path && path.path_type == route.path_type);
                let fields = same.map(|path| path.field(rule));
                let lost =
                    fields.filter(|field| ingress.name != route.ingress || **field != *route.field);
                losers.extend(lost.map(|field| (ingress.name.clone(), field)));
            }
        }
        losers
    }

    /// The Ingresses that speak of `host` in a version that is not served, and why it is not.
    pub(crate) fn unserved(&self, host: &str) -> Vec<(ObjectName, String)> {
        let entries = self.ingresses.iter();
        let reasons =
            entries.filter_map(|entry| Some((entry.name.clone(), self.why(entry, host)?)));
        reasons.collect()
    }

    fn why(&self, entry: &Entry, host: &str) -> Option<String> {
        let (class, speaks) = match &entry.latest {
            Version::Unknown => return None,
            Version::Accepted(_) if entry.serving.is_some() => return None,
            Version::Accepted(accepted) => {
                let mut hosts = accepted.hosts();
                (&accepted.class, hosts.any(|pattern| covers(pattern, host)))
            }
            Version::Written(ingress) => (&ingress.class, speaks_of(ingress, host)),
        };
        if !speaks {
            return None;
        }
        let owner = self
            .classes
            .owner(&self.settings, &entry.name.namespace, class);
        if !owner.is_ours() {
            return Some(owner.to_string());
        }
        let source = Source::Ingress(entry.name.clone());
        let problems = self.problems.get(&source).into_iter().flatten();
        let problems: Vec<String> = problems
            .map(|problem| format!("{} {}", problem.field, problem.message))
            .collect();
        Some(problems.join(", "))
    }
}

fn speaks_of(ingress: &Ingress, host: &str) -> bool {
    let mut rules = ingress.rules.iter();
    rules.any(|rule| covers(&rule.host.to_ascii_lowercase(), host))
}

fn covers(pattern: &str, host: &str) -> bool {
    let wild = || {
        let (_, rest) = host.split_once('.')?;
        Some(pattern.strip_prefix("*.")? == rest)
    };
    pattern == host || wild().unwrap_or(false)
}

//! Compiles one host pattern from the Ingresses that speak of it, oldest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use model::{Kind, ObjectName, ObjectRef, PortRef, Problem, Severity};

use super::accept::{Accepted, ServicePort};
use super::names::Names;
use super::secrets::Secrets;
use super::services::{Services, Unreachable, Wish};
use super::tls;
use crate::certificate::Certificate;
use crate::filter::{Policy, Stages};
use crate::table::Host;
use crate::{Backend, EndpointSet, Manner, PathType, Resolution, Route, Settings};

/// Where a default backend is written.
pub(super) const DEFAULT_BACKEND: &str = "spec.defaultBackend";

/// What one host pattern compiles to.
pub(super) struct Compiled {
    pub(super) host: Host,
    /// The certificates that it serves, for metrics.
    pub(super) certificates: Vec<Arc<Certificate>>,
    pub(super) problems: Vec<Problem>,
}

/// What the compilation of one host may look at and change.
pub(super) struct Scope<'c> {
    pub(super) settings: &'c Settings,
    pub(super) not_found: &'c Arc<Backend>,
    pub(super) names: &'c mut Names,
    pub(super) services: &'c mut Services,
    pub(super) secrets: &'c Secrets,
    pub(super) problems: Vec<Problem>,
}

impl Scope<'_> {
    /// Compiles `pattern`. `ingresses` come oldest first; `catch_all` is the one whose default backend
    /// answers where no host matches, for the empty pattern.
    pub(super) fn host(
        mut self,
        pattern: &Arc<str>,
        ingresses: &[&Arc<Accepted>],
        catch_all: Option<&Arc<Accepted>>,
    ) -> Compiled {
        let served = |ingress: &&&Arc<Accepted>| !ingress.rules_for(pattern).is_empty();
        let owner = ingresses.iter().find(served).copied();
        let chosen = tls::choose(&mut self, pattern, ingresses);
        let routes = self.routes(pattern, ingresses, chosen.has_entry);
        let has_root = routes
            .iter()
            .any(|route| &*route.path == "/" && route.path_type == PathType::Prefix);
        let is_served = owner.is_some() || pattern.is_empty();
        let default = if has_root || !is_served {
            None
        } else if pattern.is_empty() {
            self.catch_all(pattern, catch_all)
        } else {
            owner.and_then(|owner| self.default(pattern, owner, ingresses, chosen.has_entry))
        };
        Compiled {
            host: Host::new(
                Arc::clone(pattern),
                is_served,
                routes,
                default,
                chosen.keys(),
            ),
            certificates: chosen.certificates,
            problems: self.problems,
        }
    }

    fn routes(
        &mut self,
        pattern: &Arc<str>,
        ingresses: &[&Arc<Accepted>],
        has_tls: bool,
    ) -> Vec<Arc<Route>> {
        let mut winners: BTreeMap<(&str, PathType), &ObjectName> = BTreeMap::new();
        let mut routes = Vec::new();
        for ingress in ingresses {
            for rule in ingress.rules_for(pattern) {
                for path in &rule.paths {
                    let field = path.field(rule);
                    let key = (&*path.path, path.path_type);
                    if let Some(winner) = winners.get(&key) {
                        self.conflict(ingress, field, winner, key);
                        continue;
                    }
                    winners.insert(key, &ingress.name);
                    let backend = self.backend(ingress, &path.backend, &field);
                    routes.push(arc(Route {
                        ingress: ingress.name.clone(),
                        field: self.names.get(&field),
                        host: Arc::clone(pattern),
                        path: path.path.clone(),
                        path_type: path.path_type,
                        backend,
                        https_redirect: self.redirect(ingress, has_tls),
                        policy: Arc::clone(&ingress.annotations.policy),
                        stages: Stages::default(),
                    }));
                }
            }
        }
        routes
    }

    /// What answers the paths of a host that no rule knows: the default backend of the oldest of its
    /// Ingresses that has one, else the controller's. Where plain HTTP has to be redirected, so are these.
    fn default(
        &mut self,
        pattern: &Arc<str>,
        owner: &Arc<Accepted>,
        ingresses: &[&Arc<Accepted>],
        has_tls: bool,
    ) -> Option<Arc<Route>> {
        let mut own = ingresses.iter().filter_map(|ingress| {
            let backend = ingress.default_backend.as_ref()?;
            (!ingress.rules_for(pattern).is_empty()).then_some((*ingress, backend))
        });
        if let Some((ingress, backend)) = own.next() {
            let backend = self.backend(ingress, backend, DEFAULT_BACKEND);
            let redirect = self.redirect(ingress, has_tls);
            let policy = Some(&ingress.annotations.policy);
            let origin = (&ingress.name, DEFAULT_BACKEND);
            return Some(self.fallback(pattern, origin, backend, (redirect, policy)));
        }
        let redirect = self.redirect(owner, has_tls);
        let backend = self.controllers_backend();
        if backend.is_none() && redirect.is_none() {
            return None;
        }
        let backend = backend.unwrap_or_else(|| Arc::clone(self.not_found));
        let policy = Some(&owner.annotations.policy);
        Some(self.fallback(pattern, (&owner.name, ""), backend, (redirect, policy)))
    }

    /// What answers where no host matches.
    fn catch_all(
        &mut self,
        pattern: &Arc<str>,
        ingress: Option<&Arc<Accepted>>,
    ) -> Option<Arc<Route>> {
        let wanted = ingress.and_then(|own| Some((own, own.default_backend.as_ref()?)));
        if let Some((ingress, backend)) = wanted {
            let backend = self.backend(ingress, backend, DEFAULT_BACKEND);
            let redirect = self.redirect(ingress, false);
            let policy = Some(&ingress.annotations.policy);
            let origin = (&ingress.name, DEFAULT_BACKEND);
            return Some(self.fallback(pattern, origin, backend, (redirect, policy)));
        }
        let backend = self.controllers_backend()?;
        let nobody = ObjectName::new("", "");
        Some(self.fallback(pattern, (&nobody, ""), backend, (None, None)))
    }

    fn fallback(
        &mut self,
        pattern: &Arc<str>,
        (ingress, field): (&ObjectName, &str),
        backend: Arc<Backend>,
        (https_redirect, policy): (Option<StatusCode>, Option<&Arc<Policy>>),
    ) -> Arc<Route> {
        arc(Route {
            ingress: ingress.clone(),
            field: self.names.get(field),
            host: Arc::clone(pattern),
            path: "/".into(),
            path_type: PathType::Prefix,
            backend,
            https_redirect,
            policy: Arc::clone(policy.unwrap_or(&self.settings.policy)),
            stages: Stages::default(),
        })
    }

    fn controllers_backend(&mut self) -> Option<Arc<Backend>> {
        let wanted = self.settings.default_backend.as_ref()?;
        let wish = Wish {
            port: wanted.port.as_ref(),
            protocol: None,
            manner: Manner {
                balance: self.settings.balance,
                ..Manner::default()
            },
        };
        let (backend, fault) = self.services.acquire(&wanted.service, wish);
        if let Some(fault) = fault {
            let (_, message) = explain_fault(fault, &backend.service, &backend.port);
            self.problems.push(Problem {
                object: ObjectRef::new(Kind::Service, wanted.service.clone()),
                field: "spec".to_owned(),
                reason: "DefaultBackendNotFound",
                message: format!("{message}; the controller's default backend answers 503"),
                severity: Severity::Warning,
            });
        }
        Some(backend)
    }

    fn backend(&mut self, ingress: &Accepted, backend: &ServicePort, field: &str) -> Arc<Backend> {
        let service = ObjectName {
            namespace: Arc::clone(&ingress.name.namespace),
            name: Arc::clone(&backend.service),
        };
        let annotations = &ingress.annotations;
        let wish = Wish {
            port: Some(&backend.port),
            protocol: annotations.backend_protocol,
            manner: Manner {
                follows_scheme: annotations.follows_scheme,
                is_service: annotations.service_upstream,
                balance: annotations.balance.unwrap_or(self.settings.balance),
                ..Manner::default()
            },
        };
        let (shared, fault) = self.services.acquire(&service, wish);
        if let Some(fault) = fault {
            let (part, message) = explain_fault(fault, &service, &backend.port);
            let field = match field {
                DEFAULT_BACKEND => format!("{field}.service.{part}"),
                path => format!("{path}.backend.service.{part}"),
            };
            let reason = match fault {
                Unreachable::NoService => "ServiceNotFound",
                Unreachable::NoPort => "ServicePortNotFound",
                Unreachable::Loopback | Unreachable::NoName => "ExternalNameRefused",
            };
            let message = format!("{message}; these requests are answered with 503");
            self.warn(&ingress.name, field, reason, message);
        }
        shared
    }

    /// ingress-nginx: `force-ssl-redirect`, or `ssl-redirect` where the host has a `tls` entry.
    fn redirect(&self, ingress: &Accepted, has_tls: bool) -> Option<StatusCode> {
        let annotations = &ingress.annotations;
        let force = annotations.force_ssl_redirect;
        let with_tls = annotations.ssl_redirect;
        let redirects = force.unwrap_or(self.settings.force_ssl_redirect)
            || (has_tls && with_tls.unwrap_or(self.settings.ssl_redirect));
        redirects.then_some(self.settings.https_redirect_code)
    }

    fn conflict(
        &mut self,
        loser: &Accepted,
        field: String,
        winner: &ObjectName,
        (path, path_type): (&str, PathType),
    ) {
        let message = match loser.name == *winner {
            true => format!("{path_type} {path} is already in this Ingress; the first one serves"),
            false => format!("{path_type} {path} is already in Ingress {winner}, which serves it"),
        };
        self.warn(&loser.name, field, "Conflict", message);
    }

    pub(super) fn warn(
        &mut self,
        ingress: &ObjectName,
        field: String,
        reason: &'static str,
        message: String,
    ) {
        self.problems.push(Problem {
            object: ObjectRef::new(Kind::Ingress, ingress.clone()),
            field,
            reason,
            message,
            severity: Severity::Warning,
        });
    }
}

/// A route that knows its stages.
fn arc(mut route: Route) -> Arc<Route> {
    route.stages = Stages::of(&route);
    Arc::new(route)
}

/// The part of a backend that is at fault, and a sentence.
fn explain_fault(
    fault: Unreachable,
    service: &ObjectName,
    port: &PortRef,
) -> (&'static str, String) {
    match fault {
        Unreachable::NoService => ("name", format!("Service {service} does not exist")),
        Unreachable::NoPort => ("port", format!("Service {service} has no TCP port {port}")),
        Unreachable::Loopback => (
            "name",
            format!("the external name of Service {service} leads back to this machine"),
        ),
        Unreachable::NoName => (
            "name",
            format!("the external name of Service {service} is empty"),
        ),
    }
}

/// The backend of routes that only redirect: over HTTPS, the controller's 404.
pub(super) fn not_found() -> EndpointSet {
    EndpointSet::empty(Resolution::NotFound)
}

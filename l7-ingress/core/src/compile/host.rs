//! Compiles one host pattern from the Ingresses that speak of it, oldest first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use model::{Kind, ObjectName, ObjectRef, PortRef, Problem, Severity};

use super::accept::{Accepted, AcceptedPath, ServicePort};
use super::backend_tls::HostTls;
use super::configs::Configs;
use super::mates::{Mate, MateKind};
use super::names::Names;
use super::secrets::{Lookup, Secrets};
use super::services::{Services, Unreachable, Wish};
use super::tls;
use crate::annotations::{BasicWish, external};
use crate::certificate::Certificate;
use crate::configmap;
use crate::expression::Expression;
use crate::filter::{Basic, External, FieldList, Moved, Pattern, Policy, Stages};
use crate::snippet::{self, Snippet};
use crate::table::Host;
use crate::tally::Tally;
use crate::{
    Backend, BackendProtocol, EndpointSet, Manner, Passwords, PathType, Resolution, Route, Settings,
};

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
    pub(super) configs: &'c Configs,
    pub(super) tls: HostTls,
    pub(super) problems: Vec<Problem>,
}

/// A host pattern, and where what is served for it is written.
pub(super) struct Subject<'i> {
    pub(super) pattern: &'i Arc<str>,
    /// The Ingresses that speak of the pattern, oldest first.
    pub(super) ingresses: Vec<&'i Arc<Accepted>>,
    /// The canaries of the host whose rules answer, oldest first.
    pub(super) canaries: Vec<&'i Arc<Accepted>>,
    /// The host that it is another name of.
    pub(super) mate: Option<Mate<'i>>,
}

/// What one host has of all its Ingresses.
pub(super) struct Rules<'i> {
    /// The host whose rules they are.
    pub(super) host: &'i Arc<str>,
    pub(super) ingresses: &'i [&'i Arc<Accepted>],
    /// Whether there is a `tls` entry.
    has_tls: bool,
}

impl Scope<'_> {
    /// Compiles one host pattern. `catch_all` is the Ingress whose default backend answers where no host
    /// matches, for the empty pattern.
    pub(super) fn host(
        mut self,
        subject: &Subject<'_>,
        catch_all: Option<&Arc<Accepted>>,
    ) -> Compiled {
        self.mate_conflicts(subject);
        let chosen = self.certificates(subject);
        if let Some(Mate {
            main,
            kind: MateKind::Www,
            ..
        }) = &subject.mate
        {
            return self.moved(subject, main, chosen);
        }
        let (host, ingresses) = match &subject.mate {
            Some(mate) => (mate.main, &mate.ingresses),
            None => (subject.pattern, &subject.ingresses),
        };
        let rules = Rules {
            host,
            ingresses,
            has_tls: chosen.has_entry,
        };
        let all: Vec<_> = ingresses.iter().copied().chain(catch_all).collect();
        self.read_tls(host, &all);
        let owner = ingresses.iter().find(|ingress| serves(ingress, host));
        let owner = owner.copied();
        let mut routes = self.routes(&rules);
        if self.settings.trailing_slash_redirect {
            self.slashes(&mut routes);
        }
        let passthrough = match &subject.mate {
            Some(_) => None,
            None => self.passthrough(&rules, &routes),
        };
        let app_root = app_root(&mut routes);
        let server = self.server_snippet(&rules);
        let client_auth = self.client_auth(&rules);
        let is_needed = app_root.is_some() || server.is_some() || client_auth.is_some();
        let is_served = owner.is_some() || host.is_empty();
        let default = if has_root(&routes) || !is_served {
            None
        } else if host.is_empty() {
            self.catch_all(host, catch_all)
        } else {
            owner.and_then(|owner| self.default(&rules, owner, is_needed))
        };
        let mut default = default;
        if !subject.canaries.is_empty() {
            let mains: Vec<_> = ingresses.iter().copied().chain(catch_all).collect();
            let mut all: Vec<&mut Route> = routes.iter_mut().chain(&mut default).collect();
            self.attach_canaries(host, &subject.canaries, &mains, &mut all);
        }
        let finished = |mut route: Route| {
            route.app_root.clone_from(&app_root);
            route.server.clone_from(&server);
            route.client_auth.clone_from(&client_auth);
            arc(route)
        };
        Compiled {
            host: Host::new(
                Arc::clone(subject.pattern),
                is_served,
                routes.into_iter().map(finished).collect(),
                default.map(finished),
                chosen.keys(),
            )
            .passing(passthrough),
            certificates: chosen.certificates,
            problems: self.problems,
        }
    }

    fn routes(&mut self, rules: &Rules<'_>) -> Vec<Route> {
        let mut winners: BTreeMap<(&str, PathType), &ObjectName> = BTreeMap::new();
        let mut routes = Vec::new();
        let has_patterns = rules.has_patterns();
        for ingress in rules.ingresses {
            let policy = self.policy(ingress);
            for rule in ingress.rules_for(rules.host) {
                for path in &rule.paths {
                    let policy = self.guarded(&path.path, &policy);
                    let field = path.field(rule);
                    let key = (&*path.path, path.path_type);
                    if let Some(winner) = winners.get(&key) {
                        self.conflict(ingress, field, winner, key);
                        continue;
                    }
                    let pattern = match has_patterns {
                        true => match self.pattern(ingress, path, &field) {
                            None => continue,
                            pattern => pattern,
                        },
                        false => None,
                    };
                    winners.insert(key, &ingress.name);
                    let backend = self.backend(ingress, &path.backend, &field);
                    routes.push(Route {
                        ingress: ingress.name.clone(),
                        field: self.names.get(&field),
                        host: Arc::clone(rules.host),
                        path: path.path.clone(),
                        path_type: path.path_type,
                        pattern,
                        backend,
                        canary: None,
                        https_redirect: self.redirect(ingress, &path.path, rules.has_tls),
                        app_root: ingress.annotations.app_root.clone(),
                        client_auth: None,
                        moved: None,
                        server: None,
                        errors: self.errors(&ingress.name, &policy),
                        policy,
                        stages: Stages::default(),
                        tally: Tally::default(),
                    });
                }
            }
        }
        routes
    }

    /// What nginx does for a path that ends in a slash: the path without it is sent there, if nothing else
    /// has it.
    fn slashes(&mut self, routes: &mut Vec<Route>) {
        let mut added: Vec<Route> = Vec::new();
        for route in routes.iter().filter(|route| route.pattern.is_none()) {
            let bare = route.path.strip_suffix('/').filter(|bare| !bare.is_empty());
            let Some(bare) = bare else {
                continue;
            };
            if routes
                .iter()
                .chain(&added)
                .any(|route| &*route.path == bare)
            {
                continue;
            }
            let origin = (&route.ingress, &*route.field);
            let backend = Arc::clone(self.not_found);
            let mut extra =
                self.fallback(&route.host, origin, backend, (None, Some(&route.policy)));
            extra.path = bare.into();
            extra.path_type = PathType::Exact;
            extra.moved = Some(Moved::Slash);
            added.push(extra);
        }
        routes.extend(added);
    }

    /// The path as a regular expression: its own Ingress may not have asked for one, and it may be none.
    fn pattern(
        &mut self,
        ingress: &Accepted,
        path: &AcceptedPath,
        field: &str,
    ) -> Option<Arc<Pattern>> {
        if let Some(pattern) = &path.pattern {
            return Some(Arc::clone(pattern));
        }
        match Pattern::new(&path.path) {
            Ok(pattern) => Some(Arc::new(pattern)),
            Err(why) => {
                let message = format!(
                    "another Ingress makes the paths of this host regular expressions, which {:?} is not: {why}; it is left out",
                    path.path
                );
                self.warn(
                    &ingress.name,
                    format!("{field}.path"),
                    "InvalidPath",
                    message,
                );
                None
            }
        }
    }

    fn certificates(&mut self, subject: &Subject<'_>) -> tls::Chosen {
        let mut chosen = tls::choose(self, subject.pattern, &subject.ingresses);
        if let Some(mate) = subject.mate.as_ref().filter(|_| !chosen.has_entry) {
            chosen = tls::choose(self, mate.main, &mate.ingresses);
            let good = |certificate: &Arc<Certificate>| certificate.covers(subject.pattern);
            chosen.certificates.retain(good);
        }
        chosen
    }

    /// The host with `www.`, or the one without: everything on it is sent to the other.
    fn moved(mut self, subject: &Subject<'_>, main: &Arc<str>, chosen: tls::Chosen) -> Compiled {
        let status = self.settings.https_redirect_code;
        let backend = Arc::clone(self.not_found);
        let nothing = Arc::new(Policy::default());
        let owner = subject.ingresses.first();
        let nobody = ObjectName::new("", "");
        let owner = owner.map_or(&nobody, |owner| &owner.name);
        let mut route = self.fallback(main, (owner, ""), backend, (None, Some(&nothing)));
        route.moved = Some(Moved::Host(Arc::clone(main), status));
        let keys = chosen.keys();
        let pattern = Arc::clone(subject.pattern);
        Compiled {
            host: Host::new(pattern, true, Vec::new(), Some(arc(route)), keys),
            certificates: chosen.certificates,
            problems: self.problems,
        }
    }

    /// What answers the paths of a host that no rule knows: the default backend of the oldest of its
    /// Ingresses that has one, else the controller's. Where plain HTTP has to be redirected, so are these.
    fn default(
        &mut self,
        rules: &Rules<'_>,
        owner: &Arc<Accepted>,
        is_needed: bool,
    ) -> Option<Route> {
        let (host, has_tls) = (rules.host, rules.has_tls);
        let mut own = rules.ingresses.iter().filter_map(|ingress| {
            let backend = ingress.default_backend.as_ref()?;
            serves(ingress, host).then_some((*ingress, backend))
        });
        if let Some((ingress, backend)) = own.next() {
            let backend = self.backend(ingress, backend, DEFAULT_BACKEND);
            let redirect = self.redirect(ingress, "/", has_tls);
            let policy = self.policy(ingress);
            let origin = (&ingress.name, DEFAULT_BACKEND);
            return Some(self.fallback(host, origin, backend, (redirect, Some(&policy))));
        }
        let redirect = self.redirect(owner, "/", has_tls);
        let backend = self.controllers_backend();
        if backend.is_none() && redirect.is_none() && !is_needed {
            return None;
        }
        let backend = backend.unwrap_or_else(|| Arc::clone(self.not_found));
        let policy = self.policy(owner);
        let found = (redirect, Some(&policy));
        Some(self.fallback(host, (&owner.name, ""), backend, found))
    }

    /// What answers where no host matches.
    fn catch_all(&mut self, pattern: &Arc<str>, ingress: Option<&Arc<Accepted>>) -> Option<Route> {
        let wanted = ingress.and_then(|own| Some((own, own.default_backend.as_ref()?)));
        if let Some((ingress, backend)) = wanted {
            let backend = self.backend(ingress, backend, DEFAULT_BACKEND);
            let redirect = self.redirect(ingress, "/", false);
            let policy = self.policy(ingress);
            let origin = (&ingress.name, DEFAULT_BACKEND);
            let found = (redirect, Some(&policy));
            return Some(self.fallback(pattern, origin, backend, found));
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
    ) -> Route {
        Route {
            ingress: ingress.clone(),
            field: self.names.get(field),
            host: Arc::clone(pattern),
            path: "/".into(),
            path_type: PathType::Prefix,
            pattern: None,
            backend,
            canary: None,
            https_redirect,
            app_root: None,
            client_auth: None,
            moved: None,
            server: None,
            errors: policy.and_then(|policy| self.errors(ingress, policy)),
            policy: match policy {
                Some(policy) => self.guarded("/", policy),
                // What no Ingress asks for is guarded by none.
                None => open(&self.settings.policy),
            },
            stages: Stages::default(),
            tally: Tally::default(),
        }
    }

    /// The policy of a path: some are open to everybody.
    fn guarded(&self, path: &str, policy: &Arc<Policy>) -> Arc<Policy> {
        let mut unguarded = self.settings.unguarded.iter();
        match unguarded.any(|start| path.starts_with(&**start)) {
            true => open(policy),
            false => Arc::clone(policy),
        }
    }

    /// What the filters are to do for an Ingress, with what its annotations name.
    fn policy(&mut self, ingress: &Accepted) -> Arc<Policy> {
        let annotations = &ingress.annotations;
        let own = &annotations.policy;
        let tls = self.tls.fault(&ingress.name).map(str::to_owned);
        let names_none = annotations.custom_headers.is_none()
            && annotations.basic.is_none()
            && annotations.auth_fields.is_none();
        if names_none && tls.is_none() {
            return Arc::clone(own);
        }
        let mut policy = Policy::clone(own);
        if let Some(what) = tls {
            policy.denied = self.denied(ingress, "proxy-ssl-secret", &what);
        }
        if let Some(config) = &annotations.custom_headers {
            match self.custom_headers(config) {
                Ok(fields) => policy.custom_headers = Some(fields),
                Err(what) => policy.denied = self.denied(ingress, "custom-headers", &what),
            }
        }
        if let Some(wish) = &annotations.basic {
            match self.passwords(wish) {
                Ok(passwords) => {
                    let challenge = wish.challenge.clone();
                    policy.basic = Some(Arc::new(Basic {
                        challenge,
                        passwords,
                    }));
                }
                Err(what) => policy.denied = self.denied(ingress, "auth-secret", &what),
            }
        }
        if let (Some(config), Some(external)) = (&annotations.auth_fields, &policy.external) {
            match self.auth_fields(config) {
                Ok(mut fields) => {
                    fields.extend(external.fields.iter().cloned());
                    policy.external = Some(Arc::new(External {
                        fields: fields.into(),
                        ..External::clone(external)
                    }));
                }
                Err(what) => {
                    policy.denied = self.denied(ingress, "auth-proxy-set-headers", &what);
                }
            }
        }
        Arc::new(policy)
    }

    /// Says why nobody is let in.
    fn denied(&mut self, ingress: &Accepted, annotation: &str, what: &str) -> bool {
        let field = format!("metadata.annotations[{annotation}]");
        let message = format!("{what}; these requests are answered with 503");
        self.warn(&ingress.name, field, "InvalidAnnotation", message);
        true
    }

    /// Those of a Secret; what is wrong with its lines is said of the Secret.
    fn passwords(&mut self, wish: &BasicWish) -> Result<Arc<Passwords>, String> {
        let secret = &wish.secret;
        let passwords = match self.secrets.passwords(secret, wish.wanted) {
            Lookup::Good(passwords) => passwords,
            Lookup::Absent(_) => return Err(format!("there is no Secret {secret} with passwords")),
            Lookup::Broken(error, _) => {
                return Err(format!("{} of Secret {secret} {error}", error.field()));
            }
        };
        self.problems
            .extend(passwords.faults().map(|(place, why)| Problem {
                object: ObjectRef::new(Kind::Secret, secret.clone()),
                field: "data".to_owned(),
                reason: "InvalidPassword",
                message: format!("{place} {why}; it lets nobody in"),
                severity: Severity::Warning,
            }));
        Ok(Arc::clone(passwords))
    }

    /// The fields that a ConfigMap has for the server that is asked who may come in.
    fn auth_fields(&self, config: &ObjectName) -> Result<Vec<(HeaderName, Expression)>, String> {
        let data = self.configs.get(config);
        let data = data.ok_or_else(|| format!("there is no ConfigMap {config}"))?;
        let fields = data.iter().map(|(name, text)| {
            let field = name.parse::<HeaderName>();
            let field = field.map_err(|_| format!("{name:?} is no field name"))?;
            let text = text.trim();
            match external::is_ours(&field) {
                true => Err(format!("{name} is for the proxy to set")),
                false if HeaderValue::from_str(text).is_err() => {
                    Err(format!("{text:?} is no field value"))
                }
                false => Ok((field, external::expression(text)?)),
            }
        });
        let fields: Result<_, String> = fields.collect();
        fields.map_err(|why| format!("ConfigMap {config}: {why}"))
    }

    /// The fields that a ConfigMap holds, all of which have to be allowed.
    fn custom_headers(&self, config: &ObjectName) -> Result<FieldList, String> {
        let data = self.configs.get(config);
        let data = data.ok_or_else(|| format!("there is no ConfigMap {config}"))?;
        let fields = configmap::list(data).map_err(|why| format!("ConfigMap {config}: {why}"))?;
        let allowed = &self.settings.allowed_headers;
        match fields.iter().find(|(name, _)| !allowed.contains(name)) {
            Some((name, _)) => Err(format!("{name} is not in global-allowed-response-headers")),
            None => Ok(fields),
        }
    }

    /// What is done for the host: what the oldest of its Ingresses that has a `server-snippet` asks for, and then what the
    /// ConfigMap does.
    fn server_snippet(&mut self, rules: &Rules<'_>) -> Option<Arc<Snippet>> {
        let own = |ingress: &&Arc<Accepted>| serves(ingress, rules.host);
        let ingresses = rules.ingresses.iter().copied().filter(own);
        let mut asking = ingresses.filter_map(|ingress| {
            let snippet = ingress.annotations.server_snippet.as_ref()?;
            Some((ingress, snippet))
        });
        let winner = asking.next();
        if let Some((first, _)) = winner {
            for (later, _) in asking {
                let field = "metadata.annotations[server-snippet]".to_owned();
                let message = format!("host {} has the one of Ingress {}", rules.host, first.name);
                self.warn(&later.name, field, "Conflict", message);
            }
        }
        let all = self.settings.server_snippet.as_ref();
        let server = snippet::joined(winner.map(|(_, own)| Snippet::clone(own)), all);
        match &self.settings.http_snippet {
            None => server,
            Some(http) => Some(Arc::new(server.unwrap_or_default().within(http))),
        }
    }

    /// What answers in place of a route's endpoints.
    fn errors(&mut self, ingress: &ObjectName, policy: &Policy) -> Option<Arc<Backend>> {
        let errors = policy.upstream.errors.as_deref()?;
        let Some(name) = &errors.service else {
            return self.controllers_backend();
        };
        let service = ObjectName {
            namespace: Arc::clone(&ingress.namespace),
            name: Arc::clone(name),
        };
        let wish = Wish {
            port: None,
            protocol: Some(BackendProtocol::Http),
            tls: None,
            manner: Manner {
                balance: self.settings.balance,
                ..Manner::default()
            },
        };
        let (backend, fault) = self.services.acquire(&service, wish);
        if let Some(fault) = fault {
            let (_, message) = explain_fault(fault, &service, &backend.port);
            let field = "metadata.annotations[default-backend]".to_owned();
            self.warn(ingress, field, "ServiceNotFound", message);
        }
        Some(backend)
    }

    fn controllers_backend(&mut self) -> Option<Arc<Backend>> {
        let wanted = self.settings.default_backend.as_ref()?;
        let wish = Wish {
            port: wanted.port.as_ref(),
            protocol: None,
            tls: None,
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
        self.spoken_to(ingress, ingress, backend, field)
    }

    /// What `ingress` names in `field`; what is spoken there is `main`'s to say.
    pub(super) fn spoken_to(
        &mut self,
        main: &Accepted,
        ingress: &Accepted,
        backend: &ServicePort,
        field: &str,
    ) -> Arc<Backend> {
        let service = ObjectName {
            namespace: Arc::clone(&ingress.name.namespace),
            name: Arc::clone(&backend.service),
        };
        let annotations = &ingress.annotations;
        let wish = Wish {
            port: Some(&backend.port),
            protocol: main.annotations.backend_protocol,
            tls: self.tls.terms(&main.name),
            manner: Manner {
                follows_scheme: main.annotations.follows_scheme,
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
            let instead = match ingress.is_canary() {
                true => "the canary gets no requests",
                false => "these requests are answered with 503",
            };
            let message = format!("{message}; {instead}");
            self.warn(&ingress.name, field, reason, message);
        }
        shared
    }

    /// ingress-nginx: `force-ssl-redirect`, or `ssl-redirect` where the host has a `tls` entry.
    /// Not where `path` is one that certificates are asked for by.
    fn redirect(&self, ingress: &Accepted, path: &str, has_tls: bool) -> Option<StatusCode> {
        let mut never = self.settings.no_https_redirect.iter();
        if never.any(|start| path.starts_with(&**start)) {
            return None;
        }
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

impl Rules<'_> {
    /// ingress-nginx: one path that is rewritten, or one Ingress with `use-regex`, is enough.
    fn has_patterns(&self) -> bool {
        let mut ingresses = self.ingresses.iter();
        ingresses.any(|ingress| {
            let mut rules = ingress.rules_for(self.host).iter();
            rules.any(|rule| {
                let mut paths = rule.paths.iter();
                paths.any(|path| ingress.annotations.wants_patterns(&path.path))
            })
        })
    }
}

/// Whether requests for `host` are answered by rules of this Ingress.
pub(super) fn serves(ingress: &Accepted, host: &str) -> bool {
    !ingress.rules_for(host).is_empty()
}

/// Whether no path of the host is left to a default backend.
fn has_root(routes: &[Route]) -> bool {
    let is_root = |route: &Route| {
        &*route.path == "/" && (route.path_type == PathType::Prefix || route.pattern.is_some())
    };
    routes.iter().any(is_root)
}

/// The host's `app-root`: the one of its longest path that has one, as in ingress-nginx.
fn app_root(routes: &mut [Route]) -> Option<Arc<str>> {
    let rooted = routes.iter().filter(|route| route.app_root.is_some());
    let first = rooted.min_by_key(|route| (Reverse(route.path.len()), &*route.path));
    first.and_then(|route| route.app_root.clone())
}

/// The same without anybody who would have to be asked.
fn open(policy: &Arc<Policy>) -> Arc<Policy> {
    if policy.basic.is_none() && policy.external.is_none() {
        return Arc::clone(policy);
    }
    Arc::new(Policy {
        basic: None,
        external: None,
        ..Policy::clone(policy)
    })
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

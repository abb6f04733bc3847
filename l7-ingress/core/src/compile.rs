//! Compiles the objects of a cluster into the routing table, one change at a time.
//!
//! ```text
//!  Change ─▶ apply: take in, mark the hosts it touches ─▶ compile: those hosts anew ─▶ Table
//!                        │                                     │ one path of the trie copied per host
//!                        └ endpoints only ─▶ Backend::publish  └ Problems, by what they came from
//! ```
//! The same objects give the same table and the same problems, in whatever order they came, but for
//! one thing: what is refused keeps its last good version.

mod accept;
mod backend_tls;
mod canary;
mod client_auth;
mod configs;
mod host;
mod ingresses;
mod inspect;
mod mates;
mod names;
mod passthrough;
mod secrets;
mod services;
mod serving;
mod streams;
mod tls;
mod users;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use model::{
    EndpointSlice, Kind, ObjectName, ObjectRef, PortRef, Problem, Protocol, Service, Severity,
};
use rustls::sign::CertifiedKey;

use self::backend_tls::HostTls;
use self::configs::Configs;
use self::host::{Compiled, Scope, Subject};
use self::ingresses::{CatchAllRank, Ingresses};
pub(crate) use self::names::Map;
use self::names::Names;
use self::secrets::{Lookup, Secrets};
pub use self::services::EndpointCounts;
use self::services::Services;
use self::users::{IngressId, Users};
use crate::certificate::{Certificate, CertificateIdentity};
use crate::class::{Classes, IngressClass};
use crate::configmap::{self, ConfigData};
use crate::secret::SecretData;
use crate::table::{Host, Hosts, Streams};
use crate::{Backend, BackendId, Ingress, Manner, Settings, Table};

/// One object as it is now; `None` when it is gone.
#[derive(Clone, Debug)]
pub enum Change {
    /// An Ingress.
    Ingress(ObjectName, Option<Ingress>),
    /// An IngressClass; its namespace is empty.
    IngressClass(ObjectName, Option<IngressClass>),
    /// A Service.
    Service(ObjectName, Option<Service>),
    /// An EndpointSlice.
    EndpointSlice(ObjectName, Option<EndpointSlice>),
    /// A Secret; `None` also when it holds nothing that an Ingress can want.
    Secret(ObjectName, Option<SecretData>),
    /// A ConfigMap; `None` also when it cannot hold settings.
    ConfigMap(ObjectName, Option<ConfigData>),
    /// An object that could not even be read: its last good version stays.
    Malformed(ObjectRef, Problem),
}

/// What a compilation changed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The table to publish; `None` when only endpoints changed, which are published already.
    pub table: Option<Arc<Table>>,
    /// Whether [`Compiler::problems`] says something else than before.
    pub problems_changed: bool,
    /// Whether [`Compiler::externals`] may hold something else than before.
    pub externals_changed: bool,
    /// Whether [`Compiler::certificates`] may hold something else than before.
    pub certificates_changed: bool,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateInfo {
    /// The host pattern that it is served for; empty for the default certificate.
    pub host: Arc<str>,
    /// The Secret that it is in.
    pub secret: ObjectName,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
    /// What names it, and who made it.
    pub identity: Arc<CertificateIdentity>,
}

/// What problems came from, so that they go when it changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Ingress(ObjectName),
    Host(Arc<str>),
    Malformed(ObjectRef),
    ConfigMap,
    Streams(Protocol),
    DefaultCertificate,
    CatchAll,
}

/// Keeps the objects of a cluster and the table that they ask for.
#[derive(Debug)]
pub struct Compiler {
    /// As the command line has them.
    base: Settings,
    /// The same with what the ConfigMap says.
    settings: Settings,
    built_in_certificate: Arc<CertifiedKey>,
    default_certificate: Arc<CertifiedKey>,
    not_found: Arc<Backend>,
    names: Names,
    classes: Classes,
    ingresses: Ingresses,
    services: Services,
    secrets: Secrets,
    configs: Configs,
    streams: Arc<Streams>,
    /// The Ingresses that speak of each host pattern.
    hosts: Map<Arc<str>, Users>,
    catch_alls: BTreeMap<CatchAllRank, IngressId>,
    table: Hosts,
    certified: BTreeMap<Arc<str>, Vec<Arc<Certificate>>>,
    problems: BTreeMap<Source, Vec<Problem>>,
    dirty: BTreeSet<Arc<str>>,
    dirty_default: bool,
    /// Whether the first table is still to come: until then the ConfigMap may not have been seen, and no Ingress is
    /// judged by what holds without it.
    awaits_settings: bool,
    /// Whether the ConfigMap has to be read again.
    dirty_settings: bool,
    dirty_streams: bool,
    problems_changed: bool,
}

impl Compiler {
    /// A compiler that holds no objects. `default_certificate` is served where no other is.
    #[must_use]
    pub fn new(settings: Settings, default_certificate: Arc<CertifiedKey>) -> Self {
        let mut secrets = Secrets::default();
        if let Some(secret) = &settings.default_certificate {
            secrets.set_default(secret);
        }
        let not_found = Backend::new(
            BackendId(u64::MAX),
            (ObjectName::new("", ""), PortRef::Number(0)),
            (Manner::default(), None),
            host::not_found(),
        );
        let mut names = Names::default();
        Self {
            dirty: BTreeSet::from([names.get("")]),
            dirty_default: true,
            awaits_settings: settings.configmap.is_some(),
            dirty_settings: settings.configmap.is_some(),
            built_in_certificate: Arc::clone(&default_certificate),
            default_certificate,
            not_found: Arc::new(not_found),
            names,
            table: Hosts::new(settings.hash_seed),
            base: settings.clone(),
            settings,
            configs: Configs::default(),
            streams: Arc::default(),
            dirty_streams: true,
            secrets,
            classes: Classes::default(),
            ingresses: Ingresses::default(),
            services: Services::default(),
            hosts: Map::default(),
            catch_alls: BTreeMap::new(),
            certified: BTreeMap::new(),
            problems: BTreeMap::new(),
            problems_changed: false,
        }
    }

    /// Takes one object in. Nothing is served differently before [`Self::compile`].
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Malformed(object, problem) => self.malformed(object, problem),
            Change::Ingress(name, ingress) => {
                self.readable(Kind::Ingress, &name);
                self.ingress(&name, ingress);
            }
            Change::IngressClass(name, class) => {
                self.readable(Kind::IngressClass, &name);
                if self.classes.set(&name.name, class) {
                    self.reclassify();
                }
            }
            Change::Service(name, service) => {
                self.readable(Kind::Service, &name);
                let name = self.names.object(&name);
                if self.services.set(&name, service) {
                    for id in self.services.users(&name).collect::<Vec<_>>() {
                        self.mark(id);
                    }
                    self.mark_default_backend(&name);
                    self.dirty_streams |= self.streams_to(&name);
                }
            }
            Change::EndpointSlice(name, slice) => {
                self.readable(Kind::EndpointSlice, &name);
                self.services.set_slice(&name, slice);
            }
            Change::ConfigMap(name, data) => {
                self.readable(Kind::ConfigMap, &name);
                if self.configs.set(&name, data) {
                    for id in self.configs.users(&name).collect::<Vec<_>>() {
                        self.mark(id);
                    }
                    self.dirty_settings |= self.reads(&name);
                    self.dirty_streams |= self.streams_of(&name);
                }
            }
            Change::Secret(name, data) => {
                self.readable(Kind::Secret, &name);
                if self.secrets.set(&name, data) {
                    for id in self.secrets.users(&name).collect::<Vec<_>>() {
                        self.mark(id);
                    }
                    self.dirty_default |= self.settings.default_certificate.as_ref() == Some(&name);
                }
            }
        }
    }

    /// Brings the table up to date with all that was applied, and publishes the endpoints.
    pub fn compile(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let is_first = std::mem::take(&mut self.awaits_settings);
        if std::mem::take(&mut self.dirty_settings) && self.configure() {
            outcome.table = Some(Arc::default());
        }
        if is_first {
            self.reread();
        }
        if std::mem::take(&mut self.dirty_default) {
            self.choose_default_certificate();
            outcome.certificates_changed = true;
            outcome.table = Some(Arc::default());
        }
        if std::mem::take(&mut self.dirty_streams) {
            self.compile_streams();
            outcome.table = Some(Arc::default());
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        let mates: Vec<_> = dirty.iter().flat_map(|host| self.mates_of(host)).collect();
        dirty.extend(mates);
        for pattern in &dirty {
            outcome.certificates_changed |= self.compile_host(pattern);
        }
        outcome.externals_changed = self.services.publish();
        if !dirty.is_empty() || outcome.table.is_some() {
            let default = Arc::clone(&self.default_certificate);
            let others = (Arc::clone(&self.settings.global), Arc::clone(&self.streams));
            let table = Table::new(self.table.clone(), default, others);
            outcome.table = Some(Arc::new(table));
        }
        outcome.problems_changed = std::mem::take(&mut self.problems_changed);
        self.names.sweep();
        outcome
    }

    /// Everything that could not be honoured, sorted, and the certificates that have expired by `now`.
    pub fn problems(&self, now: SystemTime) -> impl Iterator<Item = Problem> + use<> {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
        let used = self.secrets.certificates();
        let expired = used.filter(|certificate| certificate.not_after < now);
        let expired = expired.map(|certificate| Problem {
            object: ObjectRef::new(Kind::Secret, certificate.secret.clone()),
            field: "data[tls.crt]".to_owned(),
            reason: "CertificateExpired",
            message: "has expired; it goes on being used".to_owned(),
            severity: Severity::Warning,
        });
        let all: BTreeSet<Problem> = self
            .problems
            .values()
            .flatten()
            .cloned()
            .chain(expired)
            .collect();
        all.into_iter()
    }

    /// The keys of the ConfigMap that are set and have no effect, and why: its name, the key, the reason.
    pub fn useless_keys(&self) -> impl Iterator<Item = (&ObjectName, &'static str, &'static str)> {
        let own = self.base.configmap.as_ref().into_iter();
        let found = own.filter_map(|name| Some((name, self.configs.get(name)?)));
        found.flat_map(|(name, data)| {
            configmap::useless_keys(data).map(move |(key, why)| (name, key, why))
        })
    }

    /// The Ingresses that are served: those whose status is ours to write.
    pub fn owned_ingresses(&self) -> impl Iterator<Item = &ObjectName> {
        let served = self
            .ingresses
            .iter()
            .filter(|entry| entry.serving.is_some());
        served.map(|entry| &entry.name)
    }

    /// The backends whose addresses have to be found by DNS.
    pub fn externals(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.services.externals()
    }

    /// The certificates in use, by host pattern.
    pub fn certificates(&self) -> impl Iterator<Item = CertificateInfo> {
        self.certified.iter().flat_map(|(host, certificates)| {
            certificates.iter().map(|certificate| CertificateInfo {
                host: Arc::clone(host),
                secret: certificate.secret.clone(),
                not_after: certificate.not_after,
                identity: Arc::clone(&certificate.identity),
            })
        })
    }

    fn malformed(&mut self, object: ObjectRef, problem: Problem) {
        self.note(Source::Malformed(object), vec![problem]);
    }

    /// An object that can be read, or is gone, is malformed no more.
    fn readable(&mut self, kind: Kind, name: &ObjectName) {
        if !self.problems.is_empty() {
            let object = ObjectRef::new(kind, name.clone());
            self.note(Source::Malformed(object), Vec::new());
        }
    }

    fn note(&mut self, source: Source, problems: Vec<Problem>) {
        let changed = if problems.is_empty() {
            self.problems.remove(&source).is_some()
        } else {
            self.problems.get(&source) != Some(&problems) && {
                self.problems.insert(source, problems);
                true
            }
        };
        self.problems_changed |= changed;
    }

    /// Every host falls back to the controller's default backend.
    fn mark_default_backend(&mut self, service: &ObjectName) {
        let wanted = self.settings.default_backend.as_ref();
        if wanted.is_some_and(|wanted| wanted.service == *service) {
            self.dirty.extend(self.hosts.keys().cloned());
            self.dirty.insert(self.names.get(""));
        }
    }

    /// Whether the settings depend on this ConfigMap.
    fn reads(&self, config: &ObjectName) -> bool {
        let Some(own) = &self.base.configmap else {
            return false;
        };
        let named = |data| configmap::refers(data, config);
        own == config || self.configs.get(own).is_some_and(named)
    }

    /// Reads the ConfigMap; returns whether anything is different from before.
    fn configure(&mut self) -> bool {
        let Some(name) = self.base.configmap.clone() else {
            return false;
        };
        let (settings, problems) = match self.configs.get(&name) {
            Some(data) => configmap::apply(&self.base, &name, data, &|name| self.configs.get(name)),
            None => (self.base.clone(), vec![configmap::absent(&name)]),
        };
        self.note(Source::ConfigMap, problems);
        if settings == self.settings {
            return false;
        }
        let global = Arc::clone(&settings.global);
        let last = std::mem::replace(&mut self.settings, settings);
        let same_routes = Settings { global, ..last } == self.settings;
        if !same_routes {
            self.reread();
            self.dirty.extend(self.hosts.keys().cloned());
            self.dirty.insert(self.names.get(""));
        }
        true
    }

    /// Compiles one host pattern; returns whether its certificates may have changed.
    fn compile_host(&mut self, pattern: &Arc<str>) -> bool {
        let ingresses = mates::of(&self.hosts, &self.ingresses, pattern);
        let catch_all = self.catch_alls.values().next();
        let catch_all = catch_all.and_then(|id| self.ingresses.serving(*id));
        let mate = mates::mate(&self.hosts, &self.ingresses, (pattern, &ingresses));
        let ruling = mate.as_ref().map_or(pattern, |mate| mate.main);
        let subject = Subject {
            canaries: canary::of(&self.hosts, &self.ingresses, ruling),
            mate,
            pattern,
            ingresses,
        };
        let scope = Scope {
            settings: &self.settings,
            not_found: &self.not_found,
            names: &mut self.names,
            services: &mut self.services,
            secrets: &self.secrets,
            configs: &self.configs,
            tls: HostTls::default(),
            problems: Vec::new(),
        };
        let is_known = !subject.ingresses.is_empty() || pattern.is_empty();
        let (host, certificates, problems) = match is_known {
            true => {
                let compiled = scope.host(&subject, catch_all);
                let Compiled { host, .. } = compiled;
                (Some(host), compiled.certificates, compiled.problems)
            }
            false => (None, Vec::new(), scope.orphans(&subject)),
        };
        let old = self.table.set(pattern, host);
        for route in old.iter().flat_map(|old| Host::routes(old)) {
            for backend in route.backends() {
                self.services.release(backend);
            }
        }
        if pattern.is_empty() {
            self.note_catch_alls();
        }
        self.note(Source::Host(Arc::clone(pattern)), problems);
        let certified = !certificates.is_empty();
        let were = match certified {
            true => self.certified.insert(Arc::clone(pattern), certificates),
            false => self.certified.remove(pattern),
        };
        certified || were.is_some()
    }

    /// One Ingress answers what no host matches; the others that are there for nothing else lose.
    fn note_catch_alls(&mut self) {
        let mut ranks = self.catch_alls.keys();
        let Some(winner) = ranks.next() else {
            self.note(Source::CatchAll, Vec::new());
            return;
        };
        let losers = ranks.take_while(|rank| !rank.has_rules);
        let problems = losers
            .map(|loser| Problem {
                object: ObjectRef::new(Kind::Ingress, loser.name.clone()),
                field: "spec.defaultBackend".to_owned(),
                reason: "Conflict",
                message: format!("Ingress {} answers what no host matches", winner.name),
                severity: Severity::Warning,
            })
            .collect();
        self.note(Source::CatchAll, problems);
    }

    /// The certificate of the configured Secret, else the built-in one.
    fn choose_default_certificate(&mut self) {
        let Some(name) = self.settings.default_certificate.clone() else {
            return;
        };
        let (certificate, what) = match self.secrets.certificate(&name) {
            Lookup::Good(good) => (Some(good), None),
            Lookup::Absent(last) => (last, Some("does not exist".to_owned())),
            Lookup::Broken(error, last) => (last, Some(format!("{} {error}", error.field()))),
        };
        let instead = match certificate {
            Some(_) => "its last good version goes on being served",
            None => "a self-signed certificate is served",
        };
        let problems = what.map(|what| Problem {
            object: ObjectRef::new(Kind::Secret, name),
            field: "data".to_owned(),
            reason: "InvalidDefaultCertificate",
            message: format!("{what}; {instead}"),
            severity: Severity::Error,
        });
        let certificate = certificate.map(|certificate| Arc::clone(&certificate.key));
        let next = certificate.unwrap_or_else(|| Arc::clone(&self.built_in_certificate));
        self.default_certificate = next;
        self.note(Source::DefaultCertificate, problems.into_iter().collect());
    }
}

/// Builds the table that these objects ask for.
///
/// Never fails: what cannot be honoured is left out and reported.
pub fn compile(
    objects: impl IntoIterator<Item = Change>,
    settings: Settings,
    default_certificate: Arc<CertifiedKey>,
    now: SystemTime,
) -> (Arc<Table>, Vec<Problem>) {
    let mut compiler = Compiler::new(settings, default_certificate);
    for object in objects {
        compiler.apply(object);
    }
    let table = compiler.compile().table.unwrap_or_default();
    (table, compiler.problems(now).collect())
}

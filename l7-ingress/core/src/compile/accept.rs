//! From an Ingress as written to one that can be served: everything checked, nothing looked up.
//!
//! What the API server would not have admitted makes the whole Ingress refused, so that its last good version
//! goes on serving; what is merely not supported is left out.

use std::sync::Arc;

use model::{Kind, ObjectName, ObjectRef, PortRef, Problem, Severity};

use super::mates;
use super::names::Names;
use crate::annotations::{Annotations, Effect};
use crate::class::ClassRef;
use crate::filter::Pattern;
use crate::ingress::{Backend, Ingress, Path, Service};
use crate::secret::Use;
use crate::{PathType, Settings};

/// An Ingress that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) name: ObjectName,
    pub(crate) created: Option<i64>,
    pub(crate) class: ClassRef,
    pub(crate) annotations: Annotations,
    /// The same as written, for when what they do not say changes.
    pub(crate) written: Box<Written>,
    pub(crate) default_backend: Option<ServicePort>,
    /// Sorted by host, then place.
    pub(crate) rules: Box<[AcceptedRule]>,
    pub(crate) tls: Box<[AcceptedTls]>,
    /// Host patterns beside those of its rules that lead to them: aliases, those with or without `www.`, and the
    /// empty one of a canary's default backend.
    pub(crate) mates: Box<[Arc<str>]>,
    /// What was left out of it.
    pub(crate) notes: Box<[Problem]>,
}

/// Annotations as written.
type Written = [(Box<str>, Box<str>)];

/// One of its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AcceptedRule {
    /// Its place as written.
    pub(crate) index: u32,
    /// Canonical; empty without one.
    pub(crate) host: Arc<str>,
    pub(crate) paths: Box<[AcceptedPath]>,
}

/// One of a rule's paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AcceptedPath {
    /// Its place in the rule as written: unsupported ones are left out.
    pub(crate) index: u32,
    pub(crate) path_type: PathType,
    pub(crate) path: Box<str>,
    /// Where its own annotations make it a regular expression.
    pub(crate) pattern: Option<Arc<Pattern>>,
    pub(crate) backend: ServicePort,
}

impl AcceptedPath {
    /// Where it is written, as in `spec.rules[0].http.paths[1]`.
    pub(crate) fn field(&self, rule: &AcceptedRule) -> String {
        format!("spec.rules[{}].http.paths[{}]", rule.index, self.index)
    }
}

/// A port of a Service of the Ingress's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePort {
    pub(crate) service: Arc<str>,
    pub(crate) port: PortRef,
}

/// One of its `tls` entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AcceptedTls {
    /// Sorted.
    pub(crate) hosts: Box<[Arc<str>]>,
    /// `None` asks for the default certificate.
    pub(crate) secret: Option<Arc<str>>,
}

impl Accepted {
    /// Every host pattern whose routes or certificates this Ingress has a say in.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        let ruled = self.rules.iter().map(|rule| &rule.host);
        let certified = self.tls.iter().flat_map(|tls| &tls.hosts);
        ruled.chain(certified).chain(&self.mates)
    }

    /// Whether it has no routes of its own.
    pub(crate) fn is_canary(&self) -> bool {
        self.annotations.canary.is_some()
    }

    /// Every Service that it names.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        let paths = self.rules.iter().flat_map(|rule| &rule.paths);
        let backends = paths.map(|path| &path.backend);
        let errors = self.annotations.policy.upstream.errors.as_deref();
        backends
            .chain(&self.default_backend)
            .map(|backend| &backend.service)
            .chain(errors.and_then(|errors| errors.service.as_ref()))
    }

    /// Every ConfigMap that it names.
    pub(crate) fn configs(&self) -> impl Iterator<Item = &ObjectName> {
        let annotations = &self.annotations;
        let headers = annotations.custom_headers.iter();
        headers.chain(&annotations.auth_fields)
    }

    /// Every Secret that it names, and what for.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (ObjectName, Use)> {
        let served = self.tls.iter().filter_map(|tls| tls.secret.as_ref());
        let served = served.map(|name| ObjectName {
            namespace: Arc::clone(&self.name.namespace),
            name: Arc::clone(name),
        });
        let served = served.map(|name| (name, Use::Certificate));
        served.chain(self.annotations.secrets.iter().cloned())
    }

    /// Its rules for one host pattern, in the order of the object.
    pub(crate) fn rules_for(&self, host: &str) -> &[AcceptedRule] {
        let start = self.rules.partition_point(|rule| &*rule.host < host);
        let rest = self.rules.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|rule| &*rule.host == host).count();
        rest.get(..length).unwrap_or_default()
    }
}

/// Checks `ingress`.
///
/// # Errors
/// Everything that is wrong with a refused one; at least one of the problems is an `Error`.
pub(crate) fn accept(
    name: &ObjectName,
    ingress: &Ingress,
    settings: &Settings,
    names: &mut Names,
) -> Result<Accepted, Vec<Problem>> {
    let mut check = Check {
        ingress: name,
        names,
        problems: Vec::new(),
    };
    let annotations = check.annotations((&ingress.annotations, &ingress.class), settings);
    let default_backend = ingress
        .default_backend
        .as_ref()
        .and_then(|backend| check.backend(backend, || "spec.defaultBackend".to_owned()));
    let rules = check.rules(ingress, &annotations);
    let mates = check.mates(&rules, &annotations, default_backend.is_some());
    let mut tls = check.tls(ingress);
    if annotations.canary.is_some() {
        tls = Box::default();
    }
    if ingress.default_backend.is_none() && ingress.rules.is_empty() {
        let field = "spec".to_owned();
        let what = "has neither rules nor a default backend".to_owned();
        check.error(field, "InvalidSpec", what);
    }
    let problems = check.problems;
    let is_error = |problem: &Problem| problem.severity == Severity::Error;
    if problems.iter().any(is_error) {
        return Err(problems);
    }
    Ok(Accepted {
        name: name.clone(),
        created: ingress.created,
        class: ingress.class.clone(),
        annotations,
        written: ingress.annotations.clone(),
        default_backend,
        rules,
        tls,
        mates,
        notes: problems.into(),
    })
}

/// Reads the annotations of an Ingress again: `settings` are others than before.
///
/// # Errors
/// Everything that is wrong with a refused one.
pub(crate) fn reread(
    old: &Accepted,
    settings: &Settings,
    names: &mut Names,
) -> Result<Accepted, Vec<Problem>> {
    let mut check = Check {
        ingress: &old.name,
        names,
        problems: Vec::new(),
    };
    let annotations = check.annotations((&old.written, &old.class), settings);
    let mut rules = old.rules.clone();
    for rule in &mut rules {
        let index = rule.index;
        for path in &mut rule.paths {
            let field = || format!("spec.rules[{index}].http.paths[{}].path", path.index);
            path.pattern = check.pattern(&path.path, &annotations, field);
        }
    }
    let mates = check.mates(&rules, &annotations, old.default_backend.is_some());
    let is_kept = |note: &&Problem| !note.field.starts_with(ANNOTATIONS);
    let mut problems = check.problems;
    problems.extend(old.notes.iter().filter(is_kept).cloned());
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(problems);
    }
    Ok(Accepted {
        annotations,
        rules,
        mates,
        notes: problems.into(),
        ..old.clone()
    })
}

const ANNOTATIONS: &str = "metadata.annotations";

struct Check<'a> {
    ingress: &'a ObjectName,
    names: &'a mut Names,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn annotations(
        &mut self,
        (written, class): (&Written, &ClassRef),
        settings: &Settings,
    ) -> Annotations {
        let (annotations, faults) = Annotations::read(written, settings, self.ingress);
        for fault in faults {
            let field = format!("{ANNOTATIONS}[{}]", fault.key);
            let severity = match fault.effect {
                Effect::Refuse => Severity::Error,
                Effect::Deny | Effect::Skip => Severity::Warning,
            };
            self.report(field, fault.reason, fault.message, severity);
        }
        if class.name.is_some() && class.annotation.is_some() {
            let field = format!("{ANNOTATIONS}[{}]", crate::class::CLASS_ANNOTATION);
            let what = "spec.ingressClassName is set too and decides".to_owned();
            self.warning(field, "IgnoredAnnotation", what);
        }
        annotations
    }

    fn mates(
        &mut self,
        rules: &[AcceptedRule],
        annotations: &Annotations,
        has_default: bool,
    ) -> Box<[Arc<str>]> {
        if annotations.canary.is_some() {
            return has_default
                .then(|| self.names.get(""))
                .into_iter()
                .collect();
        }
        let www = rules.iter().filter(|_| annotations.from_to_www);
        let www = www.filter_map(|rule| mates::other_form(&rule.host));
        let aliases = annotations.aliases.iter().map(|alias| alias.to_string());
        let mut mates: Vec<_> = www
            .chain(aliases)
            .map(|name| self.names.get(&name))
            .collect();
        mates.sort_unstable();
        mates.dedup();
        mates.into()
    }

    fn rules(&mut self, ingress: &Ingress, annotations: &Annotations) -> Box<[AcceptedRule]> {
        let mut rules: Vec<AcceptedRule> = ingress
            .rules
            .iter()
            .zip(0..)
            .map(|(rule, index)| {
                let host = match rule.host.is_empty() {
                    true => self.names.get(""),
                    false => self.host(&rule.host, || format!("spec.rules[{index}].host")),
                };
                let paths = rule.paths.as_deref().unwrap_or_default();
                if rule.paths.is_some() && paths.is_empty() {
                    let field = format!("spec.rules[{index}].http.paths");
                    self.error(field, "InvalidPath", "holds no path".to_owned());
                }
                let paths = paths
                    .iter()
                    .zip(0..)
                    .filter_map(|(path, place)| self.path(path, (index, place), annotations))
                    .collect();
                AcceptedRule { index, host, paths }
            })
            .collect();
        rules.sort_by(|a, b| a.host.cmp(&b.host));
        rules.into()
    }

    fn path(
        &mut self,
        path: &Path,
        (rule, index): (u32, u32),
        annotations: &Annotations,
    ) -> Option<AcceptedPath> {
        let field = || format!("spec.rules[{rule}].http.paths[{index}]");
        let path_type = match &*path.path_type {
            "Exact" => PathType::Exact,
            "Prefix" | "ImplementationSpecific" => PathType::Prefix,
            "" => {
                let what = "is required: Exact, Prefix or ImplementationSpecific".to_owned();
                self.error(field() + ".pathType", "InvalidPathType", what);
                PathType::Prefix
            }
            other => {
                let what = format!("{other:?} is not Exact, Prefix or ImplementationSpecific");
                self.error(field() + ".pathType", "InvalidPathType", what);
                PathType::Prefix
            }
        };
        let free = &*path.path_type == "ImplementationSpecific";
        if let Some(what) = path_fault(&path.path, free) {
            let what = format!("{:?} {what}", path.path);
            self.error(field() + ".path", "InvalidPath", what);
        }
        let backend = self.backend(&path.backend, || field() + ".backend")?;
        let path: Box<str> = match &*path.path {
            "" => "/".into(),
            path => path.into(),
        };
        let pattern = self.pattern(&path, annotations, || field() + ".path");
        Some(AcceptedPath {
            index,
            path_type,
            path,
            pattern,
            backend,
        })
    }

    fn pattern(
        &mut self,
        path: &str,
        annotations: &Annotations,
        field: impl Fn() -> String,
    ) -> Option<Arc<Pattern>> {
        let pattern = annotations.wants_patterns(path).then(|| Pattern::new(path));
        match pattern.transpose() {
            Ok(pattern) => pattern.map(Arc::new),
            Err(why) => {
                let what = format!("{path:?} cannot be used as a regular expression: {why}");
                self.error(field(), "InvalidPath", what);
                None
            }
        }
    }

    fn backend(&mut self, backend: &Backend, field: impl Fn() -> String) -> Option<ServicePort> {
        match (&backend.service, &backend.resource) {
            (Some(service), None) => self.service(service, &|| field() + ".service"),
            (None, Some(resource)) => {
                let what = format!(
                    "{resource}: only Services are served; requests go to what would answer without this field"
                );
                self.warning(field() + ".resource", "UnsupportedBackend", what);
                None
            }
            (Some(_), Some(_)) => {
                let what = "names both a service and a resource".to_owned();
                self.error(field(), "InvalidBackend", what);
                None
            }
            (None, None) => {
                let what = "names neither a service nor a resource".to_owned();
                self.error(field(), "InvalidBackend", what);
                None
            }
        }
    }

    fn service(&mut self, service: &Service, field: &dyn Fn() -> String) -> Option<ServicePort> {
        if !is_label(&service.name) || service.name.len() > MAX_SERVICE_NAME {
            let what = format!("{:?} is no name of a Service", service.name);
            self.error(field() + ".name", "InvalidBackend", what);
        }
        let port = match (&service.port_name, service.port_number) {
            (Some(_), Some(_)) => {
                let what = "has both a name and a number".to_owned();
                self.error(field() + ".port", "InvalidPort", what);
                return None;
            }
            (None, None) => {
                let what = "has neither a name nor a number".to_owned();
                self.error(field() + ".port", "InvalidPort", what);
                return None;
            }
            (Some(name), None) => PortRef::Name(name.clone()),
            (None, Some(number)) => match u16::try_from(number) {
                Ok(number) => PortRef::Number(number),
                Err(_) => {
                    let what = format!("{number} is not between 1 and 65535");
                    self.error(field() + ".port.number", "InvalidPort", what);
                    return None;
                }
            },
        };
        let service = self.names.get(&service.name);
        Some(ServicePort { service, port })
    }

    fn tls(&mut self, ingress: &Ingress) -> Box<[AcceptedTls]> {
        let entries = ingress.tls.iter().enumerate();
        entries
            .map(|(index, tls)| {
                let hosts = tls.hosts.iter().enumerate();
                let mut hosts: Vec<Arc<str>> = hosts
                    .map(|(place, host)| {
                        self.host(host, || format!("spec.tls[{index}].hosts[{place}]"))
                    })
                    .collect();
                hosts.sort_unstable();
                if !tls.secret.is_empty() && !is_subdomain(&tls.secret) {
                    let field = format!("spec.tls[{index}].secretName");
                    let what = format!("{:?} is no name of a Secret", tls.secret);
                    self.error(field, "InvalidSecretName", what);
                }
                let secret = (!tls.secret.is_empty()).then(|| self.names.get(&tls.secret));
                AcceptedTls {
                    hosts: hosts.into(),
                    secret,
                }
            })
            .collect()
    }

    fn host(&mut self, host: &str, field: impl Fn() -> String) -> Arc<str> {
        let canonical = host.to_ascii_lowercase();
        let name = canonical.strip_prefix("*.").unwrap_or(&canonical);
        if host.parse::<std::net::IpAddr>().is_ok() {
            let what = format!("{host:?} is an address; a DNS name is needed");
            self.error(field(), "InvalidHost", what);
        } else if !is_subdomain(name) {
            let what =
                format!("{host:?} is neither a DNS name nor one whose first label is a lone `*`");
            self.error(field(), "InvalidHost", what);
        }
        self.names.get(&canonical)
    }

    fn error(&mut self, field: String, reason: &'static str, what: String) {
        self.report(field, reason, what, Severity::Error);
    }

    fn warning(&mut self, field: String, reason: &'static str, what: String) {
        self.report(field, reason, what, Severity::Warning);
    }

    fn report(&mut self, field: String, reason: &'static str, what: String, severity: Severity) {
        self.problems.push(Problem {
            object: ObjectRef::new(Kind::Ingress, self.ingress.clone()),
            field,
            reason,
            message: what,
            severity,
        });
    }
}

/// What the API server has against a path; `free` is pathType ImplementationSpecific.
fn path_fault(path: &str, free: bool) -> Option<&'static str> {
    if path.is_empty() && free {
        return None;
    }
    if !path.starts_with('/') {
        return Some("does not begin with `/`");
    }
    if path.chars().any(char::is_control) {
        return Some("holds a control character");
    }
    if free {
        return None;
    }
    let never = ["//", "/./", "/../", "%2f", "%2F"];
    let ends = ["/.", "/.."];
    let bad =
        never.iter().any(|part| path.contains(part)) || ends.iter().any(|end| path.ends_with(end));
    bad.then_some(
        "holds `//`, `/./`, `/../` or `%2f`, which no request's path holds when it is matched",
    )
}

/// RFC 1035 §2.3.4.
const MAX_SERVICE_NAME: usize = 63;

/// RFC 1123 label of any length.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    !bytes.is_empty()
        && bytes.iter().all(inner)
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

/// RFC 1123 subdomain: hosts, and the names of Secrets. The API server bounds the whole, not its labels.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

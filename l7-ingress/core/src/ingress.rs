//! What is kept of an Ingress as it was written, right or wrong.
//!
//! Reading never fails: what is wrong with a field is said when the Ingress is accepted, and only
//! of Ingresses that are ours.

use k8s_openapi::api::networking::v1 as networking_v1;

use crate::annotations;
use crate::class::{CLASS_ANNOTATION, ClassRef};

/// What is kept of a `networking.k8s.io/v1` Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Seconds since 1970; the oldest Ingress wins a conflict, one without a time is older than all.
    pub(crate) created: Option<i64>,
    pub(crate) class: ClassRef,
    /// Those that mean something here, under whatever prefix.
    pub(crate) annotations: Box<[(Box<str>, Box<str>)]>,
    pub(crate) default_backend: Option<Backend>,
    pub(crate) rules: Box<[Rule]>,
    pub(crate) tls: Box<[Tls]>,
}

/// One of `spec.rules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) host: Box<str>,
    pub(crate) paths: Option<Box<[Path]>>,
}

/// One of `spec.rules[].http.paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) path: Box<str>,
    pub(crate) path_type: Box<str>,
    pub(crate) backend: Backend,
}

/// An `IngressBackend`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) service: Option<Service>,
    /// `kind/name` of `resource`.
    pub(crate) resource: Option<Box<str>>,
}

/// An `IngressServiceBackend`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: Box<str>,
    pub(crate) port_name: Option<Box<str>>,
    pub(crate) port_number: Option<i32>,
}

/// One of `spec.tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) hosts: Box<[Box<str>]>,
    /// Empty for the default certificate.
    pub(crate) secret: Box<str>,
}

impl Ingress {
    /// Reads an Ingress.
    #[must_use]
    pub fn read(object: &networking_v1::Ingress) -> Self {
        let spec = object.spec.as_ref();
        let all = || object.metadata.annotations.iter().flatten();
        Self {
            created: object
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0.as_second()),
            class: ClassRef {
                name: spec.and_then(|spec| boxed(spec.ingress_class_name.as_ref())),
                annotation: all()
                    .find(|(key, _)| *key == CLASS_ANNOTATION)
                    .map(|(_, value)| value.as_str().into()),
            },
            annotations: all()
                .filter(|(key, _)| annotations::is_kept(key))
                .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
                .collect(),
            default_backend: spec
                .and_then(|spec| spec.default_backend.as_ref())
                .map(backend),
            rules: spec
                .and_then(|spec| spec.rules.as_ref())
                .map(|rules| rules.iter().map(rule).collect())
                .unwrap_or_default(),
            tls: spec
                .and_then(|spec| spec.tls.as_ref())
                .map(|entries| entries.iter().map(tls).collect())
                .unwrap_or_default(),
        }
    }
}

fn boxed(text: Option<&String>) -> Option<Box<str>> {
    text.map(|text| text.as_str().into())
}

fn rule(rule: &networking_v1::IngressRule) -> Rule {
    Rule {
        host: rule.host.as_deref().unwrap_or_default().into(),
        paths: rule.http.as_ref().map(|http| {
            let paths = http.paths.iter();
            paths
                .map(|path| Path {
                    path: path.path.as_deref().unwrap_or_default().into(),
                    path_type: path.path_type.as_str().into(),
                    backend: backend(&path.backend),
                })
                .collect()
        }),
    }
}

fn backend(backend: &networking_v1::IngressBackend) -> Backend {
    Backend {
        service: backend.service.as_ref().map(|service| Service {
            name: service.name.as_str().into(),
            port_name: service
                .port
                .as_ref()
                .and_then(|port| boxed(port.name.as_ref()))
                .filter(|name| !name.is_empty()),
            port_number: service
                .port
                .as_ref()
                .and_then(|port| port.number)
                .filter(|number| *number != 0),
        }),
        resource: backend
            .resource
            .as_ref()
            .map(|resource| format!("{}/{}", resource.kind, resource.name).into()),
    }
}

fn tls(tls: &networking_v1::IngressTLS) -> Tls {
    Tls {
        hosts: tls
            .hosts
            .iter()
            .flatten()
            .map(|host| host.as_str().into())
            .collect(),
        secret: tls.secret_name.as_deref().unwrap_or_default().into(),
    }
}

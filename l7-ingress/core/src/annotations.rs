//! The annotations of an Ingress: from strings to values, and nowhere else.

use crate::{BackendProtocol, Settings};

/// What the annotations of one Ingress ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotations {
    pub(crate) backend_protocol: Option<BackendProtocol>,
    pub(crate) ssl_redirect: Option<bool>,
    pub(crate) force_ssl_redirect: Option<bool>,
}

/// What is wrong with one annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) key: Box<str>,
    pub(crate) kind: FaultKind,
}

/// How it is wrong, and what that does to the Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Not a Go boolean: the Ingress is not accepted.
    NotBoolean(Box<str>),
    /// FastCGI: the Ingress is not accepted.
    FastCgi,
    /// An unknown protocol: HTTP is spoken, as ingress-nginx does.
    UnknownProtocol(Box<str>),
    /// The client's scheme towards endpoints is not followed: HTTP is spoken.
    AutoHttp,
    /// Not honoured; the Ingress is served without it.
    Unsupported,
    /// Not honoured, and meant to keep somebody out: the Ingress is not accepted, for it would let
    /// everybody in.
    UnsupportedGuard,
}

const BACKEND_PROTOCOL: &str = "backend-protocol";
const SSL_REDIRECT: &str = "ssl-redirect";
const FORCE_SSL_REDIRECT: &str = "force-ssl-redirect";

const KNOWN: [&str; 3] = [BACKEND_PROTOCOL, SSL_REDIRECT, FORCE_SSL_REDIRECT];

/// Annotations that keep somebody out.
const GUARDS: [&str; 5] = [
    "allowlist-source-range",
    "denylist-source-range",
    "enable-modsecurity",
    "satisfy",
    "whitelist-source-range",
];

/// Whether an annotation is kept: it is read here, or it is one of a prefix that is meant for an
/// ingress controller, so that it can be said that it is not.
pub(crate) fn is_kept(key: &str) -> bool {
    key.rsplit_once('/').is_some_and(|(prefix, name)| {
        KNOWN.contains(&name)
            || prefix == "penstock.dev"
            || prefix.ends_with("ingress.kubernetes.io")
    })
}

/// What of `key` is said where the part after one of our prefixes is not read here.
fn unsupported(key: &str, settings: &Settings) -> Option<FaultKind> {
    let (prefix, name) = key.rsplit_once('/')?;
    let ours = settings
        .annotation_prefixes
        .iter()
        .any(|ours| **ours == *prefix);
    if !ours || KNOWN.contains(&name) {
        return None;
    }
    let guards = name.starts_with("auth-") || GUARDS.contains(&name);
    Some(if guards {
        FaultKind::UnsupportedGuard
    } else {
        FaultKind::Unsupported
    })
}

impl Annotations {
    /// Reads the annotations of one Ingress; faults come in the order of [`KNOWN`].
    pub(crate) fn read(
        annotations: &[(Box<str>, Box<str>)],
        settings: &Settings,
    ) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut values = Self::default();
        if annotations.is_empty() {
            return (values, faults);
        }
        let find = |name: &str| {
            let keys = settings.annotation_prefixes.iter();
            keys.map(|prefix| format!("{prefix}/{name}"))
                .find_map(|key| {
                    let mut all = annotations.iter();
                    all.find(|(candidate, _)| **candidate == *key)
                })
                .map(|(key, value)| (&**key, &**value))
        };
        values.backend_protocol = find(BACKEND_PROTOCOL).map(|entry| protocol(entry, &mut faults));
        values.ssl_redirect = find(SSL_REDIRECT).and_then(|entry| boolean(entry, &mut faults));
        values.force_ssl_redirect =
            find(FORCE_SSL_REDIRECT).and_then(|entry| boolean(entry, &mut faults));
        faults.extend(annotations.iter().filter_map(|(key, _)| {
            let kind = unsupported(key, settings)?;
            Some(Fault {
                key: key.clone(),
                kind,
            })
        }));
        (values, faults)
    }
}

fn protocol((key, value): (&str, &str), faults: &mut Vec<Fault>) -> BackendProtocol {
    let mut note = |kind| {
        let key = key.into();
        faults.push(Fault { key, kind });
        BackendProtocol::Http
    };
    match value.trim().to_ascii_uppercase().as_str() {
        "HTTP" => BackendProtocol::Http,
        "HTTPS" => BackendProtocol::Https,
        "GRPC" => BackendProtocol::H2c,
        "GRPCS" => BackendProtocol::H2Tls,
        "AUTO_HTTP" => note(FaultKind::AutoHttp),
        "FCGI" => note(FaultKind::FastCgi),
        _ => note(FaultKind::UnknownProtocol(value.into())),
    }
}

/// Go's `strconv.ParseBool`.
fn boolean((key, value): (&str, &str), faults: &mut Vec<Fault>) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => {
            let kind = FaultKind::NotBoolean(value.into());
            faults.push(Fault {
                key: key.into(),
                kind,
            });
            None
        }
    }
}

//! What a cluster's operator decides, as opposed to what its users write in Ingresses.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderName, StatusCode};
use model::{ObjectName, PortRef};

use crate::Balance;
use crate::filter::Policy;
use crate::global::Global;
use crate::snippet::Snippet;
use crate::trace::Trace;

/// ingress-nginx's `proxy-body-size`: 1 MiB.
const DEFAULT_BODY_LIMIT: u64 = 1 << 20;

/// How Ingresses are read. The defaults are ingress-nginx's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The `spec.controller` of the IngressClasses that are served.
    pub controller_classes: BTreeSet<Box<str>>,
    /// The value of the annotation `kubernetes.io/ingress.class` that is served; with `None`, none is.
    pub ingress_class: Option<Box<str>>,
    /// Whether the IngressClass called [`Self::ingress_class`] is served whatever its controller.
    pub ingress_class_by_name: bool,
    /// Whether Ingresses that name no class are served even without a default class of ours.
    pub watch_without_class: bool,
    /// The namespaces whose Ingresses are served; empty for all.
    pub watch_namespaces: BTreeSet<Box<str>>,
    /// What answers requests that nothing else answers, in place of the controller's 404.
    pub default_backend: Option<DefaultBackend>,
    /// The Secret of the certificate for names that have none of their own.
    pub default_certificate: Option<ObjectName>,
    /// The prefixes of our annotations; where two are set, the first in this list wins.
    pub annotation_prefixes: Vec<Box<str>>,
    /// The status of redirects from HTTP to HTTPS.
    pub https_redirect_code: StatusCode,
    /// Whether hosts with a `tls` entry are redirected to HTTPS unless their Ingress says otherwise.
    pub ssl_redirect: bool,
    /// Whether all hosts are redirected to HTTPS unless their Ingress says otherwise.
    pub force_ssl_redirect: bool,
    /// The port that clients reach HTTPS on, for redirects that name it.
    pub https_port: u16,
    /// Whether the path `/p` is sent to `/p/` where an Ingress has that path alone, as nginx does it.
    pub trailing_slash_redirect: bool,
    /// Paths, as Ingresses write them, of which what begins with one is never redirected to HTTPS.
    pub no_https_redirect: Vec<Box<str>>,
    /// Paths, as Ingresses write them, of which what begins with one is open to everybody.
    pub unguarded: Vec<Box<str>>,
    /// The status of requests that are more than a rate allows, and of those that are too many at the same time.
    pub limit_status: [StatusCode; 2],
    /// Whether a request may be executed twice, whatever its method.
    pub retries_all: bool,
    /// Whether Services stand for their endpoints unless an annotation says otherwise.
    pub service_upstream: bool,
    /// The most that annotations may risk.
    pub risk: Risk,
    /// Whether what an Ingress says of TLS to endpoints holds for its own paths alone.
    pub tls_by_path: bool,
    /// Words that no annotation may hold.
    pub forbidden_words: Vec<Box<str>>,
    /// Whether annotations may name objects of other namespaces.
    pub cross_namespace: bool,
    /// The fields that `custom-headers` may set.
    pub allowed_headers: Vec<HeaderName>,
    /// The ConfigMap whose keys overrule all else here.
    pub configmap: Option<ObjectName>,
    /// The ConfigMap of TCP ports.
    pub tcp_services: Option<ObjectName>,
    /// The ConfigMap of UDP ports.
    pub udp_services: Option<ObjectName>,
    /// Whether snippets in annotations are read.
    pub allow_snippets: bool,
    /// The ConfigMap's snippets: in front of all hosts, and of each. Those of paths are in the policy.
    pub http_snippet: Option<Arc<Snippet>>,
    /// Of each host.
    pub server_snippet: Option<Arc<Snippet>>,
    /// Whether Ingresses may have TLS passed through to their endpoints.
    pub ssl_passthrough: bool,
    /// How requests are traced, where they are and nothing else is said.
    pub trace: Trace,
    /// What holds for all routes.
    pub global: Arc<Global>,
    /// What Ingresses get that do not say otherwise.
    pub policy: Arc<Policy>,
    /// How endpoints are chosen.
    pub balance: Balance,
    /// What hosts are hashed with. Random, if those who write Ingresses are not trusted.
    pub hash_seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controller_classes: ["penstock.dev/ingress", "k8s.io/ingress-nginx"]
                .map(Box::from)
                .into(),
            ingress_class: Some("nginx".into()),
            ingress_class_by_name: false,
            watch_without_class: false,
            watch_namespaces: BTreeSet::new(),
            default_backend: None,
            default_certificate: None,
            annotation_prefixes: ["penstock.dev", "nginx.ingress.kubernetes.io"]
                .map(Box::from)
                .into(),
            https_redirect_code: StatusCode::PERMANENT_REDIRECT,
            ssl_redirect: true,
            force_ssl_redirect: false,
            https_port: 443,
            trailing_slash_redirect: false,
            no_https_redirect: vec![ACME.into()],
            unguarded: vec![ACME.into()],
            limit_status: [StatusCode::SERVICE_UNAVAILABLE; 2],
            retries_all: false,
            service_upstream: false,
            risk: Risk::High,
            tls_by_path: false,
            forbidden_words: Vec::new(),
            cross_namespace: false,
            allowed_headers: Vec::new(),
            configmap: None,
            tcp_services: None,
            udp_services: None,
            allow_snippets: false,
            http_snippet: None,
            server_snippet: None,
            ssl_passthrough: false,
            trace: Trace::default(),
            global: Arc::default(),
            policy: Arc::new(Policy {
                body_limit: Some(DEFAULT_BODY_LIMIT),
                ..Policy::default()
            }),
            balance: Balance::RoundRobin,
            hash_seed: 0,
        }
    }
}

/// ingress-nginx's `no-tls-redirect-locations` and `no-auth-locations`: certificates are asked for in the clear, by whom
/// nobody knows.
const ACME: &str = "/.well-known/acme-challenge";

/// What an annotation puts at risk, as ingress-nginx judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// Nothing beyond its own paths.
    Low,
    /// What else the Ingress does.
    Medium,
    /// Other Ingresses.
    High,
    /// The controller itself.
    Critical,
}

/// The Service of the controller's default backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultBackend {
    /// The Service.
    pub service: ObjectName,
    /// Its port; the first one where there is none.
    pub port: Option<PortRef>,
}

impl DefaultBackend {
    /// Reads `namespace/name` or `namespace/name:port`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port_ref(port)?)),
            None => (text, None),
        };
        let service = ObjectName::parse(name, "")?;
        Some(Self { service, port })
    }
}

fn port_ref(text: &str) -> Option<PortRef> {
    match text.parse() {
        Ok(0) => None,
        Ok(number) => Some(PortRef::Number(number)),
        Err(_) if text.is_empty() => None,
        Err(_) => Some(PortRef::Name(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_backend_is_a_service_with_or_without_a_port() {
        let read = |text: &str| {
            let backend = DefaultBackend::parse(text)?;
            let port = backend.port.map(|port| port.to_string());
            Some((backend.service.to_string(), port))
        };
        assert_eq!(read("a/b"), Some(("a/b".to_owned(), None)));
        let numbered = Some(("a/b".to_owned(), Some("80".to_owned())));
        assert_eq!(read("a/b:80"), numbered);
        let named = Some(("a/b".to_owned(), Some("http".to_owned())));
        assert_eq!(read("a/b:http"), named);
        for bad in ["", "b", "a/b:", "a/b:0", "a/b/c", "/b", "a/"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}

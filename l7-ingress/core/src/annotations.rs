//! The annotations of an Ingress: from strings to values, and nowhere else.

mod access;
mod auth;
mod backend_tls;
mod canary;
mod catalogue;
mod client_auth;
mod cors;
pub(crate) mod external;
mod limit;
mod proxied;
mod reader;
mod redirect;
mod rewrite;
mod risk;
mod snippet;
mod trace;
mod upstream;

use std::sync::Arc;

use model::ObjectName;

pub(crate) use self::auth::BasicWish;
use self::client_auth::ClientAuthWish;
use self::reader::Reader;
use crate::backend_tls::TlsWish;
use crate::filter::Policy;
use crate::secret::Use;
use crate::snippet::Snippet;
use crate::upstream::CanaryRules;
use crate::{BackendProtocol, Balance, Settings};

pub(crate) use access::networks;
pub use catalogue::{Known, Support, catalogue};
pub(crate) use proxied::replacement;
pub use reader::size;
pub(crate) use reader::{Effect, Fault, boolean};
pub(crate) use trace::operation;
pub(crate) use upstream::error_statuses;

/// What the annotations of one Ingress ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotations {
    pub(crate) backend_protocol: Option<BackendProtocol>,
    /// How TLS is spoken to endpoints, where it is.
    pub(crate) backend_tls: Option<Box<TlsWish>>,
    /// Whether TLS is spoken to endpoints where clients speak it.
    pub(crate) follows_scheme: bool,
    pub(crate) balance: Option<Balance>,
    /// Whether the Service's own address stands for its endpoints.
    pub(crate) service_upstream: bool,
    pub(crate) ssl_redirect: Option<bool>,
    pub(crate) force_ssl_redirect: Option<bool>,
    /// Whether paths are regular expressions, without being rewritten.
    pub(crate) use_regex: bool,
    /// Where `/` of the host is sent to.
    pub(crate) app_root: Option<Arc<str>>,
    /// Whether the host with `www.`, or the one without, leads here.
    pub(crate) from_to_www: bool,
    /// Other names of the host, as written.
    pub(crate) aliases: Box<[Box<str>]>,
    /// The ConfigMap with more fields of responses.
    pub(crate) custom_headers: Option<ObjectName>,
    /// Whose passwords let clients in.
    pub(crate) basic: Option<BasicWish>,
    /// The ConfigMap with fields for the server that is asked who may come in.
    pub(crate) auth_fields: Option<ObjectName>,
    /// What clients have to show.
    pub(crate) client_auth: Option<Box<ClientAuthWish>>,
    /// The Secrets that they name, and what for.
    pub(crate) secrets: Box<[(ObjectName, Use)]>,
    /// Which requests of another Ingress it takes; then it has none of its own.
    pub(crate) canary: Option<Arc<CanaryRules>>,
    /// What is done for its hosts.
    pub(crate) server_snippet: Option<Arc<Snippet>>,
    /// Whether the TLS of its hosts is ended by endpoints.
    pub(crate) passthrough: Option<PassthroughWish>,
    pub(crate) policy: Arc<Policy>,
}

/// How TLS is passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PassthroughWish {
    /// Whether endpoints are sent a PROXY header.
    pub(crate) writes_proxy: bool,
}

/// Whether an annotation is kept: it is read here, or it is one of a prefix that is meant for an
/// ingress controller, so that it can be said that it is not.
pub(crate) fn is_kept(key: &str) -> bool {
    key.rsplit_once('/').is_some_and(|(prefix, name)| {
        catalogue::find(name).is_some()
            || prefix == "penstock.dev"
            || prefix.ends_with("ingress.kubernetes.io")
    })
}

impl Annotations {
    /// Whether a host with this path has regular expressions for paths.
    pub(crate) fn wants_patterns(&self, path: &str) -> bool {
        let rewrite = self.policy.rewrite.as_ref();
        self.use_regex || rewrite.is_some_and(|rewrite| rewrite.changes(path))
    }

    /// Reads the annotations of one Ingress.
    pub(crate) fn read(
        annotations: &[(Box<str>, Box<str>)],
        settings: &Settings,
        ingress: &ObjectName,
    ) -> (Self, Vec<Fault>) {
        let mut values = Self {
            policy: Arc::clone(&settings.policy),
            service_upstream: settings.service_upstream,
            ..Self::default()
        };
        if annotations.is_empty() {
            return (values, Vec::new());
        }
        let mut reader = Reader::new(annotations, settings, ingress);
        (values.backend_protocol, values.follows_scheme) = protocol(&mut reader);
        values.passthrough = passthrough(&mut reader, settings);
        values.backend_tls = backend_tls::read(&mut reader);
        values.balance = upstream::balance(&mut reader);
        values.service_upstream = reader
            .boolean("service-upstream")
            .unwrap_or(settings.service_upstream);
        values.ssl_redirect = reader.boolean("ssl-redirect");
        values.force_ssl_redirect = reader.boolean("force-ssl-redirect");
        values.use_regex = reader.boolean("use-regex").unwrap_or_default();
        values.app_root = redirect::app_root(&mut reader);
        values.from_to_www = reader.boolean("from-to-www-redirect").unwrap_or_default();
        values.aliases = redirect::aliases(&mut reader);
        values.client_auth = client_auth::read(&mut reader);
        values.custom_headers = custom_headers(&mut reader);
        values.basic = auth::basic(&mut reader);
        values.canary = canary::read(&mut reader).map(Arc::new);
        let mut policy = policy(&mut reader, settings);
        values.auth_fields = external::read(&mut reader, settings, &mut policy);
        values.server_snippet = snippet::read(&mut reader, settings, &mut policy);
        policy.denied |= reader.denies();
        if policy != *settings.policy {
            values.policy = Arc::new(policy);
        }
        reader.note_names();
        values.secrets = reader.secrets.into();
        (values, reader.faults)
    }
}

/// The ConfigMap with more fields of responses.
fn custom_headers(reader: &mut Reader<'_>) -> Option<ObjectName> {
    reader.value("custom-headers", Effect::Deny, |text| {
        ObjectName::parse(text.trim(), "")
            .ok_or_else(|| format!("{text:?} is no NAMESPACE/NAME of a ConfigMap"))
    })
}

/// Whether TLS is ended by endpoints.
fn passthrough(reader: &mut Reader<'_>, settings: &Settings) -> Option<PassthroughWish> {
    const NAME: &str = "ssl-passthrough";
    const PROXY: &str = "ssl-passthrough-proxy-protocol";
    let writes_proxy = reader.boolean(PROXY).unwrap_or_default();
    let is_asked = reader.boolean(NAME).unwrap_or_default();
    if is_asked && !settings.ssl_passthrough {
        let what = "has no effect without --enable-ssl-passthrough: TLS is ended here";
        reader.fault(NAME, Effect::Skip, what.to_owned());
        return None;
    }
    if writes_proxy && !is_asked {
        let what = format!("has no effect without {NAME}");
        reader.fault(PROXY, Effect::Skip, what);
    }
    is_asked.then_some(PassthroughWish { writes_proxy })
}

/// What the filters are to do; what no annotation says is as `default` has it.
fn policy(reader: &mut Reader<'_>, settings: &Settings) -> Policy {
    let mut policy = Policy::clone(&settings.policy);
    if let Some(limit) = reader.size("proxy-body-size") {
        policy.body_limit = (limit > 0).then_some(limit);
    }
    policy.redirect = redirect::read(reader);
    if let Some(keep) = reader.boolean("preserve-trailing-slash") {
        policy.keep_trailing_slash = keep;
    }
    if reader.boolean("use-port-in-redirects") == Some(true) {
        policy.redirect_port = Some(settings.https_port);
    }
    if let Some(relative) = reader.boolean("relative-redirects") {
        policy.relative_redirects = relative;
    }
    policy.rewrite = rewrite::read(reader);
    policy.cors = cors::read(reader);
    if let Some(any) = auth::satisfy_any(reader) {
        policy.satisfy_any = any;
    }
    policy.sources = access::read(reader, settings.policy.sources.as_deref());
    policy.limits = limit::read(reader, settings.limit_status);
    policy.pace = limit::pace(reader, settings.policy.pace);
    policy.proxied = proxied::read(reader, settings.policy.proxied.as_deref());
    policy.connection = proxied::connection(reader);
    if let Some(logged) = reader.boolean("enable-access-log") {
        policy.is_unlogged = !logged;
    }
    policy.trace = trace::read(reader, settings);
    policy.upstream_host = rewrite::upstream_host(reader);
    policy.upstream = upstream::read(reader, settings);
    policy
}

/// What is spoken, and whether that is with TLS where clients do.
fn protocol(reader: &mut Reader<'_>) -> (Option<BackendProtocol>, bool) {
    const NAME: &str = "backend-protocol";
    const UNSUPPORTED: &str = "UnsupportedAnnotation";
    let Some(value) = reader.text(NAME) else {
        return (None, false);
    };
    let protocol = match value.trim().to_ascii_uppercase().as_str() {
        "HTTP" => BackendProtocol::Http,
        "HTTPS" => BackendProtocol::Https,
        "GRPC" => BackendProtocol::H2c,
        "GRPCS" => BackendProtocol::H2Tls,
        "AUTO_HTTP" => return (Some(BackendProtocol::Http), true),
        "FCGI" => {
            let what = "FastCGI is not spoken".to_owned();
            reader.report(NAME, UNSUPPORTED, Effect::Refuse, what);
            BackendProtocol::Http
        }
        _ => {
            let what = format!("{value:?} is no known protocol; HTTP is spoken");
            reader.fault(NAME, Effect::Skip, what);
            BackendProtocol::Http
        }
    };
    (Some(protocol), false)
}

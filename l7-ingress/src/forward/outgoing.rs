//! The request as the endpoint gets it: written anew, in one pass over the client's fields.

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};
use http_body::Body as _;
use l7_ingress_core::BackendProtocol;
use l7_ingress_core::forwarded;
use l7_ingress_core::global::Patience;
use std::borrow::Cow;
use std::rc::Rc;

use super::Job;
use super::aside::Aside;
use crate::body::RequestBody;
use crate::session;
use crate::upstream::{Framing, Peer, write_field};
use crate::worker::Worker;

const X_ORIGINAL_URI: &str = "x-original-uri";
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request about to be sent, as often as it takes.
pub(super) struct Outgoing<'r> {
    job: &'r Job<'r>,
    request_id: Cow<'r, str>,
    framing: Framing,
    /// What to switch to, if the client asks.
    upgrade: Option<&'r HeaderValue>,
    /// What the default backend is told.
    aside: Option<Aside>,
}

/// Takes fields, in whatever form a protocol writes them.
trait Fields {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue);
    fn text(&mut self, name: &'static str, value: &str);
}

impl<'r> Outgoing<'r> {
    pub(super) fn new(job: &'r Job<'r>, body: Option<&RequestBody>, upgrades: bool) -> Self {
        let headers = &job.head.headers;
        // HTTP/1.0 has no Upgrade.
        let policy = &job.route.policy;
        let upgrades = upgrades && !policy.upstream.is_http10 && policy.connection.is_none();
        let upgrade = upgrades.then(|| headers.get(header::UPGRADE)).flatten();
        let request_id = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
        let request_id = request_id.unwrap_or_default();
        let request_id = match job.global.generates_request_id {
            _ if let Some(known) = &job.told.request_id => (&**known).into(),
            true => forwarded::request_id(request_id, || fastrand::u128(..)),
            false => request_id.into(),
        };
        Self {
            job,
            request_id,
            framing: framing(job.head, body),
            upgrade,
            aside: None,
        }
    }

    /// The same for the default backend.
    pub(super) fn aside(mut self, aside: Aside) -> Self {
        self.aside = Some(aside);
        self
    }

    pub(super) const fn worker(&self) -> &'r Rc<Worker> {
        self.job.worker
    }

    pub(super) const fn method(&self) -> &'r Method {
        &self.job.head.method
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.job.is_repeatable()
    }

    pub(super) fn patience(&self) -> Patience {
        self.job.patience()
    }

    pub(super) const fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) const fn is_upgrade(&self) -> bool {
        self.upgrade.is_some()
    }

    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Writes the head of an HTTP/1.1 request.
    pub(super) fn write(&self, out: &mut BytesMut) {
        out.reserve(512);
        out.extend_from_slice(self.method().as_str().as_bytes());
        out.extend_from_slice(b" ");
        out.extend_from_slice(self.target().as_bytes());
        let is_http10 = self.job.route.policy.upstream.is_http10;
        out.extend_from_slice(if is_http10 {
            b" HTTP/1.0\r\nconnection: close\r\n"
        } else {
            b" HTTP/1.1\r\n"
        });
        let mut lines = Lines(out);
        lines.text("host", self.host());
        if let Some(connection) = self
            .job
            .route
            .policy
            .connection
            .as_ref()
            .filter(|_| !is_http10)
        {
            lines.field(&header::CONNECTION, connection);
        }
        self.fields(&mut lines);
        match self.framing {
            Framing::None => {}
            Framing::Length(length) => {
                out.extend_from_slice(b"content-length: ");
                out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        if let Some(protocol) = self.upgrade {
            out.extend_from_slice(b"connection: upgrade\r\n");
            write_field(out, "upgrade", protocol);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The request as HTTP/2 sends it.
    pub(super) fn request(&self, peer: &Peer, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method().clone();
        let scheme = match peer.protocol {
            BackendProtocol::Https | BackendProtocol::H2Tls => "https",
            BackendProtocol::Http | BackendProtocol::H2c => "http",
        };
        let target = match &self.job.told.rewritten {
            _ if self.is_at_root() => None,
            Some(rewritten) => rewritten.target.parse().ok(),
            None => self.job.head.uri.path_and_query().cloned(),
        };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(self.host())
            .path_and_query(target.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")))
            .build();
        // A host that is no authority was refused long before.
        *request.uri_mut() = uri.unwrap_or_default();
        let headers = request.headers_mut();
        headers.reserve(self.job.head.headers.len() + 8);
        self.fields(&mut Map(headers));
        if let Framing::Length(length) = self.framing {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        request
    }

    /// Whether the default backend is asked about something else.
    fn is_at_root(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.at_root)
    }

    /// The target as the client wrote it, unless it is rewritten.
    fn target(&self) -> &str {
        if self.is_at_root() {
            return "/";
        }
        match &self.job.told.rewritten {
            Some(rewritten) => &rewritten.target,
            None => {
                let target = self.job.head.uri.path_and_query();
                target.map_or("/", |target| target.as_str())
            }
        }
    }

    /// The host that its Ingress asks for, else as the client wrote it; an HTTP/1.0 client that
    /// wrote none gets the endpoint's empty one (RFC 9112 §3.2).
    fn host(&self) -> &str {
        let policy = &self.job.route.policy;
        let host = self.job.told.upstream_host.as_ref();
        let host = host.or(policy.upstream_host.as_ref());
        let host = host.and_then(|host| host.to_str().ok());
        host.unwrap_or(self.job.told.host)
    }

    /// The client's fields without those that are for this hop or that are set here, then ours.
    fn fields(&self, to: &mut impl Fields) {
        let told = &self.job.told.fields;
        self.usual_fields(&mut Unless { to, told });
        for (name, value) in told.iter().filter(|(_, value)| !value.is_empty()) {
            to.field(name, value);
        }
    }

    /// What is known of a client that was asked for a certificate.
    fn certificate(&self, to: &mut impl Fields) {
        let session = self.job.client.session.as_ref();
        if let (Some(auth), Some(session)) = (&self.job.route.client_auth, session) {
            session.tell(auth, |name, value| to.text(name, value));
        }
    }

    fn usual_fields(&self, to: &mut impl Fields) {
        let headers = &self.job.head.headers;
        let listed = listed(headers);
        let cookie = (self.job.head.version > Version::HTTP_11)
            .then(|| whole_cookie(headers))
            .flatten();
        if let Some(cookie) = &cookie {
            to.field(&header::COOKIE, cookie);
        }
        let rewritten = self.job.told.rewritten.as_ref();
        let prefix = rewritten.and_then(|rewritten| rewritten.prefix.as_deref());
        let global = self.job.global;
        let drops_underscores = global.drops_underscores;
        let tells_original_uri = global.tells_original_uri && self.aside.is_none();
        // What was checked here is not for endpoints.
        let hides_password = self.job.route.policy.basic.is_some();
        for (name, value) in headers {
            let text = name.as_str();
            let dropped = forwarded::is_hop_by_hop(text)
                || prefix.is_some() && text == "x-forwarded-prefix"
                || self.aside.is_some() && Aside::is_ours(text)
                || cookie.is_some() && *name == header::COOKIE
                || is_replaced(text)
                || session::is_told(text)
                || hides_password && *name == header::AUTHORIZATION
                || drops_underscores && text.contains('_')
                || tells_original_uri && text == X_ORIGINAL_URI
                || listed
                    .iter()
                    .any(|listed| listed.eq_ignore_ascii_case(text));
            if !dropped {
                to.field(name, value);
            }
        }
        if wants_trailers(headers) {
            to.text("te", "trailers");
        }
        if let Some(prefix) = prefix {
            to.text("x-forwarded-prefix", prefix);
        }
        if let Some(aside) = &self.aside {
            aside.write(self.job, |name, value| to.text(name, value));
        }
        self.certificate(to);
        let told = &self.job.told.forwarded;
        if !self.request_id.is_empty() {
            to.text("x-request-id", &self.request_id);
        }
        to.text("x-real-ip", &told.real_ip_text);
        to.text("x-forwarded-for", &told.forwarded_for);
        to.text("x-forwarded-host", told.host);
        to.text("x-forwarded-port", told.port);
        for name in ["x-forwarded-proto", "x-forwarded-scheme", "x-scheme"] {
            to.text(name, told.scheme);
        }
        if tells_original_uri {
            let target = self.job.head.uri.path_and_query();
            let target = target.map_or("/", |target| target.as_str());
            to.text(X_ORIGINAL_URI, target);
        }
        for (name, value) in [
            ("x-original-forwarded-for", told.original_for),
            ("x-original-forwarded-host", told.original_host),
        ] {
            if !value.is_empty() {
                to.text(name, value);
            }
        }
    }
}

/// Fields that are written here, whatever the client sent; and Expect, which hyper has met when the
/// body is first asked for.
fn is_replaced(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "expect"
            | "x-request-id"
            | "x-real-ip"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-forwarded-scheme"
            | "x-scheme"
            | "x-original-forwarded-for"
            | "x-original-forwarded-host"
    )
}

/// The fields that Connection names, but for those that never pass anyway.
fn listed(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(header::CONNECTION).iter();
    let options = values.filter_map(|value| value.to_str().ok());
    options
        .flat_map(forwarded::connection_fields)
        .filter(|option| {
            ["close", "keep-alive", "upgrade"]
                .iter()
                .all(|known| !option.eq_ignore_ascii_case(known))
        })
        .collect()
}

/// The crumbs of a cookie in one field, which HTTP/1.1 wants (RFC 9113 §8.2.3), if there are several.
fn whole_cookie(headers: &HeaderMap) -> Option<HeaderValue> {
    let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    let [_, _, ..] = crumbs[..] else {
        return None;
    };
    let crumbs: Vec<_> = crumbs.iter().map(|crumb| crumb.as_bytes()).collect();
    HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).ok()
}

/// Whether the client says that it takes trailers: gRPC servers insist on being told.
fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// How the body is framed towards the endpoint: as long as the client said, or in chunks.
fn framing(head: &http::request::Parts, body: Option<&RequestBody>) -> Framing {
    let Some(body) = body.filter(|body| !body.is_end_stream()) else {
        // Methods that usually carry a body say that it is empty (RFC 9110 §8.6).
        let says_so = head.headers.contains_key(header::CONTENT_LENGTH)
            || [Method::POST, Method::PUT, Method::PATCH].contains(&head.method);
        return if says_so {
            Framing::Length(0)
        } else {
            Framing::None
        };
    };
    body.size_hint()
        .exact()
        .map_or(Framing::Chunked, Framing::Length)
}

/// Leaves out what is told in another way.
struct Unless<'f, F> {
    to: &'f mut F,
    told: &'f [(HeaderName, HeaderValue)],
}

impl<F> Unless<'_, F> {
    fn is_told(&self, name: &str) -> bool {
        self.told.iter().any(|(told, _)| told.as_str() == name)
    }
}

impl<F: Fields> Fields for Unless<'_, F> {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        if !self.is_told(name.as_str()) {
            self.to.field(name, value);
        }
    }

    fn text(&mut self, name: &'static str, value: &str) {
        if !self.is_told(name) {
            self.to.text(name, value);
        }
    }
}

/// Field lines of HTTP/1.1.
struct Lines<'o>(&'o mut BytesMut);

impl Fields for Lines<'_> {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        write_field(self.0, name.as_str(), value);
    }

    fn text(&mut self, name: &'static str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value.as_bytes());
        self.0.extend_from_slice(b"\r\n");
    }
}

/// Fields of HTTP/2.
struct Map<'m>(&'m mut HeaderMap);

impl Fields for Map<'_> {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.0.append(name.clone(), value.clone());
    }

    fn text(&mut self, name: &'static str, value: &str) {
        // Made of what the client's fields are made of: it is a field value.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.append(HeaderName::from_static(name), value);
        }
    }
}

/// Takes the fields off a response that were for the hop from the endpoint (RFC 9110 §7.6.1).
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap, switched: bool) {
    if let Some(connection) = headers.remove(header::CONNECTION) {
        for name in forwarded::connection_fields(connection.to_str().unwrap_or_default()) {
            if name.eq_ignore_ascii_case("upgrade") {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.remove(name);
            }
        }
    }
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    if switched {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(header::UPGRADE);
    }
}

//! What holds for all clients and all endpoints, whatever the route. Workers read it with the table, so that a change of
//! the ConfigMap is one swap.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::expression::Expression;
use crate::filter::{Compression, Text};
use crate::forwarded;
use crate::head_guard::Limits;
use crate::log_format::LogTemplate;
use crate::trace::Tracing;

/// Settings of the proxy as a whole. The defaults are those of the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// How long clients may take.
    pub client: ClientPatience,
    /// Requests that one client connection may carry; none idles when this is 0.
    pub keep_alive_requests: u64,
    /// What the head of an HTTP/1 request may measure.
    pub heads: Limits,
    /// Bytes of a request target; longer ones are answered 414.
    pub max_target: usize,
    /// Whether field names with `_` are dropped.
    pub drops_underscores: bool,
    /// What one HTTP/2 connection may cost.
    pub http2: Http2,
    /// Where the PROXY protocol is expected: for how long its header may take.
    pub proxy_protocol: Option<Duration>,
    /// What forwarding fields of clients are worth.
    pub forwarded: forwarded::Settings,
    /// The field with the client's address, where it is believed.
    pub forwarded_for_header: HeaderName,
    /// Whether requests without an `X-Request-ID` get one.
    pub generates_request_id: bool,
    /// Whether endpoints are told the target as the client wrote it.
    pub tells_original_uri: bool,
    /// Fields of all requests and all responses.
    pub fields: Fields,
    /// Strict-Transport-Security (RFC 6797) in responses over TLS.
    pub hsts: Option<HeaderValue>,
    /// How long endpoints may take.
    pub upstream: Patience,
    /// Tries on different endpoints, the first included.
    pub tries: usize,
    /// What is kept of connections to endpoints.
    pub keep_alive: KeepAlive,
    /// How TCP and UDP are passed on.
    pub streams: Streams,
    /// What is compressed.
    pub compression: Option<Arc<Compression>>,
    /// How requests are traced.
    pub tracing: Arc<Tracing>,
    /// The access log.
    pub log: Log,
    /// Client connections of one worker.
    pub max_connections: usize,
}

/// What is logged of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How.
    pub form: LogForm,
    /// The form of lines of TCP and UDP.
    pub stream: Arc<LogTemplate>,
    /// Targets that are not.
    pub skipped: Vec<Text>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            form: LogForm::default(),
            stream: Arc::new(LogTemplate::stream()),
            skipped: Vec::new(),
        }
    }
}

/// The form of a log line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogForm {
    /// There is none.
    Off,
    /// One JSON object.
    Json,
    /// ingress-nginx's default.
    #[default]
    Nginx,
    /// What the ConfigMap asks for.
    Template(Arc<LogTemplate>),
}

/// How TCP connections and UDP sessions are passed on: `proxy-stream-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// For how long nothing may be said.
    pub idle: Duration,
    /// Endpoints that are tried; 0 for all.
    pub tries: usize,
    /// For how long another one is tried; zero for ever.
    pub tries_for: Duration,
    /// Answers that are expected to a datagram.
    pub answers: u64,
}

/// Fields that are set or taken away for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Of endpoints' responses: clients do not see them.
    pub hidden: Vec<HeaderName>,
    /// Of all responses.
    pub added: Vec<(HeaderName, HeaderValue)>,
    /// Of all requests to endpoints.
    pub told: Vec<(HeaderName, Expression)>,
    /// What `Server` says.
    pub server: Server,
}

/// Whose `Server` clients see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Server {
    /// The endpoint's; ours where it has none.
    #[default]
    Endpoint,
    /// Ours.
    Own,
    /// Nobody's.
    None,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPatience {
    /// For a request's head, from its first byte (and for the first byte of a new connection).
    pub head: Duration,
    /// Between two pieces of a request's body.
    pub body: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// To take a piece of the response.
    pub send: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
}

/// What one HTTP/2 connection may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Whether clients are offered it under TLS.
    pub is_offered: bool,
    /// Streams at the same time.
    pub max_concurrent_streams: u32,
    /// Bytes of one request's fields, decoded.
    pub max_header_list_size: u32,
}

/// How long an endpoint may take, and how much it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until the connection stands.
    pub connect: Duration,
    /// Bytes of a response's head.
    pub head: usize,
    /// Between two reads.
    pub read: Duration,
    /// Between two writes.
    pub send: Duration,
}

/// How many idle connections are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeepAlive {
    /// Idle connections per worker, over all endpoints (`upstream-keepalive-connections`).
    pub connections: usize,
    /// How long one may idle (`upstream-keepalive-timeout`).
    pub idle: Duration,
    /// How old one may become (`upstream-keepalive-time`).
    pub age: Duration,
    /// How many requests one may carry (`upstream-keepalive-requests`).
    pub requests: u32,
}

impl Default for Global {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            client: ClientPatience {
                head: seconds(10),
                body: seconds(60),
                keep_alive: seconds(75),
                send: seconds(60),
                handshake: seconds(10),
            },
            keep_alive_requests: 10_000,
            // hyper has the same limits and a status for each: the guard only has to be no stricter.
            heads: Limits {
                target: 64 << 10,
                ..Limits::default()
            },
            max_target: 16 << 10,
            drops_underscores: true,
            http2: Http2 {
                is_offered: true,
                max_concurrent_streams: 128,
                max_header_list_size: 16 << 10,
            },
            proxy_protocol: None,
            forwarded: forwarded::Settings::default(),
            forwarded_for_header: HeaderName::from_static("x-forwarded-for"),
            generates_request_id: true,
            tells_original_uri: false,
            fields: Fields::default(),
            hsts: Some(strict_transport_security(31_536_000, true, false)),
            upstream: Patience {
                connect: seconds(5),
                head: 64 << 10,
                read: seconds(60),
                send: seconds(60),
            },
            tries: 3,
            keep_alive: KeepAlive {
                connections: 320,
                idle: seconds(60),
                age: seconds(3600),
                requests: 10_000,
            },
            compression: None,
            tracing: Arc::default(),
            log: Log::default(),
            streams: Streams {
                idle: seconds(600),
                tries: 3,
                tries_for: seconds(600),
                answers: 1,
            },
            max_connections: usize::MAX,
        }
    }
}

/// The value of Strict-Transport-Security, as ingress-nginx writes it.
#[must_use]
pub fn strict_transport_security(max_age: u64, subdomains: bool, preload: bool) -> HeaderValue {
    let mut value = format!("max-age={max_age}");
    if subdomains {
        value.push_str("; includeSubDomains");
    }
    if preload {
        value.push_str("; preload");
    }
    HeaderValue::try_from(value).expect("digits and words are a field value")
}

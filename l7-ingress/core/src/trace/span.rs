//! The span of a request, with the attributes that ingress-nginx's module gives it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version};

use super::otlp::Message;
use super::{Context, Trace};
use crate::Route;
use crate::expression::Seen;
use crate::filter::Facts;
use crate::upstream::Destination;

/// `SPAN_KIND_SERVER`
const SERVER: u64 = 2;
/// `STATUS_CODE_ERROR`
const ERROR: u64 = 2;
/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK` and `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`: where the parent is.
const KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// The two ends of a client's connection that facts do not tell.
#[derive(Clone, Copy, Debug)]
pub struct Peers {
    /// The port that the client connected to.
    pub port: u16,
    /// The client's own.
    pub client: u16,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// What it was answered with, or what is logged in its place.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
    /// Whether the canary answered.
    pub canary: bool,
}

/// A request that is being answered, as a collector will be told of it.
#[derive(Clone, Debug)]
pub struct Span {
    message: Message,
    started: SystemTime,
}

impl Span {
    /// The span of a request that has come in at `started`.
    #[must_use]
    pub fn begin(
        context: &Context,
        (trace, route): (&Trace, &Route),
        facts: &Facts<'_>,
        peers: Peers,
        started: SystemTime,
    ) -> Self {
        let mut message = Message::default()
            .bytes(1, &context.trace.to_be_bytes())
            .bytes(2, &context.span.to_be_bytes());
        if let Some(state) = context.state.as_ref().and_then(|state| state.to_str().ok()) {
            message = message.text(3, state);
        }
        let mut flags = KNOWN | u32::from(context.sampled);
        if let Some(parent) = context.parent {
            message = message.bytes(4, &parent.to_be_bytes());
            flags |= REMOTE;
        }
        message = message
            .text(5, &name(trace, route, facts))
            .number(6, SERVER)
            .fixed64(7, nanoseconds(started))
            .fixed32(16, flags)
            .attribute("http.method", facts.head.method.as_str())
            .attribute("http.flavor", flavor(facts.head.version))
            .attribute("http.target", facts.target())
            .attribute("http.server_name", server(route))
            .attribute("http.host", facts.authority)
            .attribute("http.scheme", if facts.tls { "https" } else { "http" })
            .count("net.host.port", peers.port.into())
            .attribute("net.peer.ip", &facts.forwarded.real_ip_text)
            .count("net.peer.port", peers.client.into())
            .attribute("ingress.namespace", &route.ingress.namespace)
            .attribute("ingress.name", &route.ingress.name);
        let agent = facts.head.headers.get(http::header::USER_AGENT);
        if let Some(agent) = agent.map(HeaderValue::as_bytes) {
            message = message.attribute("http.user_agent", &String::from_utf8_lossy(agent));
        }
        Self { message, started }
    }

    /// All of it, once the request has been answered, as `Span` of OTLP.
    #[must_use]
    pub fn end(self, route: &Route, ending: Ending) -> Bytes {
        let Destination { backend, .. } = route.destination(ending.canary);
        let mut message = self
            .message
            .fixed64(8, nanoseconds(self.started + ending.took))
            .attribute("ingress.service_name", &backend.service.name)
            .attribute("ingress.upstream", &backend.upstream_name)
            .count("http.status_code", ending.status.into());
        if ending.status >= StatusCode::INTERNAL_SERVER_ERROR.as_u16() {
            message = message.message(15, &Message::default().number(3, ERROR));
        }
        message.finish()
    }
}

/// What its Ingress calls it, or the path as the Ingress has it.
fn name(trace: &Trace, route: &Route, facts: &Facts<'_>) -> String {
    let Some(name) = &trace.name else {
        return route.path.to_string();
    };
    let seen = Seen {
        facts: Some(facts),
        route: Some(route),
        ..Seen::default()
    };
    let name = name.value(&seen).unwrap_or_default();
    String::from_utf8_lossy(&name).into_owned()
}

/// The name of nginx's server: `_` is the one for all hosts that no other has.
fn server(route: &Route) -> &str {
    match &*route.host {
        "" => "_",
        host => host,
    }
}

fn flavor(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2.0",
        _ => "",
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

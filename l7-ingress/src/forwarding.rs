//! What the client's forwarding headers are worth, as far as settings go.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use l7_ingress_core::forwarded::{Client as Sent, Connection, Forwarded};
use l7_ingress_core::global::Global;

use crate::client::Client;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a backend is told of `client`, which asks for `host`.
pub(crate) fn told<'r>(
    global: &Global,
    client: &'r Client,
    host: &'r str,
    headers: &'r HeaderMap,
) -> Forwarded<'r> {
    let connection = Connection {
        peer: client.address.ip(),
        peer_text: &client.ip,
        port: &client.port,
        tls: client.tls,
        proxied: client.proxied,
    };
    let sent = Sent {
        host,
        address: text(headers, &global.forwarded_for_header),
        forwarded_for: text(headers, &X_FORWARDED_FOR),
        forwarded_host: text(headers, &X_FORWARDED_HOST),
        forwarded_port: text(headers, &X_FORWARDED_PORT),
        forwarded_proto: text(headers, &X_FORWARDED_PROTO),
    };
    Forwarded::new(&global.forwarded, &connection, &sent)
}

/// The last line of a field: the nearest proxy wrote it, and the others are not ours to believe.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers
        .get_all(name)
        .iter()
        .next_back()
        .and_then(|value: &HeaderValue| value.to_str().ok())
        .unwrap_or_default()
}

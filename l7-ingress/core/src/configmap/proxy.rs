//! What the keys of the ConfigMap say of clients and endpoints, whatever the route.

use std::time::Duration;

use ipnet::IpNet;

use super::reader::Keys;
use crate::annotations::{networks, size};
use crate::global::{Global, strict_transport_security};

/// The largest head that hyper is asked to hold.
const LONGEST_HEAD: usize = 64 << 10;

/// Takes what the keys say over.
pub(super) fn apply(keys: &mut Keys<'_>, global: &mut Global) {
    clients(keys, global);
    heads(keys, global);
    addresses(keys, global);
    endpoints(keys, global);
    hsts(keys, global);
    streams(keys, global);
    if let Some(given) = keys.boolean("generate-request-id") {
        global.generates_request_id = given;
    }
    if let Some(told) = keys.boolean("proxy-add-original-uri-header") {
        global.tells_original_uri = told;
    }
}

fn clients(keys: &mut Keys<'_>, global: &mut Global) {
    let client = &mut global.client;
    for (key, value) in [
        ("client-header-timeout", &mut client.head),
        ("client-body-timeout", &mut client.body),
    ] {
        *value = keys.seconds(key).unwrap_or(*value);
    }
    if let Some(seconds) = keys.number("keep-alive") {
        client.keep_alive = Duration::from_secs(seconds);
    }
    let requests = keys.number("keep-alive-requests");
    global.keep_alive_requests = requests.unwrap_or(global.keep_alive_requests);
    if let Some(offered) = keys.boolean("use-http2") {
        global.http2.is_offered = offered;
    }
    let streams = keys.value("http2-max-concurrent-streams", |text| match text.parse() {
        Ok(streams @ 1..) => Ok(streams),
        _ => Err(format!("{text:?} is no number from 1 on")),
    });
    global.http2.max_concurrent_streams = streams.unwrap_or(global.http2.max_concurrent_streams);
    let connections: Option<usize> = keys.number("max-worker-connections");
    if let Some(connections @ 1..) = connections {
        global.max_connections = global.max_connections.min(connections);
    }
}

/// So many lines of so many bytes each: a line is a target or a field.
fn heads(keys: &mut Keys<'_>, global: &mut Global) {
    let buffers = keys.value("large-client-header-buffers", |text| {
        let fault = || format!("{text:?} is no number and size, such as `4 8k`");
        let (number, bytes) = text.split_once(char::is_whitespace).ok_or_else(fault)?;
        let number: usize = number.parse().map_err(|_| fault())?;
        let bytes = usize::try_from(size(bytes.trim())?).map_err(|_| fault())?;
        match number > 0 && bytes > 0 {
            true => Ok((number, bytes)),
            false => Err(fault()),
        }
    });
    if let Some((number, bytes)) = buffers {
        let whole = number.saturating_mul(bytes).min(LONGEST_HEAD);
        global.max_target = bytes.min(LONGEST_HEAD);
        global.heads.line = bytes.min(LONGEST_HEAD);
        global.heads.head = whole;
        global.http2.max_header_list_size = u32::try_from(whole).unwrap_or(u32::MAX);
    }
    if let Some(kept) = keys.boolean("enable-underscores-in-headers") {
        global.drops_underscores = !kept;
    }
}

fn addresses(keys: &mut Keys<'_>, global: &mut Global) {
    let forwarded = &mut global.forwarded;
    for (key, value) in [
        (
            "use-forwarded-headers",
            &mut forwarded.use_forwarded_headers,
        ),
        ("enable-real-ip", &mut forwarded.real_ip),
        (
            "compute-full-forwarded-for",
            &mut forwarded.compute_full_forwarded_for,
        ),
    ] {
        *value = keys.boolean(key).unwrap_or(*value);
    }
    if let Some(trusted) = keys.value("proxy-real-ip-cidr", networks) {
        forwarded.trusted = match trusted.is_empty() {
            true => forwarded.trusted.clone(),
            false => IpNet::aggregate(&trusted),
        };
    }
    let name = keys.value("forwarded-for-header", |text| {
        text.parse()
            .map_err(|_| format!("{text:?} is no field name"))
    });
    if let Some(name) = name {
        global.forwarded_for_header = name;
    }
    let patience = keys.time("proxy-protocol-header-timeout");
    let expected = keys.boolean("use-proxy-protocol");
    let now = global.proxy_protocol;
    let patience = patience.or(now).unwrap_or(Duration::from_secs(5));
    global.proxy_protocol = expected
        .unwrap_or_else(|| now.is_some())
        .then_some(patience);
}

fn endpoints(keys: &mut Keys<'_>, global: &mut Global) {
    for (key, value) in [
        ("proxy-connect-timeout", &mut global.upstream.connect),
        ("proxy-read-timeout", &mut global.upstream.read),
        ("proxy-send-timeout", &mut global.upstream.send),
        ("upstream-keepalive-timeout", &mut global.keep_alive.idle),
    ] {
        *value = keys.seconds(key).unwrap_or(*value);
    }
    let kept = &mut global.keep_alive;
    kept.connections = keys
        .number("upstream-keepalive-connections")
        .unwrap_or(kept.connections);
    kept.requests = keys
        .number("upstream-keepalive-requests")
        .unwrap_or(kept.requests);
    kept.age = keys.time("upstream-keepalive-time").unwrap_or(kept.age);
}

fn streams(keys: &mut Keys<'_>, global: &mut Global) {
    let streams = &mut global.streams;
    streams.idle = keys.time("proxy-stream-timeout").unwrap_or(streams.idle);
    let tries = keys.number("proxy-stream-next-upstream-tries");
    streams.tries = tries.unwrap_or(streams.tries);
    let tries_for = keys.time("proxy-stream-next-upstream-timeout");
    streams.tries_for = tries_for.unwrap_or(streams.tries_for);
    if keys.boolean("proxy-stream-next-upstream") == Some(false) {
        streams.tries = 1;
    }
    streams.answers = keys
        .number("proxy-stream-responses")
        .unwrap_or(streams.answers);
}

/// The three others count only with `hsts`; what is not said is as the flags, of which only the whole is known, have it
/// by default.
fn hsts(keys: &mut Keys<'_>, global: &mut Global) {
    let subdomains = keys.boolean("hsts-include-subdomains");
    let preload = keys.boolean("hsts-preload");
    let age: Option<u64> = keys.number("hsts-max-age");
    let is_on = keys.boolean("hsts");
    let is_said = subdomains.is_some() || preload.is_some() || age.is_some();
    match is_on.unwrap_or_else(|| global.hsts.is_some()) {
        false => global.hsts = None,
        true if is_said || global.hsts.is_none() => {
            let age = age.unwrap_or(31_536_000);
            let (subdomains, preload) = (subdomains.unwrap_or(true), preload.unwrap_or(false));
            global.hsts = Some(strict_transport_security(age, subdomains, preload));
        }
        true => {}
    }
}

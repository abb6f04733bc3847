//! What a backend is told of the client, and what it is not passed on: the forwarding fields as ingress-nginx writes
//! them, and the fields of one hop (RFC 9110 §7.6.1).
//!
//! | field | value |
//! |---|---|
//! | `Host`, `X-Forwarded-Host` | [`Forwarded::host`] |
//! | `X-Real-IP` | [`Forwarded::real_ip_text`] |
//! | `X-Forwarded-For` | [`Forwarded::forwarded_for`] |
//! | `X-Forwarded-Port` | [`Forwarded::port`] |
//! | `X-Forwarded-Proto`, `X-Forwarded-Scheme`, `X-Scheme` | [`Forwarded::scheme`] |
//! | `X-Original-Forwarded-For`, `X-Original-Forwarded-Host` | [`Forwarded::original_for`], [`Forwarded::original_host`] |
//! | `X-Request-ID` | [`request_id`] |
//!
//! Of these, whatever the client sent is overwritten; a field whose value here is empty is removed.
//!
//! One difference from ingress-nginx: there, [`Settings::trusted`] decides on the address alone and every client may
//! set scheme, host and port; here a client that is not trusted sets nothing.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::host;

#[cfg(test)]
mod tests;

/// ingress-nginx's settings of the same names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `use-forwarded-headers`: whether `X-Forwarded-*` of trusted clients are believed.
    pub use_forwarded_headers: bool,
    /// `enable-real-ip`: whether the client's address, and nothing else, is believed of trusted clients.
    pub real_ip: bool,
    /// `compute-full-forwarded-for`: whether `X-Forwarded-For` is appended to, rather than replaced. Counts with
    /// [`Self::use_forwarded_headers`] only.
    pub compute_full_forwarded_for: bool,
    /// `proxy-real-ip-cidr`: the proxies in front of this one.
    pub trusted: Vec<IpNet>,
    /// The port that HTTPS is served on, which is told to backends as 443; as text.
    pub https_port: Option<Box<str>>,
}

impl Default for Settings {
    fn default() -> Self {
        let everything = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        let everything =
            everything.map(|address| IpNet::new(address, 0).expect("0 fits any family"));
        Self {
            use_forwarded_headers: false,
            real_ip: false,
            compute_full_forwarded_for: false,
            trusted: everything.into(),
            https_port: None,
        }
    }
}

impl Settings {
    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }
}

/// The connection that a request came on.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// The other end; where a PROXY header was read, its source.
    pub peer: IpAddr,
    /// `peer` as text.
    pub peer_text: &'a str,
    /// The port that was connected to, as text; where a PROXY header was read, its destination's.
    pub port: &'a str,
    /// Whether this end does TLS.
    pub tls: bool,
    /// Whether a PROXY header was read.
    pub proxied: bool,
}

/// What the client sent. An absent field is an empty one; lines of one field are joined by a comma.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client<'a> {
    /// `Host` or `:authority`.
    pub host: &'a str,
    /// The field that the setting `forwarded-for-header` names; `X-Forwarded-For` by default.
    pub address: &'a str,
    /// `X-Forwarded-For`.
    pub forwarded_for: &'a str,
    /// `X-Forwarded-Host`.
    pub forwarded_host: &'a str,
    /// `X-Forwarded-Port`.
    pub forwarded_port: &'a str,
    /// `X-Forwarded-Proto`.
    pub forwarded_proto: &'a str,
}

/// What the backend is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// The client, as far as trusted proxies name it.
    pub real_ip: IpAddr,
    /// The same as text.
    pub real_ip_text: Cow<'a, str>,
    /// The client, or the whole chain.
    pub forwarded_for: Cow<'a, str>,
    /// The host that the client asked for, with its port if it sent one.
    pub host: &'a str,
    /// The port that the client connected to.
    pub port: &'a str,
    /// `http` or `https`, or what a trusted client says.
    pub scheme: &'a str,
    /// What the client sent as its address.
    pub original_for: &'a str,
    /// What the client sent as `X-Forwarded-Host`.
    pub original_host: &'a str,
}

impl<'a> Forwarded<'a> {
    /// Decides what is told.
    #[must_use]
    pub fn new(settings: &Settings, connection: &Connection<'a>, client: &Client<'a>) -> Self {
        let mut told = Self {
            real_ip: connection.peer,
            real_ip_text: connection.peer_text.into(),
            forwarded_for: connection.peer_text.into(),
            host: client.host,
            port: connection.port,
            scheme: if connection.tls { "https" } else { "http" },
            original_for: client.address,
            original_host: client.forwarded_host,
        };
        if settings.use_forwarded_headers && settings.trusts(connection.peer) {
            told.believe(settings, connection, client);
        } else if settings.real_ip && settings.trusts(connection.peer) {
            told.believe_address(settings, client);
            told.forwarded_for = told.real_ip_text.clone();
        }
        // A balancer that ended TLS in front of a PROXY header leaves no other trace of it.
        if connection.proxied && connection.port == "443" {
            told.scheme = "https";
        }
        if settings.https_port.as_deref() == Some(told.port) {
            told.port = "443";
        }
        told
    }

    fn believe_address(&mut self, settings: &Settings, client: &Client<'a>) {
        if let Some(address) = real_ip(settings, client.address) {
            self.real_ip = address;
            self.real_ip_text = address.to_string().into();
        }
    }

    fn believe(&mut self, settings: &Settings, connection: &Connection<'a>, client: &Client<'a>) {
        self.believe_address(settings, client);
        self.forwarded_for = match client.forwarded_for {
            chain if settings.compute_full_forwarded_for && !chain.is_empty() => {
                format!("{chain}, {}", connection.peer_text).into()
            }
            _ if settings.compute_full_forwarded_for => connection.peer_text.into(),
            _ => self.real_ip_text.clone(),
        };
        if !client.forwarded_proto.is_empty() {
            self.scheme = client.forwarded_proto;
        }
        if !client.forwarded_port.is_empty() {
            self.port = client.forwarded_port;
        }
        let first = client
            .forwarded_host
            .split(',')
            .next()
            .unwrap_or_default()
            .trim();
        if host::canonical(first).is_ok() {
            self.host = first;
        }
    }
}

/// The right-most address of the list that no trusted proxy has, or the left-most; what stands left of something that
/// is no address is worth nothing.
fn real_ip(settings: &Settings, list: &str) -> Option<IpAddr> {
    let mut real = None;
    for element in list
        .rsplit([',', ' '])
        .filter(|element| !element.is_empty())
    {
        let Some(address) = address(element) else {
            break;
        };
        real = Some(address);
        if !settings.trusts(address) {
            break;
        }
    }
    real
}

/// Some proxies write the port as well.
fn address(element: &str) -> Option<IpAddr> {
    let bare = element
        .strip_prefix('[')
        .and_then(|bare| bare.strip_suffix(']'));
    let address = bare.unwrap_or(element).parse();
    address
        .ok()
        .or_else(|| element.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

/// The client's `X-Request-ID`, or a new one: 32 hexadecimal digits.
#[must_use]
pub fn request_id(client: &str, random: impl FnOnce() -> u128) -> Cow<'_, str> {
    if client.is_empty() {
        format!("{:032x}", random()).into()
    } else {
        client.into()
    }
}

/// Whether a field (its name in lower case) is not passed on because it belongs to one connection, or because it may
/// not be passed on at all: `Proxy` becomes `HTTP_PROXY` in CGI-like backends (httpoxy).
///
/// `TE` is among them: `TE: trailers` is to be written anew where trailers are passed on. `Trailer` is not: trailers
/// are.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The names of further fields that a `Connection` value declares to belong to the connection.
///
/// Left out is what the client may not take away: the fields that frame and route the message, without which it would
/// be read differently behind this proxy, and those by which a proxy in front of this one speaks. Names in any case;
/// some may be options such as `close` that are no field.
pub fn connection_fields(value: &str) -> impl Iterator<Item = &str> {
    let options = value
        .split(',')
        .map(|option| option.trim_matches([' ', '\t']));
    options.filter(|option| !option.is_empty() && !is_kept(option))
}

fn is_kept(name: &str) -> bool {
    const KEPT: [&str; 9] = [
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "forwarded",
        "host",
        "transfer-encoding",
        "x-real-ip",
        "x-request-id",
    ];
    const PREFIX: &str = "x-forwarded-";
    let forwarded = name.get(..PREFIX.len());
    KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
        || forwarded.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

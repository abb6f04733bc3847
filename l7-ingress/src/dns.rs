//! Resolves the names of ExternalName Services, and again when their answers expire; and those that the proxy asks by
//! itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use l7_ingress_core::{Backend, EndpointSet, Resolution};
use tokio::sync::watch;
use tokio::time::Instant;

/// An answer is asked for again no sooner and no later than this, whatever its TTL says.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// When to ask again after no answer.
const RETRY: Duration = Duration::from_secs(5);
/// Questions that may be open at once: names whose servers are silent hold up few others.
const CONCURRENT: usize = 64;

/// Asks these servers; with none, those of `/etc/resolv.conf`.
pub(crate) fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    if servers.is_empty() {
        return TokioResolver::builder_tokio()?.build();
    }
    let server = |address: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        let connections = connections.map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    let servers = servers.iter().map(server).collect();
    let config = ResolverConfig::from_name_servers(servers);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
}

/// What is asked for one backend; another name of the same backend is another question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    backend: u64,
    host: Box<str>,
    port: u16,
}

/// When to ask next; `None` while the answer is awaited.
type Due = BTreeMap<Question, Option<Instant>>;

/// Keeps the addresses of `backends` fresh; the last good answer stays until there is a better one.
pub(crate) async fn resolve(
    resolver: TokioResolver,
    mut backends: watch::Receiver<Vec<Arc<Backend>>>,
) {
    let mut due = Due::new();
    let mut asked = FuturesUnordered::new();
    loop {
        let current = questions(&backends.borrow_and_update());
        due.retain(|question, _| current.contains_key(question));
        let now = Instant::now();
        for (question, backend) in &current {
            let at = due.entry(question.clone()).or_insert(Some(now));
            if at.is_some_and(|at| at <= now) && asked.len() < CONCURRENT {
                *at = None;
                asked.push(ask(&resolver, question.clone(), Arc::clone(backend)));
            }
        }
        let next = due.values().flatten().min().copied();
        tokio::select! {
            changed = backends.changed() => if changed.is_err() {
                return;
            },
            Some((question, again)) = asked.next() => {
                if let Some(at) = due.get_mut(&question) {
                    *at = Some(Instant::now() + again);
                }
            }
            () = tokio::time::sleep_until(next.unwrap_or(now)),
                if next.is_some() && asked.len() < CONCURRENT => {}
        }
    }
}

/// What has to be asked for these backends. An address that is written as a name needs no answer.
fn questions(backends: &[Arc<Backend>]) -> BTreeMap<Question, Arc<Backend>> {
    let question = |backend: &Arc<Backend>| match &backend.endpoints().resolution {
        Resolution::Dns { host, port } if host.parse::<IpAddr>().is_err() => {
            let question = Question {
                backend: backend.id.0,
                host: host.clone(),
                port: *port,
            };
            Some((question, Arc::clone(backend)))
        }
        _ => None,
    };
    backends.iter().filter_map(question).collect()
}

/// Asks once; says when to ask again.
async fn ask(
    resolver: &TokioResolver,
    question: Question,
    backend: Arc<Backend>,
) -> (Question, Duration) {
    let Question { host, port, .. } = &question;
    let again = match lookup(resolver, host, *port).await {
        Err(error) => {
            tracing::warn!("{}: {host} cannot be resolved: {error}", backend.service);
            RETRY
        }
        Ok((addresses, _)) if addresses.is_empty() => {
            tracing::warn!(
                "{}: {host} resolves to no address that may be used",
                backend.service
            );
            RETRY
        }
        Ok((addresses, again)) => {
            publish(&backend, &question, addresses);
            again
        }
    };
    (question, again)
}

/// The addresses of a name that may be used, and when to ask again.
pub(crate) async fn lookup(
    resolver: &TokioResolver,
    host: &str,
    port: u16,
) -> Result<(Box<[SocketAddr]>, Duration), NetError> {
    // A trailing dot: search domains are the pod's business, not that of who wrote the name.
    let answer = resolver.lookup_ip(format!("{host}.")).await?;
    let expires = answer
        .valid_until()
        .saturating_duration_since(std::time::Instant::now());
    let addresses = usable(answer.iter(), port);
    Ok((addresses, expires.clamp(*TTL.start(), *TTL.end())))
}

/// Publishes an answer, unless the Service has another name by now.
fn publish(backend: &Backend, question: &Question, addresses: Box<[SocketAddr]>) {
    let known = Arc::clone(&backend.endpoints());
    let asked = Resolution::Dns {
        host: question.host.clone(),
        port: question.port,
    };
    if known.resolution == asked && known.addresses != addresses {
        let resolution = asked;
        backend.resolved(
            &known,
            EndpointSet {
                addresses,
                resolution,
            },
        );
    }
}

/// The addresses that a name in somebody's Service may lead to: not this pod itself and not its
/// link, where clouds keep credentials (169.254.169.254).
fn usable(addresses: impl Iterator<Item = IpAddr>, port: u16) -> Box<[SocketAddr]> {
    let mut usable: Vec<SocketAddr> = addresses
        .map(|address| address.to_canonical())
        .filter(|address| reachable(*address) && !address.is_loopback())
        .map(|address| SocketAddr::new(address, port))
        .collect();
    usable.sort_unstable();
    usable.dedup();
    usable.into()
}

/// Whether an address is another machine's, or a server's on this one, and not of this link.
pub(crate) fn reachable(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !link_local && !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_to_ourselves_or_to_our_link() {
        let check = |addresses: &[&str], expect: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap());
            let usable = usable(addresses, 80);
            let expect: Vec<SocketAddr> = expect
                .iter()
                .map(|address| address.parse().unwrap())
                .collect();
            assert_eq!(*usable, *expect);
        };
        check(
            &["10.0.0.2", "10.0.0.1", "10.0.0.2"],
            &["10.0.0.1:80", "10.0.0.2:80"],
        );
        check(&["2001:db8::1"], &["[2001:db8::1]:80"]);
        check(
            &[
                "127.0.0.1",
                "::1",
                "0.0.0.0",
                "169.254.169.254",
                "fe80::1",
                "224.0.0.1",
            ],
            &[],
        );
        check(
            &[
                "::ffff:127.0.0.1",
                "::ffff:169.254.169.254",
                "255.255.255.255",
            ],
            &[],
        );
    }
}

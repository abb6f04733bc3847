//! Resolves the names of ExternalName Services, and again when their answers expire.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::TokioResolver;
use l7_ingress_core::{Backend, EndpointSet, Resolution};
use tokio::sync::watch;
use tokio::time::Instant;

/// An answer is asked for again no sooner and no later than this, whatever its TTL says.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// When to ask again after no answer.
const RETRY: Duration = Duration::from_secs(5);
/// Questions that may be open at once.
const CONCURRENT: usize = 16;

/// Keeps the addresses of `backends` fresh; the last good answer stays until there is a better one.
pub(crate) async fn resolve(
    resolver: TokioResolver,
    mut backends: watch::Receiver<Vec<Arc<Backend>>>,
) {
    let mut due: BTreeMap<u64, Instant> = BTreeMap::new();
    loop {
        let now = Instant::now();
        let current = backends.borrow_and_update().clone();
        due.retain(|id, _| current.iter().any(|backend| backend.id.0 == *id));
        for batch in overdue(&current, &due, now).chunks(CONCURRENT) {
            let mut asked: FuturesUnordered<_> = batch
                .iter()
                .map(|backend| ask(&resolver, backend))
                .collect();
            while let Some((id, again)) = asked.next().await {
                due.insert(id, Instant::now() + again);
            }
        }
        let next = due.values().min().copied();
        tokio::select! {
            changed = backends.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep_until(next.unwrap_or(now)), if next.is_some() => {}
        }
    }
}

/// The backends whose answers have expired, or that have none.
fn overdue<'b>(
    backends: &'b [Arc<Backend>],
    due: &BTreeMap<u64, Instant>,
    now: Instant,
) -> Vec<&'b Arc<Backend>> {
    let is_due = |backend: &&Arc<Backend>| due.get(&backend.id.0).is_none_or(|due| *due <= now);
    backends.iter().filter(is_due).collect()
}

/// Asks once; says which backend it was and when to ask again.
async fn ask(resolver: &TokioResolver, backend: &Backend) -> (u64, Duration) {
    let known = Arc::clone(&backend.endpoints());
    let Resolution::Dns { host, port } = &known.resolution else {
        return (backend.id.0, RETRY);
    };
    // A trailing dot: search domains are the pod's business, not the Service's.
    let again = match resolver.lookup_ip(format!("{host}.")).await {
        Err(error) => {
            tracing::warn!("{} cannot be resolved: {error}", backend.service);
            RETRY
        }
        Ok(answer) => {
            let expires = answer
                .valid_until()
                .saturating_duration_since(std::time::Instant::now());
            let addresses = usable(answer.iter(), *port);
            if addresses.is_empty() {
                tracing::warn!(
                    "{} resolves to no address that may be used",
                    backend.service
                );
                RETRY
            } else {
                if addresses != known.addresses {
                    let resolution = known.resolution.clone();
                    backend.publish(EndpointSet {
                        addresses,
                        resolution,
                    });
                }
                expires.clamp(*TTL.start(), *TTL.end())
            }
        }
    };
    (backend.id.0, again)
}

/// The addresses that a name in somebody's Service may lead to: not this pod itself and not its
/// link, where clouds keep credentials (169.254.169.254).
fn usable(addresses: impl Iterator<Item = IpAddr>, port: u16) -> Box<[SocketAddr]> {
    let mut usable: Vec<SocketAddr> = addresses
        .map(|address| address.to_canonical())
        .filter(|address| {
            let link_local = match address {
                IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
                IpAddr::V6(address) => address.is_unicast_link_local(),
            };
            !link_local
                && !address.is_loopback()
                && !address.is_unspecified()
                && !address.is_multicast()
        })
        .map(|address| SocketAddr::new(address, port))
        .collect();
    usable.sort_unstable();
    usable.dedup();
    usable.into()
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

//! Tracked connections that must not outlive what they were begun with: what the kernel remembers of a
//! flow counts for more than any table.

use std::net::IpAddr;

use cni_core::host_ports::HostPort;
use cni_core::spec::Transport;
use netlink::conntrack::{Conntrack, Entry, Filter};
use netlink::nft::Protocol;
use netlink::{Error, Namespace, Netlink, Sysctl};

/// Forgets all that these addresses take part in: another pod will have them.
pub(crate) fn forget(node: &Namespace, addresses: &[IpAddr]) -> Result<(), Error> {
    let filters: Vec<Filter> = addresses.iter().copied().flat_map(Filter::of).collect();
    if filters.is_empty() || tracks_nothing(node) {
        return Ok(());
    }
    Conntrack::open_in(node)?.delete(&filters).map(drop)
}

/// Whoever looks for entries walks the whole table, however few there are.
fn tracks_nothing(node: &Namespace) -> bool {
    let count = Sysctl::net(&["netfilter", "nf_conntrack_count"]);
    let count = node.enter(|| count.read()).and_then(|count| count);
    count.is_ok_and(|count| count == "0")
}

/// Forgets what was sent to these UDP ports before they led here: a client that does not give up would
/// be sent to where they led before, for ever.
pub(crate) fn turn(node: &Namespace, ports: &[HostPort]) -> Result<(), Error> {
    let ports: Vec<&HostPort> = ports
        .iter()
        .filter(|port| port.protocol == Transport::Udp)
        .collect();
    if ports.is_empty() {
        return Ok(());
    }
    let filters: Vec<Filter> = ports.iter().map(|port| to(port)).collect();
    let mut conntrack = Conntrack::open_in(node)?;
    let mut stale = conntrack.entries(&filters)?;
    let own = Netlink::open_in(node)?.addresses()?;
    let is_ours = |address| own.iter().any(|found| found.net.addr() == address);
    stale.retain(|entry| {
        let destination = entry.original.destination;
        let mut ports = ports
            .iter()
            .filter(|port| port.pod.is_ipv4() == destination.is_ipv4());
        let elsewhere = ports.any(|port| to(port).matches(entry) && !leads(entry, port));
        elsewhere && is_ours(destination)
    });
    conntrack.delete_entries(&stale).map(drop)
}

fn leads(entry: &Entry, port: &HostPort) -> bool {
    (entry.reply.source, entry.reply.source_port) == (port.pod, port.pod_port)
}

fn to(port: &HostPort) -> Filter {
    let mut filter = Filter::to_port(Protocol::UDP, port.host_port);
    filter.original.destination = port.host_ip;
    filter
}

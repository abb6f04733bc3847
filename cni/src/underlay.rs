//! What is below the overlay: how large a packet it carries, and whether it lets packets through to pods.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use netlink::{Error, Event, LinkName, Monitor, Netlink, RouteFilter, Sysctl, Topic};
use tokio::sync::watch;

use crate::mesh;

/// What the node's links and sysctls say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Underlay {
    /// A pod's largest packet.
    pub(crate) mtu: u32,
    /// What keeps packets from pods, though it should not: sysctls that belong to the node's owner.
    pub(crate) closed: Vec<String>,
}

impl Underlay {
    /// Looks at this thread's namespace.
    pub(crate) fn look(ranges: &[IpNet]) -> Result<Self, Error> {
        let mut netlink = Netlink::open()?;
        let mut smallest: Option<u32> = None;
        let mut sysctls = Vec::new();
        for route in netlink.routes(RouteFilter::default())? {
            if route.destination.prefix_len() != 0 || route.table != netlink::MAIN_TABLE {
                continue;
            }
            let (overhead, is_ipv4) = match route.destination.addr() {
                IpAddr::V4(_) => (50, true),
                IpAddr::V6(_) => (70, false),
            };
            for dev in route.hops.iter().filter_map(|hop| hop.dev) {
                let Some(link) = netlink.link_at(dev)? else {
                    continue;
                };
                let left = link.mtu.saturating_sub(overhead);
                smallest = Some(smallest.map_or(left, |smallest| smallest.min(left)));
                if is_ipv4 {
                    sysctls.push(forwarding("ipv4", link.name.as_str()));
                }
            }
        }
        sysctls.retain(|_| ranges.iter().any(|range| range.addr().is_ipv4()));
        if ranges.iter().any(|range| range.addr().is_ipv6()) {
            // The kernel asks for this one whatever its links say.
            sysctls.push(forwarding("ipv6", "all"));
        }
        Ok(Self {
            // That of Ethernet, where there is no way out; and IPv6 has no smaller links.
            mtu: smallest.unwrap_or(1450).max(1280),
            closed: sysctls.iter().filter(|s| is_off(s)).map(name).collect(),
        })
    }
}

fn forwarding(family: &str, link: &str) -> Sysctl {
    Sysctl::net(&[family, "conf", link, "forwarding"])
}

/// A kernel without the family has no such sysctl, and no such packets.
fn is_off(sysctl: &Sysctl) -> bool {
    sysctl.read().is_ok_and(|value| value == "0")
}

/// As `sysctl` names it.
fn name(sysctl: &Sysctl) -> String {
    let path = sysctl.path().strip_prefix("/proc/sys");
    let path = path.unwrap_or_else(|_| sysctl.path()).display().to_string();
    // Its own dots become slashes, as in `net.ipv4.conf.eth0/100.forwarding`.
    path.replace('.', "\0").replace('/', ".").replace('\0', "/")
}

/// Tells of changes that may change an [`Underlay`], the node's addresses or the mesh's routes, but not of what we do to pods' links ourselves.
/// Blocks until nobody listens any more.
pub(crate) fn follow(changed: &watch::Sender<()>) -> Result<(), Error> {
    let topics = [Topic::Links, Topic::Addresses, Topic::Routes];
    let mut monitor = Monitor::open(&topics, QUEUE)?;
    while !changed.is_closed() {
        let matters = match monitor.next_within(BREATH)? {
            Some(Event::Link(link) | Event::LinkGone(link)) => !is_pods(&link.name),
            Some(Event::Address(address) | Event::AddressGone(address)) => {
                !is_link_local(address.net.addr())
            }
            Some(Event::RouteGone(route)) if route.protocol == mesh::PROTOCOL => true,
            Some(Event::Route(route) | Event::RouteGone(route)) => {
                route.destination.prefix_len() == 0
            }
            Some(Event::Overrun) => true,
            _ => false,
        };
        if matters {
            changed.send_replace(());
        }
    }
    Ok(())
}

/// Each pod's link has one, and nobody else is concerned.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_pods(name: &LinkName) -> bool {
    name.as_str().starts_with(cni_core::ipam::HOST_LINK)
}

/// Bytes of news that may wait; a node that starts 100 pods makes a few hundred KiB of them.
const QUEUE: usize = 1 << 20;
/// How soon the end is noticed when there is no news.
const BREATH: Duration = Duration::from_millis(500);

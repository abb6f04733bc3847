//! A pod's cable: made, looked at, removed.
//!
//! ```text
//!  pod's namespace                       node
//!  eth0  10.1.1.5/32                     pen…   route 10.1.1.5/32, neighbour 10.1.1.5 = eth0's MAC
//!        default via 169.254.1.1, fe80::1       (no address)
//!        neighbours of both = pen…'s MAC
//! ```
//! Neighbours are permanent on both sides, so that nobody ever asks for one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use cni_core::ipam::{Key, Lease};
use ipnet::IpNet;
use netlink::{
    Address, Change, Error, LOCAL_TABLE, LinkIndex, LinkKind, LinkName, LinkSettings, Mac,
    Namespace, Neighbour, Netlink, NewLink, Peer, Route, RouteFilter, RouteKind, Sysctl, Verb,
};

/// A step of ADD or DEL, in order. Those of ADD are undone by those of DEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The lease is in the journal.
    Reserved,
    /// The cable is there, one end in the pod.
    Cabled,
    /// The pod's end has its addresses and routes.
    Inside,
    /// The node's end has its routes.
    Outside,
    /// The pod is as slow as it should be.
    Shaped,
    /// The node's ports lead to the pod.
    Opened,
    /// The lease is complete.
    Completed,
    /// The lease is going.
    Going,
    /// The cable is no more.
    Removed,
    /// Nothing is held.
    Released,
}

impl Step {
    /// Those of ADD.
    pub const ADD: [Self; 7] = [
        Self::Reserved,
        Self::Cabled,
        Self::Inside,
        Self::Outside,
        Self::Shaped,
        Self::Opened,
        Self::Completed,
    ];
    /// Those of DEL, of which the first comes before the answer.
    pub const DEL: [Self; 3] = [Self::Going, Self::Removed, Self::Released];
}

/// The way out of a pod, of this family.
pub(crate) fn gateway(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::new(169, 254, 1, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// Everything, of this family.
pub(crate) fn anywhere(address: IpAddr) -> IpNet {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    IpNet::new(any, 0).unwrap_or_else(|_| any.into())
}

/// What is to be made for a lease.
#[derive(Debug)]
pub(crate) struct Cable {
    pub(crate) host: LinkName,
    slow: LinkName,
    pub(crate) inside: LinkName,
    pub(crate) host_mac: Mac,
    pub(crate) pod_mac: Mac,
    namespace: Namespace,
    addresses: Vec<IpAddr>,
    mtu: u32,
    remark: String,
    /// Whether packets of the node's localhost come here.
    of_localhost: bool,
}

impl Cable {
    pub(crate) fn new(lease: &Lease, namespace: Namespace, mtu: u32) -> Result<Self, Error> {
        let attachment = &lease.key.attachment;
        let remark = match &lease.pod {
            Some((space, name)) => format!("{space}/{name} {}", attachment.ifname),
            None => format!("{} {}", attachment.container, attachment.ifname),
        };
        Ok(Self {
            host: LinkName::new(&lease.key.host_link())?,
            slow: LinkName::new(&lease.key.slow_link())?,
            inside: LinkName::new(&attachment.ifname)?,
            host_mac: derived_mac(&lease.key, 0x06),
            pod_mac: lease.mac.map_or_else(|| derived_mac(&lease.key, 0x02), Mac),
            namespace,
            addresses: lease.addresses.clone(),
            mtu,
            of_localhost: !lease.ports.is_empty(),
            // `IFALIASZ`
            remark: remark.chars().filter(char::is_ascii).take(250).collect(),
        })
    }

    /// The cable itself, the pod's end born in its namespace. A rest of an earlier one goes first.
    pub(crate) fn connect(&self, node: &mut Netlink) -> Result<LinkIndex, Error> {
        remove(node, &[self.host.clone(), self.slow.clone()])?;
        let peer = Peer {
            name: self.inside.clone(),
            namespace: Some(self.namespace.clone()),
            mtu: Some(self.mtu),
            mac: Some(self.pod_mac),
        };
        let settings = LinkSettings {
            up: Some(true),
            mtu: Some(self.mtu),
            mac: Some(self.host_mac),
            ..LinkSettings::default()
        };
        let link = NewLink::new(self.host.clone(), LinkKind::Veth(Box::new(peer))).with(settings);
        node.change(Change::add_link(link))?;
        Ok(node.link_named(&self.host)?.index)
    }

    /// The pod's end, by a thread that goes there.
    pub(crate) fn set_up_inside(&self) -> Result<(), Error> {
        self.namespace.enter(|| {
            let mut netlink = Netlink::open()?;
            let dev = netlink.link_named(&self.inside)?.index;
            if self.addresses.iter().any(IpAddr::is_ipv6) {
                // Runtimes turn IPv6 off for what is made in their namespaces.
                let name = self.inside.as_str();
                Sysctl::net(&["ipv6", "conf", name, "disable_ipv6"]).ensure("0")?;
                Sysctl::net(&["ipv6", "conf", name, "accept_ra"]).ensure("0")?;
            }
            let taken = default_routes(&mut netlink)?;
            netlink.apply_all(&self.changes_inside(dev, &taken))?;
            wait_until_it_sends(&mut netlink, dev)
        })?
    }

    /// A family that has a way out already keeps it: this is then not the pod's first interface.
    fn changes_inside(&self, dev: LinkIndex, taken: &[IpNet]) -> Vec<Change> {
        let up = LinkSettings {
            up: Some(true),
            ..LinkSettings::default()
        };
        let mut changes = vec![Change::set_link(dev, up)];
        for address in &self.addresses {
            let gateway = gateway(*address);
            let everywhere = anywhere(*address);
            changes.push(Change::add(Address::new(dev, (*address).into())));
            let neighbour = Neighbour::permanent(dev, gateway, self.host_mac);
            changes.push(Change::replace(neighbour));
            if gateway.is_ipv4() {
                changes.push(Change::add(Route::on_link(gateway.into(), dev)));
            }
            if !taken.contains(&everywhere) {
                changes.push(Change::add(Route::via(everywhere, gateway, dev)));
            }
        }
        changes
    }

    /// The node's end.
    pub(crate) fn set_up_outside(&self, node: &mut Netlink, dev: LinkIndex) -> Result<(), Error> {
        let name = self.host.as_str();
        Sysctl::net(&["ipv4", "conf", name, "forwarding"]).ensure("1")?;
        // A pod sends from its own addresses only.
        Sysctl::net(&["ipv4", "conf", name, "rp_filter"]).ensure("1")?;
        if self.of_localhost {
            Sysctl::net(&["ipv4", "conf", name, "route_localnet"]).ensure("1")?;
        }
        if self.addresses.iter().any(IpAddr::is_ipv6) {
            Sysctl::net(&["ipv6", "conf", name, "disable_ipv6"]).ensure("0")?;
            Sysctl::net(&["ipv6", "conf", name, "accept_ra"]).ensure("0")?;
            Sysctl::net(&["ipv6", "conf", name, "forwarding"]).ensure("1")?;
            forward_whatever_all_say(name)?;
        }
        let remark = LinkSettings {
            alias: Some(self.remark.clone()),
            ..LinkSettings::default()
        };
        let mut changes = vec![Change::set_link(dev, remark)];
        for address in &self.addresses {
            let neighbour = Neighbour::permanent(dev, *address, self.pod_mac);
            changes.push(Change::replace(neighbour));
            changes.push(Change::replace(Route::on_link((*address).into(), dev)));
            if self.of_localhost && address.is_ipv6() {
                let way = Box::new(way_to_localhost(dev));
                changes.push(Change::Route(Verb::Append, way));
            }
        }
        node.apply_all(&changes)?;
        wait_until_it_sends(node, dev)
    }

    /// What is not as it was made, if anything.
    pub(crate) fn find_difference(&self, node: &mut Netlink) -> Result<Option<String>, Error> {
        let Some(outside) = node.link(&self.host)? else {
            return Ok(Some(format!("the node has no interface {}", self.host)));
        };
        if !outside.up {
            return Ok(Some(format!("interface {} is down", self.host)));
        }
        let filter = RouteFilter {
            dev: Some(outside.index),
            ..RouteFilter::default()
        };
        let routes = node.routes(filter)?;
        for address in &self.addresses {
            let net = IpNet::from(*address);
            let leads = |route: &Route| {
                route.destination == net
                    && route.hops.iter().any(|hop| hop.dev == Some(outside.index))
            };
            if !routes.iter().any(leads) {
                return Ok(Some(format!("the node has no route to {address}")));
            }
        }
        self.namespace.enter(|| self.find_difference_inside())?
    }

    fn find_difference_inside(&self) -> Result<Option<String>, Error> {
        let mut pod = Netlink::open()?;
        let Some(inside) = pod.link(&self.inside)? else {
            return Ok(Some(format!("the pod has no interface {}", self.inside)));
        };
        if !inside.up {
            return Ok(Some(format!(
                "interface {} of the pod is down",
                self.inside
            )));
        }
        if inside.mac != Some(self.pod_mac) {
            return Ok(Some(format!(
                "interface {} is not {}",
                self.inside, self.pod_mac
            )));
        }
        let addresses = pod.addresses()?;
        let ways = default_routes(&mut pod)?;
        for address in &self.addresses {
            let has = |found: &Address| found.dev == inside.index && found.net.addr() == *address;
            if !addresses.iter().any(has) {
                return Ok(Some(format!("interface {} has not {address}", self.inside)));
            }
            if !ways.contains(&anywhere(*address)) {
                return Ok(Some(format!("{address} has no way out of the pod")));
            }
        }
        Ok(None)
    }
}

/// Removes cables by their ends on the node; their routes and neighbours go with them. One that is not
/// there is no error.
pub(crate) fn remove(node: &mut Netlink, hosts: &[LinkName]) -> Result<(), Error> {
    let mut there = Vec::new();
    for host in hosts {
        there.extend(node.link(host)?.map(|link| link.index));
    }
    let together = LinkSettings {
        group: Some(GOING),
        ..LinkSettings::default()
    };
    let changes = match there.as_slice() {
        [one] => vec![Change::DeleteLink(*one)],
        [] => Vec::new(),
        many => many
            .iter()
            .map(|index| Change::set_link(*index, together.clone()))
            .chain([Change::DeleteLinkGroup(GOING)])
            .collect(),
    };
    // The namespace may have been faster.
    let failures = node.apply(&changes).into_iter();
    let mut failures = failures.filter(|failure| !failure.error.is_not_there());
    failures.next().map_or(Ok(()), |failure| Err(failure.error))
}

/// The group of links that are about to go: nobody else has links in it ("peng").
const GOING: u32 = 0x7065_6e67;

/// The end that was up first drops what it is to send until the kernel has noticed that the other one is up
/// too, for which it may wait for everybody else who changes links. Since Linux 6.8 asking makes it notice.
fn wait_until_it_sends(node: &mut Netlink, dev: LinkIndex) -> Result<(), Error> {
    let begun = Instant::now();
    while begun.elapsed() < CARRIER {
        if node.link_at(dev)?.is_none_or(|link| link.running) {
            break;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    Ok(())
}

/// The kernel looks at carriers once a second at the latest.
const CARRIER: Duration = Duration::from_secs(2);

/// Gives both ends of a cable this MTU.
pub(crate) fn set_mtu(
    node: &mut Netlink,
    host: LinkIndex,
    lease: &Lease,
    mtu: u32,
) -> Result<(), Error> {
    let settings = LinkSettings {
        mtu: Some(mtu),
        ..LinkSettings::default()
    };
    let mut pod = Netlink::open_in(&Namespace::open(lease.netns.as_ref())?)?;
    let name = LinkName::new(&lease.key.attachment.ifname)?;
    let inside = pod.link_named(&name)?.index;
    pod.change(Change::set_link(inside, settings.clone()))?;
    // The node's last: it is by this one that we know what is still to do.
    node.change(Change::set_link(host, settings))
}

/// What `route_localnet` is for IPv4: the kernel takes answers to `::1` by links that have a route to it
/// only (`rt6_need_strict`). Packets that name it on the wire are dropped before.
fn way_to_localhost(dev: LinkIndex) -> Route {
    Route {
        kind: RouteKind::Local,
        table: LOCAL_TABLE,
        // The loopback's own comes first.
        metric: 4096,
        ..Route::on_link(IpAddr::from(Ipv6Addr::LOCALHOST).into(), dev)
    }
}

/// What a pod sends is forwarded even where IPv6 forwarding is off for the node (Linux 6.17).
fn forward_whatever_all_say(link: &str) -> Result<(), Error> {
    let sysctl = Sysctl::net(&["ipv6", "conf", link, "force_forwarding"]);
    match sysctl.path().exists() {
        true => sysctl.ensure("1").map(drop),
        false => Ok(()),
    }
}

fn default_routes(netlink: &mut Netlink) -> Result<Vec<IpNet>, Error> {
    let filter = RouteFilter {
        table: Some(netlink::MAIN_TABLE),
        ..RouteFilter::default()
    };
    let routes = netlink.routes(filter)?.into_iter();
    Ok(routes
        .filter(|route| route.destination.prefix_len() == 0)
        .map(|route| route.destination)
        .collect())
}

/// Locally administered, and the same whenever the same interface is made.
fn derived_mac(key: &Key, first: u8) -> Mac {
    let [_, _, _, a, b, c, d, e] = key.hash().to_be_bytes();
    Mac([first, a, b, c, d, e])
}

//! Against this machine's kernel, in namespaces that the tests make.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says why it was skipped")]

mod conntrack;
mod generic;
mod links;
mod lists;
mod namespaces;
mod nft;
mod notices;
mod packet_log;
mod routes;
mod traffic;
mod vxlan;

use std::net::IpAddr;
use std::time::Duration;

use netlink::{
    Address, Change, Error, Link, LinkKind, LinkName, LinkSettings, Monitor, Namespace, Netlink,
    NewLink, Peer, RouteKind, Topic,
};

/// Says why a test does not run here, if so.
fn skipped() -> bool {
    let Err(error) = Namespace::new() else {
        return false;
    };
    println!("skipped: no network namespaces here: {error}");
    true
}

/// Says that a kernel lacks what a test is about, if this error means that.
fn lacks(what: &str, result: &Result<Link, Error>) -> bool {
    match result {
        Err(error) if error.is_unsupported() => {
            println!("skipped: this kernel has no {what}");
            true
        }
        _ => false,
    }
}

fn name(text: &str) -> LinkName {
    LinkName::new(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn up() -> LinkSettings {
    LinkSettings {
        up: Some(true),
        ..LinkSettings::default()
    }
}

/// A cable between two namespaces, both ends named `e0`, up and with these addresses.
fn cable(a: &Namespace, b: &Namespace, addresses: [&str; 2]) {
    let peer = Peer {
        name: name("e0"),
        namespace: Some(b.clone()),
        mtu: None,
        mac: None,
    };
    let cable = NewLink::new(name("e0"), LinkKind::Veth(Box::new(peer)));
    Netlink::open_in(a).unwrap().add_link(cable).unwrap();
    for (namespace, address) in [a, b].into_iter().zip(addresses) {
        let mut netlink = Netlink::open_in(namespace).unwrap();
        let end = netlink.link_named(&name("e0")).unwrap().index;
        let address = Address::new(end, net(address));
        let changes = [Change::set_link(end, up()), Change::add(address)];
        netlink.apply_all(&changes).unwrap();
    }
    [a, b].into_iter().for_each(carries);
}

/// Waits until the kernel has noticed the other end: packets before that are lost.
fn carries(namespace: &Namespace) {
    let mut monitor = Monitor::open_in(namespace, &[Topic::Links], 64 << 10).unwrap();
    let mut netlink = Netlink::open_in(namespace).unwrap();
    while !netlink.link_named(&name("e0")).unwrap().running {
        monitor.next_within(Duration::from_secs(5)).unwrap();
    }
}

/// Waits until packets to an address of this host arrive: of an IPv6 address, the kernel makes the
/// route a moment after it has taken the address.
fn arrives(namespace: &Namespace, address: IpAddr) {
    let mut monitor = Monitor::open_in(namespace, &[Topic::Routes], 64 << 10).unwrap();
    let mut netlink = Netlink::open_in(namespace).unwrap();
    let mut is_local = || {
        let route = netlink.route_to(address, 0, None);
        route.is_ok_and(|route| route.is_some_and(|route| route.kind == RouteKind::Local))
    };
    while !is_local() {
        monitor.next_within(Duration::from_secs(5)).unwrap();
    }
}

/// An end of a cable whose other end is here too: stands in for `dummy`, which not every kernel has.
fn port(netlink: &mut Netlink, text: &str) -> Link {
    let peer = Peer {
        name: name(&format!("{text}-far")),
        namespace: None,
        mtu: None,
        mac: None,
    };
    let link = NewLink::new(name(text), LinkKind::Veth(Box::new(peer))).with(up());
    let near = netlink.add_link(link).unwrap();
    let far = netlink.link_named(&name(&format!("{text}-far"))).unwrap();
    netlink.change(Change::set_link(far.index, up())).unwrap();
    near
}

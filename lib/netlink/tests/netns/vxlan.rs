//! Two nodes with flannel's objects between them, and traffic.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use netlink::{
    Address, Change, ForwardingEntry, LinkKind, LinkSettings, Mac, Namespace, Neighbour, Netlink,
    NewLink, Route, Vxlan,
};

use crate::{cable, ip, name, net, skipped, up};

struct Node {
    namespace: Namespace,
    mac: Mac,
    outside: &'static str,
    subnet: [&'static str; 2],
}

/// Makes a node's device and its objects for the other node.
fn join(node: &Node, other: &Node, v6: bool) {
    let mut netlink = Netlink::open_in(&node.namespace).unwrap();
    let underlay = netlink.link_named(&name("e0")).unwrap();
    let vxlan = Vxlan {
        underlay: Some(underlay.index),
        local: Some(ip(node.outside)),
        ..Vxlan::new(1, 8472)
    };
    let overhead = if v6 { 70 } else { 50 };
    let device = NewLink::new(name("penstock.1"), LinkKind::Vxlan(Box::new(vxlan)));
    let device = device.with(LinkSettings {
        mac: Some(node.mac),
        mtu: Some(underlay.mtu - overhead),
        ..up()
    });
    let dev = netlink.add_link(device).unwrap().index;
    let mut changes = vec![Change::replace(ForwardingEntry::remote(
        dev,
        other.mac,
        ip(other.outside),
    ))];
    for (own, theirs) in node.subnet.iter().zip(other.subnet) {
        let (own, theirs): (ipnet::IpNet, ipnet::IpNet) = (net(own), net(theirs));
        let own = ipnet::IpNet::new(own.addr(), own.max_prefix_len()).unwrap();
        changes.push(Change::add(Address::new(dev, own)));
        changes.push(Change::replace(Neighbour::permanent(
            dev,
            theirs.addr(),
            other.mac,
        )));
        changes.push(Change::add(Route::via(theirs, theirs.addr(), dev)));
    }
    netlink.apply_all(&changes).unwrap();
}

fn talk(outside: [&'static str; 2], underlay: [&str; 2], v6: bool) {
    if skipped() {
        return;
    }
    let node = |number: u8, outside, subnet| Node {
        namespace: Namespace::new().unwrap(),
        mac: Mac([2, 0, 0, 0, 0, number]),
        outside,
        subnet,
    };
    let a = node(1, outside[0], ["10.1.1.0/24", "fd01:1::/64"]);
    let b = node(2, outside[1], ["10.1.2.0/24", "fd01:2::/64"]);
    cable(&a.namespace, &b.namespace, underlay);
    join(&a, &b, v6);
    join(&b, &a, v6);
    for (server, client) in [("10.1.2.0", "10.1.1.0"), ("fd01:2::", "fd01:1::")] {
        let listener = b
            .namespace
            .enter(|| TcpListener::bind(SocketAddr::new(ip(server), 0)).unwrap());
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        // More than a packet each way: the MTU is right or it stops here.
        let sent: Vec<u8> = (0..200_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
        let received = thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, from) = listener.accept().unwrap();
                assert_eq!(from.ip(), ip(client));
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                stream.write_all(&bytes).unwrap();
            });
            let mut stream = a
                .namespace
                .enter(|| TcpStream::connect(address).unwrap())
                .unwrap();
            stream.write_all(&sent).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert!(
            received == sent,
            "{} of {} bytes came back",
            received.len(),
            sent.len()
        );
    }
}

#[test]
fn over_an_ipv4_underlay() {
    talk(
        ["192.0.2.1", "192.0.2.2"],
        ["192.0.2.1/24", "192.0.2.2/24"],
        false,
    );
}

#[test]
fn over_an_ipv6_underlay() {
    talk(["fd00::1", "fd00::2"], ["fd00::1/64", "fd00::2/64"], true);
}

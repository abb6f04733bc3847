//! Connection tracking: lists are complete, and only what is meant is deleted.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use netlink::conntrack::{Conntrack, Entry, Filter};
use netlink::nft::{
    Chain, ChainKind, CtState, CtStatus, Element, Family, Field, Hook, NatFamily, NatKind, Nft,
    Port, Protocol, Rule, Set, Table, Transaction, Type,
};
use netlink::{Address, Change, Namespace, Netlink};

use crate::{arrives, ip, name, net, skipped, up};

const NODE: &str = "10.9.0.1";
const PODS: [&str; 2] = ["10.9.1.1", "10.9.1.2"];
const POD6: &str = "fd00::1";

/// A host with the addresses of node and pods, where everything is tracked and begun with mark 7,
/// and UDP port 53 of the node is that of the first pod.
fn tracked() -> Option<(Namespace, Conntrack)> {
    if skipped() {
        return None;
    }
    let namespace = Namespace::new().unwrap();
    let mut netlink = Netlink::open_in(&namespace).unwrap();
    let lo = netlink.link_named(&name("lo")).unwrap().index;
    let mut changes = vec![Change::set_link(lo, up())];
    let addresses = ["10.9.0.1/32", "10.9.1.1/32", "10.9.1.2/32", "fd00::1/128"];
    changes.extend(addresses.map(|address| Change::add(Address::new(lo, net(address)))));
    netlink.apply_all(&changes).unwrap();
    arrives(&namespace, ip(POD6));

    let table = Table::new(Family::Inet, "tracking");
    let ports = Set::map(
        "ports",
        &[Type::Protocol, Type::Ipv4, Type::Port],
        &[Type::Ipv4, Type::Port],
    );
    let web = Element::mapping(
        (Protocol::UDP, ip(NODE), Port(53)),
        (ip(PODS[0]), Port(5353)),
    );
    let fields = [Field::Protocol, Field::Destination4, Field::DestinationPort];
    let sent = Rule::new()
        .ipv4()
        .mapped_by(&fields, "ports")
        .nat_as_mapped(NatKind::Destination, NatFamily::Ip, true);
    let mut transaction = Transaction::new(&table);
    transaction
        .add_table()
        .add_set(&ports)
        .add_elements(&ports, [&web])
        .add_chain(&Chain::base("nat", ChainKind::Nat, Hook::Output, -100))
        .add_rule("nat", &sent)
        .add_chain(&Chain::base("new", ChainKind::Filter, Hook::Output, 0))
        .add_rule("new", &Rule::new().in_state(CtState::NEW).set_ct_mark(7));
    match Nft::open_in(&namespace).unwrap().commit(transaction) {
        Ok(()) => {}
        Err(error) if error.is_unsupported() || error.is_not_there() => {
            println!("skipped: this kernel tracks no connections: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    let conntrack = Conntrack::open_in(&namespace).unwrap();
    Some((namespace, conntrack))
}

/// Sends from one address to a port of another, and says from which port.
fn send(namespace: &Namespace, from: &str, to: &str, port: u16) -> u16 {
    let send = || {
        let socket = UdpSocket::bind(SocketAddr::new(ip(from), 0))?;
        socket.send_to(b"?", SocketAddr::new(ip(to), port))?;
        socket.local_addr()
    };
    namespace.enter(send).unwrap().unwrap().port()
}

fn ends(entry: &Entry) -> (IpAddr, IpAddr, u16) {
    let tuple = entry.original;
    (tuple.source, tuple.destination, tuple.destination_port)
}

#[test]
fn connections_are_chosen_by_port_address_and_mark() {
    let Some((namespace, mut conntrack)) = tracked() else {
        return;
    };
    let port = send(&namespace, PODS[1], NODE, 53);
    send(&namespace, PODS[1], NODE, 54);
    send(&namespace, PODS[0], PODS[1], 53);
    send(&namespace, POD6, POD6, 53);

    let all = conntrack.entries(&[Filter::all()]).unwrap();
    // An ICMP error belongs to its connection.
    assert_eq!(all.len(), 4, "{all:#?}");
    assert!(all.iter().all(|entry| entry.mark == 7));
    let mut find = |filters: &[Filter]| {
        let mut found: Vec<_> = conntrack.entries(filters).unwrap();
        found.sort_by_key(ends);
        found.iter().map(ends).collect::<Vec<_>>()
    };
    let (node, pods, pod6) = (ip(NODE), PODS.map(ip), ip(POD6));
    let host_port = (pods[1], node, 53);
    let (out, of6) = ((pods[0], pods[1], 53), (pod6, pod6, 53));
    let dns = Filter::to_port(Protocol::UDP, 53);
    assert_eq!(find(&[dns]), [out, host_port, of6]);
    let mut of_node = dns;
    of_node.original.destination = Some(node);
    assert_eq!(find(&[of_node]), [host_port]);
    // Who answers is the pod, whatever address was asked.
    assert_eq!(find(&[Filter::answered_by(pods[0])]), [host_port]);
    assert_eq!(find(&Filter::of(pods[0])), [out, host_port]);
    // Both of its filters match what it sends to itself, which comes once.
    assert_eq!(find(&Filter::of(pod6)), [of6]);
    assert_eq!(find(&[Filter::marked(0x17, 0xf)]).len(), 4);
    assert_eq!(find(&[Filter::marked(6, 0xf)]), []);
    assert_eq!(find(&[Filter::to_port(Protocol::TCP, 53)]), []);
    let mut answered = Filter::all();
    answered.reply.source_port = Some(5353);
    assert_eq!(find(&[answered]), [host_port]);

    let [entry] = conntrack.entries(&[of_node]).unwrap().try_into().unwrap();
    assert_ne!(entry.status.0 & CtStatus::DESTINATION_NAT.0, 0);
    assert_eq!(entry.reply.source_port, 5353);
    assert_eq!(
        entry.original.to_string(),
        format!("udp {}:{port} to {NODE}:53", PODS[1])
    );
    assert_eq!(
        conntrack
            .entries(&[Filter::exactly(entry.original)])
            .unwrap(),
        [entry]
    );
}

#[test]
fn only_what_is_meant_is_deleted() {
    let Some((namespace, mut conntrack)) = tracked() else {
        return;
    };
    send(&namespace, PODS[1], NODE, 53);
    send(&namespace, PODS[0], PODS[1], 53);
    send(&namespace, POD6, POD6, 53);
    let dns = Filter::to_port(Protocol::UDP, 53);
    let old = conntrack.entries(&[dns]).unwrap();
    assert_eq!(conntrack.delete(&Filter::of(ip(PODS[0]))).unwrap(), 2);
    assert_eq!(conntrack.entries(&[Filter::all()]).unwrap().len(), 1);
    // Two of them are gone, and that is no error.
    assert_eq!(conntrack.delete_entries(&old).unwrap(), 1);
    assert_eq!(conntrack.entries(&[Filter::all()]).unwrap(), []);
    assert_eq!(conntrack.delete(&[dns]).unwrap(), 0);
}

/// More than many datagrams of a dump and many batches of deletions hold.
#[test]
fn thousands_are_all_listed_and_all_deleted() {
    const COUNT: u16 = 5000;
    let Some((namespace, mut conntrack)) = tracked() else {
        return;
    };
    let send = || {
        let socket = UdpSocket::bind(SocketAddr::new(ip(PODS[1]), 0))?;
        for port in 0..COUNT {
            // What was refused before is said once, and then nothing was sent.
            let to = SocketAddr::new(ip(PODS[0]), 10_000 + port);
            let sent = socket.send_to(b"?", to);
            sent.or_else(|_| socket.send_to(b"?", to))?;
        }
        std::io::Result::Ok(())
    };
    namespace.enter(send).unwrap().unwrap();
    let all = conntrack.entries(&[Filter::begun_by(ip(PODS[1]))]).unwrap();
    assert_eq!(all.len(), usize::from(COUNT));
    let deleted = conntrack.delete(&Filter::of(ip(PODS[0]))).unwrap();
    assert_eq!(deleted, usize::from(COUNT));
    assert_eq!(conntrack.entries(&[Filter::all()]).unwrap(), []);
}

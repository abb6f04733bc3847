//! Three nodes.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use loadtest::lab::Machine;
use netlink::Namespace;

use super::world::{OUTSIDE, Pod, node_addresses};
use super::{Member, World};
use crate::pods::reaches;

/// What each node leads to, by tunnels.
fn routes_to(others: &[u8]) -> Vec<String> {
    let v4 = others
        .iter()
        .map(|it| format!("10.244.{it}.0/24 10.244.{it}.0 flannel.1"));
    let v6 = others
        .iter()
        .map(|it| format!("fd00:{it}::/64 fd00:{it}:: flannel-v6.1"));
    v4.chain(v6).collect()
}

fn until_led(members: &[Member]) {
    for member in members {
        let others = members.iter().map(|other| other.number);
        let others: Vec<u8> = others.filter(|number| *number != member.number).collect();
        let want = routes_to(&others);
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        member.until_routes(&want);
    }
}

fn of(addresses: &[IpAddr], family: usize) -> IpAddr {
    let found = addresses.iter().find(|it| it.is_ipv6() == (family == 1));
    *found.unwrap()
}

/// Sends what is exactly as large as a packet of this link may be, and says how many came to pieces.
fn send_largest(from: &Pod, to: &Pod, family: usize, mtu: usize, machines: &[&Machine]) -> u64 {
    let headers = [28, 48][family];
    let bind = |pod: &Pod| {
        let address = of(&pod.addresses, family);
        let bind = || UdpSocket::bind((address, 0)).unwrap();
        pod.named.namespace.enter(bind).unwrap()
    };
    let (sender, receiver) = (bind(from), bind(to));
    receiver
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let spaces = machines.iter().map(|machine| machine.namespace());
    let spaces: Vec<&Namespace> = spaces
        .chain([&from.named.namespace, &to.named.namespace])
        .collect();
    let pieces = || spaces.iter().map(|space| pieces(space)).sum::<u64>();
    let before = pieces();
    let payload = vec![7; mtu - headers];
    sender
        .send_to(&payload, receiver.local_addr().unwrap())
        .unwrap();
    assert_eq!(receiver.recv(&mut [0; 9000]).unwrap(), payload.len());
    pieces() - before
}

/// How many packets a machine has cut or put together.
fn pieces(namespace: &Namespace) -> u64 {
    let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
    let (v4, v6) = namespace.enter(|| (read("snmp"), read("snmp6"))).unwrap();
    let mut lines = v4.lines().filter(|line| line.starts_with("Ip: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let v4 = names.split(' ').zip(values.split(' '));
    let v6 = v6
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace));
    v4.chain(v6)
        .filter(|(name, _)| name.ends_with("FragCreates") || name.ends_with("ReasmReqds"))
        .map(|(_, value)| value.trim().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn pods_nodes_and_the_outside_reach_each_other() {
    let Some(world) = World::new() else { return };
    let members = [1, 2, 3].map(|number| world.member(number, &[]));
    until_led(&members);
    let pods = members.each_ref().map(|member| member.add_pod("c"));
    let machines = members.each_ref().map(|member| &member.machine);
    for (family, outside) in OUTSIDE.iter().enumerate() {
        for (from, pod) in pods.iter().enumerate() {
            let near = &pod.named.namespace;
            for (to, other) in pods.iter().enumerate().filter(|(to, _)| *to != from) {
                let far = &other.named.namespace;
                let peer = reaches(near, far, of(&other.addresses, family));
                assert_eq!(peer, of(&pod.addresses, family), "pod to pod, as it is");
                let node = members[to].machine.namespace();
                reaches(near, node, node_addresses(members[to].number)[family]);
                let peer = reaches(node, near, of(&pod.addresses, family));
                let range = format!("10.244.{}.0", members[to].number);
                if family == 0 {
                    assert_eq!(peer.to_string(), range, "the tunnel's own address");
                }
                // What is cut is cut by the pod: the tunnel carries what the pod's link does.
                let mtu = 1430;
                assert_eq!(send_largest(pod, other, family, mtu, &machines), 0);
                assert_ne!(send_largest(pod, other, family, mtu + 8, &machines), 0);
            }
            reaches(near, world.outside.namespace(), outside.parse().unwrap());
        }
    }
    for number in [1, 2, 3] {
        let object = world.object(number);
        let condition = &object["status"]["conditions"][0];
        assert_eq!(condition["type"], "NetworkUnavailable");
        assert_eq!(condition["status"], "False");
        let own = format!("192.0.2.{number}");
        assert_eq!(world.told(number, "public-ip"), Some(own));
    }
}

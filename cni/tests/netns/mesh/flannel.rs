//! A node that is made by hand, exactly as flannel makes it, beside one with an agent.

use std::net::IpAddr;

use loadtest::lab::Machine;
use netlink::{
    Address, Change, ForwardingEntry, LinkKind, LinkName, LinkSettings, Mac, Namespace, Neighbour,
    NewLink, Route, Vxlan,
};
use serde_json::json;

use super::World;
use super::world::{node_addresses, ranges};
use crate::pods::reaches;

/// flannel's hardware addresses are random ones.
const V4: Mac = Mac([0x9a, 0x5e, 0xc1, 0x07, 0x33, 0xe2]);
const V6: Mac = Mac([0x6e, 0x11, 0x90, 0xb4, 0x2f, 0x0d]);

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Makes flannel's devices, with its own MTU: less by 50 for both families.
fn make_devices(machine: &Machine, number: u8) {
    let mut netlink = machine.netlink().unwrap();
    let eth0 = LinkName::new("eth0").unwrap();
    let underlay = netlink.link_named(&eth0).unwrap();
    let [v4, v6] = node_addresses(number);
    for (name, local, mac, range) in [
        ("flannel.1", v4, V4, &ranges(number)[0]),
        ("flannel-v6.1", v6, V6, &ranges(number)[1]),
    ] {
        let vxlan = Vxlan {
            underlay: Some(underlay.index),
            local: Some(local),
            ..Vxlan::new(1, 8472)
        };
        let settings = LinkSettings {
            up: Some(true),
            mtu: Some(underlay.mtu - 50),
            mac: Some(mac),
            ..LinkSettings::default()
        };
        let name = LinkName::new(name).unwrap();
        let link = NewLink::new(name, LinkKind::Vxlan(Box::new(vxlan))).with(settings);
        let dev = netlink.add_link(link).unwrap().index;
        let range: ipnet::IpNet = parse(range);
        let own = Address::new(dev, range.addr().into());
        netlink.change(Change::add(own)).unwrap();
    }
}

/// What flannel tells of its node.
fn announce(world: &World, number: u8) {
    let [v4, v6] = node_addresses(number);
    let key = |key| format!("flannel.alpha.coreos.com/{key}");
    let data = |mac: Mac| json!({"VNI": 1, "VtepMAC": mac.to_string()}).to_string();
    let told = json!({
        key("backend-type"): "vxlan", key("kube-subnet-manager"): "true",
        key("public-ip"): v4, key("backend-data"): data(V4),
        key("public-ipv6"): v6, key("backend-v6-data"): data(V6),
    });
    let mut object = world.object(number);
    object["metadata"] = json!({"name": format!("n{number}"), "annotations": told});
    world.apply(&object);
}

/// Leads to another node as flannel does, by what that one tells.
fn lead_to(world: &World, machine: &Machine, other: u8) {
    let mut netlink = machine.netlink().unwrap();
    let tell = |key| world.told(other, key).unwrap();
    for (name, address, data, range) in [
        ("flannel.1", "public-ip", "backend-data", &ranges(other)[0]),
        (
            "flannel-v6.1",
            "public-ipv6",
            "backend-v6-data",
            &ranges(other)[1],
        ),
    ] {
        let dev = netlink.link_named(&LinkName::new(name).unwrap()).unwrap();
        let data: serde_json::Value = parse(&tell(data));
        assert_eq!(data["VNI"], 1);
        let mac: Mac = parse(data["VtepMAC"].as_str().unwrap());
        let range: ipnet::IpNet = parse(range);
        let neighbour = Neighbour::permanent(dev.index, range.addr(), mac);
        let remote = parse::<IpAddr>(&tell(address));
        let route = Route {
            // `RTPROT_BOOT`
            protocol: 3,
            ..Route::via(range, range.addr(), dev.index)
        };
        netlink
            .apply_all(&[
                Change::replace(neighbour),
                Change::replace(ForwardingEntry::remote(dev.index, mac, remote)),
                Change::replace(route),
            ])
            .unwrap();
    }
}

/// An address in the place of a pod's, on the node itself.
fn add_pods(machine: &Machine, number: u8) -> [IpAddr; 2] {
    let pods = [
        format!("10.244.{number}.7/32"),
        format!("fd00:{number}::7/128"),
    ];
    pods.map(|pod| {
        machine.add_address("lo", &pod).unwrap();
        parse::<ipnet::IpNet>(&pod).addr()
    })
}

fn talk(near: &Namespace, near_pods: &[IpAddr], far: &Namespace, far_pods: &[IpAddr]) {
    for (near_pod, far_pod) in near_pods.iter().zip(far_pods) {
        assert_eq!(near_pod.is_ipv4(), far_pod.is_ipv4());
        reaches(near, far, *far_pod);
        reaches(far, near, *near_pod);
    }
}

#[test]
fn a_node_of_flannels_talks_with_one_of_ours() {
    let Some(world) = World::new() else { return };
    let flannel = world.node(1);
    make_devices(&flannel, 1);
    announce(&world, 1);
    let member = world.member(2, &[]);
    member.until_routes(&[
        "10.244.1.0/24 10.244.1.0 flannel.1",
        "fd00:1::/64 fd00:1:: flannel-v6.1",
    ]);
    member.until("told", || world.told(2, "backend-v6-data").is_some());
    lead_to(&world, &flannel, 2);
    let pods = add_pods(&flannel, 1);
    let pod = member.add_pod("c");
    let near = &pod.named.namespace;
    talk(near, &pod.addresses, flannel.namespace(), &pods);
    assert_eq!(
        reaches(near, flannel.namespace(), pods[0]),
        pod.addresses[0]
    );
}

/// The node that ran flannel gets an agent: its device, its hardware address and its entries stay, so that
/// nobody else has to learn anything.
#[test]
fn a_node_is_moved_from_flannel_with_its_traffic_flowing() {
    let Some(world) = World::new() else { return };
    let machine = world.node(1);
    make_devices(&machine, 1);
    announce(&world, 1);
    let other = world.member(2, &[]);
    other.until("told", || world.told(2, "backend-v6-data").is_some());
    lead_to(&world, &machine, 2);
    let pods = add_pods(&machine, 1);
    let pod = other.add_pod("c");
    other.until("leading back", || other.routes().len() == 2);
    let listed = |name: &str| {
        let name = LinkName::new(name).unwrap();
        machine.netlink().unwrap().link_named(&name).unwrap()
    };
    let before = (listed("flannel.1"), listed("flannel-v6.1"));
    let stale = Route::via(
        parse("10.244.77.0/24"),
        parse("10.244.77.0"),
        before.0.index,
    );
    let mut netlink = machine.netlink().unwrap();
    netlink.change(Change::add(stale)).unwrap();
    let told = |key| world.told(1, key);
    let annotations = ["backend-data", "backend-v6-data", "public-ip"].map(told);

    // A connection that lives through it.
    let bind = || std::net::TcpListener::bind((pods[0], 0)).unwrap();
    let listener = machine.enter(bind).unwrap();
    let target = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect(target).unwrap();
    let mut near = pod.named.namespace.enter(connect).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let mut exchange = || {
        use std::io::{Read as _, Write as _};
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
    };
    exchange();
    let member = world.member_on(1, machine.clone(), &[]);
    member.until_routes(&[
        "10.244.2.0/24 10.244.2.0 flannel.1",
        "fd00:2::/64 fd00:2:: flannel-v6.1",
    ]);
    exchange();
    talk(
        &pod.named.namespace,
        &pod.addresses,
        machine.namespace(),
        &pods,
    );
    let after = (listed("flannel.1"), listed("flannel-v6.1"));
    assert_eq!(after.0, before.0, "the very device");
    assert_eq!((after.1.index, after.1.mac), (before.1.index, before.1.mac));
    assert_eq!(after.1.mtu, 1430, "flannel's was too large for IPv6 below");
    assert_eq!(
        ["backend-data", "backend-v6-data", "public-ip"].map(told),
        annotations
    );
}

//! What happens to a mesh that is there.

use std::net::IpAddr;

use loadtest::lab::Machine;
use netlink::{Change, ForwardingEntry, LinkName, Mac, Neighbour, Route};
use serde_json::json;

use super::world::{Pod, node_addresses};
use super::{Member, World};
use crate::pods::reaches;

const LED: [&str; 2] = [
    "10.244.2.0/24 10.244.2.0 flannel.1",
    "fd00:2::/64 fd00:2:: flannel-v6.1",
];

/// Two nodes that lead to each other.
fn two(world: &World, flags: &[&str]) -> [Member; 2] {
    let members = [1, 2].map(|number| world.member(number, flags));
    for member in &members {
        member.until("leading to the other", || member.routes().len() == 2);
    }
    members
}

fn talk(pods: &[Pod; 2]) {
    for (near, far) in [(0, 1), (1, 0)] {
        for address in &pods[far].addresses {
            let near = &pods[near].named.namespace;
            reaches(near, &pods[far].named.namespace, *address);
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The remote ends in a forwarding database.
fn remotes(machine: &Machine, tunnel: &str) -> Vec<IpAddr> {
    let mut netlink = machine.netlink().unwrap();
    let tunnel = netlink.link_named(&LinkName::new(tunnel).unwrap()).unwrap();
    let entries = netlink.forwarding(tunnel.index).unwrap();
    let mut remotes: Vec<_> = entries.into_iter().filter_map(|it| it.remote).collect();
    remotes.sort();
    remotes
}

#[test]
fn a_new_address_and_a_new_mtu_are_followed() {
    let Some(world) = World::new() else { return };
    let [first, second] = two(&world, &[]);
    let pods = [&first, &second].map(|member| member.add_pod("c"));
    let device = second.link("flannel.1").unwrap();
    let machine = &second.machine;
    machine.remove_address("eth0", "192.0.2.2/24").unwrap();
    machine.add_address("eth0", "192.0.2.22/24").unwrap();
    // It went with the address.
    machine.route("0.0.0.0/0", "192.0.2.254").unwrap();
    first.until("sending to the new address", || {
        remotes(&first.machine, "flannel.1") == [ip("192.0.2.22")]
    });
    assert_eq!(world.told(2, "public-ip").unwrap(), "192.0.2.22");
    let changed = second.link("flannel.1").unwrap();
    let same = (changed.index, changed.mac) == (device.index, device.mac);
    assert!(same, "changed in place");
    talk(&pods);

    for mtu in [1400, 1500] {
        machine.set_mtu("eth0", mtu).unwrap();
        let want = (Some(mtu - 50), Some(mtu - 70));
        second.until("as large as the underlay allows", || {
            let mtu = |name| second.link(name).map(|link| link.mtu);
            (mtu("flannel.1"), mtu("flannel-v6.1")) == want
        });
        let said = format!("FLANNEL_MTU={}\n", mtu - 70);
        second.until("said", || second.subnet_file().contains(&said));
    }
    talk(&pods);
}

#[test]
fn what_others_change_is_put_right() {
    let Some(world) = World::new() else { return };
    let [first, second] = two(&world, &[]);
    let pods = [&first, &second].map(|member| member.add_pod("c"));
    let mut netlink = first.machine.netlink().unwrap();
    let v4 = netlink.link_named(&LinkName::new("flannel.1").unwrap());
    let v4 = v4.unwrap().index;
    let stranger = "10.9.0.0/24".parse().unwrap();
    let mac = Mac([2, 9, 9, 9, 9, 9]);
    netlink
        .apply_all(&[
            Change::add(Route::via(stranger, ip("10.9.0.0"), v4)),
            Change::add(Neighbour::permanent(v4, ip("10.9.0.0"), mac)),
            Change::add(ForwardingEntry::remote(v4, mac, ip("192.0.2.99"))),
        ])
        .unwrap();
    // That a route of ours has gone is heard of, and everything is looked at.
    let filter = netlink::RouteFilter {
        dev: Some(v4),
        ..netlink::RouteFilter::default()
    };
    let routes = netlink.routes(filter).unwrap();
    let range = "10.244.2.0/24".parse::<ipnet::IpNet>().unwrap();
    let ours = routes.into_iter().find(|it| it.destination == range);
    netlink.change(Change::delete(ours.unwrap())).unwrap();
    first.until_routes(&LED);
    first.until("sending to the other only", || {
        remotes(&first.machine, "flannel.1") == [node_addresses(2)[0]]
    });
    talk(&pods);

    // The device itself, with all that it held.
    netlink.change(Change::DeleteLink(v4)).unwrap();
    first.until_routes(&LED);
    talk(&pods);
    let tell = |key| world.told(1, key).unwrap();
    let mac = first.link("flannel.1").unwrap().mac.unwrap().to_string();
    assert!(tell("backend-data").contains(&mac), "the same as before");
}

#[test]
fn pods_talk_on_without_an_agent_and_the_next_one_disturbs_nothing() {
    let Some(world) = World::new() else { return };
    let [mut first, second] = two(&world, &[]);
    let pods = [&first, &second].map(|member| member.add_pod("c"));
    let device = first.link("flannel.1").unwrap();
    first.kill();
    talk(&pods);
    // What happens meanwhile.
    let third = world.member(3, &[]);
    first.start();
    first.until("leading to three", || first.routes().len() == 4);
    assert_eq!(first.link("flannel.1").unwrap(), device);
    talk(&pods);
    drop(third);
    world.delete(3);
    first.until_routes(&LED);
}

#[test]
fn a_bad_node_is_left_out_alone() {
    let Some(world) = World::new() else { return };
    let [first, second] = two(&world, &[]);
    let key = |key| format!("flannel.alpha.coreos.com/{key}");
    for (number, ranges, data) in [
        (7, json!(["10.244.7.0/24"]), "{\"VNI\":1,\"VtepMAC\":\"x\"}"),
        (
            8,
            json!([]),
            "{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:08\"}",
        ),
        (
            9,
            json!(["10.244.0.0/16"]),
            "{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:09\"}",
        ),
    ] {
        world.apply(&json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": format!("n{number}"), "annotations": {
                key("backend-type"): "vxlan", key("kube-subnet-manager"): "true",
                key("public-ip"): format!("192.0.2.{number}"), key("backend-data"): data,
            }},
            "spec": {"podCIDRs": ranges},
        }));
    }
    for (node, reason) in [
        ("n7", "hardware address"),
        ("n8", "no range for pods"),
        ("n9", "is also of n1"),
    ] {
        first.until("saying so", || {
            let log = first.log();
            log.lines()
                .any(|line| line.contains(node) && line.contains(reason))
        });
    }
    first.until_routes(&LED);
    let pods = [&first, &second].map(|member| member.add_pod("c"));
    talk(&pods);
}

#[test]
fn nodes_on_one_link_need_no_tunnel() {
    for flags in [&["--backend=host-gw"][..], &["--direct-routing"]] {
        let Some(world) = World::new() else { return };
        let [first, second] = two(&world, flags);
        first.until_routes(&[
            "10.244.2.0/24 192.0.2.2 eth0",
            "fd00:2::/64 2001:db8::2 eth0",
        ]);
        let pods = [&first, &second].map(|member| member.add_pod("c"));
        talk(&pods);
        let tunnel = first.link("flannel.1");
        assert_eq!(tunnel.is_none(), flags == ["--backend=host-gw"]);
        if tunnel.is_none() {
            assert_eq!(world.told(1, "backend-data").unwrap(), "null");
            assert!(first.subnet_file().contains("FLANNEL_MTU=1500\n"));
        }
    }
}

#[test]
fn an_ipv6_underlay_carries_both_families() {
    let Some(world) = World::new() else { return };
    let back = world.lab.switch("back").unwrap();
    let [first, second] = [1, 2].map(|number| {
        let machine = world.node(number);
        let address = format!("2001:db8:2::{number}/64");
        machine.plug(&back, "eth1", &[&address]).unwrap();
        world.member_on(number, machine, &["--interface=eth1"])
    });
    first.until_routes(&[
        "10.244.2.0/24 10.244.2.0 flannel-v6.1",
        "fd00:2::/64 fd00:2:: flannel-v6.1",
    ]);
    second.until("leading back", || second.routes().len() == 2);
    assert_eq!(first.link("flannel.1"), None);
    assert_eq!(first.link("flannel-v6.1").unwrap().mtu, 1430);
    let told = |key| world.told(1, key);
    assert_eq!(told("public-ipv6").unwrap(), "2001:db8:2::1");
    assert_eq!((told("public-ip"), told("backend-data")), (None, None));
    let pods = [&first, &second].map(|member| member.add_pod("c"));
    talk(&pods);
    assert_eq!(
        remotes(&first.machine, "flannel-v6.1"),
        [ip("2001:db8:2::2")]
    );
}

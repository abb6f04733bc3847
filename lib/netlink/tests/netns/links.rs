//! Every kind of link, made, listed, changed and removed.

use std::net::Ipv4Addr;

use netlink::{
    Change, LinkIndex, LinkKind, LinkSettings, ListedKind, Namespace, Netlink, NewLink, Peer,
    Tunnel, Vxlan,
};

use crate::{lacks, name, port, skipped, up};

fn simple(kind: LinkKind) {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    let what = kind.name();
    let made = netlink.add_link(NewLink::new(name("x0"), kind).with(up()));
    if lacks(what, &made) {
        return;
    }
    let made = made.unwrap();
    assert_eq!(made.kind.name(), what);
    assert!(made.up);
    netlink.change(Change::DeleteLink(made.index)).unwrap();
    assert_eq!(netlink.link(&name("x0")).unwrap(), None);
}

#[test]
fn dummy() {
    simple(LinkKind::Dummy);
}

#[test]
fn ifb() {
    simple(LinkKind::Ifb);
}

#[test]
fn wireguard() {
    simple(LinkKind::Wireguard);
}

#[test]
fn ipip() {
    simple(LinkKind::Ipip(Tunnel {
        local: Some(Ipv4Addr::LOCALHOST.into()),
        ..Tunnel::default()
    }));
}

#[test]
fn ip6_tunnel() {
    simple(LinkKind::Ip6Tunnel(Tunnel {
        local: Some("fd00::1".parse().unwrap()),
        ..Tunnel::default()
    }));
}

#[test]
fn a_bridge_takes_ports_and_gives_them_back() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    let bridge = NewLink::new(name("br0"), LinkKind::Bridge).with(up());
    let bridge = netlink.add_link(bridge).unwrap();
    let end = port(&mut netlink, "p0");
    for master in [Some(bridge.index), None] {
        let settings = LinkSettings {
            master: Some(master),
            ..LinkSettings::default()
        };
        netlink
            .change(Change::set_link(end.index, settings))
            .unwrap();
        assert_eq!(netlink.link_at(end.index).unwrap().unwrap().master, master);
    }
}

#[test]
fn the_other_end_of_a_cable_is_born_where_it_is_to_be() {
    if skipped() {
        return;
    }
    let (node, pod) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    let peer = Peer {
        name: name("eth0"),
        namespace: Some(pod.clone()),
        mtu: Some(1450),
        mac: Some("02:00:00:00:00:07".parse().unwrap()),
    };
    let cable = NewLink::new(name("pen0"), LinkKind::Veth(Box::new(peer))).with(LinkSettings {
        alias: Some("shop/cart".to_owned()),
        ..up()
    });
    let mut node = Netlink::open_in(&node).unwrap();
    let near = node.add_link(cable).unwrap();
    assert_eq!(node.links().unwrap().len(), 2, "the loopback and one end");
    assert_eq!(near.alias.as_deref(), Some("shop/cart"));
    assert!(near.parent_elsewhere);

    let mut pod = Netlink::open_in(&pod).unwrap();
    let far = pod.link_named(&name("eth0")).unwrap();
    assert_eq!(far.mtu, 1450);
    assert_eq!(far.mac.unwrap().to_string(), "02:00:00:00:00:07");
    assert_eq!(near.parent, Some(far.index));
    pod.change(Change::set_link(far.index, up())).unwrap();
    assert!(pod.link_at(far.index).unwrap().unwrap().carrier);
}

#[test]
fn the_links_of_a_group_go_at_once() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    for text in ["br0", "br1", "br2"] {
        let bridge = NewLink::new(name(text), LinkKind::Bridge);
        let index = netlink.add_link(bridge).unwrap().index;
        let group = LinkSettings {
            group: (text != "br1").then_some(77),
            ..LinkSettings::default()
        };
        netlink.change(Change::set_link(index, group)).unwrap();
    }
    netlink.change(Change::DeleteLinkGroup(77)).unwrap();
    let there = |text| netlink.link(&name(text)).unwrap().is_some();
    assert_eq!(["br0", "br1", "br2"].map(there), [false, true, false]);
    let none = netlink.change(Change::DeleteLinkGroup(77)).unwrap_err();
    assert!(none.is_not_there(), "{none}");
    assert!(none.to_string().starts_with("deleting links of group 77: "));
}

#[test]
fn a_link_is_set_renamed_and_moved() {
    if skipped() {
        return;
    }
    let (here, there) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    let mut netlink = Netlink::open_in(&here).unwrap();
    let end = port(&mut netlink, "p0");
    let settings = LinkSettings {
        name: Some(name("q.0")),
        up: Some(false),
        mtu: Some(1300),
        link_local: Some(false),
        ..LinkSettings::default()
    };
    netlink
        .change(Change::set_link(end.index, settings))
        .unwrap();
    let end = netlink.link_named(&name("q.0")).unwrap();
    assert_eq!((end.mtu, end.up), (1300, false));
    let settings = LinkSettings {
        namespace: Some(there.clone()),
        ..LinkSettings::default()
    };
    netlink
        .change(Change::set_link(end.index, settings))
        .unwrap();
    assert_eq!(netlink.link(&name("q.0")).unwrap(), None);
    let mut there = Netlink::open_in(&there).unwrap();
    assert_eq!(there.link_named(&name("q.0")).unwrap().mtu, 1300);
}

#[test]
fn a_vxlan_device_is_listed_as_it_was_made() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    let underlay = port(&mut netlink, "u0");
    let wanted = [
        Vxlan {
            underlay: Some(underlay.index),
            local: Some("192.0.2.1".parse().unwrap()),
            ..Vxlan::new(1, 8472)
        },
        Vxlan {
            local: Some("fd00::1".parse().unwrap()),
            udp6_zero_checksum_sent: true,
            udp6_zero_checksum_taken: true,
            udp_checksum: true,
            learning: true,
            ttl: 5,
            ..Vxlan::new(16_000_000, 4789)
        },
        Vxlan {
            gbp: true,
            l2_miss: true,
            l3_miss: true,
            group: Some("192.0.2.9".parse().unwrap()),
            ..Vxlan::new(7, 8473)
        },
    ];
    for (number, vxlan) in wanted.into_iter().enumerate() {
        let kind = LinkKind::Vxlan(Box::new(vxlan.clone()));
        let made = netlink
            .add_link(NewLink::new(name(&format!("vx{number}")), kind))
            .unwrap();
        assert_eq!(made.kind, ListedKind::Vxlan(Box::new(vxlan)));
    }
}

#[test]
fn the_end_of_a_tunnel_changes_in_place() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    let vxlan = Vxlan {
        local: Some("192.0.2.1".parse().unwrap()),
        ..Vxlan::new(1, 8472)
    };
    let made = NewLink::new(name("vx0"), LinkKind::Vxlan(Box::new(vxlan))).with(up());
    let made = netlink.add_link(made).unwrap();
    let settings = LinkSettings {
        vxlan_local: Some("192.0.2.2".parse().unwrap()),
        ..LinkSettings::default()
    };
    netlink
        .change(Change::set_link(made.index, settings))
        .unwrap();
    let ListedKind::Vxlan(now) = netlink.link_at(made.index).unwrap().unwrap().kind else {
        panic!("it is a vxlan device")
    };
    assert_eq!(now.local, Some("192.0.2.2".parse().unwrap()));
}

#[test]
fn what_is_wrong_is_said_with_the_objects_name() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    port(&mut netlink, "p0");
    let again = NewLink::new(name("p0"), LinkKind::Bridge);
    let error = netlink.add_link(again).unwrap_err();
    assert_eq!(error.to_string(), "adding bridge link p0: file exists");
    assert!(error.is_already_there());
    let error = netlink
        .change(Change::DeleteLink(LinkIndex(4711)))
        .unwrap_err();
    assert_eq!(error.to_string(), "deleting link #4711: no such device");
    assert!(error.is_not_there());
}

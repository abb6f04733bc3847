//! Addresses, routes, rules, neighbours and forwarding entries; batches and their errors.

use netlink::{
    Address, Change, ForwardingEntry, Hop, LinkKind, Mac, Namespace, Neighbour, Netlink, NewLink,
    Route, RouteFilter, RouteKind, Rule, RuleAction, Vxlan,
};

use crate::{ip, name, net, port, skipped, up};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

#[test]
fn addresses_are_listed_as_they_were_added() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    let dev = port(&mut netlink, "p0").index;
    let wanted = [
        Address::new(dev, net("10.1.1.0/32")),
        Address::new(dev, net("192.0.2.1/24")),
        Address::new(dev, net("fd00::1/64")),
        Address {
            peer: Some(ip("10.3.0.2")),
            ..Address::new(dev, net("10.3.0.1/32"))
        },
        Address {
            no_prefix_route: true,
            ..Address::new(dev, net("fd01::1/64"))
        },
    ];
    let changes: Vec<_> = wanted.iter().cloned().map(Change::add).collect();
    netlink.apply_all(&changes).unwrap();
    let listed = netlink.addresses().unwrap();
    for address in wanted {
        assert!(listed.contains(&address), "{address:?} in {listed:?}");
        netlink.change(Change::delete(address)).unwrap();
    }
}

#[test]
fn routes_are_listed_as_they_were_added() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    let dev = port(&mut netlink, "p0").index;
    for address in ["10.9.0.1/24", "fd09::1/64"] {
        netlink
            .change(Change::add(Address::new(dev, net(address))))
            .unwrap();
    }
    let hop = |via: &str, more_weight| Hop {
        via: Some(ip(via)),
        dev: Some(dev),
        onlink: true,
        more_weight,
    };
    let wanted = [
        Route::via(net("10.1.2.0/24"), ip("10.1.2.0"), dev),
        Route::via(net("fd01:2::/64"), ip("fd01:2::"), dev),
        Route::on_link(net("10.1.1.7/32"), dev),
        Route::on_link(net("fd01::7/128"), dev),
        Route::via(net("10.5.0.0/16"), ip("fe80::5"), dev),
        Route::multipath(
            net("10.6.0.0/16"),
            vec![hop("10.9.0.2", 0), hop("10.9.0.3", 9)],
        ),
        Route::multipath(net("fd06::/64"), vec![hop("fd09::2", 0), hop("fd09::3", 9)]),
        Route {
            table: 70_000,
            metric: 50,
            mtu: Some(1400),
            advmss: Some(1360),
            source: Some(ip("10.9.0.1")),
            protocol: 99,
            ..Route::on_link(net("0.0.0.0/0"), dev)
        },
        Route {
            table: 100,
            ..Route::special(net("fd07::/64"), RouteKind::Unreachable)
        },
        Route {
            table: 100,
            ..Route::special(net("10.7.0.0/16"), RouteKind::Blackhole)
        },
    ];
    let changes: Vec<_> = wanted.iter().cloned().map(Change::add).collect();
    netlink.apply_all(&changes).unwrap();
    let all = netlink.routes(RouteFilter::default()).unwrap();
    for route in &wanted {
        let filter = RouteFilter {
            table: Some(route.table),
            ..RouteFilter::default()
        };
        let listed = netlink.routes(filter).unwrap();
        assert!(
            all.contains(route) && listed.contains(route),
            "{route:?} in {listed:#?}"
        );
        assert!(listed.iter().all(|listed| listed.table == route.table));
    }
    let found = netlink.route_to(ip("10.1.2.9"), 0, None).unwrap().unwrap();
    assert_eq!(found.hops[0].via, Some(ip("10.1.2.0")));
    for route in wanted {
        netlink.change(Change::delete(route)).unwrap();
    }
    let none = RouteFilter {
        table: Some(4711),
        ..RouteFilter::default()
    };
    assert_eq!(netlink.routes(none).unwrap(), []);
}

#[test]
fn rules_are_listed_as_they_were_added() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    let wanted = [
        Rule {
            incoming: Some(name("tunl0")),
            ..Rule::new(false, 100, RuleAction::Lookup(100))
        },
        Rule {
            from: Some(net("fd00:1::7/128")),
            mark: Some((1, 3)),
            ip_protocol: Some(6),
            source_ports: Some(80..=90),
            ..Rule::new(true, 200, RuleAction::Lookup(70_000))
        },
        Rule {
            to: Some(net("10.0.0.0/8")),
            inverted: true,
            protocol: 99,
            ..Rule::new(false, 300, RuleAction::Unreachable)
        },
    ];
    for rule in &wanted {
        netlink.change(Change::add(rule.clone())).unwrap();
        let again = netlink.change(Change::add(rule.clone())).unwrap_err();
        assert!(again.is_already_there(), "{again}");
    }
    let listed = netlink.rules().unwrap();
    for rule in wanted {
        assert!(listed.contains(&rule), "{rule:?} in {listed:#?}");
        netlink.change(Change::delete(rule)).unwrap();
    }
    assert_eq!(netlink.rules().unwrap().len(), listed.len() - 3);
}

#[test]
fn neighbours_and_forwarding_entries_are_listed_as_they_were_added() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    let vxlan = LinkKind::Vxlan(Box::new(Vxlan::new(1, 8472)));
    let dev = netlink
        .add_link(NewLink::new(name("vx0"), vxlan).with(up()))
        .unwrap()
        .index;
    let neighbours = [
        Neighbour::permanent(dev, ip("10.1.2.0"), MAC),
        Neighbour::permanent(dev, ip("fd01:2::"), MAC),
    ];
    let proxies = [Neighbour::proxy(dev, ip("203.0.113.1"))];
    let entries = [
        ForwardingEntry::remote(dev, MAC, ip("192.0.2.2")),
        ForwardingEntry::remote(dev, Mac([0; 6]), ip("192.0.2.3")),
        ForwardingEntry::remote(dev, Mac([0; 6]), ip("192.0.2.4")),
    ];
    let mut changes: Vec<_> = neighbours.iter().cloned().map(Change::replace).collect();
    changes.extend(proxies.iter().cloned().map(Change::add));
    changes.extend(entries.iter().cloned().map(Change::replace));
    netlink.apply_all(&changes).unwrap();

    let listed = netlink.neighbours(Some(dev)).unwrap();
    assert!(
        neighbours.iter().all(|one| listed.contains(one)),
        "{listed:#?}"
    );
    let listed = netlink.proxies(Some(dev)).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].address, ip("203.0.113.1"));
    let listed = netlink.forwarding(dev).unwrap();
    assert!(
        entries.iter().all(|one| listed.contains(one)),
        "{listed:#?}"
    );

    // A node that has another address now: the entry is changed, not doubled.
    let moved = ForwardingEntry::remote(dev, MAC, ip("192.0.2.9"));
    netlink.change(Change::replace(moved.clone())).unwrap();
    let listed = netlink.forwarding(dev).unwrap();
    let of_mac: Vec<_> = listed.iter().filter(|entry| entry.mac == MAC).collect();
    assert_eq!(of_mac, [&moved]);
    for neighbour in neighbours {
        netlink.change(Change::delete(neighbour)).unwrap();
    }
    netlink.change(Change::delete(moved)).unwrap();
}

#[test]
fn each_error_of_a_batch_is_its_objects() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    let dev = port(&mut netlink, "p0").index;
    let own = Address::new(dev, net("192.0.2.1/32"));
    netlink.change(Change::add(own)).unwrap();
    let route = |index: u16| {
        let [high, low] = index.to_be_bytes();
        let via = std::net::Ipv4Addr::new(10, high, low, 0);
        let destination = ipnet::Ipv4Net::new(via, 24).unwrap();
        Route::via(destination.into(), via.into(), dev)
    };
    // Far more than the kernel's answers fit into a buffer at once, a few of them twice.
    let mut changes: Vec<_> = (0..3000).map(|index| Change::add(route(index))).collect();
    for index in [7, 700, 2999] {
        changes.insert(usize::from(index) + 1, Change::add(route(index)));
    }
    let failures = netlink.apply(&changes);
    let places: Vec<_> = failures.iter().map(|failure| failure.index).collect();
    assert_eq!(places, [8, 702, 3002]);
    assert_eq!(
        failures[0].error.to_string(),
        "adding route 10.0.7.0/24 via 10.0.7.0 dev p0: file exists"
    );
    assert_eq!(
        netlink
            .routes(RouteFilter::default())
            .unwrap()
            .iter()
            .filter(|route| route.protocol == 4)
            .count(),
        3000
    );
}

//! Changes as the kernel tells of them, and more of them than fit.

use std::time::Duration;

use netlink::{
    Address, Change, Event, ForwardingEntry, LinkKind, LinkSettings, Mac, Monitor, Namespace,
    Neighbour, Netlink, NewLink, Route, Topic, Vxlan,
};

use crate::{ip, name, net, skipped, up};

const PATIENCE: Duration = Duration::from_secs(5);
const ALL: [Topic; 4] = [
    Topic::Links,
    Topic::Addresses,
    Topic::Routes,
    Topic::Neighbours,
];

/// Reads on until an event is as it should be.
fn expect(monitor: &mut Monitor, what: &str, wanted: impl Fn(&Event) -> bool) {
    loop {
        match monitor.next_within(PATIENCE).unwrap() {
            Some(event) if wanted(&event) => return,
            Some(_) => {}
            None => panic!("nothing was said of {what}"),
        }
    }
}

#[test]
fn every_kind_of_change_is_told_of() {
    if skipped() {
        return;
    }
    let namespace = Namespace::new().unwrap();
    let mut monitor = Monitor::open_in(&namespace, &ALL, 1 << 20).unwrap();
    assert_eq!(monitor.try_next().unwrap(), None);
    let mut netlink = Netlink::open_in(&namespace).unwrap();
    let vxlan = LinkKind::Vxlan(Box::new(Vxlan::new(1, 8472)));
    let link = netlink
        .add_link(NewLink::new(name("vx0"), vxlan).with(up()))
        .unwrap();
    let dev = link.index;
    expect(
        &mut monitor,
        "the link",
        |event| matches!(event, Event::Link(told) if told.name == link.name && told.up),
    );
    let address = Address::new(dev, net("10.1.1.0/32"));
    let route = Route::via(net("10.1.2.0/24"), ip("10.1.2.0"), dev);
    let neighbour = Neighbour::permanent(dev, ip("10.1.2.0"), Mac([2; 6]));
    let entry = ForwardingEntry::remote(dev, Mac([2; 6]), ip("192.0.2.9"));
    // NUD_FAILED, and nobody's hardware address any more.
    let gone = Neighbour {
        mac: None,
        permanent: false,
        state: 0x20,
        ..neighbour
    };
    let table = [
        (
            Change::add(address.clone()),
            Event::Address(address.clone()),
        ),
        (
            Change::add(route.clone()),
            Event::Route(Box::new(route.clone())),
        ),
        (
            Change::add(neighbour.clone()),
            Event::Neighbour(neighbour.clone()),
        ),
        (Change::add(entry.clone()), Event::Forwarding(entry.clone())),
        (Change::delete(entry.clone()), Event::ForwardingGone(entry)),
        (
            Change::delete(route.clone()),
            Event::RouteGone(Box::new(route)),
        ),
        (Change::delete(neighbour), Event::NeighbourGone(gone)),
        (Change::delete(address.clone()), Event::AddressGone(address)),
    ];
    for (change, want) in table {
        netlink.change(change.clone()).unwrap();
        expect(&mut monitor, &format!("{change:?}"), |event| *event == want);
    }
    netlink
        .change(Change::set_link(
            dev,
            LinkSettings {
                mtu: Some(1300),
                ..LinkSettings::default()
            },
        ))
        .unwrap();
    expect(
        &mut monitor,
        "the MTU",
        |event| matches!(event, Event::Link(told) if told.mtu == 1300),
    );
    netlink.change(Change::DeleteLink(dev)).unwrap();
    expect(
        &mut monitor,
        "the end",
        |event| matches!(event, Event::LinkGone(told) if told.index == dev),
    );
}

#[test]
fn what_was_missed_is_said_and_the_stream_goes_on() {
    if skipped() {
        return;
    }
    let namespace = Namespace::new().unwrap();
    let mut monitor = Monitor::open_in(&namespace, &[Topic::Routes], 8 << 10).unwrap();
    let mut netlink = Netlink::open_in(&namespace).unwrap();
    let dev = crate::port(&mut netlink, "p0").index;
    let route = |index: u8| Route::on_link(net(&format!("10.0.{index}.0/24")), dev);
    let flood: Vec<_> = (0..=255).map(|index| Change::add(route(index))).collect();
    netlink.apply_all(&flood).unwrap();
    expect(&mut monitor, "the overrun", |event| {
        *event == Event::Overrun
    });
    while monitor.try_next().unwrap().is_some() {}
    netlink.change(Change::delete(route(7))).unwrap();
    let gone = Event::RouteGone(Box::new(route(7)));
    expect(&mut monitor, "what came after", |event| *event == gone);
}

//! Entries, from nodes.

use std::collections::BTreeSet;

use super::*;

fn peer(name: &str, number: u8) -> Peer {
    Peer {
        name: name.into(),
        created: number.into(),
        ranges: vec![
            net(&format!("10.244.{number}.0/24")),
            net(&format!("fd00:{number}::/64")),
        ],
        ends: vec![
            End {
                address: ip(&format!("192.0.2.{number}")),
                vtep: Some(mac(number)),
            },
            End {
                address: ip(&format!("2001:db8::{number}")),
                vtep: Some(mac(number + 0x10)),
            },
        ],
    }
}

fn show(entries: &BTreeSet<Entry>) -> Vec<String> {
    let dev = |dev| match dev {
        Dev::Tunnel(Family::V4) => "v4".to_owned(),
        Dev::Tunnel(Family::V6) => "v6".to_owned(),
        Dev::Link(link) => format!("#{link}"),
    };
    let line = |entry: &Entry| match entry {
        Entry::Forwarding(it) => {
            let tunnel = dev(Dev::Tunnel(it.tunnel));
            format!("fdb {} dst {} {tunnel}", it.vtep, it.remote)
        }
        Entry::Neighbour(it) => {
            let tunnel = dev(Dev::Tunnel(it.tunnel));
            format!("neigh {} {} {tunnel}", it.address, it.vtep)
        }
        Entry::Route(it) => {
            format!(
                "route {} via {} {}",
                it.destination,
                it.via.unwrap(),
                dev(it.dev)
            )
        }
    };
    entries.iter().map(line).collect()
}

fn check(local: &Local, peers: &[Peer], settings: &Settings, want: &[&str], reasons: &[&str]) {
    let (entries, problems) = compile(local, peers, settings);
    assert_eq!(show(&entries), want);
    let found: Vec<_> = problems.iter().map(|problem| problem.reason).collect();
    assert_eq!(found, reasons, "{problems:?}");
}

const B_BY_V4: [&str; 3] = [
    "fdb 02:00:00:00:00:02 dst 192.0.2.2 v4",
    "neigh 10.244.2.0 02:00:00:00:00:02 v4",
    "route 10.244.2.0/24 via 10.244.2.0 v4",
];

#[test]
fn a_remote_node_is_one_route_one_neighbour_and_one_forwarding_entry() {
    let dual = [
        B_BY_V4[0],
        "fdb 02:00:00:00:00:12 dst 2001:db8::2 v6",
        B_BY_V4[1],
        "neigh fd00:2:: 02:00:00:00:00:12 v6",
        B_BY_V4[2],
        "route fd00:2::/64 via fd00:2:: v6",
    ];
    let b = peer("b", 2);
    check(&local(), &[b.clone(), peer("a", 9)], &vxlan(), &dual, &[]);
    let mut single = local();
    single.ranges.pop();
    check(&single, std::slice::from_ref(&b), &vxlan(), &B_BY_V4, &[]);
    // Pods of both families over the only underlay that there is, or that both have.
    let v4 = [
        B_BY_V4[0],
        B_BY_V4[1],
        "neigh fd00:2:: 02:00:00:00:00:02 v4",
        B_BY_V4[2],
        "route fd00:2::/64 via fd00:2:: v4",
    ];
    check(
        &only(local(), Family::V4),
        std::slice::from_ref(&b),
        &vxlan(),
        &v4,
        &[],
    );
    let mut b = b;
    let v6 = b.ends.pop();
    check(&local(), std::slice::from_ref(&b), &vxlan(), &v4, &[]);
    b.ends = v6.into_iter().collect();
    let nothing_common = ["NoUnderlay", "NoUnderlay"];
    check(
        &only(local(), Family::V4),
        &[b],
        &vxlan(),
        &[],
        &nothing_common,
    );
}

#[test]
fn a_shared_link_needs_no_tunnel() {
    let direct = Settings {
        direct_routing: true,
        ..vxlan()
    };
    let mut far = peer("c", 3);
    far.ends[0].address = ip("198.51.100.3");
    far.ranges.pop();
    let by_link = [
        "route 10.244.2.0/24 via 192.0.2.2 #2",
        "route fd00:2::/64 via 2001:db8::2 #2",
    ];
    let want = [
        "fdb 02:00:00:00:00:03 dst 198.51.100.3 v4",
        "neigh 10.244.3.0 02:00:00:00:00:03 v4",
        by_link[0],
        "route 10.244.3.0/24 via 10.244.3.0 v4",
        by_link[1],
    ];
    let peers = [peer("b", 2), far];
    check(&local(), &peers, &direct, &want, &[]);
    check(&local(), &peers, &host_gw(), &by_link, &["NotOnLink"]);
}

#[test]
fn a_bad_node_harms_itself_alone() {
    let spoil = |change: &dyn Fn(&mut Peer)| {
        let mut bad = peer("c", 3);
        bad.ranges.pop();
        bad.ends.pop();
        change(&mut bad);
        bad
    };
    let good = {
        let mut good = peer("b", 2);
        good.ranges.pop();
        good.ends.pop();
        good
    };
    for bad in [
        spoil(&|bad| bad.ranges[0] = net("10.244.2.0/24")),
        spoil(&|bad| bad.ranges[0] = net("10.244.2.128/25")),
        spoil(&|bad| bad.ranges[0] = net("10.244.0.0/16")),
        spoil(&|bad| bad.ranges[0] = net("10.244.1.0/24")),
        // This node's address, another's, and one of its own.
        spoil(&|bad| bad.ranges[0] = net("172.16.0.0/12")),
        spoil(&|bad| bad.ranges[0] = net("192.0.2.2/31")),
        spoil(&|bad| bad.ranges[0] = net("192.0.2.0/30")),
        spoil(&|bad| bad.ends[0].address = ip("192.0.2.1")),
        spoil(&|bad| bad.ends[0].address = ip("172.17.0.1")),
        spoil(&|bad| bad.ends[0].address = ip("10.244.1.7")),
        spoil(&|bad| bad.ends[0].address = ip("10.244.2.7")),
        spoil(&|bad| bad.ends[0].vtep = Some(mac(1))),
        spoil(&|bad| bad.ends[0].vtep = Some(mac(2))),
    ] {
        for peers in [[bad.clone(), good.clone()], [good.clone(), bad.clone()]] {
            check(&local(), &peers, &vxlan(), &B_BY_V4, &["Conflict"]);
        }
    }
    // A machine that was installed anew: the old object tells of the same address for a while.
    let twin = spoil(&|bad| bad.ends[0].address = ip("192.0.2.2"));
    let (entries, problems) = compile(&local(), &[twin, good], &vxlan());
    assert_eq!((entries.len(), problems), (6, Vec::new()));
}

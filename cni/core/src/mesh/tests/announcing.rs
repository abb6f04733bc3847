//! This node's devices, and what it tells the others.

use std::collections::BTreeSet;

use super::*;

#[test]
fn devices_are_flannels() {
    let device = |family, name: &str, last, mtu, address: &str, own: &[&str]| Device {
        family,
        name: name.to_owned(),
        mac: mac(last),
        mtu,
        local: ip(address),
        link: 2,
        addresses: own.iter().map(|own| net(own)).collect(),
    };
    let (v4, v6) = (Family::V4, Family::V6);
    let first = device(v4, "flannel.1", 1, 1450, "192.0.2.1", &["10.244.1.0/32"]);
    let second = device(
        v6,
        "flannel-v6.1",
        11,
        1430,
        "2001:db8::1",
        &["fd00:1::/128"],
    );
    assert_eq!(devices(&local(), &vxlan()), [first, second]);
    let both = ["10.244.1.0/32", "fd00:1::/128"];
    let alone = device(v6, "flannel-v6.1", 11, 1430, "2001:db8::1", &both);
    assert_eq!(devices(&only(local(), v6), &vxlan()), [alone]);
    assert_eq!(devices(&local(), &host_gw()), []);
    let large = Settings {
        vni: 16_777_215,
        ..vxlan()
    };
    let names: Vec<_> = devices(&local(), &large)
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(names, ["fl.16777215", "fl-v6.16777215"]);
    assert_eq!(local().mtu(Backend::Vxlan), Some(1430));
    assert_eq!(local().mtu(Backend::HostGw), Some(1500));
}

#[test]
fn a_way_that_no_range_needs_is_spare() {
    let ways = |ranges: &[&str], outside: Local| {
        let local = Local {
            ranges: ranges.iter().map(|range| net(range)).collect(),
            ..outside
        };
        let outside = local.without_spare_ways().outside;
        let families: Vec<_> = outside.iter().map(|it| Family::of(it.address)).collect();
        families
    };
    let (v4, v6) = (Family::V4, Family::V6);
    let (four, six) = ("10.244.1.0/24", "fd00:1::/64");
    assert_eq!(ways(&[four, six], local()), [v4, v6]);
    assert_eq!(ways(&[four], local()), [v4]);
    assert_eq!(ways(&[six], local()), [v6]);
    assert_eq!(ways(&[four, six], only(local(), v6)), [v6]);
    assert_eq!(ways(&[six], only(local(), v4)), [v4]);
}

#[test]
fn a_hardware_address_follows_from_node_and_network() {
    let none = BTreeMap::new();
    let derived = |uid: &str, vni, family| vtep_mac(uid, vni, family, &none);
    let uid = "7f9c24e8-3b12-4b0f-9f5e-5a1f0d6c1a11";
    let first = derived(uid, 1, Family::V4);
    assert_eq!(first.to_string(), "1a:93:07:ae:e3:7d");
    assert_eq!(first.0[0] & 3, 2, "of one station, administered locally");
    for other in [
        derived(uid, 2, Family::V4),
        derived(uid, 1, Family::V6),
        derived("7f9c24e8-3b12-4b0f-9f5e-5a1f0d6c1a12", 1, Family::V4),
    ] {
        assert_ne!(first, other);
    }
    let uids = (0..20_000).map(|number| format!("{number:08x}-3b12-4b0f-9f5e-5a1f0d6c1a11"));
    let macs: BTreeSet<_> = uids.map(|uid| derived(&uid, 1, Family::V4)).collect();
    assert_eq!(macs.len(), 20_000);
    let told = annotations(&[DATA]);
    assert_eq!(
        vtep_mac(uid, 1, Family::V4, &told),
        mac(2),
        "others know this one"
    );
    assert_eq!(
        vtep_mac(uid, 1, Family::V6, &told),
        derived(uid, 1, Family::V6)
    );
    assert_eq!(
        vtep_mac(uid, 2, Family::V4, &told),
        derived(uid, 2, Family::V4)
    );
}

#[test]
fn a_node_tells_what_flannel_tells() {
    let key = |key: &str| format!("{}{key}", ANNOTATIONS);
    let told = |local: &Local, settings: &Settings, have: Told<'_>| {
        let (changes, problems) = announce(local, settings, &annotations(have));
        assert_eq!(problems, []);
        changes
    };
    let some = |value: &str| Some(value.to_owned());
    let v4 = only(local(), Family::V4);
    let data = r#"{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}"#;
    let want = BTreeMap::from([
        (key("backend-data"), some(data)),
        (key("backend-type"), some("vxlan")),
        (key("kube-subnet-manager"), some("true")),
        (key("public-ip"), some("192.0.2.1")),
    ]);
    assert_eq!(told(&v4, &vxlan(), &[]), want);
    let all = [
        ("backend-data", data),
        VXLAN,
        JOINED,
        ("public-ip", "192.0.2.1"),
    ];
    assert_eq!(told(&v4, &vxlan(), &all), BTreeMap::new());
    // What is no longer true goes; what is not ours stays.
    let old = [&all[..], &[IPV6, ("node-public-ip", "x")]].concat();
    let want = BTreeMap::from([(key("public-ipv6"), None)]);
    assert_eq!(told(&v4, &vxlan(), &old), want);
    let v6 = told(&local(), &vxlan(), &all);
    let data = r#"{"VNI":1,"VtepMAC":"02:00:00:00:00:0b"}"#;
    assert_eq!(v6[&key("backend-v6-data")], some(data));
    assert_eq!(v6[&key("public-ipv6")], some("2001:db8::1"));
    assert_eq!(v6.len(), 2);
    let gw = told(&v4, &host_gw(), &[]);
    assert_eq!(gw[&key("backend-data")], some("null"));
    assert_eq!(gw[&key("backend-type")], some("host-gw"));
    let other = ("public-ip-overwrite", "203.0.113.7");
    let over = told(&v4, &vxlan(), &[&all[..], &[other]].concat());
    assert_eq!(
        over,
        BTreeMap::from([(key("public-ip"), some("203.0.113.7"))])
    );
    let bad = [&all[..], &[("public-ip-overwrite", "203.0.113")]].concat();
    let (changes, problems) = announce(&v4, &vxlan(), &annotations(&bad));
    assert_eq!((changes.len(), problems[0].reason), (0, "BadAddress"));
}

#[test]
fn what_a_node_tells_is_what_others_read() {
    let (told, _) = announce(&local(), &vxlan(), &BTreeMap::new());
    let told: BTreeMap<_, _> = told
        .into_iter()
        .filter_map(|(key, it)| Some((key, it?)))
        .collect();
    let facts = NodeFacts {
        name: "a",
        created: 0,
        ranges: vec!["10.244.1.0/24"],
        annotations: &told,
    };
    let (peer, problems) = Peer::read(&facts, &vxlan());
    assert_eq!(problems, []);
    let ends: Vec<_> = peer
        .unwrap()
        .ends
        .iter()
        .map(|end| (end.address, end.vtep))
        .collect();
    let own = local().outside.into_iter();
    let own: Vec<_> = own.map(|own| (own.address, Some(own.vtep))).collect();
    assert_eq!(ends, own);
}

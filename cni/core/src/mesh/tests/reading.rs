//! Nodes, as their objects tell of them.

use proptest::prelude::*;

use super::*;

fn read(ranges: &[&str], told: Told<'_>, settings: &Settings) -> (Option<Peer>, Vec<Problem>) {
    let annotations = annotations(told);
    let facts = NodeFacts {
        name: "b",
        created: 7,
        ranges: ranges.to_vec(),
        annotations: &annotations,
    };
    Peer::read(&facts, settings)
}

#[test]
fn nodes_are_read_as_flannel_tells_of_them() {
    let peer = |ends: &[(&str, Option<MacAddr>)], ranges: &[&str]| Peer {
        name: "b".into(),
        created: 7,
        ranges: ranges.iter().map(|range| net(range)).collect(),
        ends: ends
            .iter()
            .map(|(address, vtep)| End {
                address: ip(address),
                vtep: *vtep,
            })
            .collect(),
    };
    let v4 = ("192.0.2.2", Some(mac(2)));
    let v6 = ("2001:db8::2", Some(mac(0x12)));
    let range = &["10.244.2.0/24"][..];
    let both = &["10.244.2.0/24", "fd00:2::/64"][..];
    let old = (
        "backend-data",
        r#"{"VtepMAC":"02-00-00-00-00-02","GBP":false}"#,
    );
    for (ranges, told, want) in [
        (range, &[JOINED, VXLAN, IP, DATA][..], peer(&[v4], range)),
        (range, &[JOINED, VXLAN, IP, old], peer(&[v4], range)),
        (
            both,
            &[JOINED, VXLAN, IP, DATA, IPV6, V6_DATA],
            peer(&[v4, v6], both),
        ),
        (
            &both[1..],
            &[JOINED, VXLAN, IPV6, V6_DATA],
            peer(&[v6], &both[1..]),
        ),
        (
            &["10.244.2.9/24"],
            &[JOINED, VXLAN, IP, DATA],
            peer(&[v4], range),
        ),
    ] {
        assert_eq!(read(ranges, told, &vxlan()), (Some(want), Vec::new()));
    }
    let told = [
        JOINED,
        ("backend-type", "host-gw"),
        ("backend-data", "null"),
        IP,
    ];
    let want = peer(&[("192.0.2.2", None)], range);
    assert_eq!(read(range, &told, &host_gw()), (Some(want), Vec::new()));
    for told in [
        &[][..],
        &[VXLAN, IP, DATA],
        &[("kube-subnet-manager", "false"), VXLAN, IP, DATA],
    ] {
        assert_eq!(
            read(range, told, &vxlan()),
            (None, Vec::new()),
            "it has not joined"
        );
    }
}

/// One thing is wrong, which is said; whether the node is in the mesh nevertheless.
fn check_wrong(ranges: &[&str], told: Told<'_>, reason: &str, left: bool) {
    let (peer, problems) = read(ranges, told, &vxlan());
    let reasons: Vec<_> = problems.iter().map(|problem| problem.reason).collect();
    assert_eq!(reasons, [reason], "{ranges:?} {told:?}");
    assert_eq!(peer.is_some(), left, "{ranges:?} {told:?}");
}

#[test]
fn ranges_that_are_none_are_left_out_and_said() {
    let told = [JOINED, VXLAN, IP, DATA];
    check_wrong(&[], &told, "NoPodCIDR", false);
    for range in [
        "10.244.2.0/33",
        "0.0.0.0/0",
        "10.244.2.0/32",
        "127.0.0.0/24",
        "224.0.0.0/24",
        "fe80::/64",
        "",
    ] {
        check_wrong(&[range], &told, "BadPodCIDR", false);
    }
    let two = ["10.244.2.0/24", "10.244.3.0/24"];
    check_wrong(&two, &told, "BadPodCIDR", true);
}

#[test]
fn annotations_that_tell_nothing_are_left_out_and_said() {
    let range = &["10.244.2.0/24"];
    check_wrong(range, &[JOINED, VXLAN], "NoAddress", false);
    check_wrong(range, &[JOINED, IP, DATA], "OtherBackend", false);
    for address in [
        "192.0.2",
        "2001:db8::2",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "",
    ] {
        let told = [JOINED, VXLAN, ("public-ip", address), DATA];
        check_wrong(range, &told, "BadAddress", false);
    }
    for data in [
        "",
        "null",
        "[[",
        r#"{"VNI":1}"#,
        r#"{"VNI":-1,"VtepMAC":"02:00:00:00:00:02"}"#,
        r#"{"VNI":2,"VtepMAC":"02:00:00:00:00:02"}"#,
        r#"{"VNI":1,"VtepMAC":"01:00:00:00:00:02"}"#,
        r#"{"VNI":1,"VtepMAC":"00:00:00:00:00:00"}"#,
        r#"{"VNI":1,"VtepMAC":"02:00:00:00:00"}"#,
    ] {
        let told = [JOINED, VXLAN, IP, ("backend-data", data)];
        check_wrong(range, &told, "BadBackendData", false);
        let other = [&told[..], &[IPV6, V6_DATA]].concat();
        check_wrong(range, &other, "BadBackendData", true);
    }
    let (peer, problems) = read(range, &[JOINED, VXLAN, IP, DATA], &host_gw());
    assert_eq!((peer, problems[0].reason), (None, "OtherBackend"));
}

proptest! {
    #[test]
    fn no_annotation_makes_reading_fail(text in ".*", address in ".*", range in ".*") {
        let told = [JOINED, VXLAN, ("public-ip", &*address), ("backend-data", &*text)];
        let (peer, problems) = read(&[&range], &told, &vxlan());
        // Nothing that means something is made of such letters by chance.
        prop_assert!(peer.is_none() && !problems.is_empty());
    }
}

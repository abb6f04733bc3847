use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn key(number: usize) -> Key {
    Key {
        network: "penstock".to_owned(),
        attachment: Attachment {
            container: format!("c{number}"),
            ifname: "eth0".to_owned(),
        },
    }
}

fn lease(key: Key, addresses: Vec<IpAddr>) -> Lease {
    Lease {
        key,
        netns: String::new(),
        addresses,
        ports: Vec::new(),
        mac: None,
        mtu: None,
        bandwidth: Bandwidth::default(),
        pod: None,
        phase: Phase::Made,
    }
}

fn ledger(ranges: &[&str]) -> Ledger {
    let ranges: Vec<IpNet> = ranges.iter().map(|range| range.parse().unwrap()).collect();
    let mut ledger = Ledger::default();
    ledger.set_ranges(&ranges);
    ledger
}

fn take(ledger: &mut Ledger, number: usize) -> Vec<String> {
    let key = key(number);
    let addresses = ledger.choose(&key, &[]).unwrap();
    ledger.hold(lease(key, addresses.clone()));
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn the_ends_of_a_range_are_not_given_out() {
    for (range, want) in [
        (
            "10.1.1.0/29",
            &["10.1.1.2", "10.1.1.3", "10.1.1.4", "10.1.1.5", "10.1.1.6"][..],
        ),
        ("10.1.1.0/30", &["10.1.1.2"]),
        ("10.1.1.4/31", &["10.1.1.4", "10.1.1.5"]),
        ("10.1.1.4/32", &["10.1.1.4"]),
        ("255.255.255.252/30", &["255.255.255.254"]),
        ("fd00::/126", &["fd00::2", "fd00::3"]),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127",
            &[
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ],
        ),
    ] {
        let mut ledger = ledger(&[range]);
        for (number, address) in want.iter().enumerate() {
            assert_eq!(take(&mut ledger, number), [*address], "{range}");
        }
        let full = AllocationError::Full(range.parse().unwrap());
        assert_eq!(ledger.choose(&key(99), &[]), Err(full));
    }
}

#[test]
fn what_was_given_back_comes_last() {
    let mut ledger = ledger(&["10.1.1.0/29"]);
    for number in 0..3 {
        take(&mut ledger, number);
    }
    ledger.release(&key(2)).unwrap();
    ledger.release(&key(0)).unwrap();
    let order: Vec<_> = (10..14)
        .flat_map(|number| take(&mut ledger, number))
        .collect();
    assert_eq!(order, ["10.1.1.5", "10.1.1.6", "10.1.1.4", "10.1.1.2"]);
}

#[test]
fn each_family_gives_one() {
    let mut ledger = ledger(&["10.1.1.0/24", "fd00:1::/64"]);
    assert_eq!(take(&mut ledger, 0), ["10.1.1.2", "fd00:1::2"]);
    let asked: IpAddr = "10.1.1.3".parse().unwrap();
    let chosen = ledger.choose(&key(1), &[asked]).unwrap();
    ledger.hold(lease(key(1), chosen));
    assert_eq!(take(&mut ledger, 2), ["10.1.1.4", "fd00:1::4"]);
}

#[test]
fn wishes_that_cannot_be_met_say_why() {
    let mut ledger = ledger(&["10.1.1.0/24"]);
    take(&mut ledger, 0);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let mut ask = |wishes: &[IpAddr]| ledger.choose(&key(1), wishes).unwrap_err();
    assert_eq!(
        ask(&[ip("10.1.1.2")]),
        AllocationError::Taken(ip("10.1.1.2"))
    );
    for outside in ["10.1.2.2", "10.1.1.0", "10.1.1.1", "10.1.1.255", "fd00::2"] {
        assert_eq!(ask(&[ip(outside)]), AllocationError::Outside(ip(outside)));
    }
    let two = ask(&[ip("10.1.1.9"), ip("10.1.1.8")]);
    assert!(matches!(two, AllocationError::TwoOfOne(..)), "{two}");
    let again = ledger.choose(&key(0), &[]);
    assert_eq!(again, Err(AllocationError::Repeated(key(0))));
    let none = Ledger::default().choose(&key(0), &[]);
    assert_eq!(none, Err(AllocationError::NoRange));
}

#[test]
fn what_is_going_is_not_given_out_before_it_has_gone() {
    let mut ledger = ledger(&["10.1.1.0/30"]);
    assert_eq!(take(&mut ledger, 0), ["10.1.1.2"]);
    ledger.go(&key(0));
    let full = AllocationError::Full("10.1.1.0/30".parse().unwrap());
    assert_eq!(ledger.choose(&key(1), &[]), Err(full));
    ledger.release(&key(0)).unwrap();
    assert_eq!(take(&mut ledger, 1), ["10.1.1.2"]);
}

#[test]
fn a_change_of_ranges_keeps_leases_and_order() {
    let mut ledger = ledger(&["10.1.1.0/29"]);
    take(&mut ledger, 0);
    take(&mut ledger, 1);
    ledger.release(&key(0)).unwrap();
    ledger.set_ranges(&["10.2.2.0/29".parse().unwrap()]);
    assert_eq!(take(&mut ledger, 2), ["10.2.2.2"]);
    ledger.set_ranges(&["10.1.1.0/29".parse().unwrap()]);
    assert_eq!(
        take(&mut ledger, 3),
        ["10.1.1.2"],
        "10.1.1.3 has never been given back"
    );
    assert_eq!(take(&mut ledger, 4), ["10.1.1.4"]);
}

#[test]
fn a_host_port_is_had_once() {
    let port = |host_ip: Option<&str>, protocol| PortMapping {
        protocol,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port: 80,
        container_port: 8080,
    };
    let any = port(None, Transport::Tcp);
    for (held, asked, free) in [
        (any, any, false),
        (any, port(None, Transport::Udp), true),
        (any, port(Some("10.0.0.1"), Transport::Tcp), false),
        (
            port(Some("10.0.0.1"), Transport::Tcp),
            port(Some("10.0.0.2"), Transport::Tcp),
            true,
        ),
        (
            port(Some("10.0.0.1"), Transport::Tcp),
            port(Some("0.0.0.0"), Transport::Tcp),
            false,
        ),
        (
            port(Some("10.0.0.1"), Transport::Tcp),
            port(Some("::"), Transport::Tcp),
            true,
        ),
    ] {
        let mut ledger = ledger(&["10.1.1.0/29"]);
        let mut first = lease(key(0), Vec::new());
        first.ports = vec![held];
        ledger.hold(first);
        assert_eq!(
            ledger.check_ports(&key(1), &[asked]).is_ok(),
            free,
            "{held:?} {asked:?}"
        );
        let both = ledger.check_ports(&key(1), &[asked, held]).is_ok();
        assert!(!both, "{held:?} is held");
        ledger.go(&key(0));
        assert_eq!(ledger.check_ports(&key(1), &[held]), Ok(()));
        let both = ledger.check_ports(&key(1), &[asked, held]).is_ok();
        assert_eq!(both, free, "within one pod: {held:?} {asked:?}");
        ledger.release(&key(0)).unwrap();
        assert!(ledger.ports.is_empty());
    }
}

proptest! {
    /// Against a set: never doubled, never lost, and full only when it is.
    #[test]
    fn addresses_are_neither_doubled_nor_lost(moves in prop::collection::vec((any::<bool>(), 0_usize..12), 0..200)) {
        let mut ledger = ledger(&["10.1.1.0/28"]);
        let mut held: BTreeSet<usize> = BTreeSet::new();
        for (add, number) in moves {
            if add {
                match ledger.choose(&key(number), &[]) {
                    Ok(addresses) => {
                        prop_assert!(held.insert(number));
                        ledger.hold(lease(key(number), addresses));
                    }
                    Err(AllocationError::Repeated(_)) => prop_assert!(held.contains(&number)),
                    Err(error) => prop_assert!(held.len() == 13, "{error}"),
                }
            } else {
                prop_assert_eq!(ledger.release(&key(number)).is_some(), held.remove(&number));
            }
            let addresses: BTreeSet<_> = ledger.leases().flat_map(|lease| &lease.addresses).collect();
            prop_assert_eq!(addresses.len(), held.len());
        }
    }
}

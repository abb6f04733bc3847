//! nftables: what we make is what `nft` lists and what packets meet.

#![expect(
    clippy::disallowed_methods,
    reason = "nft is the measure that transactions are held to"
)]

mod intervals;
mod samples;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use netlink::nft::{
    Chain, ChainKind, Contents, Data, Element, Family, Field, Hook, Key, NatFamily, NatKind, Nft,
    Port, PortChoice, Protocol, Rule, Set, Table, Transaction, Type, Value,
};
use netlink::{Error, LinkName, Namespace, Netlink};

use crate::{cable, ip, net, skipped, up};

/// A namespace and its nftables, unless this machine has none.
fn start() -> Option<(Namespace, Nft)> {
    if skipped() {
        return None;
    }
    let namespace = Namespace::new().unwrap();
    let mut nft = Nft::open_in(&namespace).unwrap();
    match nft.tables() {
        Ok(tables) => assert_eq!(tables, []),
        Err(error) => {
            println!("skipped: this kernel has no nftables: {error}");
            return None;
        }
    }
    Some((namespace, nft))
}

/// What `nft` lists, without its head; `None`, having said so, where there is no `nft`.
fn listed(namespace: &Namespace) -> Option<String> {
    let output = namespace
        .enter(|| Command::new("nft").args(["-s", "list", "ruleset"]).output())
        .unwrap();
    let Ok(output) = output else {
        println!("skipped: nft is not installed");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn table() -> Table {
    Table::new(Family::Inet, "penstock")
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn hosts() -> Set {
    Set::map(
        "hostports",
        &[Type::Protocol, Type::Port],
        &[Type::Ipv4, Type::Port],
    )
}

fn host(port: u16, address: &str) -> Element {
    Element::mapping((Protocol::TCP, Port(port)), (v4(address), Port(80)))
}

fn with_hosts(elements: &[Element]) -> Transaction {
    let mut transaction = Transaction::new(&table());
    transaction.add_table().add_set(&hosts());
    transaction.create_elements(&hosts(), elements);
    transaction
}

#[test]
fn nft_lists_sets_and_maps_as_they_were_meant() {
    let Some((namespace, mut nft)) = start() else {
        return;
    };
    let samples = samples::elements();
    let mut transaction = Transaction::new(&table());
    transaction.add_table().add_chain(&Chain::new("way"));
    for (set, element) in &samples {
        transaction.add_set(set).create_elements(set, [element]);
    }
    nft.commit(transaction).unwrap();

    let contents = nft.contents(&table()).unwrap().unwrap();
    for (set, want) in &samples {
        let found = contents.sets.iter().find(|one| one.set.name == set.name);
        let found = found.unwrap();
        assert_eq!(found.set, *set);
        let found = found.elements.iter().find(|one| one.key == want.key);
        let found = found.unwrap_or_else(|| panic!("no {want:?} in {:?}", contents.sets));
        assert_eq!((&found.data, &found.comment), (&want.data, &want.comment));
        assert_eq!(found.timeout, want.timeout);
        assert_eq!(found.count.is_some(), set.counters);
    }
    let count: usize = contents.sets.iter().map(|set| set.elements.len()).sum();
    assert_eq!(count, samples.len());

    let Some(text) = listed(&namespace) else {
        return;
    };
    for want in [
        "type ipv4_addr\n\t\tcounter\n\t\tcomment \"of this node\"",
        "elements = { 10.1.0.7 counter comment \"web-0\" }",
        "10.1.0.0/24, 10.1.1.0/24",
        "10.1.3.9, 224.0.0.0/3",
        "type inet_proto . inet_service\n\t\tflags interval",
        "tcp . 80",
        "udp . 1000-2000",
        "fd00::/112 . tcp . 1-65535",
        "fd01::7 . tcp . 53",
        "fd00::1 . tcp . 80 : fd00::7 . 8080",
        "type ipv6_addr : verdict",
        "fd00::1 : goto way",
        "* : drop",
        "type ifname : mark",
        "\"eth0\" : 0x00004000",
        "flags timeout",
        "02:00:00:00:00:01 timeout 1h",
    ] {
        assert!(text.contains(want), "no {want:?} in {text}");
    }
}

#[test]
fn nft_lists_rules_as_they_were_meant() {
    let Some((namespace, mut nft)) = start() else {
        return;
    };
    let mut transaction = Transaction::new(&table());
    transaction
        .add_table()
        .add_chain(&Chain::new("way"))
        .add_counter("drops")
        .add_set(&Set::new("pods", &[Type::Ipv4]))
        .add_set(&Set::new("peers6", &[Type::Ipv6, Type::Protocol, Type::Port]).of_intervals())
        .add_set(&Set::verdicts("ways", &[Type::Protocol, Type::Port]))
        .add_chain(&Chain::base("forward", ChainKind::Filter, Hook::Forward, 0).dropping())
        .add_set(&hosts())
        .add_chain(&Chain::base("out", ChainKind::Nat, Hook::Postrouting, 100));
    let samples = samples::rules();
    for (rule, _) in &samples {
        transaction.add_rule("forward", rule);
    }
    let others = net::<ipnet::Ipv4Net>("10.0.0.0/8");
    let masquerade = Rule::new().ipv4().outside(Field::Destination4, others);
    let masquerade = masquerade.masquerade(PortChoice::FullyRandom);
    transaction.add_rule("out", &masquerade);
    transaction.insert_rule(
        "out",
        &Rule::new().nat(NatKind::Source, ip("192.0.2.1"), None),
    );
    nft.commit(transaction).unwrap();

    let rules = nft.rules(&table()).unwrap();
    let of = |chain: &'static str| rules.iter().filter(move |rule| *rule.chain == *chain);
    let found: Vec<_> = of("forward").map(|listed| listed.rule.clone()).collect();
    let want: Vec<_> = samples.iter().map(|(rule, _)| rule.clone()).collect();
    assert_eq!(found, want);
    assert_eq!(of("out").count(), 2);
    assert_eq!(of("out").next_back().unwrap().rule, masquerade);

    let mut transaction = Transaction::new(&table());
    let handle = of("out").next().unwrap().handle;
    transaction.delete_rule("out", handle);
    let replaced = of("forward").next().unwrap().handle;
    transaction.replace_rule("forward", replaced, &Rule::new().accept());
    nft.commit(transaction).unwrap();
    let again = nft.rules(&table()).unwrap();
    assert_eq!(again.len(), samples.len() + 1);
    assert_eq!(again[0].rule, Rule::new().accept());

    let Some(text) = listed(&namespace) else {
        return;
    };
    assert!(text.contains("type filter hook forward priority filter; policy drop;"));
    assert!(
        text.contains("ip daddr != 10.0.0.0/8 masquerade fully-random"),
        "{text}"
    );
    for (_, want) in &samples[1..] {
        assert!(text.contains(want), "no {want:?} in {text}");
    }
}

#[test]
fn a_fault_names_its_object_and_undoes_all() {
    let Some((_namespace, mut nft)) = start() else {
        return;
    };
    nft.commit(with_hosts(&[host(80, "10.1.0.7")])).unwrap();

    let mut transaction = Transaction::new(&table());
    transaction.create_elements(&hosts(), &[host(81, "10.1.0.8"), host(80, "10.1.0.9")]);
    let error = nft.commit(transaction).unwrap_err();
    assert!(error.is_already_there(), "{error}");
    let text = error.to_string();
    let want = "adding element 6 . 80 to map inet penstock hostports: ";
    assert!(text.starts_with(want), "{text}");
    assert_eq!(nft.elements(&table(), &hosts()).unwrap().len(), 1);

    // The kernel goes on after a fault to find the others.
    let mut transaction = Transaction::new(&table());
    transaction.add_chain(&Chain::new("new"));
    transaction.delete_chain("absent").delete_set("absent too");
    transaction.add_rule(
        "new",
        &Rule::new().ipv4().one_of(&[Field::Source4], "nowhere"),
    );
    let failures = nft.try_commit(transaction);
    let found: Vec<_> = failures.iter().map(|failure| failure.index).collect();
    assert_eq!(found, [1, 2, 3], "{failures:?}");
    assert!(failures.iter().all(|failure| failure.error.is_not_there()));
    assert_eq!(nft.chains(&table()).unwrap(), []);
}

#[test]
fn what_has_changed_since_is_left_alone() {
    let Some((_namespace, mut nft)) = start() else {
        return;
    };
    nft.commit(with_hosts(&[])).unwrap();
    let Contents { generation, .. } = nft.contents(&table()).unwrap().unwrap();
    let add = |nft: &mut Nft, port| {
        let mut transaction = Transaction::new(&table());
        transaction.only_at(generation);
        transaction.add_elements(&hosts(), &[host(port, "10.1.0.7")]);
        nft.commit(transaction)
    };
    add(&mut nft, 80).unwrap();
    let error = add(&mut nft, 81).unwrap_err();
    assert!(error.is_stale(), "{error}");
    assert_eq!(nft.elements(&table(), &hosts()).unwrap().len(), 1);
}

#[test]
fn elements_are_moved_and_removed() {
    let Some((_namespace, mut nft)) = start() else {
        return;
    };
    let old = [host(80, "10.1.0.7"), host(81, "10.1.0.7")];
    nft.commit(with_hosts(&old)).unwrap();
    let mut transaction = Transaction::new(&table());
    let new = host(80, "10.1.0.9");
    transaction.delete_elements(&hosts(), &old);
    transaction.add_elements(&hosts(), [&new]);
    nft.commit(transaction).unwrap();
    assert_eq!(nft.elements(&table(), &hosts()).unwrap(), [new]);

    let mut transaction = Transaction::new(&table());
    transaction.flush_set("hostports");
    nft.commit(transaction).unwrap();
    assert_eq!(nft.elements(&table(), &hosts()).unwrap(), []);

    let nets = Set::new("nets", &[Type::Ipv4]).of_intervals();
    let element = |net| Element::new(Key::net(crate::net::<ipnet::Ipv4Net>(net)));
    let all = [element("0.0.0.0/0")];
    let mut transaction = Transaction::new(&table());
    transaction.add_set(&nets).add_elements(&nets, &all);
    nft.commit(transaction).unwrap();
    assert_eq!(nft.elements(&table(), &nets).unwrap(), all);
    let parts = [element("10.0.0.0/9"), element("10.128.0.0/9")];
    let mut transaction = Transaction::new(&table());
    transaction
        .delete_elements(&nets, &all)
        .add_elements(&nets, &parts);
    nft.commit(transaction).unwrap();
    assert_eq!(nft.elements(&table(), &nets).unwrap(), parts);

    let mut transaction = Transaction::new(&table());
    transaction.delete_table();
    nft.commit(transaction).unwrap();
    assert_eq!(nft.contents(&table()).unwrap(), None);
    assert_eq!(nft.rules(&table()).unwrap(), []);
}

/// 50 000 elements, one transaction; and one more each into the full map.
#[test]
fn a_large_map_goes_in_at_once_and_changes_cheaply() {
    let Some((_namespace, mut nft)) = start() else {
        return;
    };
    let address = |number: u32| Ipv4Addr::from(0x0a00_0000 + number);
    let elements: Vec<_> = (0..50_000)
        .map(|number| Element::mapping(address(number), (address(number), Port(80))))
        .collect();
    let map = Set::map("many", &[Type::Ipv4], &[Type::Ipv4, Type::Port]);
    let started = Instant::now();
    let mut transaction = Transaction::new(&table());
    transaction
        .add_table()
        .add_set(&map)
        .create_elements(&map, &elements);
    nft.commit(transaction).unwrap();
    let loaded = started.elapsed();

    let started = Instant::now();
    for number in 50_000..50_100 {
        let one = Element::mapping(address(number), (address(number), Port(80)));
        let mut transaction = Transaction::new(&table());
        transaction.create_elements(&map, [&one]);
        nft.commit(transaction).unwrap();
    }
    let changed = started.elapsed() / 100;

    let started = Instant::now();
    let listed = nft.elements(&table(), &map).unwrap();
    println!(
        "50 000 in {loaded:?}, one in {changed:?}, listed in {:?}",
        started.elapsed()
    );
    assert_eq!(listed.len(), 50_100);
    assert!(
        listed
            .iter()
            .all(|one| matches!(&one.data, Some(Data::Value(to))
        if Some(to.address(0).unwrap()) == key_address(&one.key)))
    );

    let mut transaction = Transaction::new(&table());
    transaction.delete_elements(&map, &elements);
    nft.commit(transaction).unwrap();
    assert_eq!(nft.elements(&table(), &map).unwrap().len(), 100);
}

fn key_address(key: &Key) -> Option<std::net::IpAddr> {
    match key {
        Key::One(value) => value.address(0),
        _ => None,
    }
}

/// Two hosts on a cable, the second with nftables of its own.
fn pair() -> Option<(Namespace, Namespace, Nft)> {
    let (server, nft) = start()?;
    let client = Namespace::new().unwrap();
    cable(&client, &server, ["10.9.0.1/24", "10.9.0.2/24"]);
    let mut netlink = Netlink::open_in(&server).unwrap();
    let lo = netlink.link_named(&LinkName::new("lo").unwrap()).unwrap();
    netlink
        .change(netlink::Change::set_link(lo.index, up()))
        .unwrap();
    Some((client, server, nft))
}

#[test]
fn packets_go_where_a_map_sends_them() {
    let Some((client, server, mut nft)) = pair() else {
        return;
    };
    let listener = server
        .enter(|| TcpListener::bind("10.9.0.2:0"))
        .unwrap()
        .unwrap();
    let to = listener.local_addr().unwrap().port();
    let fields = [Field::Protocol, Field::DestinationPort];
    let rule = Rule::new()
        .ipv4()
        .to_this_host()
        .mapped_by(&fields, "hostports");
    let rule = rule.nat_as_mapped(NatKind::Destination, NatFamily::Ip, true);
    let element = Element::mapping((Protocol::TCP, Port(99)), (v4("10.9.0.2"), Port(to)));
    let mut transaction = with_hosts(&[element]);
    transaction
        .add_chain(&Chain::base("in", ChainKind::Nat, Hook::Prerouting, -100))
        .add_rule("in", &rule);
    nft.commit(transaction).unwrap();
    assert_eq!(nft.rules(&table()).unwrap()[0].rule, rule);

    let address: SocketAddr = "10.9.0.2:99".parse().unwrap();
    let connected = client.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)));
    let mut connected = connected.unwrap().unwrap();
    let (mut taken, _) = listener.accept().unwrap();
    taken.write_all(b"here").unwrap();
    drop(taken);
    let mut said = String::new();
    connected.read_to_string(&mut said).unwrap();
    assert_eq!(said, "here");
}

#[test]
fn packets_meet_the_verdict_of_a_set_and_are_counted() {
    let Some((client, server, mut nft)) = pair() else {
        return;
    };
    let listener = server
        .enter(|| UdpSocket::bind("10.9.0.2:0"))
        .unwrap()
        .unwrap();
    let to = listener.local_addr().unwrap();
    let banned = Set::new("banned", &[Type::Ipv4, Type::Port]).of_intervals();
    let fields = [Field::Source4, Field::DestinationPort];
    let rule = Rule::new().ipv4().one_of(&fields, "banned");
    let rule = rule.count().count_in("drops").drop();
    let end = |port| Value::from((v4("10.9.0.1"), Port(port)));
    let ban = Element::new(Key::Range(end(1), end(u16::MAX)));
    let mut transaction = Transaction::new(&table());
    transaction
        .add_table()
        .add_counter("drops")
        .add_set(&banned)
        .add_elements(&banned, [&ban])
        .add_chain(&Chain::base("in", ChainKind::Filter, Hook::Input, 0))
        .add_rule("in", &rule);
    nft.commit(transaction).unwrap();

    let sender = client
        .enter(|| UdpSocket::bind("10.9.0.1:0"))
        .unwrap()
        .unwrap();
    sender.send_to(b"lost", to).unwrap();
    let counters = nft.counters(&table()).unwrap();
    assert_eq!((&*counters[0].0, counters[0].1.packets), ("drops", 1));
    let [listed] = nft.rules(&table()).unwrap().try_into().unwrap();
    assert_ne!(listed.rule, rule);
    assert_eq!(listed.rule.as_made(), rule);

    let mut transaction = Transaction::new(&table());
    transaction.delete_elements(&banned, [&ban]);
    nft.commit(transaction).unwrap();
    sender.send_to(b"heard", to).unwrap();
    listener
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut buffer = [0; 16];
    let length = listener.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"heard");
}

#[test]
fn a_name_that_is_too_long_is_refused_before_it_is_sent() {
    let Some((_namespace, mut nft)) = start() else {
        return;
    };
    let mut transaction = Transaction::new(&table());
    transaction
        .add_table()
        .add_chain(&Chain::new(&"x".repeat(70_000)));
    let error = nft.commit(transaction).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(nft.tables().unwrap(), []);
}

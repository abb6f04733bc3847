//! What can be put into sets and chains, of every kind.

use std::time::Duration;

use netlink::Mac;
use netlink::nft::{
    CtState, CtStatus, Direction, Element, Field, Key, Limit, LimitOf, Mark, Port, Protocol,
    Reject, Rule, Set, Type, Value, Verdict,
};

use super::v4;
use crate::{ip, name, net};

/// Elements of every kind, each with its set.
pub(super) fn elements() -> Vec<(Set, Element)> {
    let pods = Set {
        comment: Some("of this node".into()),
        ..Set::new("pods", &[Type::Ipv4]).counting()
    };
    let nets = Set::new("nets", &[Type::Ipv4]).of_intervals();
    let ports = Set::new("ports", &[Type::Protocol, Type::Port]).of_intervals();
    let ways = Set::verdicts("ways", &[Type::Ipv6]);
    let marks = Set::map("marks", &[Type::LinkName], &[Type::Mark]);
    let peers = Set::new("peers6", &[Type::Ipv6, Type::Protocol, Type::Port]).of_intervals();
    let end = |address, port| Value::from((ip(address), Protocol::TCP, Port(port)));
    let whole = Key::Range(end("fd00::", 1), end("fd00::ffff", 65_535));
    let to = Set::map(
        "to6",
        &[Type::Ipv6, Type::Protocol, Type::Port],
        &[Type::Ipv6, Type::Port],
    );
    let sent = Element::mapping(end("fd00::1", 80), (ip("fd00::7"), Port(8080)));
    let seen = Set {
        timeouts: true,
        size: Some(100),
        ..Set::new("seen", &[Type::Mac])
    };
    let range = |first, last| {
        let end = |port| Value::from((Protocol::UDP, Port(port)));
        Key::Range(end(first), end(last))
    };
    vec![
        (pods, Element::new(v4("10.1.0.7")).commented("web-0")),
        (
            nets.clone(),
            Element::new(Key::net(net::<ipnet::Ipv4Net>("10.1.0.0/24"))),
        ),
        (
            nets.clone(),
            Element::new(Key::net(net::<ipnet::Ipv4Net>("10.1.1.0/24"))),
        ),
        (nets.clone(), Element::new(v4("10.1.3.9"))),
        (
            nets,
            Element::new(Key::Range(
                v4("224.0.0.0").into(),
                v4("255.255.255.255").into(),
            )),
        ),
        (ports.clone(), Element::new((Protocol::TCP, Port(80)))),
        (ports, Element::new(range(1000, 2000))),
        (
            ways.clone(),
            Element::deciding(ip("fd00::1"), Verdict::Goto("way".into())),
        ),
        (ways, Element::deciding(Key::Any, Verdict::Drop)),
        (peers.clone(), Element::new(whole)),
        (peers, Element::new(end("fd01::7", 53))),
        (to, sent),
        (marks, Element::mapping(&name("eth0"), Mark(0x4000))),
        (
            seen,
            Element {
                timeout: Some(Duration::from_secs(3600)),
                ..Element::new(Mac([2, 0, 0, 0, 0, 1]))
            },
        ),
    ]
}

/// Rules of every kind, and how `nft` lists them.
pub(super) fn rules() -> Vec<(Rule, &'static str)> {
    let replies = CtState::ESTABLISHED.or(CtState::RELATED);
    let mut rules = vec![
        (
            Rule::new().in_state(replies).accept(),
            "ct state established,related accept",
        ),
        (
            Rule::new()
                .ipv4()
                .within(Field::Source4, net::<ipnet::Ipv4Net>("10.1.0.0/20"))
                .count()
                .drop(),
            "ip saddr 10.1.0.0/20 counter drop",
        ),
        (
            Rule::new()
                .ipv6()
                .outside(Field::Destination6, net::<ipnet::Ipv6Net>("fd00::/60"))
                .back(),
            "ip6 daddr != fd00::/60 return",
        ),
        (
            Rule::new()
                .when(Field::Protocol, Protocol::TCP)
                .between(Field::DestinationPort, Port(80), Port(90))
                .jump("way"),
            "tcp dport 80-90 jump way",
        ),
        (
            Rule::new()
                .when(Field::IncomingName, &name("eth0"))
                .set_mark(7)
                .commented("from outside"),
            "iifname \"eth0\" meta mark set 0x00000007 comment \"from outside\"",
        ),
        (
            Rule::new()
                .unless(Field::OutgoingName, &name("eth1"))
                .with_bits(Field::Mark, 0x4000)
                .drop(),
            "oifname != \"eth1\" meta mark & 0x00004000 != 0x00000000 drop",
        ),
    ];
    rules.extend(more_rules());
    rules
}

fn more_rules() -> Vec<(Rule, &'static str)> {
    let addresses = [Field::Protocol, Field::DestinationPort];
    let limit = Limit {
        rate: 10,
        seconds: 1,
        burst: 5,
        of: LimitOf::Packets,
        over: false,
    };
    vec![
        (
            Rule::new().to_this_host().decided_by(&addresses, "ways"),
            "fib daddr type local meta l4proto . th dport vmap @ways",
        ),
        (
            Rule::new()
                .ipv4()
                .one_of(&[Field::Source4], "pods")
                .accept(),
            "ip saddr @pods accept",
        ),
        (
            Rule::new().ipv4().none_of(&[Field::Source4], "pods").drop(),
            "ip saddr != @pods drop",
        ),
        (
            Rule::new()
                .with_status(CtStatus::DESTINATION_NAT)
                .going(Direction::Original)
                .accept(),
            "ct status dnat ct direction original accept",
        ),
        (
            Rule::new().limit(limit).log(4, "dropped "),
            "limit rate 10/second log prefix \"dropped \" group 4",
        ),
        (
            Rule::new().reject(Reject::Unreachable(3)),
            "reject with icmpx admin-prohibited",
        ),
        (
            Rule::new()
                .when(Field::Protocol, Protocol::TCP)
                .reject(Reject::Reset),
            "meta l4proto tcp reject with tcp reset",
        ),
        (
            Rule::new().count_in("drops").goto("way"),
            "counter name \"drops\" goto way",
        ),
        (
            Rule::new()
                .when(Field::IncomingName, Value::name_prefix("pen"))
                .add_mark_bits(0x4000),
            "iifname \"pen*\" meta mark set meta mark | 0x00004000",
        ),
        (
            Rule::new().set_ct_mark(9).add_ct_mark_bits(0x10),
            "ct mark set 0x00000009 ct mark set ct mark | 0x00000010",
        ),
        (Rule::new().one_in(10).drop(), "numgen random mod 10 0 drop"),
        (
            Rule::new()
                .ipv6()
                .one_of(
                    &[Field::Source6, Field::Protocol, Field::DestinationPort],
                    "peers6",
                )
                .accept(),
            "ip6 saddr . meta l4proto . th dport @peers6 accept",
        ),
    ]
}

//! Rules: which table a packet is routed by.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::address::{AF_INET, AF_INET6};
use crate::change::Verb;
use crate::names::LinkName;
use crate::wire::{self, Attributes, Frame, Message};

const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FIB_RULE_INVERT: u32 = 2;
/// `struct fib_rule_hdr`.
const FIXED: usize = 12;

/// What a rule does with the packets that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleAction {
    /// They are looked up in this table.
    Lookup(u32),
    /// They are dropped.
    Blackhole,
    /// They are refused: network unreachable.
    Unreachable,
    /// They are refused: administratively prohibited.
    Prohibit,
    /// Another, by number.
    Other(u8),
}

/// A rule. All its conditions hold for the packets that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// IPv6 rather than IPv4.
    pub ipv6: bool,
    /// The smallest is asked first.
    pub priority: u32,
    /// What it does.
    pub action: RuleAction,
    /// It is for the packets that the conditions do not hold for.
    pub inverted: bool,
    /// Source.
    pub from: Option<IpNet>,
    /// Destination.
    pub to: Option<IpNet>,
    /// Link it came in by.
    pub incoming: Option<LinkName>,
    /// Link that the sender is bound to.
    pub outgoing: Option<LinkName>,
    /// Mark, and the bits of it that count.
    pub mark: Option<(u32, u32)>,
    /// Protocol, as 17 for UDP.
    pub ip_protocol: Option<u8>,
    /// Source ports.
    pub source_ports: Option<RangeInclusive<u16>>,
    /// Destination ports.
    pub destination_ports: Option<RangeInclusive<u16>>,
    /// Who made it (`RTPROT_*`); 0 is nobody in particular.
    pub protocol: u8,
}

impl Rule {
    /// A rule for all packets.
    pub fn new(ipv6: bool, priority: u32, action: RuleAction) -> Self {
        Self {
            ipv6,
            priority,
            action,
            inverted: false,
            from: None,
            to: None,
            incoming: None,
            outgoing: None,
            mark: None,
            ip_protocol: None,
            source_ports: None,
            destination_ports: None,
            protocol: 0,
        }
    }

    pub(crate) fn encode(&self, verb: Verb) -> Message {
        // The kernel knows no replacing here, and would hold two rules that are alike.
        let verb = if verb == Verb::Replace {
            Verb::Add
        } else {
            verb
        };
        let mut message = verb.message(RTM_NEWRULE, RTM_DELRULE);
        message.fixed(&self.header());
        message.u32(FRA_PRIORITY, self.priority);
        if let RuleAction::Lookup(table) = self.action {
            message.u32(FRA_TABLE, table);
        }
        for (kind, net) in [(FRA_SRC, self.from), (FRA_DST, self.to)] {
            if let Some(net) = net {
                message.address(kind, net.addr());
            }
        }
        for (kind, name) in [(FRA_IIFNAME, &self.incoming), (FRA_OIFNAME, &self.outgoing)] {
            if let Some(name) = name {
                message.text(kind, name.as_str());
            }
        }
        if let Some((mark, mask)) = self.mark {
            message.u32(FRA_FWMARK, mark).u32(FRA_FWMASK, mask);
        }
        if self.protocol != 0 {
            message.u8(FRA_PROTOCOL, self.protocol);
        }
        if let Some(protocol) = self.ip_protocol {
            message.u8(FRA_IP_PROTO, protocol);
        }
        for (kind, ports) in [
            (FRA_SPORT_RANGE, &self.source_ports),
            (FRA_DPORT_RANGE, &self.destination_ports),
        ] {
            if let Some(ports) = ports {
                let range = [ports.start().to_ne_bytes(), ports.end().to_ne_bytes()];
                message.bytes(kind, &range.concat());
            }
        }
        message
    }

    fn header(&self) -> [u8; FIXED] {
        let mut fixed = [0; FIXED];
        fixed[0] = if self.ipv6 { AF_INET6 } else { AF_INET };
        fixed[1] = self.to.map_or(0, |net| net.prefix_len());
        fixed[2] = self.from.map_or(0, |net| net.prefix_len());
        (fixed[4], fixed[7]) = match self.action {
            RuleAction::Lookup(table) => (u8::try_from(table).unwrap_or(252), 1),
            RuleAction::Blackhole => (0, 6),
            RuleAction::Unreachable => (0, 7),
            RuleAction::Prohibit => (0, 8),
            RuleAction::Other(action) => (0, action),
        };
        if self.inverted {
            fixed[8..].copy_from_slice(&FIB_RULE_INVERT.to_ne_bytes());
        }
        fixed
    }

    pub(crate) fn read(frame: &Frame<'_>) -> Option<Self> {
        let fixed = frame.body.first_chunk::<FIXED>()?;
        let attributes = Attributes::after(frame.body, FIXED);
        let wide = |kind| attributes.get(kind).and_then(wire::read_u32);
        let narrow = |kind| attributes.get(kind).and_then(wire::read_u8);
        let net = |kind, length| {
            let address = wire::read_address(attributes.get(kind)?)?;
            IpNet::new(address, length).ok()
        };
        let name = |kind| {
            attributes
                .get(kind)
                .map(wire::read_text)
                .map(LinkName::from_kernel)
        };
        let ports = |kind| {
            let range: &[u8] = attributes.get(kind)?;
            Some(wire::read_u16(range)?..=wire::read_u16(range.get(2..)?)?)
        };
        let mask = wide(FRA_FWMASK).unwrap_or(u32::MAX);
        Some(Self {
            ipv6: fixed[0] == AF_INET6,
            priority: wide(FRA_PRIORITY).unwrap_or(0),
            action: match fixed[7] {
                1 => RuleAction::Lookup(wide(FRA_TABLE).unwrap_or_else(|| fixed[4].into())),
                6 => RuleAction::Blackhole,
                7 => RuleAction::Unreachable,
                8 => RuleAction::Prohibit,
                other => RuleAction::Other(other),
            },
            inverted: wire::read_u32(&fixed[8..])? & FIB_RULE_INVERT != 0,
            from: net(FRA_SRC, fixed[2]),
            to: net(FRA_DST, fixed[1]),
            incoming: name(FRA_IIFNAME),
            outgoing: name(FRA_OIFNAME),
            mark: wide(FRA_FWMARK).map(|mark| (mark, mask)),
            ip_protocol: narrow(FRA_IP_PROTO),
            source_ports: ports(FRA_SPORT_RANGE),
            destination_ports: ports(FRA_DPORT_RANGE),
            protocol: narrow(FRA_PROTOCOL).unwrap_or(0),
        })
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = format!("rule {}:", self.priority);
        let conditions = [
            ("from", self.from.map(|net| net.to_string())),
            ("to", self.to.map(|net| net.to_string())),
            ("iif", self.incoming.as_ref().map(ToString::to_string)),
            ("oif", self.outgoing.as_ref().map(ToString::to_string)),
            (
                "fwmark",
                self.mark.map(|(mark, mask)| format!("{mark:#x}/{mask:#x}")),
            ),
        ];
        for (name, value) in conditions {
            if let Some(value) = value {
                let _ = write!(text, " {name} {value}");
            }
        }
        let _ = match self.action {
            RuleAction::Lookup(table) => write!(text, " lookup {table}"),
            action => write!(text, " {}", format!("{action:?}").to_lowercase()),
        };
        text
    }
}

pub(crate) fn encode_list(family: u8) -> Message {
    let mut message = Message::new(RTM_GETRULE, 0);
    let mut fixed = [0; FIXED];
    fixed[0] = family;
    message.fixed(&fixed);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frames;

    #[test]
    fn rules_are_read_as_they_are_written() {
        let table = [
            Rule::new(false, 100, RuleAction::Lookup(100)),
            Rule::new(true, 7, RuleAction::Prohibit),
            Rule {
                from: Some("10.1.0.0/16".parse().unwrap()),
                to: Some("10.2.0.7/32".parse().unwrap()),
                incoming: Some(LinkName::new("tunl0").unwrap()),
                mark: Some((0x10, 0xf0)),
                ip_protocol: Some(17),
                destination_ports: Some(53..=54),
                inverted: true,
                protocol: 99,
                ..Rule::new(false, 1, RuleAction::Lookup(70_000))
            },
        ];
        for rule in table {
            let bytes = rule.encode(Verb::Add).finish(1, 0).unwrap();
            assert_eq!(Rule::read(&Frames(&bytes).next().unwrap()), Some(rule));
        }
    }

    #[test]
    fn a_rule_of_the_director_is_named_as_ip_rule_names_it() {
        let rule = Rule {
            incoming: Some(LinkName::new("tunl0").unwrap()),
            ..Rule::new(false, 100, RuleAction::Lookup(100))
        };
        assert_eq!(rule.describe(), "rule 100: iif tunl0 lookup 100");
    }
}

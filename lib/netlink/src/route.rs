//! Routes: one or several next hops, any table.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{AF_INET, family_of};
use crate::change::{Naming, Verb};
use crate::names::LinkIndex;
use crate::wire::{self, Attributes, Frame, Message};

pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const RTA_DST: u16 = 1;
const RTA_IIF: u16 = 3;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_MARK: u16 = 16;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

const RTNH_F_ONLINK: u32 = 4;
/// `struct rtmsg`.
const FIXED: usize = 12;
/// `struct rtnexthop`.
const HOP: usize = 8;

/// The table that routes are in unless said otherwise.
pub const MAIN_TABLE: u32 = 254;
/// The table of the machine's own addresses.
pub const LOCAL_TABLE: u32 = 255;
/// What the kernel gives an IPv6 route without a metric.
const IPV6_METRIC: u32 = 1024;

/// How far a destination is; for IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Anywhere.
    Universe,
    /// In this site.
    Site,
    /// On a link of ours.
    Link,
    /// This machine.
    Host,
    /// Another, by number.
    Other(u8),
}

impl Scope {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Universe => 0,
            Self::Site => 200,
            Self::Link => 253,
            Self::Host => 254,
            Self::Other(number) => number,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Universe,
            200 => Self::Site,
            253 => Self::Link,
            254 => Self::Host,
            other => Self::Other(other),
        }
    }
}

/// What is done with a packet that takes the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// Sent on.
    Unicast,
    /// Taken as one's own.
    Local,
    /// Dropped.
    Blackhole,
    /// Refused: host unreachable.
    Unreachable,
    /// Refused: administratively prohibited.
    Prohibit,
    /// The next rule decides.
    Throw,
    /// Another, by number.
    Other(u8),
}

impl RouteKind {
    fn number(self) -> u8 {
        match self {
            Self::Unicast => 1,
            Self::Local => 2,
            Self::Blackhole => 6,
            Self::Unreachable => 7,
            Self::Prohibit => 8,
            Self::Throw => 9,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Unicast,
            2 => Self::Local,
            6 => Self::Blackhole,
            7 => Self::Unreachable,
            8 => Self::Prohibit,
            9 => Self::Throw,
            other => Self::Other(other),
        }
    }
}

/// A next hop.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The gateway, possibly of the other family.
    pub via: Option<IpAddr>,
    /// The link.
    pub dev: Option<LinkIndex>,
    /// The gateway is on the link, though no address of ours says so.
    pub onlink: bool,
    /// Its share beside the others, less one.
    pub more_weight: u8,
}

/// A route. What is listed equals what was added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// In which table.
    pub table: u32,
    /// What is done.
    pub kind: RouteKind,
    /// How far; always the universe for IPv6.
    pub scope: Scope,
    /// Who made it (`rtm_protocol`): 2 the kernel, 3 at boot, 4 by hand, others as agreed.
    pub protocol: u8,
    /// The smallest wins.
    pub metric: u32,
    /// The source that packets of ours get.
    pub source: Option<IpAddr>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Largest segment that TCP offers.
    pub advmss: Option<u32>,
    /// Where it leads; several share the flows.
    pub hops: Vec<Hop>,
}

/// `RTPROT_STATIC`.
const STATIC: u8 = 4;

impl Route {
    /// A route to what is behind a gateway, which need not be in a prefix of the link's.
    pub fn via(destination: IpNet, gateway: IpAddr, dev: LinkIndex) -> Self {
        let hop = Hop {
            via: Some(gateway),
            dev: Some(dev),
            onlink: true,
            more_weight: 0,
        };
        Self::through(destination, vec![hop], Scope::Universe)
    }

    /// A route to what is on the link.
    pub fn on_link(destination: IpNet, dev: LinkIndex) -> Self {
        let hop = Hop {
            dev: Some(dev),
            ..Hop::default()
        };
        Self::through(destination, vec![hop], Scope::Link)
    }

    /// A route over several next hops.
    pub fn multipath(destination: IpNet, hops: Vec<Hop>) -> Self {
        Self::through(destination, hops, Scope::Universe)
    }

    /// A route that leads to no next hop.
    pub fn special(destination: IpNet, kind: RouteKind) -> Self {
        Self {
            kind,
            ..Self::through(destination, Vec::new(), Scope::Universe)
        }
    }

    fn through(destination: IpNet, hops: Vec<Hop>, scope: Scope) -> Self {
        let v4 = matches!(destination, IpNet::V4(_));
        Self {
            destination: destination.trunc(),
            table: MAIN_TABLE,
            kind: RouteKind::Unicast,
            scope: if v4 { scope } else { Scope::Universe },
            protocol: STATIC,
            metric: if v4 { 0 } else { IPV6_METRIC },
            source: None,
            mtu: None,
            advmss: None,
            hops,
        }
    }

    pub(crate) fn encode(&self, verb: Verb) -> Message {
        let mut message = verb.message(RTM_NEWROUTE, RTM_DELROUTE);
        message.fixed(&self.header());
        if self.destination.prefix_len() > 0 {
            message.address(RTA_DST, self.destination.addr());
        }
        message.u32(RTA_TABLE, self.table);
        if self.metric != 0 {
            message.u32(RTA_PRIORITY, self.metric);
        }
        if let Some(source) = self.source {
            message.address(RTA_PREFSRC, source);
        }
        if self.mtu.is_some() || self.advmss.is_some() {
            message.nest(RTA_METRICS, |message| {
                for (kind, value) in [(RTAX_MTU, self.mtu), (RTAX_ADVMSS, self.advmss)] {
                    if let Some(value) = value {
                        message.u32(kind, value);
                    }
                }
            });
        }
        match self.hops.as_slice() {
            [] => {}
            [hop] => {
                if let Some(dev) = hop.dev {
                    message.u32(RTA_OIF, dev.0);
                }
                self.write_gateway(&mut message, hop);
            }
            hops => {
                message.nest(RTA_MULTIPATH, |message| {
                    for hop in hops {
                        self.write_hop(message, hop);
                    }
                });
            }
        }
        message
    }

    /// `struct rtmsg`.
    fn header(&self) -> [u8; FIXED] {
        let mut fixed = [0; FIXED];
        fixed[0] = family_of(self.destination.addr());
        fixed[1] = self.destination.prefix_len();
        // Tables beyond a byte go by attribute (RT_TABLE_COMPAT, 252).
        fixed[4] = u8::try_from(self.table).unwrap_or(252);
        fixed[5] = self.protocol;
        fixed[6] = self.scope.number();
        fixed[7] = self.kind.number();
        if let [hop] = self.hops.as_slice()
            && hop.onlink
        {
            fixed[8..].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
        }
        fixed
    }

    fn write_hop(&self, message: &mut Message, hop: &Hop) {
        let start = message.position();
        let dev = hop.dev.unwrap_or(LinkIndex(0)).to_bytes();
        let flags = if hop.onlink { 4 } else { 0 };
        message.fixed(&[0, 0, flags, hop.more_weight, dev[0], dev[1], dev[2], dev[3]]);
        self.write_gateway(message, hop);
        message.close(start);
    }

    fn write_gateway(&self, message: &mut Message, hop: &Hop) {
        let Some(via) = hop.via else {
            return;
        };
        if family_of(via) == family_of(self.destination.addr()) {
            message.address(RTA_GATEWAY, via);
            return;
        }
        // `struct rtvia`
        let mut value = u16::from(family_of(via)).to_ne_bytes().to_vec();
        match via {
            IpAddr::V4(via) => value.extend(via.octets()),
            IpAddr::V6(via) => value.extend(via.octets()),
        }
        message.bytes(RTA_VIA, &value);
    }

    pub(crate) fn read(frame: &Frame<'_>) -> Option<Self> {
        let fixed = frame.body.first_chunk::<FIXED>()?;
        let attributes = Attributes::after(frame.body, FIXED);
        let wide = |kind| attributes.get(kind).and_then(wire::read_u32);
        let address = |kind| attributes.get(kind).and_then(wire::read_address);
        let any = match fixed[0] {
            AF_INET => IpAddr::from([0_u8; 4]),
            _ => IpAddr::from([0_u8; 16]),
        };
        let kind = RouteKind::from_number(fixed[7]);
        let metrics = attributes.inside(RTA_METRICS);
        Some(Self {
            destination: IpNet::new(address(RTA_DST).unwrap_or(any), fixed[1]).ok()?,
            table: wide(RTA_TABLE).unwrap_or_else(|| fixed[4].into()),
            kind,
            scope: Scope::from_number(fixed[6]),
            protocol: fixed[5],
            metric: wide(RTA_PRIORITY).unwrap_or(0),
            source: address(RTA_PREFSRC),
            mtu: metrics.get(RTAX_MTU).and_then(wire::read_u32),
            advmss: metrics.get(RTAX_ADVMSS).and_then(wire::read_u32),
            hops: match attributes.get(RTA_MULTIPATH) {
                Some(hops) => read_hops(hops),
                None => read_only_hop(wire::read_u32(&fixed[8..])?, attributes, kind),
            },
        })
    }

    pub(crate) fn describe(&self, names: Naming<'_>) -> String {
        let mut text = match self.kind {
            RouteKind::Unicast => format!("route {}", self.destination),
            kind => format!("{kind:?} route {}", self.destination).to_lowercase(),
        };
        for hop in &self.hops {
            if let Some(via) = hop.via {
                let _ = write!(text, " via {via}");
            }
            if let Some(dev) = hop.dev {
                let _ = write!(text, " dev {}", names(dev));
            }
        }
        if self.table != MAIN_TABLE {
            let _ = write!(text, " table {}", self.table);
        }
        text
    }
}

/// IPv6's routes that refuse stand on the loopback, which nobody asked for.
fn read_only_hop(flags: u32, attributes: Attributes<'_>, kind: RouteKind) -> Vec<Hop> {
    let hop = Hop {
        onlink: flags & RTNH_F_ONLINK != 0,
        ..read_gateway(attributes)
    };
    let refuses = !matches!(
        kind,
        RouteKind::Unicast | RouteKind::Local | RouteKind::Other(_)
    );
    match refuses || hop == Hop::default() {
        true => Vec::new(),
        false => vec![hop],
    }
}

fn read_gateway(attributes: Attributes<'_>) -> Hop {
    let other_family = || wire::read_address(attributes.get(RTA_VIA)?.get(2..)?);
    let gateway = attributes.get(RTA_GATEWAY).and_then(wire::read_address);
    let dev = attributes.get(RTA_OIF).and_then(wire::read_u32);
    Hop {
        via: gateway.or_else(other_family),
        dev: dev.map(LinkIndex),
        ..Hop::default()
    }
}

fn read_hops(mut bytes: &[u8]) -> Vec<Hop> {
    let mut hops = Vec::new();
    while let Some(length) = wire::read_u16(bytes).map(usize::from) {
        let Some(hop) = bytes.get(..length).filter(|hop| hop.len() >= HOP) else {
            break;
        };
        hops.push(Hop {
            dev: wire::read_u32(&hop[4..]).map(LinkIndex),
            onlink: u32::from(hop[2]) & RTNH_F_ONLINK != 0,
            more_weight: hop[3],
            ..read_gateway(Attributes::after(hop, HOP))
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

/// Which routes are listed; the kernel leaves the others out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// Of this table.
    pub table: Option<u32>,
    /// Out of this link.
    pub dev: Option<LinkIndex>,
    /// Made by this protocol; 0 is any.
    pub protocol: u8,
}

impl RouteFilter {
    pub(crate) fn encode(self, family: u8) -> Message {
        let mut message = Message::new(RTM_GETROUTE, 0);
        let mut fixed = [0; FIXED];
        fixed[0] = family;
        fixed[5] = self.protocol;
        message.fixed(&fixed);
        if let Some(table) = self.table {
            message.u32(RTA_TABLE, table);
        }
        if let Some(dev) = self.dev {
            message.u32(RTA_OIF, dev.0);
        }
        message
    }
}

/// Asks which way a packet takes: to `destination`, and if said with a mark or come in by a link.
pub(crate) fn encode_lookup(destination: IpAddr, mark: u32, from: Option<LinkIndex>) -> Message {
    let mut message = Message::new(RTM_GETROUTE, 0);
    let mut fixed = [0; FIXED];
    fixed[0] = family_of(destination);
    fixed[1] = if destination.is_ipv4() { 32 } else { 128 };
    message.fixed(&fixed);
    message.address(RTA_DST, destination);
    if mark != 0 {
        message.u32(RTA_MARK, mark);
    }
    if let Some(from) = from {
        message.u32(RTA_IIF, from.0);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frames;

    fn round_trip(route: &Route) -> Route {
        let bytes = route.encode(Verb::Add).finish(1, 0).unwrap();
        Route::read(&Frames(&bytes).next().unwrap()).unwrap()
    }

    #[test]
    fn flannels_route_has_its_bytes() {
        let via = "10.1.2.0".parse().unwrap();
        let route = Route::via("10.1.2.0/24".parse().unwrap(), via, LinkIndex(7));
        let bytes = route.encode(Verb::Add).finish(1, wire::ACK).unwrap();
        let frame = Frames(&bytes).next().unwrap();
        let want = [
            &[2, 24, 0, 0, 254, 4, 0, 1][..],
            &4_u32.to_ne_bytes(),
            &[8, 0, 1, 0, 10, 1, 2, 0],
            &[8, 0, 15, 0],
            &254_u32.to_ne_bytes(),
            &[8, 0, 4, 0],
            &7_u32.to_ne_bytes(),
            &[8, 0, 5, 0, 10, 1, 2, 0],
        ]
        .concat();
        assert_eq!(frame.body, want);
    }

    #[test]
    fn routes_are_read_as_they_are_written() {
        let hop = |via: &str, weight| Hop {
            via: Some(via.parse().unwrap()),
            dev: Some(LinkIndex(3)),
            onlink: true,
            more_weight: weight,
        };
        let v4: IpNet = "10.0.0.0/8".parse().unwrap();
        let v6: IpNet = "fd00::/64".parse().unwrap();
        let table = [
            Route::on_link(v4, LinkIndex(2)),
            Route::on_link(v6, LinkIndex(2)),
            Route::via(v4, "fe80::1".parse().unwrap(), LinkIndex(2)),
            Route::multipath(v4, vec![hop("10.9.0.1", 0), hop("fe80::2", 4)]),
            Route::multipath(v6, vec![hop("fe80::1", 0), hop("fe80::2", 4)]),
            Route::special("0.0.0.0/0".parse().unwrap(), RouteKind::Unreachable),
            Route {
                table: 5000,
                metric: 7,
                mtu: Some(1400),
                advmss: Some(1360),
                source: Some("10.0.0.1".parse().unwrap()),
                ..Route::on_link(v4, LinkIndex(2))
            },
        ];
        for route in table {
            assert_eq!(round_trip(&route), route);
        }
    }
}

//! Kinds of links, and what each takes to be made.

use std::net::IpAddr;

use super::{IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO};
use super::{LinkSettings, header};
use crate::names::{LinkIndex, LinkName, Mac};
use crate::namespace::Namespace;
use crate::wire::{self, Attributes, Message};

const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;

const VXLAN_ID: u16 = 1;
const VXLAN_GROUP: u16 = 2;
const VXLAN_LINK: u16 = 3;
const VXLAN_LOCAL: u16 = 4;
const VXLAN_TTL: u16 = 5;
const VXLAN_TOS: u16 = 6;
const VXLAN_LEARNING: u16 = 7;
const VXLAN_L2MISS: u16 = 13;
const VXLAN_L3MISS: u16 = 14;
const VXLAN_PORT: u16 = 15;
const VXLAN_GROUP6: u16 = 16;
const VXLAN_LOCAL6: u16 = 17;
const VXLAN_UDP_CSUM: u16 = 18;
const VXLAN_ZERO_CSUM6_TX: u16 = 19;
const VXLAN_ZERO_CSUM6_RX: u16 = 20;
const VXLAN_GBP: u16 = 23;
const VXLAN_EXTERNAL: u16 = 25;

const IPTUN_LINK: u16 = 1;
const IPTUN_LOCAL: u16 = 2;
const IPTUN_REMOTE: u16 = 3;
const IPTUN_TTL: u16 = 4;
const IPTUN_PMTUDISC: u16 = 10;
const IPTUN_EXTERNAL: u16 = 19;

/// What a link is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// Takes packets and loses them.
    Dummy,
    /// An intermediate functional block, to shape what comes in.
    Ifb,
    /// A switch.
    Bridge,
    /// A cable, with its other end.
    Veth(Box<Peer>),
    /// A second hardware address on a link, its siblings bridged.
    Macvlan(LinkIndex),
    /// Ethernet in UDP (RFC 7348).
    Vxlan(Box<Vxlan>),
    /// IPv4 in IPv4 (RFC 2003).
    Ipip(Tunnel),
    /// IPv4 or IPv6 in IPv6 (RFC 2473).
    Ip6Tunnel(Tunnel),
    /// `WireGuard`; its keys and peers are another family's.
    Wireguard,
}

/// The other end of a cable. It is born down: the kernel takes it up only when both ends are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: LinkName,
    /// The namespace that it is born in.
    pub namespace: Option<Namespace>,
    /// How large a packet may be.
    pub mtu: Option<u32>,
    /// Its hardware address.
    pub mac: Option<Mac>,
}

/// A vxlan device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The network's number, 24 bits.
    pub vni: u32,
    /// UDP port of both ends.
    pub port: u16,
    /// The link that carries it.
    pub underlay: Option<LinkIndex>,
    /// Own address outside.
    pub local: Option<IpAddr>,
    /// Where frames go that the FDB does not know: a multicast group or one node.
    pub group: Option<IpAddr>,
    /// Whether the FDB learns from what comes in.
    pub learning: bool,
    /// Time to live outside; 0 is the kernel's choice.
    pub ttl: u8,
    /// Type of service outside; 1 copies the inner one.
    pub tos: u8,
    /// Tell of frames to unknown hardware addresses.
    pub l2_miss: bool,
    /// Tell of packets to unknown neighbours.
    pub l3_miss: bool,
    /// UDP checksums over IPv4.
    pub udp_checksum: bool,
    /// No UDP checksums over IPv6, sent.
    pub udp6_zero_checksum_sent: bool,
    /// No UDP checksums over IPv6, taken.
    pub udp6_zero_checksum_taken: bool,
    /// Group policy extension.
    pub gbp: bool,
    /// Number and ends come with each packet (`external`).
    pub external: bool,
}

impl Vxlan {
    /// A device that learns nothing and sends to the entries of its FDB only, as flannel makes it.
    pub fn new(vni: u32, port: u16) -> Self {
        Self {
            vni,
            port,
            underlay: None,
            local: None,
            group: None,
            learning: false,
            ttl: 0,
            tos: 0,
            l2_miss: false,
            l3_miss: false,
            udp_checksum: false,
            udp6_zero_checksum_sent: false,
            udp6_zero_checksum_taken: false,
            gbp: false,
            external: false,
        }
    }

    fn write(&self, message: &mut Message) {
        if !self.external {
            message.u32(VXLAN_ID, self.vni);
        }
        message.be16(VXLAN_PORT, self.port);
        if let Some(underlay) = self.underlay {
            message.u32(VXLAN_LINK, underlay.0);
        }
        for (address, v4, v6) in [
            (self.local, VXLAN_LOCAL, VXLAN_LOCAL6),
            (self.group, VXLAN_GROUP, VXLAN_GROUP6),
        ] {
            if let Some(address) = address {
                message.address(if address.is_ipv4() { v4 } else { v6 }, address);
            }
        }
        message.u8(VXLAN_TTL, self.ttl);
        message.u8(VXLAN_TOS, self.tos);
        for (kind, on) in [
            (VXLAN_LEARNING, self.learning),
            (VXLAN_L2MISS, self.l2_miss),
            (VXLAN_L3MISS, self.l3_miss),
            (VXLAN_UDP_CSUM, self.udp_checksum),
            (VXLAN_ZERO_CSUM6_TX, self.udp6_zero_checksum_sent),
            (VXLAN_ZERO_CSUM6_RX, self.udp6_zero_checksum_taken),
        ] {
            message.u8(kind, u8::from(on));
        }
        if self.external {
            message.u8(VXLAN_EXTERNAL, 1);
        }
        if self.gbp {
            message.flag(VXLAN_GBP);
        }
    }

    pub(super) fn read(data: Attributes<'_>) -> Self {
        let number = |kind| data.get(kind).and_then(wire::read_u8).unwrap_or(0);
        let on = |kind| number(kind) != 0;
        let address = |v4, v6| {
            let bytes = data.get(v4).or_else(|| data.get(v6))?;
            wire::read_address(bytes).filter(|address| !address.is_unspecified())
        };
        let wide = |kind| data.get(kind).and_then(wire::read_u32);
        Self {
            vni: wide(VXLAN_ID).unwrap_or(0),
            port: data.get(VXLAN_PORT).and_then(wire::read_be16).unwrap_or(0),
            underlay: wide(VXLAN_LINK).filter(|index| *index != 0).map(LinkIndex),
            local: address(VXLAN_LOCAL, VXLAN_LOCAL6),
            group: address(VXLAN_GROUP, VXLAN_GROUP6),
            learning: on(VXLAN_LEARNING),
            ttl: number(VXLAN_TTL),
            tos: number(VXLAN_TOS),
            l2_miss: on(VXLAN_L2MISS),
            l3_miss: on(VXLAN_L3MISS),
            udp_checksum: on(VXLAN_UDP_CSUM),
            udp6_zero_checksum_sent: on(VXLAN_ZERO_CSUM6_TX),
            udp6_zero_checksum_taken: on(VXLAN_ZERO_CSUM6_RX),
            gbp: data.get(VXLAN_GBP).is_some(),
            external: on(VXLAN_EXTERNAL),
        }
    }
}

/// An IP tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// The link that carries it.
    pub underlay: Option<LinkIndex>,
    /// Own address outside.
    pub local: Option<IpAddr>,
    /// The other end's; none takes from anybody.
    pub remote: Option<IpAddr>,
    /// Time to live outside; 0 copies the inner one.
    pub ttl: u8,
    /// The ends come with each packet (`external`).
    pub external: bool,
}

impl Tunnel {
    fn write(&self, message: &mut Message, v4: bool) {
        if self.external {
            message.flag(IPTUN_EXTERNAL);
            return;
        }
        if let Some(underlay) = self.underlay {
            message.u32(IPTUN_LINK, underlay.0);
        }
        for (kind, address) in [(IPTUN_LOCAL, self.local), (IPTUN_REMOTE, self.remote)] {
            if let Some(address) = address {
                message.address(kind, address);
            }
        }
        message.u8(IPTUN_TTL, self.ttl);
        if v4 {
            // With a fixed time to live the kernel insists on path MTU discovery.
            message.u8(IPTUN_PMTUDISC, 1);
        }
    }

    pub(super) fn read(data: Attributes<'_>) -> Self {
        let address =
            |kind| wire::read_address(data.get(kind)?).filter(|address| !address.is_unspecified());
        let underlay = data.get(IPTUN_LINK).and_then(wire::read_u32);
        Self {
            underlay: underlay.filter(|index| *index != 0).map(LinkIndex),
            local: address(IPTUN_LOCAL),
            remote: address(IPTUN_REMOTE),
            ttl: data.get(IPTUN_TTL).and_then(wire::read_u8).unwrap_or(0),
            external: data.get(IPTUN_EXTERNAL).is_some(),
        }
    }
}

impl LinkKind {
    /// What the kernel calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dummy => "dummy",
            Self::Ifb => "ifb",
            Self::Bridge => "bridge",
            Self::Veth(_) => "veth",
            Self::Macvlan(_) => "macvlan",
            Self::Vxlan(_) => "vxlan",
            Self::Ipip(_) => "ipip",
            Self::Ip6Tunnel(_) => "ip6tnl",
            Self::Wireguard => "wireguard",
        }
    }

    pub(super) fn write(&self, message: &mut Message) {
        if let Self::Macvlan(parent) = self {
            message.u32(IFLA_LINK, parent.0);
        }
        message.nest(IFLA_LINKINFO, |message| {
            message.text(IFLA_INFO_KIND, self.name());
            match self {
                Self::Dummy | Self::Ifb | Self::Bridge | Self::Wireguard => {}
                _ => {
                    message.nest(IFLA_INFO_DATA, |message| self.write_data(message));
                }
            }
        });
    }

    fn write_data(&self, message: &mut Message) {
        match self {
            Self::Veth(peer) => peer.write(message),
            Self::Macvlan(_) => {
                message.u32(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
            }
            Self::Vxlan(vxlan) => vxlan.write(message),
            Self::Ipip(tunnel) => tunnel.write(message, true),
            Self::Ip6Tunnel(tunnel) => tunnel.write(message, false),
            Self::Dummy | Self::Ifb | Self::Bridge | Self::Wireguard => {}
        }
    }
}

impl Peer {
    fn write(&self, message: &mut Message) {
        message.nest(VETH_INFO_PEER, |message| {
            let settings = LinkSettings {
                namespace: self.namespace.clone(),
                mtu: self.mtu,
                mac: self.mac,
                ..LinkSettings::default()
            };
            message.fixed(&header(0, None, &settings));
            message.text(IFLA_IFNAME, self.name.as_str());
            settings.write(message);
        });
    }
}

pub(super) fn write_vxlan_local(message: &mut Message, local: IpAddr) {
    message.nest(IFLA_LINKINFO, |message| {
        message.text(IFLA_INFO_KIND, "vxlan");
        message.nest(IFLA_INFO_DATA, |message| {
            let kind = if local.is_ipv4() {
                VXLAN_LOCAL
            } else {
                VXLAN_LOCAL6
            };
            message.address(kind, local);
        });
    });
}

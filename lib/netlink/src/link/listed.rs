//! Links as the kernel lists them.

use super::{AF_BRIDGE, RTM_NEWLINK, Tunnel, Vxlan};
use super::{FIXED, IFF_UP, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA};
use super::{IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU};
use crate::names::{LinkIndex, LinkName, Mac};
use crate::wire::{self, Attributes, Frame};

const IFLA_CARRIER: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;
const IFF_LOOPBACK: u32 = 8;
const IFF_RUNNING: u32 = 0x40;

/// A link as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: LinkIndex,
    /// Its name.
    pub name: LinkName,
    /// What it is.
    pub kind: ListedKind,
    /// Whether it was set up.
    pub up: bool,
    /// Whether something is at the other end.
    pub carrier: bool,
    /// Whether packets pass: a moment after there is a carrier, and what is sent before is lost.
    pub running: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
    /// How large a packet may be.
    pub mtu: u32,
    /// Its hardware address, if that is Ethernet's kind.
    pub mac: Option<Mac>,
    /// The bridge that it is a port of.
    pub master: Option<LinkIndex>,
    /// The link that it stands on or is the other end of; a number of that link's namespace.
    pub parent: Option<LinkIndex>,
    /// Whether `parent` is in another namespace.
    pub parent_elsewhere: bool,
    /// A remark.
    pub alias: Option<String>,
}

/// What a listed link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// Vxlan, with its attributes.
    Vxlan(Box<Vxlan>),
    /// An IP tunnel, `ipip` or `ip6tnl`, with its attributes.
    Tunnel(Box<str>, Tunnel),
    /// Another kind, by the kernel's name; empty for what is no software's.
    Other(Box<str>),
}

impl ListedKind {
    /// What the kernel calls it; empty for what is no software's.
    pub fn name(&self) -> &str {
        match self {
            Self::Vxlan(_) => "vxlan",
            Self::Tunnel(name, _) | Self::Other(name) => name,
        }
    }
}

impl Link {
    pub(crate) fn read(frame: &Frame<'_>) -> Option<Self> {
        let fixed = frame.body.first_chunk::<FIXED>()?;
        let attributes = Attributes::after(frame.body, FIXED);
        let flags = wire::read_u32(&fixed[8..])?;
        let wide = |kind| attributes.get(kind).and_then(wire::read_u32);
        let index = |kind| wide(kind).filter(|index| *index != 0).map(LinkIndex);
        Some(Self {
            index: LinkIndex(wire::read_u32(&fixed[4..])?),
            name: LinkName::from_kernel(wire::read_text(attributes.get(IFLA_IFNAME)?)),
            kind: read_kind(attributes.inside(IFLA_LINKINFO)),
            up: flags & IFF_UP != 0,
            carrier: attributes.get(IFLA_CARRIER).and_then(wire::read_u8) == Some(1),
            running: flags & IFF_RUNNING != 0,
            loopback: flags & IFF_LOOPBACK != 0,
            mtu: wide(IFLA_MTU).unwrap_or(0),
            mac: attributes.get(IFLA_ADDRESS).and_then(Mac::read),
            master: index(IFLA_MASTER),
            parent: index(IFLA_LINK),
            parent_elsewhere: attributes.get(IFLA_LINK_NETNSID).is_some(),
            alias: attributes.get(IFLA_IFALIAS).map(wire::read_text),
        })
    }

    /// A bridge tells of its ports with messages of the same kind, which are no links.
    pub(crate) fn is_of_a_bridge(frame: &Frame<'_>) -> bool {
        frame.kind >= RTM_NEWLINK && frame.body.first() == Some(&AF_BRIDGE)
    }
}

fn read_kind(info: Attributes<'_>) -> ListedKind {
    let name = info.get(IFLA_INFO_KIND).map(wire::read_text);
    let name = name.unwrap_or_default().into_boxed_str();
    let data = info.inside(IFLA_INFO_DATA);
    match &*name {
        "vxlan" => ListedKind::Vxlan(Box::new(Vxlan::read(data))),
        "ipip" | "ip6tnl" => ListedKind::Tunnel(name, Tunnel::read(data)),
        _ => ListedKind::Other(name),
    }
}

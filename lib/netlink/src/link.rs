//! Links: what they are asked to be, and what they are.

mod kind;
mod listed;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};

pub use self::kind::{LinkKind, Peer, Tunnel, Vxlan};
pub use self::listed::{Link, ListedKind};

use crate::names::{LinkIndex, LinkName, Mac};
use crate::namespace::Namespace;
use crate::wire::{self, Message};

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;

const AF_INET6: u16 = 10;
const AF_BRIDGE: u8 = 7;
const IFF_UP: u32 = 1;
/// `struct ifinfomsg`.
const FIXED: usize = 16;

/// What a link is set to; what is `None` stays, or is the kernel's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSettings {
    /// Its name; a link that is up can be renamed since Linux 6.2 only.
    pub name: Option<LinkName>,
    /// Whether it is up.
    pub up: Option<bool>,
    /// How large a packet may be.
    pub mtu: Option<u32>,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// The bridge that it is a port of; `Some(None)` takes it out.
    pub master: Option<Option<LinkIndex>>,
    /// The group that it is of; those of one can be removed at once.
    pub group: Option<u32>,
    /// The namespace that it is to be in.
    pub namespace: Option<Namespace>,
    /// A remark that the kernel keeps. Not at creation.
    pub alias: Option<String>,
    /// Whether IPv6 makes it a link-local address. Not at creation.
    pub link_local: Option<bool>,
    /// The tunnel's own end. Changed in place: FDB and routes stay. Of vxlan only, not at creation.
    pub vxlan_local: Option<std::net::IpAddr>,
}

/// A link to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLink {
    /// Its name.
    pub name: LinkName,
    /// What it is.
    pub kind: LinkKind,
    /// What else it is to be.
    pub settings: LinkSettings,
}

impl NewLink {
    /// The settings that the kernel takes for a link that is there, and passes over at creation.
    pub(crate) fn afterwards(&self) -> Option<LinkSettings> {
        let later = LinkSettings {
            alias: self.settings.alias.clone(),
            link_local: self.settings.link_local,
            ..LinkSettings::default()
        };
        (later != LinkSettings::default()).then_some(later)
    }

    /// A link with the kernel's settings, down.
    pub fn new(name: LinkName, kind: LinkKind) -> Self {
        Self {
            name,
            kind,
            settings: LinkSettings::default(),
        }
    }

    /// With these settings.
    #[must_use]
    pub fn with(mut self, settings: LinkSettings) -> Self {
        self.settings = settings;
        self
    }

    pub(crate) fn encode(&self) -> Message {
        let mut message = Message::new(RTM_NEWLINK, wire::CREATE | wire::EXCLUSIVE);
        message.fixed(&header(0, None, &self.settings));
        message.text(IFLA_IFNAME, self.name.as_str());
        self.settings.write(&mut message);
        self.kind.write(&mut message);
        message
    }
}

impl fmt::Display for NewLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} link {}", self.kind.name(), self.name)
    }
}

impl LinkSettings {
    pub(crate) fn encode(&self, index: LinkIndex) -> Message {
        let mut message = Message::new(RTM_NEWLINK, 0);
        message.fixed(&header(0, Some(index), self));
        if let Some(name) = &self.name {
            message.text(IFLA_IFNAME, name.as_str());
        }
        self.write(&mut message);
        if let Some(alias) = &self.alias {
            message.text(IFLA_IFALIAS, alias);
        }
        if let Some(enabled) = self.link_local {
            message.nest(IFLA_AF_SPEC, |message| {
                message.nest(AF_INET6, |message| {
                    message.u8(IFLA_INET6_ADDR_GEN_MODE, u8::from(!enabled));
                });
            });
        }
        if let Some(local) = self.vxlan_local {
            kind::write_vxlan_local(&mut message, local);
        }
        message
    }

    fn write(&self, message: &mut Message) {
        if let Some(mtu) = self.mtu {
            message.u32(IFLA_MTU, mtu);
        }
        if let Some(mac) = self.mac {
            message.bytes(IFLA_ADDRESS, &mac.0);
        }
        if let Some(master) = self.master {
            message.u32(IFLA_MASTER, master.map_or(0, |master| master.0));
        }
        if let Some(group) = self.group {
            message.u32(IFLA_GROUP, group);
        }
        if let Some(namespace) = &self.namespace {
            let number = namespace.as_fd().as_raw_fd();
            message.bytes(IFLA_NET_NS_FD, &number.to_ne_bytes());
        }
    }
}

/// What is being set, for errors.
impl fmt::Display for LinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, " name {name}")?;
        }
        if let Some(up) = self.up {
            f.write_str(if up { " up" } else { " down" })?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if let Some(mac) = self.mac {
            write!(f, " address {mac}")?;
        }
        if let Some(group) = self.group {
            write!(f, " group {group}")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, " netns {}", namespace.path().display())?;
        }
        match self.vxlan_local {
            Some(local) => write!(f, " local {local}"),
            None => Ok(()),
        }
    }
}

/// `struct ifinfomsg`.
fn header(family: u8, index: Option<LinkIndex>, settings: &LinkSettings) -> [u8; FIXED] {
    let mut bytes = [0; FIXED];
    bytes[0] = family;
    bytes[4..8].copy_from_slice(&index.unwrap_or(LinkIndex(0)).to_bytes());
    if let Some(up) = settings.up {
        bytes[8..12].copy_from_slice(&(if up { IFF_UP } else { 0 }).to_ne_bytes());
        bytes[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    bytes
}

pub(crate) fn encode_delete(index: LinkIndex) -> Message {
    let mut message = Message::new(RTM_DELLINK, 0);
    message.fixed(&header(0, Some(index), &LinkSettings::default()));
    message
}

pub(crate) fn encode_delete_group(group: u32) -> Message {
    let mut message = Message::new(RTM_DELLINK, 0);
    message.fixed(&header(0, None, &LinkSettings::default()));
    message.u32(IFLA_GROUP, group);
    message
}

pub(crate) fn encode_list() -> Message {
    let mut message = Message::new(RTM_GETLINK, 0);
    message.fixed(&header(0, None, &LinkSettings::default()));
    message.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    message
}

pub(crate) fn encode_get_index(index: LinkIndex) -> Message {
    let mut message = Message::new(RTM_GETLINK, 0);
    message.fixed(&header(0, Some(index), &LinkSettings::default()));
    message.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    message
}

pub(crate) fn encode_get_name(name: &LinkName) -> Message {
    let mut message = Message::new(RTM_GETLINK, 0);
    message.fixed(&header(0, None, &LinkSettings::default()));
    message.text(IFLA_IFNAME, name.as_str());
    message.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Attributes, Frames, read_text, read_u32};

    #[test]
    fn a_link_is_asked_for_with_its_kind_last() {
        let link = NewLink::new(LinkName::new("d0").unwrap(), LinkKind::Dummy).with(LinkSettings {
            up: Some(true),
            mtu: Some(1400),
            ..LinkSettings::default()
        });
        let bytes = link.encode().finish(1, wire::ACK).unwrap();
        let frame = Frames(&bytes).next().unwrap();
        let want = [
            &[0; 8][..],
            &1_u32.to_ne_bytes(),
            &1_u32.to_ne_bytes(),
            // IFLA_IFNAME
            &[7, 0, 3, 0],
            b"d0\0\0",
            // IFLA_MTU
            &[8, 0, 4, 0],
            &1400_u32.to_ne_bytes(),
            // IFLA_LINKINFO, nested: IFLA_INFO_KIND
            &[16, 0, 18, 0x80, 10, 0, 1, 0],
            b"dummy\0\0\0",
        ]
        .concat();
        assert_eq!((frame.kind, frame.flags), (RTM_NEWLINK, 0x605));
        assert_eq!(frame.body, want);
    }

    #[test]
    fn the_peer_of_a_veth_carries_its_own_settings() {
        let peer = Peer {
            name: LinkName::new("eth0").unwrap(),
            namespace: None,
            mtu: Some(1450),
            mac: Some(Mac([2; 6])),
        };
        let link = NewLink::new(
            LinkName::new("pen1").unwrap(),
            LinkKind::Veth(Box::new(peer)),
        );
        let bytes = link.encode().finish(1, 0).unwrap();
        let frame = Frames(&bytes).next().unwrap();
        let info = Attributes::after(frame.body, FIXED).inside(IFLA_LINKINFO);
        assert_eq!(info.get(IFLA_INFO_KIND).map(read_text).unwrap(), "veth");
        let peer = info.inside(IFLA_INFO_DATA).get(1).unwrap();
        let peer = Attributes::after(peer, FIXED);
        assert_eq!(peer.get(IFLA_IFNAME).map(read_text).unwrap(), "eth0");
        assert_eq!(peer.get(IFLA_MTU).and_then(read_u32), Some(1450));
        assert_eq!(peer.get(IFLA_ADDRESS), Some(&[2; 6][..]));
    }
}

//! Neighbours, and the entries of forwarding databases, which the kernel tells of in the same message.

use std::net::IpAddr;

use crate::address::family_of;
use crate::change::{Naming, Verb};
use crate::names::{LinkIndex, Mac};
use crate::wire::{self, Attributes, Frame, Message};

pub(crate) const RTM_NEWNEIGH: u16 = 28;
pub(crate) const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_VLAN: u16 = 5;
const NDA_PORT: u16 = 6;
const NDA_VNI: u16 = 7;
const NDA_IFINDEX: u16 = 8;

const NTF_SELF: u8 = 2;
const NTF_MASTER: u8 = 4;
const NTF_PROXY: u8 = 8;
const NTF_EXT_LEARNED: u8 = 0x10;
const NTF_ROUTER: u8 = 0x80;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
pub(crate) const AF_BRIDGE: u8 = 7;
/// `struct ndmsg`.
const FIXED: usize = 12;

/// A neighbour: the hardware address of an address on a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The link.
    pub dev: LinkIndex,
    /// The address.
    pub address: IpAddr,
    /// Its hardware address; none while it is unknown, and for a proxy.
    pub mac: Option<Mac>,
    /// It never ages and is never asked for.
    pub permanent: bool,
    /// We answer for it (proxy ARP, proxy NDP).
    pub proxy: bool,
    /// IPv6: it is a router.
    pub router: bool,
    /// `NUD_*` as listed; what is to be added gets its state by `permanent`.
    pub state: u16,
}

impl Neighbour {
    /// One that stays as it is.
    pub fn permanent(dev: LinkIndex, address: IpAddr, mac: Mac) -> Self {
        Self {
            dev,
            address,
            mac: Some(mac),
            permanent: true,
            proxy: false,
            router: false,
            state: NUD_PERMANENT,
        }
    }

    /// One that we answer for.
    pub fn proxy(dev: LinkIndex, address: IpAddr) -> Self {
        Self {
            mac: None,
            proxy: true,
            ..Self::permanent(dev, address, Mac([0; 6]))
        }
    }

    pub(crate) fn encode(&self, verb: Verb) -> Message {
        let mut message = verb.message(RTM_NEWNEIGH, RTM_DELNEIGH);
        let state = if self.permanent {
            NUD_PERMANENT
        } else {
            self.state
        };
        let mut flags = 0;
        if self.proxy {
            flags |= NTF_PROXY;
        }
        if self.router {
            flags |= NTF_ROUTER;
        }
        message.fixed(&header(family_of(self.address), self.dev, state, flags));
        message.address(NDA_DST, self.address);
        if let Some(mac) = self.mac {
            message.bytes(NDA_LLADDR, &mac.0);
        }
        message
    }

    pub(crate) fn read(frame: &Frame<'_>) -> Option<Self> {
        let fixed = frame.body.first_chunk::<FIXED>()?;
        let attributes = Attributes::after(frame.body, FIXED);
        let state = wire::read_u16(&fixed[8..])?;
        Some(Self {
            dev: LinkIndex(wire::read_u32(&fixed[4..])?),
            address: wire::read_address(attributes.get(NDA_DST)?)?,
            mac: attributes.get(NDA_LLADDR).and_then(Mac::read),
            permanent: state & NUD_PERMANENT != 0,
            proxy: fixed[10] & NTF_PROXY != 0,
            router: fixed[10] & NTF_ROUTER != 0,
            state,
        })
    }

    pub(crate) fn describe(&self, names: Naming<'_>) -> String {
        match self.mac {
            Some(mac) => format!(
                "neighbour {} at {mac} dev {}",
                self.address,
                names(self.dev)
            ),
            None => format!("neighbour {} dev {}", self.address, names(self.dev)),
        }
    }
}

/// An entry of a forwarding database: where frames to a hardware address go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForwardingEntry {
    /// The vxlan device, or the bridge's port.
    pub dev: LinkIndex,
    /// The hardware address.
    pub mac: Mac,
    /// Of a vxlan: the node that it is behind.
    pub remote: Option<IpAddr>,
    /// Of a vxlan: the node's port, if it is another than the device's.
    pub port: Option<u16>,
    /// Of a vxlan: the network's number, if it is another than the device's.
    pub vni: Option<u32>,
    /// Of a bridge: the VLAN.
    pub vlan: Option<u16>,
    /// It is the bridge's entry rather than the port's own.
    pub of_bridge: bool,
    /// It neither ages nor moves.
    pub permanent: bool,
    /// It was learned from somewhere else than frames.
    pub external: bool,
}

impl ForwardingEntry {
    /// A permanent entry of a vxlan device.
    pub fn remote(dev: LinkIndex, mac: Mac, remote: IpAddr) -> Self {
        Self {
            dev,
            mac,
            remote: Some(remote),
            port: None,
            vni: None,
            vlan: None,
            of_bridge: false,
            permanent: true,
            external: false,
        }
    }

    pub(crate) fn encode(&self, verb: Verb) -> Message {
        // Frames to nobody in particular go to all entries of their address.
        let to_many = self.mac == Mac([0; 6]) || self.mac.0[0] & 1 == 1;
        let verb = if to_many { verb.appending() } else { verb };
        let mut message = verb.message(RTM_NEWNEIGH, RTM_DELNEIGH);
        let state = if self.permanent {
            NUD_PERMANENT
        } else {
            NUD_NOARP
        };
        let mut flags = if self.of_bridge { NTF_MASTER } else { NTF_SELF };
        if self.external {
            flags |= NTF_EXT_LEARNED;
        }
        message.fixed(&header(AF_BRIDGE, self.dev, state, flags));
        message.bytes(NDA_LLADDR, &self.mac.0);
        if let Some(remote) = self.remote {
            message.address(NDA_DST, remote);
        }
        if let Some(port) = self.port {
            message.be16(NDA_PORT, port);
        }
        if let Some(vni) = self.vni {
            message.u32(NDA_VNI, vni);
        }
        if let Some(vlan) = self.vlan {
            message.u16(NDA_VLAN, vlan);
        }
        message
    }

    pub(crate) fn read(frame: &Frame<'_>) -> Option<Self> {
        let fixed = frame.body.first_chunk::<FIXED>()?;
        let attributes = Attributes::after(frame.body, FIXED);
        Some(Self {
            dev: LinkIndex(wire::read_u32(&fixed[4..])?),
            mac: attributes.get(NDA_LLADDR).and_then(Mac::read)?,
            remote: attributes.get(NDA_DST).and_then(wire::read_address),
            port: attributes.get(NDA_PORT).and_then(wire::read_be16),
            vni: attributes.get(NDA_VNI).and_then(wire::read_u32),
            vlan: attributes.get(NDA_VLAN).and_then(wire::read_u16),
            of_bridge: fixed[10] & NTF_SELF == 0,
            permanent: wire::read_u16(&fixed[8..])? & NUD_PERMANENT != 0,
            external: fixed[10] & NTF_EXT_LEARNED != 0,
        })
    }

    pub(crate) fn describe(&self, names: Naming<'_>) -> String {
        let dev = names(self.dev);
        match self.remote {
            Some(remote) => format!("forwarding entry {} dst {remote} dev {dev}", self.mac),
            None => format!("forwarding entry {} dev {dev}", self.mac),
        }
    }
}

/// `struct ndmsg`.
fn header(family: u8, dev: LinkIndex, state: u16, flags: u8) -> [u8; FIXED] {
    let mut fixed = [0; FIXED];
    fixed[0] = family;
    fixed[4..8].copy_from_slice(&dev.to_bytes());
    fixed[8..10].copy_from_slice(&state.to_ne_bytes());
    fixed[10] = flags;
    fixed
}

/// Neighbours, or those that we answer for, of one link or of all.
pub(crate) fn encode_list(family: u8, proxies: bool, dev: Option<LinkIndex>) -> Message {
    let mut message = Message::new(RTM_GETNEIGH, 0);
    let flags = if proxies { NTF_PROXY } else { 0 };
    message.fixed(&header(family, LinkIndex(0), 0, flags));
    if let Some(dev) = dev {
        message.u32(NDA_IFINDEX, dev.0);
    }
    message
}

/// The forwarding database of a link.
pub(crate) fn encode_list_forwarding(dev: LinkIndex) -> Message {
    let mut message = Message::new(RTM_GETNEIGH, 0);
    message.fixed(&header(AF_BRIDGE, dev, 0, 0));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frames;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    #[test]
    fn flannels_forwarding_entry_has_its_bytes() {
        let entry = ForwardingEntry::remote(LinkIndex(7), MAC, "192.0.2.9".parse().unwrap());
        let bytes = entry.encode(Verb::Replace).finish(1, wire::ACK).unwrap();
        let frame = Frames(&bytes).next().unwrap();
        let want = [
            &[7, 0, 0, 0][..],
            &7_u32.to_ne_bytes(),
            &0x80_u16.to_ne_bytes(),
            &[2, 0],
            &[10, 0, 2, 0, 2, 0, 0, 0, 0, 9, 0, 0],
            &[8, 0, 1, 0, 192, 0, 2, 9],
        ]
        .concat();
        assert_eq!((frame.kind, frame.flags), (RTM_NEWNEIGH, 0x505));
        assert_eq!(frame.body, want);
        assert_eq!(ForwardingEntry::read(&frame), Some(entry));
    }

    #[test]
    fn neighbours_are_read_as_they_are_written() {
        let address = "fe80::9".parse().unwrap();
        for neighbour in [
            Neighbour::permanent(LinkIndex(2), address, MAC),
            Neighbour::proxy(LinkIndex(2), "192.0.2.1".parse().unwrap()),
        ] {
            let bytes = neighbour.encode(Verb::Add).finish(1, 0).unwrap();
            assert_eq!(
                Neighbour::read(&Frames(&bytes).next().unwrap()),
                Some(neighbour)
            );
        }
    }
}

//! Entries of connection tracking, as they are listed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{
    CTA_ID, CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_MARK,
    CTA_PROTO_DST_PORT, CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_STATUS, CTA_TIMEOUT, CTA_TUPLE_IP,
    CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, CTA_ZONE, FIXED, IPCTNL_MSG_CT_DELETE,
};
use crate::nft::{CtStatus, Protocol};
use crate::wire::{self, Attributes, Frame, Message};

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Who sends.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The protocol above IP.
    pub protocol: Protocol,
    /// From which port; 0 where the protocol has none.
    pub source_port: u16,
    /// To which port; 0 where the protocol has none.
    pub destination_port: u16,
}

impl Tuple {
    fn read(tuple: Attributes<'_>) -> Option<Self> {
        let (ip, protocol) = (tuple.inside(CTA_TUPLE_IP), tuple.inside(CTA_TUPLE_PROTO));
        let address = |v4, v6| wire::read_address(ip.get(v4).or_else(|| ip.get(v6))?);
        let port = |kind| protocol.get(kind).and_then(wire::read_be16).unwrap_or(0);
        Some(Self {
            source: address(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?,
            destination: address(CTA_IP_V4_DST, CTA_IP_V6_DST)?,
            protocol: Protocol(wire::read_u8(protocol.get(CTA_PROTO_NUM)?)?),
            source_port: port(CTA_PROTO_SRC_PORT),
            destination_port: port(CTA_PROTO_DST_PORT),
        })
    }
}

/// As in `udp 10.1.0.7:5353 to 10.1.2.9:53`.
impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = SocketAddr::new(self.source, self.source_port);
        let destination = SocketAddr::new(self.destination, self.destination_port);
        write!(f, "{} {source} to {destination}", self.protocol)
    }
}

/// A tracked connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From who began it, as it was before any rewriting.
    pub original: Tuple,
    /// Back: the source is who really answers, the destination whom that one sees.
    pub reply: Tuple,
    /// Its mark.
    pub mark: u32,
    /// What was done with it.
    pub status: CtStatus,
    /// Its zone.
    pub zone: u16,
    /// How long it stays without a packet. Not of those that are leaving.
    pub expires: Option<Duration>,
    /// Tells it from a later one with the same tuples, unless that lies where this one lay.
    pub id: u32,
    family: u8,
    /// The original tuple in the kernel's bytes: with what only some protocols have, to be named by.
    key: Box<[u8]>,
}

impl Entry {
    pub(super) fn read(frame: &Frame<'_>) -> Option<Self> {
        let attributes = Attributes::after(frame.body, FIXED);
        let number = |kind| attributes.get(kind).and_then(wire::read_be32);
        let zone = attributes.get(CTA_ZONE).and_then(wire::read_be16);
        let key = attributes.get(CTA_TUPLE_ORIG)?;
        Some(Self {
            original: Tuple::read(Attributes::new(key))?,
            reply: Tuple::read(attributes.inside(CTA_TUPLE_REPLY))?,
            mark: number(CTA_MARK).unwrap_or(0),
            status: CtStatus(number(CTA_STATUS).unwrap_or(0)),
            zone: zone.unwrap_or(0),
            expires: number(CTA_TIMEOUT).map(|seconds| Duration::from_secs(seconds.into())),
            id: number(CTA_ID)?,
            family: wire::read_u8(frame.body)?,
            key: key.into(),
        })
    }

    pub(super) fn encode_delete(&self) -> Message {
        let mut message = Message::new(IPCTNL_MSG_CT_DELETE, 0);
        message.fixed(&[self.family, 0, 0, 0]);
        message.nest(CTA_TUPLE_ORIG, |message| {
            message.fixed(&self.key);
        });
        if self.zone != 0 {
            message.be16(CTA_ZONE, self.zone);
        }
        message.be32(CTA_ID, self.id);
        message
    }
}

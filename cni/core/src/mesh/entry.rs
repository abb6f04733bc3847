//! What a kernel holds for the mesh, in our own terms.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Family;
use crate::spec::MacAddr;

/// A link that entries are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dev {
    /// The tunnel over this family.
    Tunnel(Family),
    /// Another one, by number.
    Link(u32),
}

/// Where a node is, outside: an entry of a tunnel's forwarding database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forwarding {
    /// The tunnel.
    pub tunnel: Family,
    /// The node's hardware address inside.
    pub vtep: MacAddr,
    /// Its address outside.
    pub remote: IpAddr,
    /// It has settings that we never make.
    pub foreign: bool,
}

/// Whose hardware address a gateway has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbour {
    /// The tunnel.
    pub tunnel: Family,
    /// The gateway.
    pub address: IpAddr,
    /// The node's hardware address inside.
    pub vtep: MacAddr,
}

/// Which way a range is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The range.
    pub destination: IpNet,
    /// 0 is ours.
    pub metric: u32,
    /// The link.
    pub dev: Dev,
    /// The gateway; none only for routes of others.
    pub via: Option<IpAddr>,
    /// It has settings that we never make.
    pub foreign: bool,
}

/// One of them. Each stands on those that come before it in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// Where a node is.
    Forwarding(Forwarding),
    /// Whose hardware address a gateway has.
    Neighbour(Neighbour),
    /// Which way a range is.
    Route(Route),
}

/// What a kernel holds one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Forwarding(Family, MacAddr),
    Neighbour(Family, IpAddr),
    Route(IpNet, u32),
}

impl Entry {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Forwarding(entry) => Key::Forwarding(entry.tunnel, entry.vtep),
            Self::Neighbour(entry) => Key::Neighbour(entry.tunnel, entry.address),
            Self::Route(route) => Key::Route(route.destination, route.metric),
        }
    }
}

//! The mesh between the nodes: what Node objects say of it, and which routes, neighbours and FDB entries lead to
//! the others' pods. What it does not do: look at a kernel.
//!
//! ```text
//!  Node ─▶ Peer ─┐
//!  Node ─▶ Peer ─┼─▶ compile ─▶ entries wanted ─┐
//!  Local ────────┘      │                       ├─▶ diff ─▶ Op …
//!     │                 ▼       entries listed ─┘
//!     ▼              problems
//!  devices, announcement
//! ```
//!
//! Nodes that run flannel and nodes that run this are the same to each other: annotations, devices and entries
//! are flannel's.

mod announce;
mod compile;
mod device;
mod diff;
mod entry;
mod peer;

pub use announce::announce;
pub use compile::compile;
pub use device::{Device, devices, tunnel_name, vtep_mac};
pub use diff::{Op, diff};
pub use entry::{Dev, Entry, Forwarding, Neighbour, Route};
pub use peer::{ANNOTATIONS, End, NodeFacts, Peer};

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::spec::MacAddr;

#[cfg(test)]
mod tests;

/// How packets get to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In UDP, over any network.
    Vxlan,
    /// As they are, over a link that both are on.
    HostGw,
}

impl Backend {
    /// As flannel's annotation has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::HostGw => "host-gw",
        }
    }
}

/// What is the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How packets get to another node.
    pub backend: Backend,
    /// The vxlan network's number.
    pub vni: u32,
    /// The UDP port of vxlan.
    pub port: u16,
    /// Whether vxlan is left out between nodes on one link.
    pub direct_routing: bool,
}

/// A family of addresses. Each has its own tunnel device, which carries pods of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bytes that vxlan takes from a packet: Ethernet, VXLAN, UDP and IP of this family.
    const fn overhead(self) -> u32 {
        match self {
            Self::V4 => 50,
            Self::V6 => 70,
        }
    }
}

/// This node, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its Node object's name.
    pub name: Arc<str>,
    /// Its pods' ranges, one of a family at most.
    pub ranges: Vec<IpNet>,
    /// Its ways out, one of a family at most.
    pub outside: Vec<Outside>,
    /// All its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A way out of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The node's address there.
    pub address: IpAddr,
    /// The number of the link.
    pub link: u32,
    /// How large a packet of it may be.
    pub mtu: u32,
    /// What can be reached on it without a gateway.
    pub shared: Vec<IpNet>,
    /// The hardware address inside the tunnel.
    pub vtep: MacAddr,
}

impl Local {
    fn outside(&self, family: Family) -> Option<&Outside> {
        let mut outside = self.outside.iter();
        outside.find(|outside| Family::of(outside.address) == family)
    }

    /// Leaves out the ways that no range needs: each goes by its own family, where there is such a way.
    #[must_use]
    pub fn without_spare_ways(mut self) -> Self {
        let there: Vec<Family> = self
            .outside
            .iter()
            .map(|it| Family::of(it.address))
            .collect();
        let carrier = |range: &IpNet| {
            let own = Family::of(range.addr());
            let own = there.iter().find(|family| **family == own);
            own.or_else(|| there.first()).copied()
        };
        let needed: Vec<Family> = self.ranges.iter().filter_map(carrier).collect();
        self.outside
            .retain(|outside| needed.contains(&Family::of(outside.address)));
        self
    }

    /// How large a packet of a pod may be; none without a way out.
    pub fn mtu(&self, backend: Backend) -> Option<u32> {
        let room = |outside: &Outside| match backend {
            Backend::Vxlan => {
                let overhead = Family::of(outside.address).overhead();
                outside.mtu.saturating_sub(overhead)
            }
            Backend::HostGw => outside.mtu,
        };
        self.outside.iter().map(room).min()
    }
}

/// Something in a Node object that could not be honoured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The Node's name.
    pub node: Arc<str>,
    /// The path of the field at fault.
    pub field: String,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What is wrong and what happens instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node {}: {}: {}", self.node, self.field, self.message)
    }
}

//! Which pod has which address of this node's ranges. Finding one never walks a range.

mod pool;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::spec::{Attachment, Bandwidth, PortMapping, Transport};

use pool::Pool;

/// An interface of a container in a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The network's name.
    pub network: String,
    /// Which interface of which container.
    #[serde(flatten)]
    pub attachment: Attachment,
}

impl Key {
    /// A number that is always the same for the same key and hardly ever for two (FNV-1a, 64 bits).
    pub fn hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for part in [
            &self.network,
            &self.attachment.container,
            &self.attachment.ifname,
        ] {
            for byte in part.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        hash
    }

    /// What its interface on the node is called.
    pub fn host_link(&self) -> String {
        format!("{HOST_LINK}{:012x}", self.hash() >> 16)
    }

    /// What the link is called that slows down what it sends.
    pub fn slow_link(&self) -> String {
        format!("{SLOW_LINK}{:012x}", self.hash() >> 16)
    }
}

/// What the names of pods' interfaces on the node begin with.
pub const HOST_LINK: &str = "pen";
/// What the names of links begin with that slow down what pods send.
pub const SLOW_LINK: &str = "peb";

/// What an attachment holds: enough to remove all of it without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose.
    pub key: Key,
    /// Its namespace's path.
    pub netns: String,
    /// Its addresses, at most one of each range.
    pub addresses: Vec<IpAddr>,
    /// Its ports on the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// Its hardware address, where it was asked for.
    #[serde(default)]
    pub mac: Option<[u8; 6]>,
    /// Its largest packet, where the configuration says it; without it, the underlay does.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// How fast it may be.
    #[serde(default)]
    pub bandwidth: Bandwidth,
    /// The pod, by namespace and name.
    #[serde(default)]
    pub pod: Option<(String, String)>,
    /// How far it is.
    #[serde(default)]
    pub phase: Phase,
}

/// How far an attachment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// ADD has begun. What is still here when the agent starts again is undone.
    #[default]
    Making,
    /// ADD has succeeded.
    Made,
    /// DEL has succeeded: what is left is being removed, and only then its addresses are free.
    Going,
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// The node has no range yet.
    #[error("the node has no podCIDR yet")]
    NoRange,
    /// All are given out.
    #[error("all addresses of {0} are given out")]
    Full(IpNet),
    /// One that was asked for is in none of the ranges.
    #[error("{0} is not an address for pods of this node")]
    Outside(IpAddr),
    /// One that was asked for is another's.
    #[error("{0} is taken")]
    Taken(IpAddr),
    /// The attachment has a lease already.
    #[error("interface {} of container {} has its addresses already", .0.attachment.ifname, .0.attachment.container)]
    Repeated(Key),
    /// Two that were asked for are of one range.
    #[error("{0} and {1} are both of {2}")]
    TwoOfOne(IpAddr, IpAddr, IpNet),
    /// A host port is another's.
    #[error("host port {}/{} is taken by container {container}", port.host_port, transport(port))]
    PortTaken {
        /// The port.
        port: PortMapping,
        /// Whose it is.
        container: String,
    },
}

fn transport(port: &PortMapping) -> String {
    format!("{:?}", port.protocol).to_lowercase()
}

/// Holders by the port's number: finding out whether one is free costs nothing more with more leases.
type Ports = BTreeMap<(Transport, u16), Vec<(PortMapping, Key)>>;

/// Addresses, who has them, and in which order they came back.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    leases: BTreeMap<Key, Lease>,
    /// Who has which port of the node, on which of its addresses.
    ports: Ports,
    /// What each address that was ever given out is now.
    states: BTreeMap<IpAddr, State>,
    pools: Vec<Pool>,
    releases: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Taken,
    /// Free again, since this release.
    Released(u64),
}

impl Ledger {
    /// Gives out addresses of these ranges from now on; leases in other ranges stay.
    pub fn set_ranges(&mut self, ranges: &[IpNet]) {
        let now: Vec<IpNet> = self.pools.iter().map(|pool| pool.range).collect();
        let wanted: Vec<IpNet> = ranges.iter().map(IpNet::trunc).collect();
        if now == wanted {
            return;
        }
        // Those of ranges that are no longer ours are forgotten, the others keep their order.
        self.states.retain(|address, state| {
            *state == State::Taken || wanted.iter().any(|range| range.contains(address))
        });
        let mut released: Vec<(u64, IpAddr)> = Vec::new();
        for (address, state) in &self.states {
            if let State::Released(at) = state {
                released.push((*at, *address));
            }
        }
        released.sort_unstable();
        self.pools = wanted.into_iter().map(Pool::new).collect();
        for (at, address) in released {
            for pool in &mut self.pools {
                pool.give_back(address, at);
            }
        }
    }

    /// The ranges.
    pub fn ranges(&self) -> impl Iterator<Item = IpNet> {
        self.pools.iter().map(|pool| pool.range)
    }

    /// Chooses addresses, one of each range, and takes nothing yet: [`Ledger::hold`] does when the
    /// journal has them.
    pub fn choose(&mut self, key: &Key, asked: &[IpAddr]) -> Result<Vec<IpAddr>, AllocationError> {
        if self.leases.contains_key(key) {
            return Err(AllocationError::Repeated(key.clone()));
        }
        if self.pools.is_empty() {
            return Err(AllocationError::NoRange);
        }
        for address in asked {
            if !self.pools.iter().any(|pool| pool.serves(*address)) {
                return Err(AllocationError::Outside(*address));
            }
            if self.states.get(address) == Some(&State::Taken) {
                return Err(AllocationError::Taken(*address));
            }
        }
        let mut chosen = Vec::with_capacity(self.pools.len());
        for pool in &mut self.pools {
            let mut wished = asked.iter().filter(|address| pool.serves(**address));
            match (wished.next(), wished.next()) {
                (Some(one), Some(two)) if one != two => {
                    return Err(AllocationError::TwoOfOne(*one, *two, pool.range));
                }
                (Some(one), _) => chosen.push(*one),
                (None, _) => {
                    let states = &self.states;
                    let next = pool.next(|address| states.get(&address).copied());
                    chosen.push(next.ok_or(AllocationError::Full(pool.range))?);
                }
            }
        }
        Ok(chosen)
    }

    /// Whether these ports of the node are free.
    pub fn check_ports(&self, key: &Key, ports: &[PortMapping]) -> Result<(), AllocationError> {
        for (place, port) in ports.iter().enumerate() {
            let others = self.ports.get(&number(port)).into_iter().flatten();
            let earlier = ports.iter().take(place).map(|port| (port, key));
            let mut held = others.map(|(port, key)| (port, key)).chain(earlier);
            if let Some((_, key)) = held.find(|(held, _)| overlap(port, held)) {
                return Err(AllocationError::PortTaken {
                    port: *port,
                    container: key.attachment.container.clone(),
                });
            }
        }
        Ok(())
    }

    /// Takes what a lease says.
    pub fn hold(&mut self, lease: Lease) {
        // A journal may say it twice, the second time being complete.
        self.release(&lease.key);
        for address in &lease.addresses {
            self.states.insert(*address, State::Taken);
        }
        if lease.phase != Phase::Going {
            for port in &lease.ports {
                let holders = self.ports.entry(number(port)).or_default();
                holders.push((*port, lease.key.clone()));
            }
        }
        self.leases.insert(lease.key.clone(), lease);
    }

    /// ADD has succeeded.
    pub fn complete(&mut self, key: &Key) {
        let lease = self.leases.get_mut(key);
        if let Some(lease) = lease.filter(|lease| lease.phase == Phase::Making) {
            lease.phase = Phase::Made;
        }
    }

    /// DEL has succeeded: the ports are free, the addresses are not yet.
    pub fn go(&mut self, key: &Key) {
        if let Some(lease) = self.leases.get_mut(key) {
            lease.phase = Phase::Going;
            free_ports(&mut self.ports, lease);
        }
    }

    /// Gives back what an attachment holds: it comes last among the free ones.
    pub fn release(&mut self, key: &Key) -> Option<Lease> {
        let lease = self.leases.remove(key)?;
        free_ports(&mut self.ports, &lease);
        for address in &lease.addresses {
            self.free(*address);
        }
        Some(lease)
    }

    /// Marks an address as free again; the order of these calls is that of reuse.
    pub fn free(&mut self, address: IpAddr) {
        self.releases += 1;
        self.states.insert(address, State::Released(self.releases));
        for pool in &mut self.pools {
            pool.give_back(address, self.releases);
        }
    }

    /// All leases in order of their keys.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// An attachment's.
    pub fn lease(&self, key: &Key) -> Option<&Lease> {
        self.leases.get(key)
    }

    /// Addresses that were given back, the one that has been free for longest first.
    pub fn released(&self) -> Vec<IpAddr> {
        let mut released: Vec<(u64, IpAddr)> = Vec::new();
        for (address, state) in &self.states {
            if let State::Released(at) = state {
                released.push((*at, *address));
            }
        }
        released.sort_unstable();
        released.into_iter().map(|(_, address)| address).collect()
    }

    /// A range whose addresses are all given out.
    pub fn full(&mut self) -> Option<IpNet> {
        let states = &self.states;
        let mut full = self.pools.iter_mut().filter_map(|pool| {
            let next = pool.next(|address| states.get(&address).copied());
            next.is_none().then_some(pool.range)
        });
        full.next()
    }
}

fn number(port: &PortMapping) -> (Transport, u16) {
    (port.protocol, port.host_port)
}

fn free_ports(held: &mut Ports, lease: &Lease) {
    for port in &lease.ports {
        let Entry::Occupied(mut holders) = held.entry(number(port)) else {
            continue;
        };
        holders.get_mut().retain(|(_, key)| *key != lease.key);
        if holders.get().is_empty() {
            holders.remove();
        }
    }
}

/// Two mappings cannot both be had.
fn overlap(one: &PortMapping, other: &PortMapping) -> bool {
    let meet = match (one.host_ip, other.host_ip) {
        (Some(one), Some(other)) => {
            one.is_ipv4() == other.is_ipv4()
                && (one == other || one.is_unspecified() || other.is_unspecified())
        }
        _ => true,
    };
    meet && (one.protocol, one.host_port) == (other.protocol, other.host_port)
}

#[cfg(test)]
mod tests;

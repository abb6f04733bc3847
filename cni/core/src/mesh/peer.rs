//! A node as the others see it, read from its object.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use super::{Backend, Family, Problem, Settings};
use crate::spec::MacAddr;

/// What flannel's annotations begin with.
pub const ANNOTATIONS: &str = "flannel.alpha.coreos.com/";

/// What is read of a Node object.
#[derive(Clone, Debug)]
pub struct NodeFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was made, in seconds of Unix time.
    pub created: i64,
    /// `spec.podCIDRs`, or else `spec.podCIDR`.
    pub ranges: Vec<&'a str>,
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
}

/// A node that has joined the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: Arc<str>,
    /// When its object was made.
    pub created: i64,
    /// Its pods' ranges, one of a family at most.
    pub ranges: Vec<IpNet>,
    /// Where it can be reached, one of a family at most.
    pub ends: Vec<End>,
}

/// Where a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its address on the underlay.
    pub address: IpAddr,
    /// Its hardware address inside the tunnel; with vxlan always there.
    pub vtep: Option<MacAddr>,
}

/// `backend-data` and `backend-v6-data` of vxlan.
#[derive(Deserialize)]
pub(super) struct BackendData {
    /// Early versions of flannel do not tell it.
    #[serde(rename = "VNI")]
    pub(super) vni: Option<u32>,
    #[serde(rename = "VtepMAC")]
    pub(super) vtep_mac: String,
}

impl Peer {
    /// Reads a Node. None for one that has not joined, which is no problem, and for one that cannot be reached.
    pub fn read(facts: &NodeFacts<'_>, settings: &Settings) -> (Option<Self>, Vec<Problem>) {
        let mut reader = Reader {
            facts,
            settings,
            problems: Vec::new(),
        };
        let peer = reader.read();
        (peer, reader.problems)
    }
}

struct Reader<'a> {
    facts: &'a NodeFacts<'a>,
    settings: &'a Settings,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn read(&mut self) -> Option<Peer> {
        if self.annotation("kube-subnet-manager") != Some("true") {
            return None;
        }
        let backend = self.annotation("backend-type").unwrap_or_default();
        let ours = self.settings.backend.as_str();
        if backend != ours {
            let message = format!("its backend is {backend:?}, ours {ours:?}: it is left out");
            self.complain(field("backend-type"), "OtherBackend", message);
            return None;
        }
        let ranges = self.read_ranges();
        let ends: Vec<End> = [Family::V4, Family::V6]
            .into_iter()
            .filter_map(|family| self.read_end(family))
            .collect();
        if ends.is_empty() && self.problems.is_empty() {
            let message = "it does not tell its address: it is left out".to_owned();
            self.complain(field("public-ip"), "NoAddress", message);
        }
        (!ranges.is_empty() && !ends.is_empty()).then(|| Peer {
            name: self.facts.name.into(),
            created: self.facts.created,
            ranges,
            ends,
        })
    }

    fn read_ranges(&mut self) -> Vec<IpNet> {
        let mut ranges: Vec<IpNet> = Vec::new();
        for text in &self.facts.ranges {
            let range = text.parse::<IpNet>().ok().filter(|range| {
                let family = Family::of(range.addr());
                let known = |known: &IpNet| Family::of(known.addr()) == family;
                !ranges.iter().any(known) && is_for_pods(range)
            });
            match range {
                Some(range) => ranges.push(range.trunc()),
                None => {
                    let message = format!("{text:?} is no range for pods: it is left out");
                    self.complain("spec.podCIDRs".to_owned(), "BadPodCIDR", message);
                }
            }
        }
        if self.facts.ranges.is_empty() {
            let message = "it has no range for pods: it is left out".to_owned();
            self.complain("spec.podCIDRs".to_owned(), "NoPodCIDR", message);
        }
        ranges
    }

    /// The end of this family; none if nothing is said, or nothing that can be used.
    fn read_end(&mut self, family: Family) -> Option<End> {
        let [address, data] = keys(family);
        let text = self.annotation(address)?;
        let found: Option<IpAddr> = text.parse().ok();
        let Some(found) =
            found.filter(|found| Family::of(*found) == family && is_of_a_node(*found))
        else {
            let message = format!("{text:?} is no address of a node: it is left out");
            self.complain(field(address), "BadAddress", message);
            return None;
        };
        let vtep = match self.settings.backend {
            Backend::Vxlan => Some(self.read_vtep(data)?),
            Backend::HostGw => None,
        };
        Some(End {
            address: found,
            vtep,
        })
    }

    fn read_vtep(&mut self, key: &str) -> Option<MacAddr> {
        let text = self.annotation(key).unwrap_or_default();
        match read_vtep(text, self.settings.vni) {
            Ok(mac) => Some(mac),
            Err(why) => {
                self.complain(field(key), "BadBackendData", why);
                None
            }
        }
    }

    fn annotation(&self, key: &str) -> Option<&'_ str> {
        let value = self.facts.annotations.get(&format!("{ANNOTATIONS}{key}"))?;
        Some(value.as_str())
    }

    fn complain(&mut self, field: String, reason: &'static str, message: String) {
        self.problems.push(Problem {
            node: self.facts.name.into(),
            field,
            reason,
            message,
        });
    }
}

/// The hardware address that a node tells of, in the network of this number.
pub(super) fn read_vtep(text: &str, vni: u32) -> Result<MacAddr, String> {
    let data: BackendData = serde_json::from_str(text)
        .map_err(|error| format!("{text:?} tells no hardware address ({error})"))?;
    if let Some(theirs) = data.vni.filter(|theirs| *theirs != vni) {
        return Err(format!("its VNI is {theirs}, ours {vni}"));
    }
    MacAddr::read(&data.vtep_mac)
        .ok_or_else(|| format!("{:?} is no node's hardware address", data.vtep_mac))
}

/// The annotations of the address and of the backend's data.
pub(super) const fn keys(family: Family) -> [&'static str; 2] {
    match family {
        Family::V4 => ["public-ip", "backend-data"],
        Family::V6 => ["public-ipv6", "backend-v6-data"],
    }
}

/// The path of an annotation of flannel's.
pub(super) fn field(key: &str) -> String {
    format!("metadata.annotations[{ANNOTATIONS}{key}]")
}

fn is_for_pods(range: &IpNet) -> bool {
    let some = (1..range.max_prefix_len()).contains(&range.prefix_len());
    some && is_of_a_node(range.network()) && is_of_a_node(range.addr())
}

/// Whether it can be an address of one machine, seen from another.
pub(super) fn is_of_a_node(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(address) => address.is_broadcast() || address.octets()[0] == 0,
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some()
        }
    };
    !(special || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

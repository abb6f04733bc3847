//! The tunnels of this node.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::peer::{ANNOTATIONS, keys, read_vtep};
use super::{Backend, Family, Local, Settings};
use crate::spec::MacAddr;

/// A vxlan device that learns nothing and asks nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What it stands on.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddr,
    /// How large a packet may be.
    pub mtu: u32,
    /// The node's address outside.
    pub local: IpAddr,
    /// The link that carries it, by number.
    pub link: u32,
    /// Its addresses: the ranges' first, alone, so that no route to the range comes with them. Packets of
    /// the node to other nodes' pods have them as their source.
    pub addresses: Vec<IpNet>,
}

/// The tunnels that this node needs.
pub fn devices(local: &Local, settings: &Settings) -> Vec<Device> {
    if settings.backend != Backend::Vxlan {
        return Vec::new();
    }
    let outside = local.outside.iter().map(|outside| {
        let family = Family::of(outside.address);
        let carried = |range: &&IpNet| carrier(local, range) == Some(family);
        Device {
            family,
            name: tunnel_name(family, settings.vni),
            mac: outside.vtep,
            mtu: outside.mtu.saturating_sub(family.overhead()),
            local: outside.address,
            link: outside.link,
            addresses: local
                .ranges
                .iter()
                .filter(carried)
                .map(|range| range.network().into())
                .collect(),
        }
    });
    outside.collect()
}

/// The tunnel that a range of ours goes by as a rule: that of its own family, if there is one.
fn carrier(local: &Local, range: &IpNet) -> Option<Family> {
    let own = Family::of(range.addr());
    let outside = local.outside(own).or_else(|| local.outside.first())?;
    Some(Family::of(outside.address))
}

/// What a tunnel is called: as with flannel, as far as the kernel's 15 letters go.
pub fn tunnel_name(family: Family, vni: u32) -> String {
    let (flannels, short) = match family {
        Family::V4 => ("flannel", "fl"),
        Family::V6 => ("flannel-v6", "fl-v6"),
    };
    let name = format!("{flannels}.{vni}");
    match name.len() {
        ..=15 => name,
        _ => format!("{short}.{vni}"),
    }
}

/// This node's hardware address in the tunnel. What the annotation tells stays, for others know it; else it
/// follows from the Node and the network, so that the next boot finds the same.
pub fn vtep_mac(
    uid: &str,
    vni: u32,
    family: Family,
    annotations: &BTreeMap<String, String>,
) -> MacAddr {
    let [_, data] = keys(family);
    let told = annotations.get(&format!("{ANNOTATIONS}{data}"));
    let told = told.and_then(|text| read_vtep(text, vni).ok());
    told.unwrap_or_else(|| derived_mac(uid, vni, family))
}

/// Locally administered. FNV-1a with a final mix, 46 bits of it: 5 000 nodes have the same in one of ten
/// million meshes.
fn derived_mac(uid: &str, vni: u32, family: Family) -> MacAddr {
    let family: u8 = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    let bytes = uid.bytes().chain([0, family]).chain(vni.to_be_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    let [_, _, a, b, c, d, e, f] = hash.to_be_bytes();
    MacAddr([(a & 0xfc) | 0x02, b, c, d, e, f])
}

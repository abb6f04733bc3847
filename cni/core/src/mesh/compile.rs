//! From the nodes to the entries that lead to their pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::entry::{Dev, Entry, Forwarding, Neighbour, Route};
use super::peer::{End, Peer, field, keys};
use super::{Backend, Family, Local, Outside, Problem, Settings};
use crate::spec::MacAddr;

/// Returns the entries that lead from this node to the pods of the others.
///
/// Never fails: a node that claims what is this node's or an older node's is left out, as far as the claim
/// goes, and reported.
pub fn compile<'a>(
    local: &Local,
    peers: impl IntoIterator<Item = &'a Peer>,
    settings: &Settings,
) -> (BTreeSet<Entry>, Vec<Problem>) {
    let others = peers.into_iter().filter(|peer| peer.name != local.name);
    let mut others: Vec<&Peer> = others.collect();
    others.sort_by_key(|peer| (peer.created, &peer.name));
    let mut compiler = Compiler {
        local,
        settings,
        claims: Claims::of(local),
        // The order of entries is that of a sorted tree: made once, not by insertions.
        entries: Vec::with_capacity(others.len() * 3),
        problems: Vec::new(),
    };
    for peer in others {
        compiler.add(peer);
    }
    (compiler.entries.into_iter().collect(), compiler.problems)
}

struct Compiler<'a> {
    local: &'a Local,
    settings: &'a Settings,
    claims: Claims,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl Compiler<'_> {
    fn add(&mut self, peer: &Peer) {
        let ends = peer.ends.iter();
        let ends: Vec<&End> = ends.filter(|end| self.accepts_end(peer, end)).collect();
        // All that its ends were refused for has been said.
        if ends.is_empty() {
            return;
        }
        for range in &peer.ranges {
            let family = Family::of(range.addr());
            let ours = |own: &IpNet| Family::of(own.addr()) == family;
            if !self.local.ranges.iter().any(ours) {
                continue;
            }
            if let Some(owner) = self.claims.range(*range, &peer.name) {
                let message = format!("{range} is also of {owner}: it is left out");
                self.complain(peer, "spec.podCIDRs".to_owned(), "Conflict", message);
                continue;
            }
            match self.settings.backend {
                Backend::Vxlan => self.lead_by_tunnel(peer, *range, &ends),
                Backend::HostGw => self.lead_by_link(peer, *range, &ends),
            }
        }
    }

    /// An address of this node, or within a range of pods, would lead the tunnel into itself.
    fn accepts_end(&mut self, peer: &Peer, end: &End) -> bool {
        let Err((key, why)) = self.claims.end(end, &peer.name) else {
            return true;
        };
        let message = format!("{why}: it is left out");
        self.complain(peer, field(key), "Conflict", message);
        false
    }

    fn lead_by_tunnel(&mut self, peer: &Peer, range: IpNet, ends: &[&End]) {
        let local = self.local;
        let family = Family::of(range.addr());
        if self.settings.direct_routing
            && let Some((outside, end)) = shared_link(local, family, ends)
        {
            self.entries
                .push(route(range, Dev::Link(outside.link), end.address));
            return;
        }
        let common = |end: &&&End| local.outside(Family::of(end.address)).is_some();
        let own_family = |end: &&&End| Family::of(end.address) == family;
        let end = ends.iter().filter(common).find(own_family);
        let Some(end) = end.or_else(|| ends.iter().find(common)) else {
            let message = "it has no underlay in common with this node: it is left out".to_owned();
            self.complain(peer, field("public-ip"), "NoUnderlay", message);
            return;
        };
        // With this backend it was read.
        let Some(vtep) = end.vtep else { return };
        let (tunnel, remote) = (Family::of(end.address), end.address);
        let gateway = range.network();
        self.entries.extend([
            Entry::Forwarding(Forwarding {
                tunnel,
                vtep,
                remote,
                foreign: false,
            }),
            Entry::Neighbour(Neighbour {
                tunnel,
                address: gateway,
                vtep,
            }),
            route(range, Dev::Tunnel(tunnel), gateway),
        ]);
    }

    fn lead_by_link(&mut self, peer: &Peer, range: IpNet, ends: &[&End]) {
        match shared_link(self.local, Family::of(range.addr()), ends) {
            Some((outside, end)) => {
                self.entries
                    .push(route(range, Dev::Link(outside.link), end.address));
            }
            None => {
                let message = format!("it is on no link of this node: {range} is left out");
                self.complain(peer, field("public-ip"), "NotOnLink", message);
            }
        }
    }

    fn complain(&mut self, peer: &Peer, field: String, reason: &'static str, message: String) {
        self.problems.push(Problem {
            node: Arc::clone(&peer.name),
            field,
            reason,
            message,
        });
    }
}

/// The link of this family that both are on.
fn shared_link<'a>(
    local: &'a Local,
    family: Family,
    ends: &[&'a End],
) -> Option<(&'a Outside, &'a End)> {
    let outside = local.outside(family)?;
    let on_link = |end: &&&End| outside.shared.iter().any(|net| net.contains(&end.address));
    Some((outside, ends.iter().find(on_link)?))
}

fn route(destination: IpNet, dev: Dev, via: IpAddr) -> Entry {
    Entry::Route(Route {
        destination,
        metric: 0,
        dev,
        via: Some(via),
        foreign: false,
    })
}

/// What is somebody's already. Ranges never overlap, nor hold a node's address. Two nodes may tell of one
/// address: an object whose machine was installed anew under another name stays for a while.
struct Claims {
    own: Arc<str>,
    /// By their first address.
    ranges: BTreeMap<IpAddr, (IpNet, Arc<str>)>,
    addresses: BTreeMap<IpAddr, Arc<str>>,
    vteps: BTreeMap<(Family, MacAddr), Arc<str>>,
}

impl Claims {
    fn of(local: &Local) -> Self {
        let own = || Arc::clone(&local.name);
        let ranges = local.ranges.iter();
        let vteps = local.outside.iter();
        Self {
            own: own(),
            ranges: ranges
                .map(|range| (range.network(), (*range, own())))
                .collect(),
            addresses: local.addresses.iter().map(|it| (*it, own())).collect(),
            vteps: vteps
                .map(|outside| ((Family::of(outside.address), outside.vtep), own()))
                .collect(),
        }
    }

    /// Claims a range, or says whose it is.
    fn range(&mut self, range: IpNet, name: &Arc<str>) -> Option<Arc<str>> {
        let (first, last) = (range.network(), range.broadcast());
        let overlapping = self
            .range_before(first)
            .filter(|(known, _)| known.contains(&first));
        // What begins inside it.
        let overlapping = overlapping.or_else(|| Some(self.ranges.range(first..=last).next()?.1));
        let owner = match overlapping {
            Some((_, owner)) => Some(owner),
            None => self
                .addresses
                .range(first..=last)
                .next()
                .map(|(_, owner)| owner),
        };
        if let Some(owner) = owner {
            return Some(Arc::clone(owner));
        }
        self.ranges.insert(first, (range, Arc::clone(name)));
        None
    }

    fn range_before(&self, address: IpAddr) -> Option<&(IpNet, Arc<str>)> {
        self.ranges
            .range(..=address)
            .next_back()
            .map(|(_, found)| found)
    }

    /// Claims an address and the hardware address behind it, or says which annotation is at fault, and why.
    fn end(&mut self, end: &End, name: &Arc<str>) -> Result<(), (&'static str, String)> {
        let family = Family::of(end.address);
        let [address, data] = keys(family);
        let own = self
            .addresses
            .get(&end.address)
            .filter(|owner| **owner == self.own);
        let within = || {
            self.range_before(end.address)
                .filter(|(range, _)| range.contains(&end.address))
        };
        if let Some(owner) = own.or_else(|| Some(&within()?.1)) {
            return Err((address, format!("{} is of {owner}", end.address)));
        }
        if let Some(vtep) = end.vtep {
            let owner = self
                .vteps
                .entry((family, vtep))
                .or_insert_with(|| Arc::clone(name));
            if owner != name {
                return Err((data, format!("{vtep} is also of {owner}")));
            }
        }
        let known = self.addresses.entry(end.address);
        known.or_insert_with(|| Arc::clone(name));
        Ok(())
    }
}

//! What the kernel holds for the mesh: listed, and changed.

use std::collections::{BTreeMap, BTreeSet};

use cni_core::mesh::{self, Dev, Entry, Family, Forwarding, Op, Settings};
use cni_core::spec::MacAddr;
use netlink::{
    Change, Error, Failure, ForwardingEntry, LinkIndex, LinkName, ListedKind, MAIN_TABLE, Mac,
    Neighbour, Netlink, Route, RouteFilter,
};

use super::PROTOCOL;

/// The kernel's own routes, as those to link-local addresses.
const KERNELS: u8 = 2;
/// What the kernel gives an IPv6 route of ours.
const IPV6_METRIC: u32 = 1024;

/// What is there, and how to remove what is not as we make it.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) entries: BTreeSet<Entry>,
    removals: BTreeMap<Entry, Change>,
}

/// The tunnels that are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Tunnels(BTreeMap<Family, LinkIndex>);

/// What tunnels of this network are called.
pub(super) fn tunnel_names(settings: &Settings) -> [(Family, String); 2] {
    [Family::V4, Family::V6].map(|family| (family, mesh::tunnel_name(family, settings.vni)))
}

impl Tunnels {
    /// Finds them by their names. Where there are to be none, they are removed.
    pub(super) fn find(netlink: &mut Netlink, settings: &Settings) -> Result<Self, Error> {
        let mut tunnels = BTreeMap::new();
        for (family, name) in tunnel_names(settings) {
            let Some(link) = netlink.link(&LinkName::new(&name)?)? else {
                continue;
            };
            if !matches!(link.kind, ListedKind::Vxlan(_)) {
                continue;
            }
            match settings.backend {
                mesh::Backend::Vxlan => {
                    tunnels.insert(family, link.index);
                }
                mesh::Backend::HostGw => netlink.change(Change::DeleteLink(link.index))?,
            }
        }
        Ok(Self(tunnels))
    }

    /// The tunnel that a route goes by, at least in part.
    fn of(&self, route: &Route) -> Option<Family> {
        route.hops.iter().find_map(|hop| self.family(hop.dev?))
    }

    fn family(&self, dev: LinkIndex) -> Option<Family> {
        let mut tunnels = self.0.iter();
        tunnels.find_map(|(family, index)| (*index == dev).then_some(*family))
    }

    /// All that they hold; and our routes on other links, where there can be any.
    pub(super) fn list(&self, netlink: &mut Netlink, links_too: bool) -> Result<Listed, Error> {
        let mut listed = Listed::default();
        let main = RouteFilter {
            table: Some(MAIN_TABLE),
            ..RouteFilter::default()
        };
        if links_too {
            let ours = RouteFilter {
                protocol: PROTOCOL,
                ..main
            };
            let mut routes = netlink.routes(ours)?;
            routes.retain(|route| self.of(route).is_none());
            listed.add_routes(routes, self);
        }
        for (family, dev) in &self.0 {
            let dev_only = RouteFilter {
                dev: Some(*dev),
                ..main
            };
            let mut routes = netlink.routes(dev_only)?;
            routes.retain(|it| it.protocol != KERNELS && self.of(it) == Some(*family));
            listed.add_routes(routes, self);
            listed.add_neighbours(netlink.neighbours(Some(*dev))?, *family);
            listed.add_forwarding(netlink.forwarding(*dev)?, *family);
        }
        Ok(listed)
    }

    /// Makes the changes. Returns those that failed.
    pub(super) fn apply(&self, netlink: &mut Netlink, ops: &[Op], listed: &Listed) -> Vec<Failure> {
        let change = |op: &Op| match op {
            Op::Set(entry) => self.write(entry, true),
            Op::Remove(entry) => match listed.removals.get(entry) {
                Some(removal) => Some(removal.clone()),
                None => self.write(entry, false),
            },
        };
        let (removing, changes): (Vec<bool>, Vec<Change>) = ops
            .iter()
            .filter_map(|op| Some((matches!(op, Op::Remove(_)), change(op)?)))
            .unzip();
        let mut failures = netlink.apply(&changes);
        // What has gone by itself has gone.
        failures.retain(|it| !(removing[it.index] && it.error.is_not_there()));
        failures
    }

    fn write(&self, entry: &Entry, set: bool) -> Option<Change> {
        Some(match entry {
            Entry::Forwarding(it) => {
                let dev = *self.0.get(&it.tunnel)?;
                write(ForwardingEntry::remote(dev, Mac(it.vtep.0), it.remote), set)
            }
            Entry::Neighbour(it) => {
                let dev = *self.0.get(&it.tunnel)?;
                write(Neighbour::permanent(dev, it.address, Mac(it.vtep.0)), set)
            }
            Entry::Route(it) => write(self.route(it)?, set),
        })
    }

    /// As we make it.
    fn route(&self, route: &mesh::Route) -> Option<Route> {
        let dev = match route.dev {
            Dev::Tunnel(family) => *self.0.get(&family)?,
            Dev::Link(number) => LinkIndex(number),
        };
        Some(Route {
            protocol: PROTOCOL,
            ..Route::via(route.destination, route.via?, dev)
        })
    }
}

fn write(object: impl netlink::Object, set: bool) -> Change {
    match set {
        true => Change::replace(object),
        false => Change::delete(object),
    }
}

impl Listed {
    fn add(&mut self, entry: Entry, foreign: Option<Change>) {
        if let Some(removal) = foreign {
            self.removals.insert(entry.clone(), removal);
        }
        self.entries.insert(entry);
    }

    fn add_routes(&mut self, routes: Vec<Route>, tunnels: &Tunnels) {
        for route in routes {
            let hop = match route.hops.as_slice() {
                [hop] => Some(hop),
                _ => None,
            };
            let on_tunnel = tunnels.of(&route);
            let dev = match (on_tunnel, hop.and_then(|hop| hop.dev)) {
                (Some(family), _) => Dev::Tunnel(family),
                (None, Some(dev)) => Dev::Link(dev.0),
                (None, None) => Dev::Link(0),
            };
            let ours = match route.destination.addr().is_ipv6() {
                true => IPV6_METRIC,
                false => 0,
            };
            let mut entry = mesh::Route {
                destination: route.destination,
                metric: if route.metric == ours {
                    0
                } else {
                    route.metric
                },
                dev,
                via: hop.and_then(|hop| hop.via),
                foreign: false,
            };
            entry.foreign = tunnels.route(&entry).as_ref() != Some(&route);
            let removal = entry.foreign.then(|| Change::delete(route));
            self.add(Entry::Route(entry), removal);
        }
    }

    /// Those that come and go by themselves are the kernel's.
    fn add_neighbours(&mut self, neighbours: Vec<Neighbour>, tunnel: Family) {
        for neighbour in neighbours.into_iter().filter(|it| it.permanent) {
            if let Some(Mac(octets)) = neighbour.mac {
                let entry = mesh::Neighbour {
                    tunnel,
                    address: neighbour.address,
                    vtep: MacAddr(octets),
                };
                self.add(Entry::Neighbour(entry), None);
            }
        }
    }

    fn add_forwarding(&mut self, entries: Vec<ForwardingEntry>, tunnel: Family) {
        for found in entries {
            let Some(remote) = found.remote else { continue };
            let ours = ForwardingEntry::remote(found.dev, found.mac, remote);
            let foreign = found != ours;
            let entry = Forwarding {
                tunnel,
                vtep: MacAddr(found.mac.0),
                remote,
                foreign,
            };
            self.add(
                Entry::Forwarding(entry),
                foreign.then(|| Change::delete(found)),
            );
        }
    }
}

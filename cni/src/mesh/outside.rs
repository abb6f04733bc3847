//! This node's ways out: which of its addresses the others are to know, on which link.

use std::net::IpAddr;

use cni_core::mesh::{Family, Local, Outside, Settings, vtep_mac};
use ipnet::IpNet;
use netlink::{
    Address, Error, Link, LinkIndex, LinkName, MAIN_TABLE, Netlink, Route, RouteFilter, RouteKind,
    Scope,
};

use super::PROTOCOL;
use super::kernel::tunnel_names;
use super::nodes::Own;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    pub(super) name: &'a str,
    pub(super) own: &'a Own,
    pub(super) ranges: &'a [IpNet],
    pub(super) interface: Option<&'a LinkName>,
    pub(super) settings: &'a Settings,
}

impl Search<'_> {
    /// Describes this node as it is now.
    pub(super) fn look(&self, netlink: &mut Netlink) -> Result<Local, Error> {
        let links = netlink.links()?;
        let mut addresses = netlink.addresses()?;
        addresses.retain(|address| self.is_of_a_node(address, &links));
        let defaults = default_routes(netlink)?;
        let mut outside = Vec::new();
        for family in [Family::V4, Family::V6] {
            let addresses = addresses.iter().filter(|it| is_of(it.net.addr(), family));
            let addresses: Vec<&Address> = addresses.collect();
            let default = defaults
                .iter()
                .find(|it| is_of(it.destination.addr(), family));
            let Some(address) = self.choose(&addresses, &links, default) else {
                continue;
            };
            if let Some(link) = carrier(address, &links, default) {
                outside.push(Outside {
                    address: address.net.addr(),
                    link: link.index.0,
                    mtu: link.mtu,
                    shared: reached_without_gateway(netlink, link.index, family)?,
                    vtep: self.vtep(family),
                });
            }
        }
        let local = Local {
            name: self.name.into(),
            ranges: self.ranges.to_vec(),
            outside,
            addresses: addresses.iter().map(|it| it.net.addr()).collect(),
        };
        Ok(local.without_spare_ways())
    }

    /// The interface that was asked for, the address that the Node tells, or where the default route goes.
    fn choose<'a>(
        &self,
        addresses: &[&'a Address],
        links: &[Link],
        default: Option<&Route>,
    ) -> Option<&'a Address> {
        let on = |dev: LinkIndex| addresses.iter().find(move |it| it.dev == dev).copied();
        if let Some(interface) = self.interface {
            return on(links.iter().find(|link| link.name == *interface)?.index);
        }
        let told = self.own.addresses.iter();
        let mut told = told.filter_map(|told| addresses.iter().find(|it| it.net.addr() == *told));
        let by_default = || {
            let route = default?;
            let source = addresses
                .iter()
                .find(|it| Some(it.net.addr()) == route.source);
            source.copied().or_else(|| on(route.hops.first()?.dev?))
        };
        told.next().copied().or_else(by_default)
    }

    /// Addresses of tunnels and pods are no node's.
    fn is_of_a_node(&self, address: &Address, links: &[Link]) -> bool {
        let link = links.iter().find(|link| link.index == address.dev);
        let tunnels = tunnel_names(self.settings);
        let ours = link.is_none_or(|link| {
            let name = link.name.as_str();
            tunnels.iter().any(|(_, tunnel)| tunnel == name)
                || name.starts_with(cni_core::ipam::HOST_LINK)
        });
        !ours && !address.tentative && address.scope == Scope::Universe
    }

    fn vtep(&self, family: Family) -> cni_core::spec::MacAddr {
        vtep_mac(
            &self.own.uid,
            self.settings.vni,
            family,
            &self.own.annotations,
        )
    }
}

fn is_of(address: IpAddr, family: Family) -> bool {
    Family::of(address) == family
}

/// The best of each family comes first.
fn default_routes(netlink: &mut Netlink) -> Result<Vec<Route>, Error> {
    let filter = RouteFilter {
        table: Some(MAIN_TABLE),
        ..RouteFilter::default()
    };
    let mut routes = netlink.routes(filter)?;
    routes.retain(|it| it.destination.prefix_len() == 0 && it.kind == RouteKind::Unicast);
    routes.sort_by_key(|route| route.metric);
    Ok(routes)
}

/// An address on the loopback is reached by the link of the default route.
fn carrier<'a>(address: &Address, links: &'a [Link], default: Option<&Route>) -> Option<&'a Link> {
    let at = |index| links.iter().find(move |link| link.index == index);
    match at(address.dev)? {
        link if link.loopback => at(default?.hops.first()?.dev?),
        link => Some(link),
    }
}

fn reached_without_gateway(
    netlink: &mut Netlink,
    dev: LinkIndex,
    family: Family,
) -> Result<Vec<IpNet>, Error> {
    let filter = RouteFilter {
        table: Some(MAIN_TABLE),
        dev: Some(dev),
        protocol: 0,
    };
    let routes = netlink.routes(filter)?.into_iter();
    let near = routes.filter(|route| {
        let direct =
            matches!(route.hops.as_slice(), [hop] if hop.via.is_none() && hop.dev == Some(dev));
        direct && route.kind == RouteKind::Unicast && route.protocol != PROTOCOL
    });
    Ok(near
        .map(|route| route.destination)
        .filter(|net| is_of(net.addr(), family))
        .collect())
}

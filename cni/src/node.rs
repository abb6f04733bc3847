//! This node's Node object, and the underlay: what pods get.

use std::net::IpAddr;

use cluster::{Change, Cluster, Selection};
use futures_util::StreamExt as _;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use netlink::{Error, Netlink, RouteFilter};
use tokio::sync::watch;

/// What the node gives its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// The Node's `podCIDRs`.
    pub(crate) ranges: Vec<IpNet>,
}

/// Follows the Node object. One that goes away or cannot be read changes nothing: pods stay.
pub(crate) async fn follow(cluster: Cluster, name: String, network: watch::Sender<Network>) {
    let selection = Selection {
        fields: Some(format!("metadata.name={name}")),
        ..Selection::all()
    };
    let mut changes = cluster.watch(selection, |node: Node| read(&node));
    while let Some(change) = changes.next().await {
        match change {
            Change::Set(found, (ranges, wrong)) if *found.name == *name => {
                for text in wrong {
                    tracing::error!("Node {name}: podCIDR {text:?} is not a range; it is left out");
                }
                network.send_if_modified(|network| {
                    let different = network.ranges != ranges && !ranges.is_empty();
                    if different {
                        network.ranges = ranges;
                    }
                    different
                });
            }
            Change::Malformed(_, malformed) => {
                tracing::error!("Node {name}: {}: {}", malformed.field, malformed.message);
            }
            _ => {}
        }
    }
}

/// At most one range of each family, as the API has it, and what is none.
fn read(node: &Node) -> (Vec<IpNet>, Vec<String>) {
    let spec = node.spec.as_ref();
    let mut texts: Vec<&String> = spec
        .and_then(|spec| spec.pod_cidrs.as_ref())
        .into_iter()
        .flatten()
        .collect();
    if texts.is_empty() {
        texts.extend(spec.and_then(|spec| spec.pod_cidr.as_ref()));
    }
    let (mut ranges, mut wrong): (Vec<IpNet>, Vec<String>) = Default::default();
    for text in texts {
        match text.parse::<IpNet>() {
            Ok(range)
                if ranges
                    .iter()
                    .all(|have| have.addr().is_ipv4() != range.addr().is_ipv4()) =>
            {
                ranges.push(range.trunc());
            }
            _ => wrong.push(text.clone()),
        }
    }
    (ranges, wrong)
}

/// What the default route's link leaves for a packet in a tunnel; without such a route, that of Ethernet.
pub(crate) fn mtu(netlink: &mut Netlink) -> Result<u32, Error> {
    let mut smallest = None;
    for route in netlink.routes(RouteFilter::default())? {
        if route.destination.prefix_len() != 0 || route.table != netlink::MAIN_TABLE {
            continue;
        }
        let overhead = match route.destination.addr() {
            IpAddr::V4(_) => 50,
            IpAddr::V6(_) => 70,
        };
        for dev in route.hops.iter().filter_map(|hop| hop.dev) {
            if let Some(link) = netlink.link_at(dev)? {
                let left = link.mtu.saturating_sub(overhead);
                smallest = Some(smallest.map_or(left, |smallest: u32| smallest.min(left)));
            }
        }
    }
    // IPv6 has no smaller links.
    Ok(smallest.unwrap_or(1450).max(1280))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::NodeSpec;

    #[test]
    fn bad_ranges_are_left_out() {
        for (cidr, cidrs, good, bad) in [
            (None, &[][..], &[][..], 0),
            (Some("10.1.0.0/24"), &[], &["10.1.0.0/24"], 0),
            (
                Some("10.1.0.0/24"),
                &["10.2.0.0/24", "fd00::/64"],
                &["10.2.0.0/24", "fd00::/64"],
                0,
            ),
            (None, &["10.1.0.7/24"], &["10.1.0.0/24"], 0),
            (None, &["x", "fd00::/64"], &["fd00::/64"], 1),
            (None, &["10.1.0.0/24", "10.2.0.0/24"], &["10.1.0.0/24"], 1),
        ] {
            let spec = NodeSpec {
                pod_cidr: cidr.map(ToOwned::to_owned),
                pod_cidrs: Some(cidrs.iter().map(|text| (*text).to_owned()).collect()),
                ..NodeSpec::default()
            };
            let node = Node {
                spec: Some(spec),
                ..Node::default()
            };
            let (ranges, wrong) = read(&node);
            let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
            assert_eq!(
                (ranges.as_slice(), wrong.len()),
                (
                    good.iter()
                        .map(|text| (*text).to_owned())
                        .collect::<Vec<_>>()
                        .as_slice(),
                    bad
                )
            );
        }
    }
}

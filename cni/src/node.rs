//! This node's Node object: which addresses its pods get.

use cluster::{Change, Cluster, Selection};
use futures_util::StreamExt as _;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use model::{Kind, ObjectName, ObjectRef, Problem, Severity};
use tokio::sync::watch;

/// What the node gives its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// The Node's `podCIDRs`.
    pub(crate) ranges: Vec<IpNet>,
    /// Those of all Nodes, once they are known.
    pub(crate) cluster: Option<Vec<IpNet>>,
}

/// The Node object of this name.
pub(crate) fn reference(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::Node, ObjectName::new("", name))
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
            Change::Set(found, (ranges, problems)) if *found.name == *name => {
                cluster.problems().report("podCIDRs", problems);
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

/// The ranges of any Node's pods.
pub(crate) fn ranges(node: &Node) -> Vec<IpNet> {
    read(node).0
}

/// At most one range of each family, as the API has it, and what is wrong with the others.
fn read(node: &Node) -> (Vec<IpNet>, Vec<Problem>) {
    let spec = node.spec.as_ref();
    let several = spec.and_then(|spec| spec.pod_cidrs.as_ref()).into_iter();
    let mut texts: Vec<(String, &String)> = several
        .flatten()
        .enumerate()
        .map(|(place, text)| (format!("spec.podCIDRs[{place}]"), text))
        .collect();
    if texts.is_empty() {
        let one = spec.and_then(|spec| spec.pod_cidr.as_ref());
        texts.extend(one.map(|text| ("spec.podCIDR".to_owned(), text)));
    }
    let object = reference(node.metadata.name.as_deref().unwrap_or_default());
    let problem = |field: &str, reason, message: String, severity| Problem {
        object: object.clone(),
        field: field.to_owned(),
        reason,
        message,
        severity,
    };
    let (mut ranges, mut problems): (Vec<IpNet>, Vec<Problem>) = Default::default();
    for (field, text) in texts {
        match read_range(text, &ranges) {
            Ok(range) => ranges.push(range),
            Err(why) => {
                let message = format!("{text:?} {why}; it is left out");
                problems.push(problem(&field, "BadPodCIDR", message, Severity::Warning));
            }
        }
    }
    if ranges.is_empty() {
        let message = "there is no range to take addresses from, so that no pod can be connected; \
                       the controller manager gives one with --allocate-node-cidrs";
        let field = "spec.podCIDRs";
        problems.push(problem(field, "NoPodCIDR", message.into(), Severity::Error));
    }
    (ranges, problems)
}

fn read_range(text: &str, earlier: &[IpNet]) -> Result<IpNet, &'static str> {
    let range: IpNet = text.parse().map_err(|_| "is no range of addresses")?;
    let (range, address) = (range.trunc(), range.network());
    let of_one_host = address.is_loopback() || address.is_unspecified() || address.is_multicast();
    if of_one_host || range.prefix_len() < WIDEST {
        return Err("is no range that pods can have addresses of");
    }
    let is_ipv4 = address.is_ipv4();
    match earlier
        .iter()
        .any(|range| range.addr().is_ipv4() == is_ipv4)
    {
        true => Err("is the second range of its family"),
        false => Ok(range),
    }
}

/// Shorter prefixes hold addresses of other kinds.
const WIDEST: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::NodeSpec;

    #[test]
    fn bad_ranges_are_left_out() {
        for (cidr, cidrs, good, bad) in [
            (None, &[][..], &[][..], &["spec.podCIDRs NoPodCIDR"][..]),
            (Some("10.1.0.0/24"), &[], &["10.1.0.0/24"], &[]),
            (
                Some("10.1.0.0/24"),
                &["10.2.0.0/24", "fd00::/64"],
                &["10.2.0.0/24", "fd00::/64"],
                &[],
            ),
            (None, &["10.1.0.7/24"], &["10.1.0.0/24"], &[]),
            (
                None,
                &["x", "fd00::/64"],
                &["fd00::/64"],
                &["spec.podCIDRs[0] BadPodCIDR"],
            ),
            (
                None,
                &["10.1.0.0/24", "10.2.0.0/24"],
                &["10.1.0.0/24"],
                &["spec.podCIDRs[1] BadPodCIDR"],
            ),
            (
                None,
                &["127.0.0.0/8", "ff00::/8"],
                &[],
                &[
                    "spec.podCIDRs[0] BadPodCIDR",
                    "spec.podCIDRs[1] BadPodCIDR",
                    "spec.podCIDRs NoPodCIDR",
                ],
            ),
            (
                Some("::/0"),
                &[],
                &[],
                &["spec.podCIDR BadPodCIDR", "spec.podCIDRs NoPodCIDR"],
            ),
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
            let (ranges, problems) = read(&node);
            let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
            let problems: Vec<_> = problems
                .iter()
                .map(|problem| format!("{} {}", problem.field, problem.reason))
                .collect();
            assert_eq!(ranges, good);
            assert_eq!(problems, bad);
        }
    }
}

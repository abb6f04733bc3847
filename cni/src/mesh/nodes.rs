//! The Nodes of the cluster, as far as the mesh is about them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cluster::{Change, Changes, Cluster, Selection};
use cni_core::mesh::{ANNOTATIONS, NodeFacts, Peer, Problem, Settings};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;

use crate::node;

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    name: Arc<str>,
    /// This node's; one that goes away is remembered.
    pub(super) own: Option<Own>,
    others: BTreeMap<Arc<str>, (Option<Peer>, Vec<Problem>)>,
    /// Those of all pods, whether their nodes are in the mesh or not.
    ranges: BTreeMap<Arc<str>, Vec<IpNet>>,
    /// Before all have been seen, one that is not there means nothing.
    pub(super) synced: bool,
}

/// This node's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) uid: String,
    /// `InternalIP`.
    pub(super) addresses: Vec<IpAddr>,
    /// Flannel's.
    pub(super) annotations: BTreeMap<String, String>,
    /// Whether it is told that its network works.
    pub(super) available: bool,
}

/// What is kept of an object.
#[derive(Debug)]
pub(super) struct Seen {
    ranges: Vec<IpNet>,
    whose: Whose,
}

#[derive(Debug)]
enum Whose {
    Own(Own),
    Other(Option<Peer>, Vec<Problem>),
}

impl Nodes {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// What happens to them.
    pub(super) fn watch(&self, cluster: &Cluster, settings: Settings) -> Changes<Seen> {
        let name = Arc::clone(&self.name);
        cluster.watch(Selection::all(), move |node: Node| {
            let ranges = node::ranges(&node);
            let whose = match node.metadata.name.as_deref() == Some(&*name) {
                true => Whose::Own(Own::read(node)),
                false => read_other(&node, &settings),
            };
            Seen { ranges, whose }
        })
    }

    pub(super) fn take(&mut self, change: Change<Seen>) {
        match change {
            Change::Set(found, seen) => {
                self.ranges.insert(Arc::clone(&found.name), seen.ranges);
                match seen.whose {
                    Whose::Own(own) => self.own = Some(own),
                    Whose::Other(peer, problems) => {
                        self.others.insert(found.name, (peer, problems));
                    }
                }
            }
            Change::Removed(found) => {
                self.ranges.remove(&found.name);
                self.others.remove(&found.name);
            }
            Change::Malformed(found, malformed) => {
                let (field, message) = (malformed.field, malformed.message);
                tracing::warn!("Node {found}: {field}: {message}; it stays as it was");
            }
            Change::Synced => self.synced = true,
        }
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.others.values().filter_map(|(peer, _)| peer.as_ref())
    }

    /// The ranges of all pods of the cluster.
    pub(super) fn ranges(&self) -> Vec<IpNet> {
        self.ranges.values().flatten().copied().collect()
    }

    pub(super) fn problems(&self) -> BTreeSet<Problem> {
        let problems = self.others.values().flat_map(|(_, problems)| problems);
        problems.cloned().collect()
    }
}

impl Own {
    fn read(node: Node) -> Self {
        let status = node.status.unwrap_or_default();
        let addresses = status.addresses.unwrap_or_default();
        let addresses = addresses.iter().filter(|it| it.type_ == "InternalIP");
        let mut annotations = node.metadata.annotations.unwrap_or_default();
        annotations.retain(|key, _| key.starts_with(ANNOTATIONS));
        let conditions = status.conditions.unwrap_or_default();
        Self {
            uid: node.metadata.uid.unwrap_or_default(),
            addresses: addresses.filter_map(|it| it.address.parse().ok()).collect(),
            annotations,
            available: conditions
                .iter()
                .any(|it| it.type_ == "NetworkUnavailable" && it.status == "False"),
        }
    }
}

fn read_other(node: &Node, settings: &Settings) -> Whose {
    let none = BTreeMap::new();
    let spec = node.spec.as_ref();
    let ranges = spec.and_then(|spec| spec.pod_cidrs.as_deref());
    let range = spec.and_then(|spec| spec.pod_cidr.as_deref());
    let mut ranges: Vec<&str> = ranges.unwrap_or_default().iter().map(|it| &**it).collect();
    if ranges.is_empty() {
        ranges.extend(range);
    }
    let created = node.metadata.creation_timestamp.as_ref();
    let facts = NodeFacts {
        name: node.metadata.name.as_deref().unwrap_or_default(),
        created: created.map_or(0, |time| time.0.as_second()),
        ranges,
        annotations: node.metadata.annotations.as_ref().unwrap_or(&none),
    };
    let (peer, problems) = Peer::read(&facts, settings);
    Whose::Other(peer, problems)
}

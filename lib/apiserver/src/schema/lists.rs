//! How the lists of built-in types merge, which `k8s-openapi`'s schemas leave out.
//!
//! From the Kubernetes API reference: "patch strategy", "patch merge key", "list type" and "map
//! keys" of each field.

use std::sync::Arc;

use super::{List, ListKind, Map, PatchKey, Shape};

/// Gives a built-in type's field its way to merge.
pub(super) fn refine(owner: &str, field: &str, shape: Shape) -> Shape {
    match shape {
        Shape::List(list) => match find(owner, field) {
            Some((patch, keys)) => {
                let item = list.item.clone();
                let kind = match keys {
                    [] => ListKind::Atomic,
                    ["*"] => ListKind::Set,
                    keys => ListKind::Keyed(keys.iter().map(|key| Box::from(*key)).collect()),
                };
                let patch = match *patch {
                    "" => None,
                    "*" => Some(PatchKey::Item),
                    key => Some(PatchKey::Field(key)),
                };
                Shape::List(Arc::new(List { item, kind, patch }))
            }
            None => Shape::List(list),
        },
        Shape::Map(map) if ATOMIC_MAPS.contains(&(owner, field)) => Shape::Map(Arc::new(Map {
            item: map.item.clone(),
            atomic: true,
        })),
        shape => shape,
    }
}

/// True if the type is owned as a whole.
pub(super) fn is_atomic(owner: &str) -> bool {
    ATOMIC_TYPES.contains(&owner)
}

pub(super) fn find(
    owner: &str,
    field: &str,
) -> Option<(&'static &'static str, &'static [&'static str])> {
    let (_, patch, keys) = LISTS.iter().find(|(name, _, _)| {
        name.split_once('.')
            .is_some_and(|(a, b)| a == owner && b == field)
    })?;
    Some((patch, keys))
}

/// Field, patch merge key, list map keys; `*` stands for the item itself.
const LISTS: &[(&str, &str, &[&str])] = &[
    ("Container.env", "name", &["name"]),
    (
        "Container.ports",
        "containerPort",
        &["containerPort", "protocol"],
    ),
    ("Container.volumeDevices", "devicePath", &["devicePath"]),
    ("Container.volumeMounts", "mountPath", &["mountPath"]),
    ("CustomResourceDefinitionStatus.conditions", "", &["type"]),
    ("DaemonSetStatus.conditions", "type", &["type"]),
    ("DeploymentStatus.conditions", "type", &["type"]),
    ("Endpoint.addresses", "", &["*"]),
    ("EphemeralContainer.env", "name", &["name"]),
    (
        "EphemeralContainer.ports",
        "containerPort",
        &["containerPort", "protocol"],
    ),
    (
        "EphemeralContainer.volumeDevices",
        "devicePath",
        &["devicePath"],
    ),
    (
        "EphemeralContainer.volumeMounts",
        "mountPath",
        &["mountPath"],
    ),
    ("NamespaceStatus.conditions", "type", &["type"]),
    ("NodeSpec.podCIDRs", "*", &["*"]),
    ("NodeStatus.addresses", "type", &["type"]),
    ("NodeStatus.conditions", "type", &["type"]),
    ("ObjectMeta.finalizers", "*", &["*"]),
    ("ObjectMeta.ownerReferences", "uid", &["uid"]),
    ("PodSpec.containers", "name", &["name"]),
    ("PodSpec.ephemeralContainers", "name", &["name"]),
    ("PodSpec.hostAliases", "ip", &["ip"]),
    ("PodSpec.imagePullSecrets", "name", &["name"]),
    ("PodSpec.initContainers", "name", &["name"]),
    ("PodSpec.resourceClaims", "name", &["name"]),
    ("PodSpec.schedulingGates", "name", &["name"]),
    (
        "PodSpec.topologySpreadConstraints",
        "topologyKey",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("PodSpec.volumes", "name", &["name"]),
    ("PodStatus.conditions", "type", &["type"]),
    ("PodStatus.hostIPs", "ip", &[]),
    ("PodStatus.podIPs", "ip", &["ip"]),
    ("ResourceRequirements.claims", "", &["name"]),
    ("ServiceAccount.secrets", "name", &["name"]),
    ("ServiceSpec.ports", "port", &["port", "protocol"]),
    ("ServiceStatus.conditions", "type", &["type"]),
];

const ATOMIC_MAPS: &[(&str, &str)] = &[("PodSpec", "nodeSelector"), ("ServiceSpec", "selector")];

const ATOMIC_TYPES: &[&str] = &[
    "ConfigMapKeySelector",
    "LabelSelector",
    "LocalObjectReference",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ObjectReference",
    "OwnerReference",
    "ResourceFieldSelector",
    "SecretKeySelector",
    "SecretReference",
    "TypedLocalObjectReference",
];

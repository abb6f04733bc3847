//! What this node tells the others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use super::peer::{ANNOTATIONS, field, is_of_a_node, keys};
use super::{Backend, Family, Local, Problem, Settings};

/// The annotations to be changed, by their whole names: to a value, or to none at all.
pub fn announce(
    local: &Local,
    settings: &Settings,
    annotations: &BTreeMap<String, String>,
) -> (BTreeMap<String, Option<String>>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut told = BTreeMap::from([
        ("backend-type", Some(settings.backend.as_str().to_owned())),
        ("kube-subnet-manager", Some("true".to_owned())),
    ]);
    for family in [Family::V4, Family::V6] {
        let [address, data] = keys(family);
        let outside = local.outside(family);
        let overwrite = overwrite(local, family, annotations, &mut problems);
        told.insert(
            address,
            outside.map(|outside| overwrite.unwrap_or(outside.address).to_string()),
        );
        let vtep = outside.map(|outside| match settings.backend {
            Backend::Vxlan => {
                json!({"VNI": settings.vni, "VtepMAC": outside.vtep.to_string()}).to_string()
            }
            // As flannel writes nothing.
            Backend::HostGw => "null".to_owned(),
        });
        told.insert(data, vtep);
    }
    let told = told.into_iter();
    let told = told.map(|(key, value)| (format!("{ANNOTATIONS}{key}"), value));
    let different = told.filter(|(key, value)| annotations.get(key) != value.as_ref());
    (different.collect(), problems)
}

/// The address that others are to reach this node at, where they do not see its own.
fn overwrite(
    local: &Local,
    family: Family,
    annotations: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Option<IpAddr> {
    let key = match family {
        Family::V4 => "public-ip-overwrite",
        Family::V6 => "public-ipv6-overwrite",
    };
    let text = annotations.get(&format!("{ANNOTATIONS}{key}"))?;
    let address: Option<IpAddr> = text.parse().ok();
    let address = address.filter(|found| Family::of(*found) == family && is_of_a_node(*found));
    if address.is_none() && !text.is_empty() {
        problems.push(Problem {
            node: local.name.clone(),
            field: field(key),
            reason: "BadAddress",
            message: format!("{text:?} is no address of a node: its own is told"),
        });
    }
    address
}

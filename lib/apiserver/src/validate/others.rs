//! Types with few rules of their own.

use serde_json::Value;

use super::{Faults, items, members};
use crate::{base64, names, object::metadata_text};

/// Bytes of a Secret's or ConfigMap's data.
const MOST_DATA: usize = 1 << 20;

pub(super) fn secret(old: Option<&Value>, object: &Value, faults: &mut Faults) {
    let data = &object["data"];
    data_keys("data", data, faults);
    let wanted: &[&str] = match object["type"].as_str() {
        Some("kubernetes.io/tls") => &["tls.crt", "tls.key"],
        Some("kubernetes.io/dockerconfigjson") => &[".dockerconfigjson"],
        Some("kubernetes.io/dockercfg") => &[".dockercfg"],
        Some("kubernetes.io/ssh-auth") => &["ssh-privatekey"],
        _ => &[],
    };
    for key in wanted {
        if data.get(key).is_none() {
            faults.required(format!("data[{key}]"), "");
        }
    }
    let size: usize = members(data)
        .map(|(_, it)| base64::decoded_len(it.as_str().unwrap_or_default()))
        .sum();
    too_long("data", size, faults);
    if let Some(old) = old {
        faults.fixed("type", &old["type"], &object["type"]);
        unchangeable(old, object, &["data"], faults);
    }
}

pub(super) fn config_map(old: Option<&Value>, object: &Value, faults: &mut Faults) {
    data_keys("data", &object["data"], faults);
    data_keys("binaryData", &object["binaryData"], faults);
    for (key, _) in members(&object["data"]) {
        if object["binaryData"].get(key).is_some() {
            let why = "duplicate of key present in binaryData";
            faults.invalid(format!("data[{key}]"), &key.as_str().into(), why);
        }
    }
    let length = |member: &str| -> usize {
        members(&object[member])
            .map(|(_, it)| it.as_str().map_or(0, str::len))
            .sum()
    };
    too_long("", length("data") + length("binaryData"), faults);
    if let Some(old) = old {
        unchangeable(old, object, &["data", "binaryData"], faults);
    }
}

/// `immutable: true` cannot be taken back.
fn unchangeable(old: &Value, object: &Value, fields: &[&str], faults: &mut Faults) {
    if old["immutable"] != true {
        return;
    }
    for field in fields.iter().chain(&["immutable"]) {
        if old[*field] != object[*field] {
            faults.forbidden(*field, "field is immutable when `immutable` is set");
        }
    }
}

fn data_keys(field: &str, data: &Value, faults: &mut Faults) {
    for (key, _) in members(data) {
        let spelled = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let good =
            key.len() <= 253 && key.bytes().all(spelled) && !matches!(key.as_str(), "." | "..");
        if key.is_empty() || !good {
            let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
            faults.invalid(format!("{field}[{key}]"), &key.as_str().into(), why);
        }
    }
}

fn too_long(field: &str, size: usize, faults: &mut Faults) {
    if size > MOST_DATA {
        faults.0.push(crate::status::Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {MOST_DATA} bytes"),
            field: field.to_owned(),
        });
    }
}

pub(super) fn pod(object: &Value, faults: &mut Faults) {
    let containers = &object["spec"]["containers"];
    if items(containers).next().is_none() {
        faults.required("spec.containers", "");
    }
    for (at, container) in items(containers) {
        let field = format!("spec.containers[{at}]");
        if container["name"].is_string() {
            faults.spelled(
                format!("{field}.name"),
                &container["name"],
                names::dns_label,
            );
        }
        for (n, port) in items(&container["ports"]) {
            faults.port(
                format!("{field}.ports[{n}].containerPort"),
                &port["containerPort"],
            );
        }
    }
}

pub(super) fn event(object: &Value, faults: &mut Faults) {
    let about = if object["regarding"].is_object() {
        "regarding"
    } else {
        "involvedObject"
    };
    let namespace = object[about]["namespace"].as_str().unwrap_or_default();
    let own = metadata_text(object, "namespace");
    let good = match namespace {
        // Events of cluster-scoped objects live in `default`.
        "" => own == "default",
        namespace => own == namespace,
    };
    if !good {
        let why = "does not match event.namespace";
        faults.invalid(format!("{about}.namespace"), &namespace.into(), why);
    }
}

pub(super) fn workload(object: &Value, faults: &mut Faults) {
    let spec = &object["spec"];
    if spec.is_null() {
        return faults.required("spec", "");
    }
    let wanted = &spec["selector"]["matchLabels"];
    let found = &spec["template"]["metadata"]["labels"];
    if members(wanted).next().is_none()
        && items(&spec["selector"]["matchExpressions"])
            .next()
            .is_none()
    {
        faults.required("spec.selector", "");
    }
    if members(wanted).any(|(key, value)| found.get(key) != Some(value)) {
        let why = "`selector` does not match template `labels`";
        faults.invalid("spec.template.metadata.labels", found, why);
    }
}

pub(super) fn lease(object: &Value, faults: &mut Faults) {
    let spec = &object["spec"];
    let duration = &spec["leaseDurationSeconds"];
    if duration.as_i64().is_some_and(|seconds| seconds <= 0) {
        faults.invalid(
            "spec.leaseDurationSeconds",
            duration,
            "must be greater than 0",
        );
    }
    let transitions = &spec["leaseTransitions"];
    if transitions.as_i64().is_some_and(|count| count < 0) {
        faults.invalid(
            "spec.leaseTransitions",
            transitions,
            "must be greater than or equal to 0",
        );
    }
}

pub(super) fn network_policy(object: &Value, faults: &mut Faults) {
    for (at, kind) in items(&object["spec"]["policyTypes"]) {
        faults.one_of(
            format!("spec.policyTypes[{at}]"),
            kind,
            &["Egress", "Ingress"],
        );
    }
    for direction in ["ingress", "egress"] {
        for (at, rule) in items(&object["spec"][direction]) {
            let peers = if direction == "ingress" { "from" } else { "to" };
            for (n, peer) in items(&rule[peers]) {
                let field = format!("spec.{direction}[{at}].{peers}[{n}]");
                network_peer(&field, peer, faults);
            }
            for (n, port) in items(&rule["ports"]) {
                let field = format!("spec.{direction}[{at}].ports[{n}].port");
                if port["port"].is_number() {
                    faults.port(field, &port["port"]);
                }
            }
        }
    }
}

fn network_peer(field: &str, peer: &Value, faults: &mut Faults) {
    let block = &peer["ipBlock"];
    let selects = !peer["podSelector"].is_null() || !peer["namespaceSelector"].is_null();
    match (block.is_null(), selects) {
        (true, false) => faults.required(field, "must specify a peer"),
        (false, true) => {
            let why = "may not be specified when ipBlock is specified";
            faults.forbidden(field, why);
        }
        (false, false) if !is_cidr(&block["cidr"]) => {
            let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            faults.invalid(format!("{field}.ipBlock.cidr"), &block["cidr"], why);
        }
        _ => {}
    }
}

fn is_cidr(value: &Value) -> bool {
    let Some((address, length)) = value.as_str().and_then(|text| text.split_once('/')) else {
        return false;
    };
    match (address.parse(), length.parse::<u8>()) {
        (Ok(std::net::IpAddr::V4(_)), Ok(length)) => length <= 32,
        (Ok(std::net::IpAddr::V6(_)), Ok(length)) => length <= 128,
        _ => false,
    }
}

pub(super) fn definition(object: &Value, faults: &mut Faults) {
    let spec = &object["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let wanted = format!(
        "{}.{}",
        text(&spec["names"]["plural"]),
        text(&spec["group"])
    );
    if metadata_text(object, "name") != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        faults.invalid("metadata.name", &object["metadata"]["name"], why);
    }
    faults.one_of("spec.scope", &spec["scope"], &["Cluster", "Namespaced"]);
    let stored = items(&spec["versions"])
        .filter(|(_, it)| it["storage"] == true)
        .count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        faults.invalid("spec.versions", &spec["versions"], why);
    }
    for (at, version) in items(&spec["versions"]) {
        if version.pointer("/schema/openAPIV3Schema").is_none() {
            let field = format!("spec.versions[{at}].schema.openAPIV3Schema");
            faults.required(field, "schemas are required");
        }
    }
}

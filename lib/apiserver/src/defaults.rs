//! Values that the API server fills in where a document says nothing.

use serde_json::{Value, json};

use crate::{
    admission::default_label,
    object::{member_mut, metadata_text},
    registry::ResourceType,
};

/// Fills in what the type's documentation calls the default.
pub(crate) fn fill(resource: &ResourceType, object: &mut Value) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") => namespace(object),
        ("", "services") => service(object),
        ("", "secrets") => secret(object),
        ("", "endpoints") => each(object, "subsets", |subset| each(subset, "ports", protocol)),
        ("", "pods") => pod(object),
        ("discovery.k8s.io", "endpointslices") => each(object, "ports", |port| {
            protocol(port);
            default(port, "name", "".into());
        }),
        ("networking.k8s.io", "networkpolicies") => network_policy(object),
        _ => {}
    }
}

fn default(object: &mut Value, member: &str, value: Value) {
    if let Some(object) = object.as_object_mut()
        && object.get(member).is_none_or(Value::is_null)
    {
        object.insert(member.to_owned(), value);
    }
}

fn each(object: &mut Value, list: &str, change: impl Fn(&mut Value)) {
    if let Some(items) = object.get_mut(list).and_then(Value::as_array_mut) {
        items.iter_mut().for_each(change);
    }
}

fn protocol(port: &mut Value) {
    default(port, "protocol", "TCP".into());
}

fn namespace(object: &mut Value) {
    let name = metadata_text(object, "name").to_owned();
    default_label(object, "kubernetes.io/metadata.name", &name);
    member_mut(object, "spec")
        .entry("finalizers")
        .or_insert_with(|| json!(["kubernetes"]));
    member_mut(object, "status")
        .entry("phase")
        .or_insert_with(|| "Active".into());
}

/// Everything but cluster IPs and node ports: nobody would route them.
fn service(object: &mut Value) {
    member_mut(object, "spec");
    let spec = &mut object["spec"];
    default(spec, "type", "ClusterIP".into());
    default(spec, "sessionAffinity", "None".into());
    if spec["type"] != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster".into());
    }
    if spec["type"] == "LoadBalancer" || spec["type"] == "NodePort" {
        default(spec, "externalTrafficPolicy", "Cluster".into());
    }
    if spec["type"] == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true.into());
    }
    each(spec, "ports", |port| {
        protocol(port);
        let number = port["port"].clone();
        default(port, "targetPort", number);
    });
    default(object, "status", json!({"loadBalancer": {}}));
}

/// `stringData` is a write-only way to say `data`.
fn secret(object: &mut Value) {
    default(object, "type", "Opaque".into());
    let Some(Value::Object(texts)) = object
        .as_object_mut()
        .and_then(|object| object.remove("stringData"))
    else {
        return;
    };
    let data = member_mut(object, "data");
    for (key, value) in texts {
        let text = value.as_str().unwrap_or_default();
        data.insert(key, crate::base64::encode(text.as_bytes()).into());
    }
}

fn pod(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec") {
        default(spec, "restartPolicy", "Always".into());
        default(spec, "dnsPolicy", "ClusterFirst".into());
        for list in ["containers", "initContainers"] {
            each(spec, list, |container| each(container, "ports", protocol));
        }
    }
    default(object, "status", json!({"phase": "Pending"}));
}

fn network_policy(object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else {
        return;
    };
    let types = match spec["egress"].as_array().is_some_and(|it| !it.is_empty()) {
        true => json!(["Ingress", "Egress"]),
        false => json!(["Ingress"]),
    };
    default(spec, "policyTypes", types);
    for list in ["ingress", "egress"] {
        each(spec, list, |rule| each(rule, "ports", protocol));
    }
}

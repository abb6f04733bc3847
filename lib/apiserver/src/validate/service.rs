//! Services and their endpoints.

use std::net::IpAddr;

use serde_json::Value;

use super::{Faults, ingress::port_name, items};
use crate::names;

pub(super) fn service(object: &Value, faults: &mut Faults) {
    let spec = &object["spec"];
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    faults.one_of("spec.type", &spec["type"], &kinds);
    faults.one_of(
        "spec.sessionAffinity",
        &spec["sessionAffinity"],
        &["ClientIP", "None"],
    );
    let headless = spec["clusterIP"] == "None";
    if spec["type"] == "ExternalName" {
        match spec["externalName"].as_str() {
            None | Some("") => faults.required("spec.externalName", ""),
            // One dot at the end is the root of the DNS.
            Some(name) => {
                let name = Value::from(name.strip_suffix('.').unwrap_or(name));
                faults.spelled("spec.externalName", &name, names::dns_subdomain);
            }
        }
    } else if items(&spec["ports"]).next().is_none() && !headless {
        faults.required("spec.ports", "");
    }
    ports(&spec["ports"], faults);
    for policy in ["externalTrafficPolicy", "internalTrafficPolicy"] {
        if !spec[policy].is_null() {
            faults.one_of(
                format!("spec.{policy}"),
                &spec[policy],
                &["Cluster", "Local"],
            );
        }
    }
    for (at, address) in items(&spec["externalIPs"]) {
        ip(format!("spec.externalIPs[{at}]"), address, faults);
    }
    if !headless && spec["clusterIP"].as_str().is_some_and(|it| !it.is_empty()) {
        ip("spec.clusterIP", &spec["clusterIP"], faults);
    }
}

fn ports(ports: &Value, faults: &mut Faults) {
    let several = items(ports).count() > 1;
    let mut seen: Vec<(&Value, &Value)> = Vec::new();
    let mut seen_names: Vec<&str> = Vec::new();
    for (at, port) in items(ports) {
        let field = format!("spec.ports[{at}]");
        faults.port(format!("{field}.port"), &port["port"]);
        faults.one_of(
            format!("{field}.protocol"),
            &port["protocol"],
            &["SCTP", "TCP", "UDP"],
        );
        match port["name"].as_str().unwrap_or_default() {
            "" if several => faults.required(format!("{field}.name"), ""),
            "" => {}
            name => {
                faults.spelled(format!("{field}.name"), &port["name"], names::dns_label);
                if seen_names.contains(&name) {
                    faults.duplicate(format!("{field}.name"), &port["name"]);
                }
                seen_names.push(name);
            }
        }
        match &port["targetPort"] {
            Value::Null => {}
            target @ Value::String(_) => {
                faults.spelled(format!("{field}.targetPort"), target, port_name);
            }
            target => faults.port(format!("{field}.targetPort"), target),
        }
        if port["nodePort"].as_i64().is_some_and(|it| it != 0) {
            faults.port(format!("{field}.nodePort"), &port["nodePort"]);
        }
        let pair = (&port["port"], &port["protocol"]);
        if seen.contains(&pair) {
            faults.duplicate(field, port);
        }
        seen.push(pair);
    }
}

pub(super) fn slice(old: Option<&Value>, object: &Value, faults: &mut Faults) {
    let kind = &object["addressType"];
    match kind.as_str() {
        None | Some("") => faults.required("addressType", ""),
        Some(_) => faults.one_of("addressType", kind, &["FQDN", "IPv4", "IPv6"]),
    }
    if let Some(old) = old {
        faults.fixed("addressType", &old["addressType"], kind);
    }
    for (at, endpoint) in items(&object["endpoints"]) {
        let field = format!("endpoints[{at}].addresses");
        if items(&endpoint["addresses"]).next().is_none() {
            faults.required(field.as_str(), "must contain at least 1 address");
        }
        for (n, address) in items(&endpoint["addresses"]) {
            address_of(kind, format!("{field}[{n}]"), address, faults);
        }
    }
    for (at, port) in items(&object["ports"]) {
        let field = format!("ports[{at}]");
        if !port["port"].is_null() {
            faults.port(format!("{field}.port"), &port["port"]);
        }
        faults.one_of(
            format!("{field}.protocol"),
            &port["protocol"],
            &["SCTP", "TCP", "UDP"],
        );
        if port["name"].as_str().is_some_and(|name| !name.is_empty()) {
            faults.spelled(format!("{field}.name"), &port["name"], names::dns_label);
        }
    }
}

fn address_of(kind: &Value, field: String, address: &Value, faults: &mut Faults) {
    let parsed = address
        .as_str()
        .and_then(|text| text.parse::<IpAddr>().ok());
    match (kind.as_str(), parsed) {
        (Some("IPv4"), Some(IpAddr::V4(_))) | (Some("IPv6"), Some(IpAddr::V6(_))) => {}
        (Some("IPv4"), _) => faults.invalid(field, address, "must be an IPv4 address"),
        (Some("IPv6"), _) => faults.invalid(field, address, "must be an IPv6 address"),
        (Some("FQDN"), _) => faults.spelled(field, address, names::dns_subdomain),
        _ => {}
    }
}

fn ip(field: impl Into<String>, address: &Value, faults: &mut Faults) {
    if address
        .as_str()
        .is_none_or(|text| text.parse::<IpAddr>().is_err())
    {
        faults.invalid(
            field,
            address,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
}

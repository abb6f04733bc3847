//! networking.k8s.io Ingress and IngressClass.

use serde_json::Value;

use super::{Faults, items};
use crate::names;

pub(super) fn ingress(old: Option<&Value>, object: &Value, faults: &mut Faults) {
    let spec = &object["spec"];
    if items(&spec["rules"]).next().is_none() && spec["defaultBackend"].is_null() {
        let why = "either `defaultBackend` or `rules` must be specified";
        faults.invalid("spec", spec, why);
    }
    if !spec["defaultBackend"].is_null() {
        backend("spec.defaultBackend", &spec["defaultBackend"], faults);
    }
    for (at, rule) in items(&spec["rules"]) {
        let path = format!("spec.rules[{at}]");
        if let Some(name) = rule["host"].as_str().filter(|name| !name.is_empty()) {
            host(format!("{path}.host"), name, faults);
        }
        if let Some(http) = rule.get("http") {
            paths(&format!("{path}.http.paths"), &http["paths"], faults);
        }
    }
    for (at, tls) in items(&spec["tls"]) {
        for (n, name) in items(&tls["hosts"]) {
            let field = format!("spec.tls[{at}].hosts[{n}]");
            host(field, name.as_str().unwrap_or_default(), faults);
        }
        if tls["secretName"].as_str().is_some_and(|it| !it.is_empty()) {
            let field = format!("spec.tls[{at}].secretName");
            faults.spelled(field, &tls["secretName"], names::dns_subdomain);
        }
    }
    class_name(old, object, faults);
}

fn class_name(old: Option<&Value>, object: &Value, faults: &mut Faults) {
    let name = &object["spec"]["ingressClassName"];
    if name.is_string() {
        faults.spelled("spec.ingressClassName", name, names::dns_subdomain);
    }
    let annotation = &object["metadata"]["annotations"]["kubernetes.io/ingress.class"];
    if old.is_none() && name.is_string() && annotation.is_string() {
        let field = "metadata.annotations[kubernetes.io/ingress.class]";
        faults.invalid(
            field,
            annotation,
            "can not be set when the class field is also set",
        );
    }
}

fn host(field: String, name: &str, faults: &mut Faults) {
    let value = Value::from(name);
    if name.parse::<std::net::IpAddr>().is_ok() {
        return faults.invalid(field, &value, "must be a DNS name, not an IP address");
    }
    match name.strip_prefix("*.") {
        Some(rest) => {
            if names::dns_subdomain(rest).is_err() {
                let why = "a wildcard DNS-1123 subdomain must start with '*.', followed by a \
                           valid DNS subdomain (e.g. '*.example.com')";
                faults.invalid(field, &value, why);
            }
        }
        None => faults.spelled(field, &value, names::dns_subdomain),
    }
}

fn paths(field: &str, paths: &Value, faults: &mut Faults) {
    if items(paths).next().is_none() {
        faults.required(field, "");
    }
    for (at, path) in items(paths) {
        let field = format!("{field}[{at}]");
        let kind = &path["pathType"];
        match kind.as_str() {
            None | Some("") => {
                faults.required(format!("{field}.pathType"), "pathType must be specified");
            }
            Some("Exact" | "Prefix") => absolute(&format!("{field}.path"), &path["path"], faults),
            Some("ImplementationSpecific") => {
                let text = path["path"].as_str().unwrap_or_default();
                if !text.is_empty() && !text.starts_with('/') {
                    let why = "must be an absolute path";
                    faults.invalid(format!("{field}.path"), &path["path"], why);
                }
            }
            Some(_) => faults.one_of(
                format!("{field}.pathType"),
                kind,
                &["Exact", "ImplementationSpecific", "Prefix"],
            ),
        }
        backend(&format!("{field}.backend"), &path["backend"], faults);
    }
}

fn absolute(field: &str, path: &Value, faults: &mut Faults) {
    let text = path.as_str().unwrap_or_default();
    if !text.starts_with('/') {
        return faults.invalid(field, &text.into(), "must be an absolute path");
    }
    for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
        if text.contains(sequence) {
            faults.invalid(field, path, &format!("must not contain '{sequence}'"));
        }
    }
    for suffix in ["/..", "/."] {
        if text.ends_with(suffix) {
            faults.invalid(field, path, &format!("cannot end with '{suffix}'"));
        }
    }
}

fn backend(field: &str, backend: &Value, faults: &mut Faults) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_null(), resource.is_null()) {
        (true, true) => {
            return faults.required(field, "exactly one of `resource` or `service` is required");
        }
        (false, false) => {
            let why = "cannot set both resource and service backends";
            return faults.invalid(field, &"".into(), why);
        }
        (true, false) => return,
        (false, true) => {}
    }
    match service["name"].as_str() {
        None | Some("") => faults.required(format!("{field}.service.name"), ""),
        Some(_) => {
            let field = format!("{field}.service.name");
            faults.spelled(field, &service["name"], names::dns_1035_label);
        }
    }
    let port = &service["port"];
    let named = port["name"].as_str().is_some_and(|name| !name.is_empty());
    let numbered = port["number"].as_i64().is_some_and(|number| number != 0);
    let field = format!("{field}.service.port");
    match (named, numbered) {
        (false, false) => faults.required(field, "port name or number is required"),
        (true, true) => {
            faults.invalid(field, &"".into(), "cannot set both port name & port number");
        }
        (true, false) => faults.spelled(format!("{field}.name"), &port["name"], port_name),
        (false, true) => faults.port(format!("{field}.number"), &port["number"]),
    }
}

/// An IANA service name, RFC 6335 section 5.1.
pub(super) fn port_name(name: &str) -> Result<(), &'static str> {
    let letter = name.bytes().any(|byte| byte.is_ascii_lowercase());
    let good = name.len() <= 15 && letter && !name.contains("--") && names::dns_label(name).is_ok();
    good.then_some(()).ok_or(
        "must contain only alphanumeric characters (a-z, 0-9) and hyphens, at least one letter, \
         and be no more than 15 characters",
    )
}

pub(super) fn class(old: Option<&Value>, object: &Value, faults: &mut Faults) {
    let controller = &object["spec"]["controller"];
    match controller.as_str() {
        None | Some("") => faults.required("spec.controller", ""),
        Some(text) => {
            let good = text.len() <= 250
                && text.split_once('/').is_some_and(|(domain, path)| {
                    names::dns_subdomain(domain).is_ok() && !path.is_empty()
                });
            if !good {
                let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
                faults.invalid("spec.controller", controller, why);
            }
        }
    }
    if let Some(old) = old {
        faults.fixed("spec.controller", &old["spec"]["controller"], controller);
    }
    parameters(&object["spec"]["parameters"], faults);
}

fn parameters(parameters: &Value, faults: &mut Faults) {
    if parameters.is_null() {
        return;
    }
    let scope = &parameters["scope"];
    match scope.as_str() {
        None => faults.required("spec.parameters.scope", ""),
        Some(_) => faults.one_of("spec.parameters.scope", scope, &["Cluster", "Namespace"]),
    }
    let has_namespace = parameters["namespace"].is_string();
    if *scope == "Namespace" && !has_namespace {
        let why = "`parameters.scope` is set to 'Namespace'";
        faults.required("spec.parameters.namespace", why);
    }
    if *scope == "Cluster" && has_namespace {
        let why = "`parameters.scope` is set to 'Cluster'";
        faults.forbidden("spec.parameters.namespace", why);
    }
}

//! The objects that tests put into the API.

use std::net::SocketAddr;

use apiserver::ObjectId;
use serde_json::{Value, json};

use super::Pem;

/// The default class, which is ours.
pub(crate) fn class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {
            "name": "penstock",
            "annotations": { "ingressclass.kubernetes.io/is-default-class": "true" },
        },
        "spec": { "controller": "penstock.dev/ingress" },
    })
}

/// A Service with the port `http`, 80.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    })
}

/// The `number`th EndpointSlice of a Service, with one endpoint: each has a port of its own.
pub(crate) fn slice(service: &str, number: usize, endpoint: SocketAddr) -> Value {
    let family = if endpoint.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{number}"), "namespace": "default",
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": family,
        "ports": [{ "name": "http", "port": endpoint.port() }],
        "endpoints": [{ "addresses": [endpoint.ip().to_string()] }],
    })
}

/// A Service with its slices.
pub(crate) fn served(name: &str, endpoints: &[SocketAddr]) -> Vec<Value> {
    let slices = endpoints
        .iter()
        .enumerate()
        .map(|(number, endpoint)| slice(name, number, *endpoint));
    std::iter::once(service(name)).chain(slices).collect()
}

/// An Ingress with rules such as `a.test Prefix /path service`; the host `*` is no host.
pub(crate) fn ingress(name: &str, rules: &[&str]) -> Value {
    let rule = |text: &&str| {
        let [host, path_type, path, service] = text
            .split_whitespace()
            .collect::<Vec<_>>()
            .try_into()
            .expect("HOST TYPE PATH SERVICE");
        let backend = json!({ "service": { "name": service, "port": { "name": "http" } } });
        let paths = json!([{ "path": path, "pathType": path_type, "backend": backend }]);
        let mut rule = json!({ "http": { "paths": paths } });
        if host != "*" {
            rule["host"] = host.into();
        }
        rule
    };
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "rules": rules.iter().map(rule).collect::<Vec<_>>() },
    })
}

/// The Ingress with another entry of `spec.tls`.
pub(crate) fn tls(mut ingress: Value, hosts: &[&str], secret: &str) -> Value {
    let entry = json!({ "hosts": hosts, "secretName": secret });
    match ingress["spec"]["tls"].as_array_mut() {
        Some(entries) => entries.push(entry),
        None => ingress["spec"]["tls"] = json!([entry]),
    }
    ingress
}

/// The object with another annotation.
pub(crate) fn annotate(mut object: Value, key: &str, value: &str) -> Value {
    object["metadata"]["annotations"][key] = value.into();
    object
}

/// A Secret of type `kubernetes.io/tls`.
pub(crate) fn secret(name: &str, pem: &Pem) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": name, "namespace": "default" },
        "stringData": { "tls.crt": pem.certificate, "tls.key": pem.key },
    })
}

/// The identity of an object.
fn id(object: &Value) -> ObjectId {
    ObjectId::of(object).unwrap()
}

/// The identity of an Ingress.
pub(crate) fn ingress_id(name: &str) -> ObjectId {
    id(&ingress(name, &[]))
}

/// The identity of a slice.
pub(crate) fn slice_id(service: &str, number: usize) -> ObjectId {
    id(&slice(service, number, SocketAddr::from(([0; 4], 1))))
}

//! The JSON schemas of built-in types.

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        coordination::v1::Lease,
        core::v1::{
            ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
        },
        discovery::v1::EndpointSlice,
        events::v1::Event as NewEvent,
        networking::v1::{Ingress, IngressClass, NetworkPolicy},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

/// The schema of a built-in type, and the definitions that it refers to.
pub(super) fn definitions(group: &str, kind: &str) -> Described {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let root = subschema(&mut generator, group, kind);
    (root, generator.take_definitions(true))
}

/// The same for `ObjectMeta`.
pub(super) fn metadata() -> Described {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let root = generator.subschema_for::<ObjectMeta>().to_value();
    (root, generator.take_definitions(true))
}

/// The schema of a built-in type as OpenAPI 3.0 words it.
pub(super) fn openapi(group: &str, kind: &str) -> Described {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let root = subschema(&mut generator, group, kind);
    (root, generator.take_definitions(true))
}

/// The same for `ObjectMeta`.
pub(super) fn openapi_metadata() -> Described {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let root = generator.subschema_for::<ObjectMeta>().to_value();
    (root, generator.take_definitions(true))
}

/// A schema, and the definitions that it refers to by name.
pub(super) type Described = (Value, Map<String, Value>);

fn subschema(it: &mut SchemaGenerator, group: &str, kind: &str) -> Value {
    match (group, kind) {
        ("", "ConfigMap") => it.subschema_for::<ConfigMap>(),
        ("", "Endpoints") => it.subschema_for::<Endpoints>(),
        ("", "Event") => it.subschema_for::<Event>(),
        ("", "Namespace") => it.subschema_for::<Namespace>(),
        ("", "Node") => it.subschema_for::<Node>(),
        ("", "Pod") => it.subschema_for::<Pod>(),
        ("", "Secret") => it.subschema_for::<Secret>(),
        ("", "Service") => it.subschema_for::<Service>(),
        ("", "ServiceAccount") => it.subschema_for::<ServiceAccount>(),
        ("apiextensions.k8s.io", _) => it.subschema_for::<CustomResourceDefinition>(),
        ("apps", "DaemonSet") => it.subschema_for::<DaemonSet>(),
        ("apps", _) => it.subschema_for::<Deployment>(),
        ("coordination.k8s.io", _) => it.subschema_for::<Lease>(),
        ("discovery.k8s.io", _) => it.subschema_for::<EndpointSlice>(),
        ("events.k8s.io", _) => it.subschema_for::<NewEvent>(),
        ("networking.k8s.io", "Ingress") => it.subschema_for::<Ingress>(),
        ("networking.k8s.io", "IngressClass") => it.subschema_for::<IngressClass>(),
        _ => it.subschema_for::<NetworkPolicy>(),
    }
    .to_value()
}

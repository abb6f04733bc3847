//! From JSON schema to the compact form.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Map as Members, Value};

use super::{Limits, List, ListKind, Map, Schema, Shape, Struct, builtin, lists};
use crate::registry::ResourceType;

/// Compiles a type's schema.
pub(crate) fn compile(resource: &ResourceType) -> Schema {
    match &resource.custom {
        None => {
            let (root, definitions) = builtin::definitions(&resource.group, &resource.kind);
            Schema {
                root: shape(&root, ""),
                named: named(&definitions),
                custom: false,
            }
        }
        Some(custom) => {
            // Every object has the same metadata, whatever its definition says of it.
            let (metadata, definitions) = builtin::metadata();
            let root = match &custom.schema {
                Some(schema) => custom_root(schema, shape(&metadata, "")),
                None => Shape::Any,
            };
            Schema {
                root,
                named: named(&definitions),
                custom: true,
            }
        }
    }
}

fn named(definitions: &Members<String, Value>) -> HashMap<Box<str>, Shape> {
    definitions
        .iter()
        .map(|(name, schema)| {
            // `io.k8s.api.core.v1.PodSpec` is `PodSpec` in the table of lists.
            let short = name.rsplit('.').next().unwrap_or(name);
            (Box::from(name.as_str()), shape(schema, short))
        })
        .collect()
}

fn custom_root(schema: &Value, metadata: Shape) -> Shape {
    let mut root = structure(schema, "");
    root.fields.insert("apiVersion".into(), Shape::Text);
    root.fields.insert("kind".into(), Shape::Text);
    root.fields.insert("metadata".into(), metadata);
    Shape::Struct(Arc::new(root))
}

/// Compiles one schema; `owner` is the name of the built-in type that it describes, if any.
fn shape(schema: &Value, owner: &str) -> Shape {
    if let Some(reference) = schema["$ref"].as_str() {
        return Shape::Named(reference.rsplit('/').next().unwrap_or_default().into());
    }
    if schema["x-kubernetes-int-or-string"] == true || owner == "Quantity" {
        return Shape::IntOrText;
    }
    let plain = match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("byte")) => Shape::Bytes,
        (Some("string"), Some("date-time")) => Shape::Time,
        (Some("string"), _) => Shape::Text,
        (Some("boolean"), _) => Shape::Boolean,
        (Some("integer"), Some("int32")) => Shape::Short,
        (Some("integer"), _) => Shape::Integer,
        (Some("number"), _) => Shape::Number,
        (Some("array"), _) => list(schema),
        (Some("object"), _) => object(schema, owner),
        _ => Shape::Any,
    };
    match limits(schema) {
        Some(limits) => Shape::Limited(Arc::new((plain, limits))),
        None => plain,
    }
}

fn object(schema: &Value, owner: &str) -> Shape {
    if schema["properties"].is_object() {
        return Shape::Struct(Arc::new(structure(schema, owner)));
    }
    match &schema["additionalProperties"] {
        Value::Object(_) => Shape::Map(Arc::new(Map {
            item: shape(&schema["additionalProperties"], ""),
            atomic: schema["x-kubernetes-map-type"] == "atomic",
        })),
        _ => Shape::Any,
    }
}

fn structure(schema: &Value, owner: &str) -> Struct {
    let properties = schema["properties"].as_object();
    let mut it = Struct {
        required: texts(&schema["required"]),
        open: schema["x-kubernetes-preserve-unknown-fields"] == true
            || schema["additionalProperties"] == true,
        atomic: schema["x-kubernetes-map-type"] == "atomic" || lists::is_atomic(owner),
        ..Struct::default()
    };
    for (key, property) in properties.into_iter().flatten() {
        if let Some(default) = property.get("default") {
            it.defaults.push((key.as_str().into(), default.clone()));
        }
        if property["nullable"] == true {
            it.nullable.push(key.as_str().into());
        }
        let shape = lists::refine(owner, key, shape(property, ""));
        it.fields.insert(key.as_str().into(), shape);
    }
    it
}

fn list(schema: &Value) -> Shape {
    let kind = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => ListKind::Keyed(texts(&schema["x-kubernetes-list-map-keys"])),
        _ => ListKind::Atomic,
    };
    Shape::List(Arc::new(List {
        item: shape(&schema["items"], ""),
        kind,
        patch: None,
    }))
}

fn limits(schema: &Value) -> Option<Limits> {
    let limits = Limits {
        allowed: schema["enum"].as_array().cloned().unwrap_or_default(),
        minimum: schema["minimum"].as_f64(),
        maximum: schema["maximum"].as_f64(),
        min_length: schema["minLength"].as_u64(),
        max_length: schema["maxLength"].as_u64(),
    };
    let says_nothing = limits.allowed.is_empty()
        && limits.minimum.is_none()
        && limits.maximum.is_none()
        && limits.min_length.is_none()
        && limits.max_length.is_none();
    (!says_nothing).then_some(limits)
}

fn texts(list: &Value) -> Vec<Box<str>> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it.as_str().map(Box::from))
        .collect()
}

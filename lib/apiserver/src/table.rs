//! Tables: what `kubectl get` prints.

use std::borrow::Borrow;

use serde_json::{Value, json};

use crate::{
    object::Object,
    registry::ResourceType,
    render::{Inclusion, metadata_only},
};

/// The objects as `meta.k8s.io/v1 Table`.
pub(crate) fn of(
    resource: &ResourceType,
    objects: &[impl std::ops::Deref<Target = Object>],
    include: Inclusion,
) -> Value {
    let _ = resource;
    let rows: Vec<Value> = objects.iter().map(|object| {
        let value = object.value();
        let mut row = json!({"cells": [value["metadata"]["name"], value["metadata"]["creationTimestamp"]]});
        match include {
            Inclusion::None => {}
            Inclusion::Metadata => row["object"] = metadata_only(&value),
            Inclusion::Object => row["object"] = value,
        }
        row
    }).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
            {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0},
        ],
        "rows": rows,
    })
}

//! The schemas as OpenAPI documents show them.

use serde_json::{Map, Value, json};

use super::{builtin, lists};
use crate::registry::ResourceType;

/// The name of the type's schema, and all the schemas that it needs.
pub(crate) fn documented(resource: &ResourceType) -> (String, Map<String, Value>) {
    match &resource.custom {
        None => {
            let (root, mut definitions) = builtin::openapi(&resource.group, &resource.kind);
            definitions
                .iter_mut()
                .for_each(|(name, schema)| annotate(name, schema));
            let name = root["$ref"].as_str().and_then(|it| it.rsplit('/').next());
            (name.unwrap_or_default().to_owned(), definitions)
        }
        Some(custom) => {
            let (metadata, mut definitions) = builtin::openapi_metadata();
            definitions
                .iter_mut()
                .for_each(|(name, schema)| annotate(name, schema));
            let mut groups: Vec<&str> = resource.group.split('.').collect();
            groups.reverse();
            let name = format!(
                "{}.{}.{}",
                groups.join("."),
                resource.version,
                resource.kind
            );
            let mut schema = custom
                .schema
                .clone()
                .unwrap_or_else(|| json!({ "type": "object" }));
            if schema["properties"].is_object() {
                schema["properties"]["metadata"] = metadata;
            }
            definitions.insert(name.clone(), schema);
            (name, definitions)
        }
    }
}

/// Adds how lists merge: `kubectl apply` computes its patches from that.
fn annotate(name: &str, schema: &mut Value) {
    let owner = name.rsplit('.').next().unwrap_or(name);
    let Some(Value::Object(properties)) = schema.get_mut("properties") else {
        return;
    };
    for (field, property) in properties {
        let Some((patch, keys)) = lists::find(owner, field) else {
            continue;
        };
        if !patch.is_empty() {
            property["x-kubernetes-patch-strategy"] = "merge".into();
        }
        if !matches!(*patch, "" | "*") {
            property["x-kubernetes-patch-merge-key"] = (*patch).into();
        }
        match keys {
            [] => property["x-kubernetes-list-type"] = "atomic".into(),
            ["*"] => property["x-kubernetes-list-type"] = "set".into(),
            keys => {
                property["x-kubernetes-list-type"] = "map".into();
                property["x-kubernetes-list-map-keys"] = json!(keys);
            }
        }
    }
}

//! CustomResourceDefinitions: the resource types that they declare.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::{
    object::{member_mut, metadata_text},
    registry::{ResourceType, Traits, join},
};

/// What a definition says beyond names.
#[derive(Debug)]
pub(crate) struct Custom {
    /// `openAPIV3Schema` of the version, if it has one.
    pub(crate) schema: Option<Value>,
    /// `additionalPrinterColumns` of the version.
    pub(crate) columns: Vec<Value>,
}

/// The types that a definition declares, most preferred version first.
pub(crate) fn resources(definition: &Value) -> Vec<ResourceType> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let stored = versions
        .iter()
        .find(|it| it["storage"] == true)
        .map(|it| text(&it["name"]));
    let group = text(&spec["group"]);
    let names = &spec["names"];
    let mut served: Vec<&Value> = versions.iter().filter(|it| it["served"] == true).collect();
    served.sort_by_key(|it| std::cmp::Reverse(priority(it["name"].as_str().unwrap_or_default())));
    served
        .into_iter()
        .map(|version| ResourceType {
            group: group.clone(),
            version: text(&version["name"]),
            kind: text(&names["kind"]),
            plural: text(&names["plural"]),
            singular: match names["singular"].as_str() {
                Some(singular) => singular.to_owned(),
                None => text(&names["kind"]).to_lowercase(),
            },
            short_names: texts(&names["shortNames"]),
            categories: texts(&names["categories"]),
            namespaced: spec["scope"] == "Namespaced",
            traits: Traits {
                status: version["subresources"].get("status").is_some(),
                generation: true,
                put_needs_version: true,
                ..Traits::default()
            },
            storage: metadata_text(definition, "name").into(),
            stored_as: join(&group, stored.as_deref().unwrap_or_default()),
            schema: OnceLock::new(),
            custom: Some(Custom {
                schema: version.pointer("/schema/openAPIV3Schema").cloned(),
                columns: version["additionalPrinterColumns"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            }),
        })
        .collect()
}

/// Writes the status of a definition that was accepted, as the API server does at once.
pub(crate) fn establish(definition: &mut Value, now: &str) {
    let names = definition["spec"]["names"].clone();
    let stored: Vec<Value> = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|it| it["storage"] == true)
        .map(|it| it["name"].clone())
        .collect();
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "lastTransitionTime": now,
               "reason": reason, "message": message})
    };
    let status = member_mut(definition, "status");
    if !status.contains_key("conditions") {
        let conditions = json!([
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                "InitialNamesAccepted",
                "the initial names have been accepted"
            ),
        ]);
        status.insert("conditions".to_owned(), conditions);
    }
    status.insert("acceptedNames".to_owned(), names);
    status.insert("storedVersions".to_owned(), Value::Array(stored));
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it.as_str().map(str::to_owned))
        .collect()
}

/// Kubernetes' order of versions: `v2` over `v1` over `v1beta1` over `v1alpha1` over the rest.
fn priority(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest
            .find(|char: char| !char.is_ascii_digit())
            .unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        let (stage, minor) = match &rest[digits..] {
            "" => (3, ""),
            tail => tail
                .strip_prefix("beta")
                .map(|minor| (2, minor))
                .or_else(|| Some((1, tail.strip_prefix("alpha")?)))?,
        };
        let minor = if minor.is_empty() {
            0
        } else {
            minor.parse().ok()?
        };
        Some((stage, major, minor))
    };
    parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_maturity_and_number() {
        // https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority
        let mut versions = [
            "foo1",
            "v1alpha2",
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
        ];
        versions.sort_by_key(|it| std::cmp::Reverse(priority(it)));
        let expect = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v1alpha2",
            "foo1",
        ];
        assert_eq!(versions, expect);
    }
}

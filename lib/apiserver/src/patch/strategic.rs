//! Strategic merge patch: a merge patch that knows the keys of lists.
//!
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>
//! Directives are members whose names start with `$`.

use serde_json::{Map, Value};

use crate::{
    schema::{List, PatchKey, Schema, Shape},
    status::Status,
};

/// What the patch makes of the object.
pub(crate) fn strategic(schema: &Schema, object: &Value, patch: &Value) -> Result<Value, Status> {
    let (Some(old), Some(patch)) = (object.as_object(), patch.as_object()) else {
        return Err(Status::bad_request(
            "a strategic merge patch must be a JSON object",
        ));
    };
    Merger { schema }
        .map(old.clone(), patch, schema.root())
        .map(Value::Object)
}

struct Merger<'a> {
    schema: &'a Schema,
}

type Members = Map<String, Value>;

impl Merger<'_> {
    fn map(&self, mut old: Members, patch: &Members, shape: &Shape) -> Result<Members, Status> {
        match patch.get(DIRECTIVE).and_then(Value::as_str) {
            None | Some("merge") => {}
            Some("replace") => return Ok(plain(patch)),
            Some("delete") => return Ok(Members::new()),
            Some(other) => return Err(fault(&format!("unknown patch type {other:?}"))),
        }
        if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
            old.retain(|key, _| kept.iter().any(|it| it == key));
        }
        for (key, items) in directed(patch, "$deleteFromPrimitiveList/") {
            let gone = items.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(Value::Array(items)) = old.get_mut(key) {
                items.retain(|item| !gone.contains(item));
            }
        }
        for (key, change) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
            match self.member(old.remove(key), change, self.schema.member(shape, key))? {
                Value::Null => {}
                value => drop(old.insert(key.clone(), value)),
            }
        }
        for (key, order) in directed(patch, "$setElementOrder/") {
            let order = order.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Shape::List(list) = self.schema.member(shape, key)
                && let (Some(patch_key), Some(Value::Array(items))) = (list.patch, old.get_mut(key))
            {
                *items = ordered(std::mem::take(items), order, patch_key);
            }
        }
        Ok(old)
    }

    /// One member after the patch; null if it goes.
    fn member(&self, old: Option<Value>, change: &Value, shape: &Shape) -> Result<Value, Status> {
        match (change, shape) {
            (Value::Object(patch), _) => {
                let old = match old {
                    Some(Value::Object(old)) => old,
                    _ => Members::new(),
                };
                self.map(old, patch, shape).map(Value::Object)
            }
            (Value::Array(patch), Shape::List(list)) if list.patch.is_some() => {
                let old = match old {
                    Some(Value::Array(old)) => old,
                    _ => Vec::new(),
                };
                self.list(old, patch, list).map(Value::Array)
            }
            (change, _) => Ok(change.clone()),
        }
    }

    fn list(
        &self,
        mut old: Vec<Value>,
        patch: &[Value],
        list: &List,
    ) -> Result<Vec<Value>, Status> {
        let Some(PatchKey::Field(key)) = list.patch else {
            for item in patch {
                if !old.contains(item) {
                    old.push(item.clone());
                }
            }
            return Ok(old);
        };
        if patch.iter().any(|item| item[DIRECTIVE] == "replace") {
            let items = patch.iter().filter(|item| item[DIRECTIVE] != "replace");
            return Ok(items.cloned().collect());
        }
        for item in patch {
            let Some(members) = item.as_object() else {
                return Err(fault("an item of a keyed list must be an object"));
            };
            let Some(name) = members.get(key) else {
                return Err(fault(&format!(
                    "{item} does not contain declared merge key: {key}"
                )));
            };
            let found = old.iter().position(|it| it.get(key) == Some(name));
            match (found, item[DIRECTIVE] == "delete") {
                (Some(at), true) => drop(old.remove(at)),
                (None, true) => {}
                (Some(at), false) => {
                    let before = old[at].as_object().cloned().unwrap_or_default();
                    old[at] = Value::Object(self.map(before, members, &list.item)?);
                }
                (None, false) => {
                    let added = self.map(Members::new(), members, &list.item)?;
                    old.push(Value::Object(added));
                }
            }
        }
        Ok(old)
    }
}

const DIRECTIVE: &str = "$patch";

/// Directives of one sort, by the member that they concern.
fn directed<'a>(patch: &'a Members, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    patch
        .iter()
        .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
}

/// The patch as a value: without directives.
fn plain(patch: &Members) -> Members {
    let members = patch.iter().filter(|(key, _)| !key.starts_with('$'));
    members
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Puts the items that `order` names into that order; the others stay where they are among them.
fn ordered(items: Vec<Value>, order: &[Value], key: PatchKey) -> Vec<Value> {
    let name = |item: &Value| match key {
        PatchKey::Item => item.clone(),
        PatchKey::Field(field) => item.get(field).cloned().unwrap_or_default(),
    };
    let rank = |item: &Value| order.iter().position(|it| name(it) == name(item));
    let indexed = items.into_iter().enumerate();
    let (mut named, others): (Vec<_>, Vec<_>) = indexed.partition(|(_, it)| rank(it).is_some());
    named.sort_by_key(|(_, item)| rank(item));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut merged = Vec::new();
    while let (Some((left, _)), Some((right, _))) = (named.peek(), others.peek()) {
        let next = if left < right {
            named.next()
        } else {
            others.next()
        };
        merged.extend(next.map(|(_, item)| item));
    }
    merged.extend(named.chain(others).map(|(_, item)| item));
    merged
}

fn fault(why: &str) -> Status {
    Status::bad_request(format!("invalid strategic merge patch: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    fn apply(kind: &str, object: &Value, patch: &Value) -> Result<Value, Status> {
        let registry = Registry::builtin();
        strategic(
            registry.by_kind("v1", kind).unwrap().schema(),
            object,
            patch,
        )
    }

    #[test]
    fn lists_merge_by_their_keys() {
        // Examples of kubernetes/community contributors/devel/sig-api-machinery/strategic-merge-patch.md.
        let containers = |items: Value| json!({"spec": {"containers": items}});
        let two = containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]));
        for (patch, expect) in [
            (
                containers(json!([{"name": "b", "image": "3"}, {"name": "c"}])),
                containers(
                    json!([{"name": "a", "image": "1"}, {"name": "b", "image": "3"}, {"name": "c"}]),
                ),
            ),
            (
                containers(json!([{"name": "a", "$patch": "delete"}])),
                containers(json!([{"name": "b", "image": "2"}])),
            ),
            (
                containers(json!([{"name": "c"}, {"$patch": "replace"}])),
                containers(json!([{"name": "c"}])),
            ),
            (
                json!({"spec": {
                    "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
                    "containers": [{"name": "c"}],
                }}),
                containers(
                    json!([{"name": "c"}, {"name": "b", "image": "2"}, {"name": "a", "image": "1"}]),
                ),
            ),
            (
                json!({"spec": {"$patch": "replace", "nodeName": "n"}}),
                json!({"spec": {"nodeName": "n"}}),
            ),
            (json!({"spec": {"$patch": "delete"}}), json!({"spec": {}})),
            (json!({"spec": null}), json!({})),
            (
                json!({"spec": {"$retainKeys": ["nodeName"], "nodeName": "n"}}),
                json!({"spec": {"nodeName": "n"}}),
            ),
        ] {
            assert_eq!(apply("Pod", &two, &patch).unwrap(), expect, "{patch}");
        }
        assert!(apply("Pod", &two, &containers(json!([{"image": "1"}]))).is_err());
    }

    #[test]
    fn lists_of_scalars_merge_as_sets() {
        let with = |items: Value| json!({"metadata": {"finalizers": items}});
        for (patch, expect) in [
            (with(json!(["b", "c"])), with(json!(["a", "b", "c"]))),
            (
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
                with(json!(["b"])),
            ),
            (
                json!({"metadata": {"$setElementOrder/finalizers": ["b", "a"]}}),
                with(json!(["b", "a"])),
            ),
        ] {
            let found = apply("Pod", &with(json!(["a", "b"])), &patch).unwrap();
            assert_eq!(found, expect, "{patch}");
        }
        // A list without a merge key is replaced.
        let ports = |ports: Value| json!({"subsets": ports});
        let found = apply("Endpoints", &ports(json!([1, 2])), &ports(json!([3]))).unwrap();
        assert_eq!(found, ports(json!([3])));
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i8>().prop_map(Value::from),
            prop_oneof![Just("delete"), Just("replace"), Just("x")].prop_map(Value::from),
        ];
        let keys = prop_oneof![
            Just("spec"),
            Just("containers"),
            Just("name"),
            Just("$patch"),
            Just("ports"),
            Just("$setElementOrder/containers"),
            Just("$retainKeys"),
            Just("metadata"),
            Just("finalizers"),
            Just("$deleteFromPrimitiveList/finalizers"),
        ];
        leaf.prop_recursive(5, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_patch_panics(object in tree(), patch in tree()) {
            let _ = apply("Pod", &object, &patch);
        }
    }
}

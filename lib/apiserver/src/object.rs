//! What the store keeps of an object: its JSON, written once, and what selectors look at.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

/// Where an object sits in its collection; the order is that of lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Empty for cluster-scoped objects.
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// A stored version of an object. Never changed, only replaced.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) key: Key,
    pub(crate) version: u64,
    /// The whole object, starting with its `apiVersion`, then its `kind`.
    pub(crate) json: Bytes,
    pub(crate) facts: Facts,
}

/// What is known of an object without parsing it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Sorted by key.
    pub(crate) labels: Box<[(Box<str>, Box<str>)]>,
    /// What field selectors may ask beyond name and namespace.
    pub(crate) fields: Box<[(&'static str, Box<str>)]>,
    /// The manager of [`crate::ApiServer::apply`] that wrote everything but the status; as long as this is
    /// set the object carries no `managedFields` for it, they are derived when someone else writes.
    pub(crate) applied_by: Option<Arc<str>>,
}

impl Object {
    /// The object as JSON tree.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.json).expect("the store holds JSON of its own making")
    }
}

/// An object that is ready to be stored, except for its version.
///
/// The version is known only under the store's lock: this form leaves a gap for it, so that
/// nothing but a copy is done there.
#[derive(Debug)]
pub(crate) struct Draft {
    head: Vec<u8>,
    tail: Vec<u8>,
    facts: Facts,
}

impl Draft {
    /// Writes the object down. Its `resourceVersion` is ignored.
    pub(crate) fn new(object: &Value, fields: &[&'static str]) -> Self {
        let empty = Map::new();
        let root = object.as_object().unwrap_or(&empty);
        let metadata = root
            .get("metadata")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let mut head = Vec::with_capacity(256);
        head.push(b'{');
        for key in ["apiVersion", "kind"] {
            write_member(&mut head, key, root.get(key).unwrap_or(&Value::Null));
            head.push(b',');
        }
        head.extend_from_slice(b"\"metadata\":{");
        for key in FIRST_METADATA {
            if let Some(value) = metadata.get(key) {
                write_member(&mut head, key, value);
                head.push(b',');
            }
        }
        head.extend_from_slice(b"\"resourceVersion\":\"");
        Self {
            head,
            tail: tail(root, metadata),
            facts: Facts::of(object, fields),
        }
    }

    pub(crate) fn applied_by(mut self, manager: Option<Arc<str>>) -> Self {
        self.facts.applied_by = manager;
        self
    }

    /// Bytes of the object, but for its version.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// The object at this version.
    pub(crate) fn at(self, key: Key, version: u64) -> Object {
        let digits = version.to_string();
        let mut json = Vec::with_capacity(self.head.len() + digits.len() + self.tail.len());
        json.extend_from_slice(&self.head);
        json.extend_from_slice(digits.as_bytes());
        json.extend_from_slice(&self.tail);
        Object {
            key,
            version,
            json: json.into(),
            facts: self.facts,
        }
    }
}

impl Facts {
    fn of(object: &Value, fields: &[&'static str]) -> Self {
        let labels = object
            .pointer("/metadata/labels")
            .and_then(Value::as_object);
        let mut labels: Vec<_> = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
            .collect();
        labels.sort_unstable();
        let fields = fields
            .iter()
            .filter_map(|path| Some((*path, crate::selector::field_text(object, path)?)))
            .collect();
        Self {
            labels: labels.into(),
            fields,
            applied_by: None,
        }
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        let at = self
            .labels
            .binary_search_by(|(name, _)| name.as_ref().cmp(key))
            .ok()?;
        self.labels.get(at).map(|(_, value)| value.as_ref())
    }
}

/// Written before the version, because people look for them first.
const FIRST_METADATA: [&str; 4] = ["name", "generateName", "namespace", "uid"];

fn tail(root: &Map<String, Value>, metadata: &Map<String, Value>) -> Vec<u8> {
    let mut tail = vec![b'"'];
    for (key, value) in metadata {
        if key != "resourceVersion" && !FIRST_METADATA.contains(&key.as_str()) {
            tail.push(b',');
            write_member(&mut tail, key, value);
        }
    }
    tail.push(b'}');
    for (key, value) in root {
        if !["apiVersion", "kind", "metadata"].contains(&key.as_str()) {
            tail.push(b',');
            write_member(&mut tail, key, value);
        }
    }
    tail.push(b'}');
    tail
}

fn write_member(out: &mut Vec<u8>, key: &str, value: &Value) {
    serde_json::to_writer(&mut *out, key).expect("a string is JSON");
    out.push(b':');
    serde_json::to_writer(out, value).expect("a JSON tree is JSON");
}

/// Reads the text at a metadata member.
pub(crate) fn metadata_text<'a>(object: &'a Value, member: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|it| it.get(member))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The object's metadata, made if it is missing.
pub(crate) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    member_mut(object, "metadata")
}

/// A member that is an object, made so if it is not.
pub(crate) fn member_mut<'a>(object: &'a mut Value, member: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let slot = &mut object[member];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("it was made an object above")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_written_with_its_version_in_place() {
        let value = json!({
            "kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "\"resourceVersion\":\""},
            "metadata": {"labels": {"b": "2", "a": "1"}, "name": "x", "namespace": "y"},
        });
        let object = Draft::new(&value, &[]).at(Key::new("y", "x"), 17);
        assert_eq!(
            std::str::from_utf8(&object.json).unwrap(),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"y","resourceVersion":"17","labels":{"a":"1","b":"2"}},"data":{"a":"\"resourceVersion\":\""}}"#
        );
        assert_eq!(object.facts.label("b"), Some("2"));
        assert_eq!(object.facts.label("c"), None);
    }
}

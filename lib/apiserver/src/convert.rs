//! Between the version that a request names and the one that the collection keeps.
//!
//! Versions of a custom resource differ in name only (conversion strategy `None`); an Event has
//! two shapes, and is kept as the core group has it.

use bytes::Bytes;
use serde_json::Value;

use crate::{object::Object, registry::ResourceType};

/// The object as the request's version shows it.
pub(crate) fn to_served(resource: &ResourceType, mut object: Value) -> Value {
    let served = resource.api_version();
    if resource.stored_as != served {
        if resource.group == "events.k8s.io" {
            rename(&mut object, &EVENT_FIELDS, |(core, new)| (core, new));
        }
        object["apiVersion"] = Value::from(served);
    }
    object
}

/// The object as the collection keeps it.
pub(crate) fn to_stored(resource: &ResourceType, mut object: Value) -> Value {
    if resource.stored_as != resource.api_version() {
        if resource.group == "events.k8s.io" {
            rename(&mut object, &EVENT_FIELDS, |(core, new)| (new, core));
        }
        object["apiVersion"] = Value::from(resource.stored_as.as_str());
    }
    object
}

/// The JSON that the request's version shows; no copy if it is the stored one.
pub(crate) fn json(resource: &ResourceType, object: &Object) -> Bytes {
    match resource.stored_as == resource.api_version() {
        true => object.json.clone(),
        false => to_served(resource, object.value()).to_string().into(),
    }
}

/// Members of the core Event and what events.k8s.io calls them.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename<'a>(
    object: &mut Value,
    pairs: &[(&'a str, &'a str)],
    direction: impl Fn((&'a str, &'a str)) -> (&'a str, &'a str),
) {
    let Some(members) = object.as_object_mut() else {
        return;
    };
    for pair in pairs {
        let (from, to) = direction(*pair);
        if let Some(value) = members.remove(from) {
            members.insert(to.to_owned(), value);
        }
    }
}

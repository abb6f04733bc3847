//! Field ownership: `metadata.managedFields`, and server-side apply on top of it.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

mod apply;
mod fields;

use serde_json::{Map, Value, json};

pub(crate) use apply::{apply, settle};
pub(crate) use fields::Fields;

use crate::{object::metadata_mut, registry::ResourceType, target::Part};

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owner {
    pub(crate) manager: String,
    /// By server-side apply, else by any other write.
    pub(crate) applies: bool,
    pub(crate) part: Part,
    pub(crate) time: String,
    pub(crate) fields: Fields,
    pub(crate) api_version: String,
}

/// Who writes now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) resource: &'a ResourceType,
    pub(crate) manager: &'a str,
    pub(crate) part: Part,
    pub(crate) now: &'a str,
}

impl Writer<'_> {
    pub(crate) fn owner(&self, applies: bool, fields: Fields) -> Owner {
        Owner {
            manager: self.manager.to_owned(),
            applies,
            part: self.part,
            time: self.now.to_owned(),
            fields,
            api_version: self.resource.api_version(),
        }
    }
}

impl Owner {
    fn parse(entry: &Value) -> Option<Self> {
        let text = |member: &str| entry[member].as_str().unwrap_or_default().to_owned();
        Some(Self {
            manager: text("manager"),
            applies: entry["operation"] == "Apply",
            part: if entry["subresource"] == "status" {
                Part::Status
            } else {
                Part::Main
            },
            time: text("time"),
            fields: Fields::parse(entry.get("fieldsV1")?),
            api_version: text("apiVersion"),
        })
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager,
            "operation": if self.applies { "Apply" } else { "Update" },
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        });
        if self.part == Part::Status {
            entry["subresource"] = "status".into();
        }
        entry
    }

    /// Kubernetes' order of entries: who applies first, then by time.
    fn rank(&self) -> (bool, &str, &str, bool) {
        (
            !self.applies,
            &self.time,
            &self.manager,
            self.part == Part::Status,
        )
    }

    /// The same writer in the same way: their entries are one.
    fn is(&self, other: &Self) -> bool {
        self.manager == other.manager && self.applies == other.applies && self.part == other.part
    }
}

/// The owners that an object states.
pub(crate) fn read(object: &Value) -> Vec<Owner> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .filter_map(Owner::parse)
        .collect()
}

/// Writes the owners into the object.
pub(crate) fn write(object: &mut Value, mut owners: Vec<Owner>) {
    owners.sort_by(|a, b| a.rank().cmp(&b.rank()));
    let entries: Vec<Value> = owners
        .iter()
        .filter(|owner| !owner.fields.is_empty())
        .map(Owner::to_json)
        .collect();
    let metadata = metadata_mut(object);
    match entries.is_empty() {
        true => metadata.remove("managedFields"),
        false => metadata.insert("managedFields".to_owned(), entries.into()),
    };
}

/// Takes the fields that a plain write changed from their owners and gives them to the writer.
pub(crate) fn update(owners: &mut Vec<Owner>, writer: Writer<'_>, old: &Value, new: &Value) {
    let schema = writer.resource.schema();
    let (mut old, mut new) = (owned_part(old), owned_part(new));
    let there = Fields::places(schema, &new);
    if writer.part == Part::Main && writer.resource.traits.status {
        // Whatever the status is, it did not come from this writer.
        for object in [&mut old, &mut new] {
            object
                .as_object_mut()
                .map(|members| members.remove("status"));
        }
    }
    let changed = Fields::changed(schema, &old, &new);
    for owner in owners.iter_mut() {
        // Fields that are gone are nobody's.
        owner.fields = owner.fields.minus(&changed).and(&there);
    }
    let mine = writer.owner(false, changed.and(&there));
    match owners.iter_mut().find(|it| it.is(&mine)) {
        Some(_) if mine.fields.is_empty() => {}
        Some(entry) => {
            let fields = entry.fields.plus(&mine.fields);
            *entry = Owner { fields, ..mine };
        }
        None => owners.push(mine),
    }
    owners.retain(|owner| !owner.fields.is_empty());
}

/// The fields that someone may own: all but identity and what the server writes.
pub(crate) fn owned_part(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("apiVersion");
        members.remove("kind");
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            metadata.retain(|key, _| !SERVER_FIELDS.contains(&key.as_str()));
            if metadata.is_empty() {
                members.remove("metadata");
            }
        }
    }
    object
}

const SERVER_FIELDS: [&str; 10] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "resourceVersion",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// The owner of an object that was made by [`crate::ApiServer::apply`] alone.
pub(crate) fn sole(writer: Writer<'_>, object: &Value) -> Owner {
    let mut object = owned_part(object);
    if let Some(members) = object.as_object_mut()
        && writer.resource.traits.status
    {
        members.remove("status");
    }
    writer.owner(true, Fields::of(writer.resource.schema(), &object))
}

/// A JSON object without members.
fn empty() -> Value {
    Value::Object(Map::new())
}

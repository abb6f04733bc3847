//! What is asked of a document before it is stored, and what the server writes into it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    crd, defaults,
    object::{Object, member_mut, metadata_mut, metadata_text},
    owners::{self, Owner, Writer},
    registry::{CRDS, ResourceType},
    schema::{self, Findings},
    server::ApiServer,
    status::{Cause, Details, Status},
    target::{Part, Target},
    validate,
    write::{Owners, Proposal, Validation, WriteOptions},
};

/// Checks a new object's identity against the request and fills in what it leaves out.
pub(crate) fn name_new(target: &Target, object: &mut Value) -> Result<(), Status> {
    identify(target, object)?;
    let metadata = metadata_mut(object);
    let given = |member: &str| {
        metadata
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let name = match (given("name"), given("generateName"), target.name()) {
        ("", "", "") => {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            return Err(Status::invalid(&target.resource, "", vec![cause]));
        }
        ("", "", name) => name.to_owned(),
        ("", prefix, _) => generate_name(prefix),
        (name, _, _) => name.to_owned(),
    };
    if !target.name().is_empty() && name != target.name() {
        return Err(wrong_name(&name, target.name()));
    }
    metadata.insert("name".to_owned(), name.into());
    Ok(())
}

/// Decodes the object as its type: refuses what has the wrong shape, drops what is unknown.
/// Returns what to warn about.
pub(crate) fn admit(
    resource: &ResourceType,
    object: &mut Value,
    validation: Validation,
) -> Result<Vec<String>, Status> {
    let name = metadata_text(object, "name").to_owned();
    let findings = schema::decode(resource.schema(), object);
    judge(resource, &name, &findings, validation)
}

/// Refuses what does not decode, and what is unknown as far as that is asked for.
pub(crate) fn judge(
    resource: &ResourceType,
    name: &str,
    findings: &Findings,
    validation: Validation,
) -> Result<Vec<String>, Status> {
    if !findings.causes.is_empty() {
        return Err(Status::invalid(resource, name, findings.causes.clone()));
    }
    let unknown = findings
        .unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"));
    match validation {
        Validation::Ignore => Ok(Vec::new()),
        Validation::Warn => Ok(unknown.collect()),
        Validation::Strict if findings.unknown.is_empty() => Ok(Vec::new()),
        Validation::Strict => {
            let kind = &resource.kind;
            let listed: Vec<String> = unknown.collect();
            let causes = findings.unknown.iter().map(|path| Cause {
                reason: "FieldValueInvalid",
                message: format!("unknown field {path:?}"),
                field: path.clone(),
            });
            let details = Details {
                causes: causes.collect(),
                ..Details::default()
            };
            Err(Status::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
                resource.version,
                listed.join(", ")
            ))
            .about(details))
        }
    }
}

/// Keeps of the old object what this request may not change.
pub(crate) fn carry_over(target: &Target, old: &Value, new: &mut Value) -> Result<(), Status> {
    identify(target, new)?;
    let name = metadata_text(new, "name");
    if !name.is_empty() && name != target.name() {
        return Err(wrong_name(name, target.name()));
    }
    let uid = metadata_text(new, "uid");
    if !uid.is_empty() && uid != metadata_text(old, "uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            metadata_text(old, "uid")
        );
        return Err(Status::conflict(&target.resource, target.name(), &why));
    }
    let created = metadata_text(new, "creationTimestamp");
    if !created.is_empty() && created != metadata_text(old, "creationTimestamp") {
        let cause = Cause::invalid("metadata.creationTimestamp", created, "field is immutable");
        return Err(Status::invalid(
            &target.resource,
            target.name(),
            vec![cause],
        ));
    }
    for member in SERVER_METADATA {
        keep(&old["metadata"], metadata_mut(new), member);
    }
    match target.part {
        Part::Main if target.resource.traits.status => keep_member(old, new, "status"),
        Part::Main => {}
        Part::Status => keep_all_but_status(target, old, new),
    }
    Ok(())
}

impl ApiServer {
    /// Writes the server's part of a new object and checks the whole.
    pub(crate) fn initialise(
        &self,
        target: &Target,
        proposal: &mut Proposal,
        options: &WriteOptions,
    ) -> Result<Option<Arc<str>>, Status> {
        let resource = &target.resource;
        let object = &mut proposal.object;
        let metadata = metadata_mut(object);
        for member in SERVER_METADATA {
            metadata.remove(*member);
        }
        metadata.insert("uid".to_owned(), new_uid().into());
        metadata.insert("creationTimestamp".to_owned(), self.now().into());
        if resource.traits.generation {
            metadata.insert("generation".to_owned(), 1.into());
        }
        if resource.traits.status && !resource.traits.keeps_status {
            member_mut(object, "status").clear();
            object.as_object_mut().map(|object| object.remove("status"));
        }
        defaults::fill(resource, object);
        if *resource.storage == *CRDS {
            crd::establish(object, &self.now());
        }
        check(target, None, object)?;
        let now = self.now();
        let writer = Writer {
            resource,
            manager: &options.manager.0,
            part: Part::Main,
            now: &now,
        };
        match std::mem::replace(&mut proposal.owners, Owners::Same) {
            Owners::Sole(manager) => return Ok(Some(manager)),
            Owners::Apply(owners) => owners::settle(resource, object, owners),
            Owners::Change | Owners::Same => {
                let mut all = Vec::new();
                owners::update(&mut all, writer, &json!({}), object);
                owners::write(object, all);
            }
        }
        Ok(None)
    }

    /// Writes the server's part of a changed object and checks the whole.
    /// Returns what becomes of [`crate::object::Facts::applied_by`].
    pub(crate) fn settle(
        &self,
        target: &Target,
        (old, current): (&Value, &Object),
        proposal: &mut Proposal,
        options: &WriteOptions,
    ) -> Result<Option<Arc<str>>, Status> {
        let object = &mut proposal.object;
        defaults::fill(&target.resource, object);
        if *target.resource.storage == *CRDS && target.part == Part::Main {
            crd::establish(object, &self.now());
        }
        if target.resource.traits.generation && intent(old) != intent(object) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            metadata_mut(object).insert("generation".to_owned(), generation.into());
        }
        check(target, Some(old), object)?;
        let applied_by = current.facts.applied_by.clone();
        match std::mem::replace(&mut proposal.owners, Owners::Same) {
            Owners::Same => Ok(applied_by),
            Owners::Sole(manager) => Ok(Some(manager)),
            Owners::Apply(owners) => {
                owners::settle(&target.resource, object, owners);
                Ok(None)
            }
            Owners::Change if object == old => Ok(applied_by),
            Owners::Change => {
                let now = self.now();
                let mut all = known_owners(target, old, current);
                let writer = Writer {
                    resource: &target.resource,
                    manager: &options.manager.0,
                    part: target.part,
                    now: &now,
                };
                owners::update(&mut all, writer, old, object);
                owners::write(object, all);
                // The owner of all but the status is not written down by a change of the status.
                Ok(applied_by.filter(|_| target.part == Part::Status))
            }
        }
    }
}

/// The owners that the object states, and the one that is implied.
pub(crate) fn known_owners(target: &Target, object: &Value, current: &Object) -> Vec<Owner> {
    let mut owners = owners::read(object);
    if let (Part::Main, Some(manager)) = (target.part, &current.facts.applied_by) {
        let created = metadata_text(object, "creationTimestamp");
        let resource = &target.resource;
        let writer = Writer {
            resource,
            manager,
            part: Part::Main,
            now: created,
        };
        owners.push(owners::sole(writer, object));
    }
    owners
}

pub(crate) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|it| !it.is_empty())
}

pub(crate) fn is_terminating(object: &Value) -> bool {
    !metadata_text(object, "deletionTimestamp").is_empty()
}

/// Metadata that only the server writes.
const SERVER_METADATA: &[&str] = &[
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "resourceVersion",
    "selfLink",
];

/// `apiVersion`, `kind` and namespace must be those of the request, or missing.
pub(crate) fn identify(target: &Target, object: &mut Value) -> Result<(), Status> {
    let Some(root) = object.as_object_mut() else {
        return Err(Status::bad_request(
            "the body of the request is not a JSON object",
        ));
    };
    let resource = &target.resource;
    for (member, wanted) in [
        ("apiVersion", resource.api_version()),
        ("kind", resource.kind.clone()),
    ] {
        match root.get(member).and_then(Value::as_str) {
            Some(found) if !found.is_empty() && found != wanted => {
                return Err(Status::bad_request(format!(
                    "the {member} in the data ({found}) does not match the expected {member} \
                     ({wanted})"
                )));
            }
            _ => root.insert(member.to_owned(), wanted.into()),
        };
    }
    let metadata = metadata_mut(object);
    let found = metadata
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match &target.namespace {
        Some(wanted) if found.is_empty() => {
            metadata.insert("namespace".to_owned(), wanted.as_str().into());
        }
        Some(wanted) if found != wanted => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        Some(_) => {}
        None => {
            metadata.remove("namespace");
        }
    }
    Ok(())
}

pub(crate) fn wrong_name(found: &str, wanted: &str) -> Status {
    Status::bad_request(format!(
        "the name of the object ({found}) does not match the name on the URL ({wanted})"
    ))
}

fn keep(old: &Value, new: &mut serde_json::Map<String, Value>, member: &str) {
    match old.get(member) {
        Some(value) => new.insert(member.to_owned(), value.clone()),
        None => new.remove(member),
    };
}

fn keep_member(old: &Value, new: &mut Value, member: &str) {
    if let Some(new) = new.as_object_mut() {
        keep(old, new, member);
    }
}

/// A write to `/status` changes the status and, for built-in types, labels and annotations.
fn keep_all_but_status(target: &Target, old: &Value, new: &mut Value) {
    let status = new.get_mut("status").map(Value::take);
    let mut metadata = new["metadata"].take();
    *new = old.clone();
    if let Some(new) = new.as_object_mut() {
        match status {
            Some(status) => new.insert("status".to_owned(), status),
            None => new.remove("status"),
        };
    }
    if target.resource.custom.is_none() {
        for member in ["labels", "annotations"] {
            match metadata.get_mut(member).map(Value::take) {
                Some(value) => metadata_mut(new).insert(member.to_owned(), value),
                None => metadata_mut(new).remove(member),
            };
        }
    }
}

fn check(target: &Target, old: Option<&Value>, object: &Value) -> Result<(), Status> {
    let causes = validate::object(&target.resource, old, object);
    match causes.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(
            &target.resource,
            metadata_text(object, "name"),
            causes,
        )),
    }
}

/// What a user wants of an object: everything but its metadata and status.
fn intent(object: &Value) -> Vec<(&String, &Value)> {
    let members = object.as_object().into_iter().flatten();
    members
        .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"))
        .collect()
}

/// Five letters and digits behind the prefix, which is cut to leave room for them.
fn generate_name(prefix: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut name: String = prefix.chars().take(58).collect();
    name.extend(
        (0..5)
            .filter_map(|_| fastrand::choice(LETTERS))
            .map(|byte| char::from(*byte)),
    );
    name
}

/// A random UUID (RFC 9562, version 4).
fn new_uid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) | (4 << 76);
    let bits = bits & !(0b11 << 62) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// Adds a label to the object unless it has it.
pub(crate) fn default_label(object: &mut Value, key: &str, value: &str) {
    let metadata = metadata_mut(object);
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.entry(key).or_insert_with(|| value.into());
    }
}

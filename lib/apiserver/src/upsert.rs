//! Writes that state what an object should be, whether it exists or not: server-side apply, and
//! the apply of manifests.

use serde_json::{Value, json};

use crate::{
    admission::{identify, known_owners},
    list::options_status,
    object::{Object, metadata_mut, metadata_text},
    owners::{self, Writer},
    schema,
    server::{ApiServer, Applied},
    status::{Cause, Status},
    target::{Part, Target},
    write::{Effect, Manager, Owners, Proposal, Validation, WriteOptions, Written},
};

/// See [`ApiServer::apply`].
///
/// While nobody else writes to the object, what it should be is the document alone: it is replaced,
/// and its owners are implied. That keeps `managedFields`, often half of an object, out of the
/// memory of ten thousand of them. Once others write, this is a server-side apply.
pub(crate) fn upsert(
    server: &ApiServer,
    target: &Target,
    manager: &str,
    document: Value,
) -> Result<Applied, Status> {
    let mut options = WriteOptions::by(Manager(manager.to_owned()));
    options.validation = Validation::Strict;
    let mut document = document;
    if document.is_object() {
        metadata_mut(&mut document).remove("resourceVersion");
    }
    let sole = |object| Proposal {
        object,
        owners: Owners::Sole(manager.into()),
    };
    if server.require(target).is_err() {
        match server.create(target, sole(document.clone()), &options) {
            // Somebody else was faster.
            Err(status) if status.reason == "AlreadyExists" => {}
            done => return done.map(applied),
        }
    }
    let written = server.modify(target, &options, |old, current| {
        if current.facts.applied_by.as_deref() == Some(manager) {
            return Ok(sole(document.clone()));
        }
        let config = configuration(target, document.clone(), &options)?;
        merged(server, target, (old, current), &config, (true, &options))
    });
    written.map(applied)
}

fn applied(written: Written) -> Applied {
    match written.effect {
        Effect::Created => Applied::Created,
        Effect::Unchanged => Applied::Unchanged,
        Effect::Changed | Effect::Removed => Applied::Changed,
    }
}

/// Server-side apply of a request.
pub(crate) fn apply(
    server: &ApiServer,
    target: &Target,
    document: Value,
    force: bool,
    options: &WriteOptions,
) -> Result<Written, Status> {
    if document["metadata"]
        .get("managedFields")
        .is_some_and(|it| !it.is_null())
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let exists = server.require(target).is_ok();
    if !exists && target.part == Part::Main {
        match new(server, target, document.clone(), options) {
            Err(status) if status.reason == "AlreadyExists" => {}
            done => return done,
        }
    }
    let config = configuration(target, document, options)?;
    server.modify(target, options, |old, current| {
        merged(server, target, (old, current), &config, (force, options))
    })
}

fn new(
    server: &ApiServer,
    target: &Target,
    document: Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let stated = |member| !metadata_text(&document, member).is_empty();
    if stated("resourceVersion") || stated("uid") {
        let why = "the object does not exist, but the configuration states its uid or \
                   resourceVersion";
        return Err(Status::conflict(&target.resource, target.name(), why));
    }
    let config = configuration(target, document, options)?;
    let now = server.now();
    let (object, owners) = owners::apply(
        writer(target, options, &now),
        Vec::new(),
        &json!({}),
        &config,
        true,
    )
    .map_err(|conflicts| conflicts.status(&target.resource, target.name()))?;
    server.create(
        target,
        Proposal {
            object,
            owners: Owners::Apply(owners),
        },
        options,
    )
}

/// What the document states, decoded, without what this request may not write.
fn configuration(
    target: &Target,
    mut document: Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    identify(target, &mut document)?;
    let name = metadata_text(&document, "name");
    if !name.is_empty() && name != target.name() {
        return Err(crate::admission::wrong_name(name, target.name()));
    }
    let mut findings = schema::decode(target.resource.schema(), &mut document);
    // The object as a whole must have what is required, not each manager's part of it.
    findings
        .causes
        .retain(|cause| cause.reason != "FieldValueRequired");
    crate::admission::judge(
        &target.resource,
        target.name(),
        &findings,
        options.validation,
    )?;
    if let Some(members) = document.as_object_mut() {
        match target.part {
            Part::Status => members.retain(|key, _| {
                matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status")
            }),
            Part::Main if target.resource.traits.status => drop(members.remove("status")),
            Part::Main => {}
        }
    }
    Ok(document)
}

fn merged(
    server: &ApiServer,
    target: &Target,
    (old, current): (&Value, &Object),
    config: &Value,
    (force, options): (bool, &WriteOptions),
) -> Result<Proposal, Status> {
    let asked = metadata_text(config, "resourceVersion");
    let now = server.now();
    let (mut object, owners) = owners::apply(
        writer(target, options, &now),
        known_owners(target, old, current),
        old,
        config,
        force,
    )
    .map_err(|conflicts| conflicts.status(&target.resource, target.name()))?;
    if !asked.is_empty() {
        metadata_mut(&mut object).insert("resourceVersion".to_owned(), asked.into());
    }
    for member in ["uid", "creationTimestamp"] {
        let stated = metadata_text(config, member);
        if !stated.is_empty() {
            metadata_mut(&mut object).insert(member.to_owned(), stated.into());
        }
    }
    Ok(Proposal {
        object,
        owners: Owners::Apply(owners),
    })
}

fn writer<'a>(target: &'a Target, options: &'a WriteOptions, now: &'a str) -> Writer<'a> {
    Writer {
        resource: &target.resource,
        manager: &options.manager.0,
        part: target.part,
        now,
    }
}

/// A request to apply must say for whom.
pub(crate) fn check_manager(named: bool) -> Result<(), Status> {
    match named {
        true => Ok(()),
        false => {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            Err(options_status("PatchOptions", cause))
        }
    }
}

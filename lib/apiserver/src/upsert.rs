//! Writes that state what an object should be, whether it exists or not.

use serde_json::Value;

use crate::{
    object::{metadata_mut, metadata_text},
    server::{ApiServer, Applied},
    status::Status,
    target::Target,
    write::{Effect, Manager, Proposal, Validation, WriteOptions, Written},
};

/// See [`ApiServer::apply`].
pub(crate) fn upsert(
    server: &ApiServer,
    target: &Target,
    manager: &str,
    document: Value,
) -> Result<Applied, Status> {
    let mut options = WriteOptions::by(Manager(manager.to_owned()));
    options.validation = Validation::Strict;
    let propose = |object| Proposal {
        object,
        applied_by: Some(manager.into()),
        owners_known: false,
    };
    if server.require(target).is_err() {
        match server.create(target, propose(document.clone()), &options) {
            Err(status) if status.reason == "AlreadyExists" => {}
            done => return done.map(applied),
        }
    }
    let replaced = server.modify(target, &options, |old, _| {
        let mut object = document.clone();
        let held = metadata_text(old, "resourceVersion");
        metadata_mut(&mut object).insert("resourceVersion".to_owned(), held.into());
        Ok(propose(object))
    });
    replaced.map(applied)
}

fn applied(written: Written) -> Applied {
    match written.effect {
        Effect::Created => Applied::Created,
        Effect::Unchanged => Applied::Unchanged,
        _ => Applied::Changed,
    }
}

/// Server-side apply.
pub(crate) fn apply(
    server: &ApiServer,
    target: &Target,
    document: Value,
    (_force, _named, options): (bool, bool, &WriteOptions),
) -> Result<Written, Status> {
    let mut document = document;
    metadata_mut(&mut document).remove("resourceVersion");
    if server.require(target).is_err() {
        return server.create(target, document, options);
    }
    server.modify(target, options, |old, _| {
        let mut new = old.clone();
        crate::patch::merge(&mut new, document.clone());
        Ok(new.into())
    })
}

//! Create, update and delete: from a document to a stored object.
//!
//! Everything but the last step works on copies. The last step stores the result only if nothing
//! changed meanwhile, else the work is done again on what is there now.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    admission::{admit, carry_over, has_finalizers, is_terminating, name_new},
    convert,
    object::{Draft, Key, Object, metadata_mut, metadata_text},
    owners::Owner,
    registry::{CRDS, ResourceType},
    selector,
    server::ApiServer,
    status::Status,
    store::Expect,
    target::Target,
};

/// Who writes, for `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manager(pub(crate) String);

impl Manager {
    pub(crate) fn unnamed() -> Self {
        Self("unknown".to_owned())
    }
}

/// What to do about fields that the type does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validation {
    Ignore,
    Warn,
    Strict,
}

/// How a write is done.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    pub(crate) manager: Manager,
    pub(crate) dry_run: bool,
    pub(crate) validation: Validation,
}

impl WriteOptions {
    pub(crate) fn by(manager: Manager) -> Self {
        Self {
            manager,
            dry_run: false,
            validation: Validation::Warn,
        }
    }
}

/// What a write leaves behind.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) effect: Effect,
    pub(crate) object: Arc<Object>,
    pub(crate) warnings: Vec<String>,
}

/// What became of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Created,
    Changed,
    Unchanged,
    Removed,
}

/// An object on its way into the store.
pub(crate) struct Proposal {
    pub(crate) object: Value,
    pub(crate) owners: Owners,
}

/// Who owns the object's fields after the write.
pub(crate) enum Owners {
    /// The writer gets what it changed.
    Change,
    /// These: the outcome of a server-side apply.
    Apply(Vec<Owner>),
    /// See [`crate::object::Facts::applied_by`].
    Sole(Arc<str>),
    /// Who owned them before.
    Same,
}

impl From<Value> for Proposal {
    fn from(object: Value) -> Self {
        Self {
            object,
            owners: Owners::Change,
        }
    }
}

/// How often a write is done again because others wrote in between.
const TRIES: usize = 64;

impl ApiServer {
    /// Stores a new object.
    pub(crate) fn create(
        &self,
        target: &Target,
        proposal: impl Into<Proposal>,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let mut proposal = proposal.into();
        name_new(target, &mut proposal.object)?;
        let warnings = admit(&target.resource, &mut proposal.object, options.validation)?;
        let applied_by = self.initialise(target, &mut proposal, options)?;
        let key = Key::new(
            target.namespace.as_deref().unwrap_or_default(),
            metadata_text(&proposal.object, "name"),
        );
        if target.resource.namespaced && !options.dry_run {
            self.ensure_namespace(&key.namespace);
        }
        let draft = self.fitting(draft(&target.resource, proposal.object, applied_by))?;
        let written = |object| Written {
            effect: Effect::Created,
            object,
            warnings,
        };
        let storage = &target.resource.storage;
        if options.dry_run {
            return match self.store().get(storage, &key) {
                Some(_) => Err(Status::already_exists(&target.resource, &key.name)),
                None => Ok(written(Arc::new(draft.at(key, self.store().version())))),
            };
        }
        match self
            .store()
            .put(storage, key.clone(), Expect::Absent, draft)
        {
            Ok(object) => {
                self.after_change(target);
                Ok(written(object))
            }
            Err(_) => Err(Status::already_exists(&target.resource, &key.name)),
        }
    }

    /// Stores what `change` makes of the object.
    pub(crate) fn modify(
        &self,
        target: &Target,
        options: &WriteOptions,
        mut change: impl FnMut(&Value, &Object) -> Result<Proposal, Status>,
    ) -> Result<Written, Status> {
        for _ in 0..TRIES {
            let current = self.require(target)?;
            let old = convert::to_served(&target.resource, current.value());
            let mut proposal = change(&old, &current)?;
            let asked = metadata_text(&proposal.object, "resourceVersion");
            if !asked.is_empty() && asked != metadata_text(&old, "resourceVersion") {
                return Err(modified_meanwhile(target));
            }
            carry_over(target, &old, &mut proposal.object)?;
            let warnings = admit(&target.resource, &mut proposal.object, options.validation)?;
            let applied_by = self.settle(target, (&old, &current), &mut proposal, options)?;
            let object = proposal.object;
            if object == old && applied_by == current.facts.applied_by {
                return Ok(Written {
                    effect: Effect::Unchanged,
                    object: current,
                    warnings,
                });
            }
            let gone = is_terminating(&object) && !has_finalizers(&object);
            let draft = self.fitting(draft(&target.resource, object, applied_by))?;
            if let Some((effect, object)) = self.commit(target, &current, draft, gone, options) {
                return Ok(Written {
                    effect,
                    object,
                    warnings,
                });
            }
        }
        Err(modified_meanwhile(target))
    }

    /// Removes an object, or marks it if finalizers hold it.
    pub(crate) fn remove(
        &self,
        target: &Target,
        asked: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        for _ in 0..TRIES {
            let current = self.require(target)?;
            let old = current.value();
            check_preconditions(target, asked, &old)?;
            let held = has_finalizers(&old);
            if held && is_terminating(&old) {
                let effect = Effect::Unchanged;
                return Ok(Written {
                    effect,
                    object: current,
                    warnings: Vec::new(),
                });
            }
            if !held && !options.dry_run {
                self.remove_contents(target, &old);
            }
            let object = if held { self.mark_deleted(old) } else { old };
            let last = draft(&target.resource, object, current.facts.applied_by.clone());
            if let Some((effect, object)) = self.commit(target, &current, last, !held, options) {
                return Ok(Written {
                    effect,
                    object,
                    warnings: Vec::new(),
                });
            }
        }
        Err(modified_meanwhile(target))
    }

    /// The stored object, or 404.
    pub(crate) fn require(&self, target: &Target) -> Result<Arc<Object>, Status> {
        self.store()
            .get(&target.resource.storage, &target.key())
            .ok_or_else(|| Status::not_found(&target.resource, target.name()))
    }

    /// Patches let an object grow beyond what one request could carry: not without end.
    fn fitting(&self, draft: Draft) -> Result<Draft, Status> {
        let limit = self.options().body_size;
        match draft.len() > limit {
            true => Err(Status::too_large(format!(
                "Request is too large: limit is {limit}"
            ))),
            false => Ok(draft),
        }
    }

    /// Puts the draft in the place of `current`, or takes both away.
    /// None if `current` is no longer current.
    fn commit(
        &self,
        target: &Target,
        current: &Object,
        draft: Draft,
        gone: bool,
        options: &WriteOptions,
    ) -> Option<(Effect, Arc<Object>)> {
        let effect = if gone {
            Effect::Removed
        } else {
            Effect::Changed
        };
        let (storage, key) = (&target.resource.storage, current.key.clone());
        if options.dry_run {
            return Some((effect, Arc::new(draft.at(key, current.version))));
        }
        let stored = match gone {
            true => self.store().remove(storage, &key, current.version, draft),
            false => self
                .store()
                .put(storage, key, Expect::Version(current.version), draft),
        };
        let object = stored.ok()?;
        self.after_change(target);
        Some((effect, object))
    }

    /// A definition that changed changes what is served.
    fn after_change(&self, target: &Target) {
        if *target.resource.storage == *CRDS {
            self.reload_custom_types();
        }
    }

    fn mark_deleted(&self, mut object: Value) -> Value {
        let metadata = metadata_mut(&mut object);
        metadata.insert("deletionTimestamp".to_owned(), self.now().into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
        object
    }

    /// Removes what cannot outlive the object: a namespace's objects, a definition's objects.
    fn remove_contents(&self, target: &Target, object: &Value) {
        let registry = self.registry();
        let contents: Vec<(&Arc<ResourceType>, Option<&str>)> =
            if target.resource.is("", "namespaces") {
                let inside = registry.types().iter().filter(|it| it.namespaced);
                inside.map(|it| (it, Some(target.name()))).collect()
            } else if *target.resource.storage == *CRDS {
                let storage = metadata_text(object, "name");
                let declared = registry.types().iter().filter(|it| *it.storage == *storage);
                declared.map(|it| (it, None)).collect()
            } else {
                return;
            };
        let options = WriteOptions::by(Manager::unnamed());
        for (resource, namespace) in contents {
            for object in self.store().list(&resource.storage, namespace).objects {
                let Key { namespace, name } = &object.key;
                let target = Target::object(Arc::clone(resource), namespace, name);
                // What others removed first is gone as well.
                let _ = self.remove(&target, &Value::Null, &options);
            }
        }
    }
}

/// Writes the object down as its collection keeps it.
fn draft(resource: &ResourceType, object: Value, applied_by: Option<Arc<str>>) -> Draft {
    let object = convert::to_stored(resource, object);
    Draft::new(&object, selector::fields_of(resource)).applied_by(applied_by)
}

fn modified_meanwhile(target: &Target) -> Status {
    let why = "the object has been modified; please apply your changes to the latest version and \
               try again";
    Status::conflict(&target.resource, target.name(), why)
}

/// Compares what a DELETE asks to hold (`preconditions`) with the object.
fn check_preconditions(target: &Target, asked: &Value, object: &Value) -> Result<(), Status> {
    for (member, title, place) in [
        ("uid", "UID", "uid"),
        ("resourceVersion", "ResourceVersion", "resourceVersion"),
    ] {
        let found = metadata_text(object, place);
        if let Some(wanted) = asked["preconditions"][member].as_str()
            && wanted != found
        {
            let why = format!(
                "Precondition failed: {title} in precondition: {wanted}, {title} in object meta: \
                 {found}"
            );
            return Err(Status::conflict(&target.resource, target.name(), &why));
        }
    }
    Ok(())
}

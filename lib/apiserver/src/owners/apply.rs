//! Server-side apply: merges what a manager states into the object, field by field.

use http::StatusCode;
use serde_json::Value;

use super::{Fields, Owner, Writer, owned_part, write};
use crate::{
    registry::ResourceType,
    schema::{List, ListKind, Schema, Shape},
    status::{Cause, Details, Status},
};

/// Other managers' fields that the configuration would change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conflicts(Vec<(Owner, Vec<String>)>);

/// The object with the configuration applied, and its owners.
///
/// With `force`, fields in conflict change hands.
pub(crate) fn apply(
    writer: Writer<'_>,
    owners: Vec<Owner>,
    live: &Value,
    config: &Value,
    force: bool,
) -> Result<(Value, Vec<Owner>), Conflicts> {
    let schema = writer.resource.schema();
    let config = owned_part(config);
    let mine = writer.owner(true, Fields::of(schema, &config));
    let mut merged = live.clone();
    merge(schema, schema.root(), &mut merged, &config);
    let changed = Fields::changed(schema, &owned_part(live), &owned_part(&merged));

    let (last, mut others): (Vec<Owner>, Vec<Owner>) =
        owners.into_iter().partition(|owner| owner.is(&mine));
    let conflicts = Conflicts::find(&others, &changed);
    if !conflicts.0.is_empty() && !force {
        return Err(conflicts);
    }
    for owner in &mut others {
        owner.fields = owner.fields.minus(&changed);
    }
    let kept = others
        .iter()
        .fold(mine.fields.clone(), |kept, owner| kept.plus(&owner.fields));
    if let Some(last) = last.first() {
        remove(
            schema,
            schema.root(),
            &mut merged,
            (&last.fields, Some(&kept)),
        );
    }
    let same = merged == *live;
    let mine = match last.into_iter().next() {
        Some(last) if same && last.fields == mine.fields => last,
        _ => mine,
    };
    others.push(mine);
    Ok((merged, others))
}

impl Conflicts {
    fn find(others: &[Owner], changed: &Fields) -> Self {
        let conflicts = others
            .iter()
            .map(|owner| (owner.clone(), owner.fields.and(changed).paths()));
        Self(conflicts.filter(|(_, paths)| !paths.is_empty()).collect())
    }

    /// 409, with every field and its manager.
    pub(crate) fn status(&self, resource: &ResourceType, name: &str) -> Status {
        let mut causes = Vec::new();
        for (owner, paths) in &self.0 {
            for path in paths {
                let part = match owner.part {
                    crate::target::Part::Main => "",
                    crate::target::Part::Status => " with subresource \"status\"",
                };
                causes.push(Cause {
                    reason: "FieldManagerConflict",
                    message: format!(
                        "conflict with {:?}{part} using {}",
                        owner.manager, owner.api_version
                    ),
                    field: path.clone(),
                });
            }
        }
        let listed: Vec<String> = causes
            .iter()
            .map(|it| format!("{}: {}", it.message, it.field))
            .collect();
        let message = match listed.as_slice() {
            [one] => format!("Apply failed with 1 conflict: {one}"),
            many => format!(
                "Apply failed with {} conflicts: {}",
                many.len(),
                many.join("\n")
            ),
        };
        let details = Details {
            causes,
            ..resource.details(name)
        };
        Status::new(StatusCode::CONFLICT, "Conflict", message).about(details)
    }
}

/// Writes the owners of a finished object: only fields that it has are owned.
pub(crate) fn settle(resource: &ResourceType, object: &mut Value, mut owners: Vec<Owner>) {
    let there = Fields::places(resource.schema(), &owned_part(object));
    for owner in &mut owners {
        owner.fields = owner.fields.and(&there);
    }
    write(object, owners);
}

fn merge(schema: &Schema, shape: &Shape, live: &mut Value, config: &Value) {
    match (schema.resolve(shape), config) {
        (Shape::Struct(it), Value::Object(_)) if it.atomic => *live = config.clone(),
        (Shape::Map(it), Value::Object(_)) if it.atomic => *live = config.clone(),
        (shape @ (Shape::Struct(_) | Shape::Map(_) | Shape::Any), Value::Object(members))
            if live.is_object() =>
        {
            for (key, config) in members {
                merge(schema, schema.member(shape, key), &mut live[key], config);
            }
        }
        (Shape::List(it), Value::Array(items)) if live.is_array() => {
            merge_list(schema, it, live, items);
        }
        _ => *live = config.clone(),
    }
}

fn merge_list(schema: &Schema, list: &List, live: &mut Value, config: &[Value]) {
    let Value::Array(items) = live else { return };
    if list.kind == ListKind::Atomic {
        *items = config.to_vec();
        return;
    }
    for item in config {
        let key = list.kind.key_of(item);
        match items.iter_mut().find(|it| list.kind.key_of(it) == key) {
            Some(found) => merge(schema, &list.item, found, item),
            None => items.push(item.clone()),
        }
    }
}

/// Removes what the manager stated last time and nobody states now.
fn remove(
    schema: &Schema,
    shape: &Shape,
    value: &mut Value,
    (last, kept): (&Fields, Option<&Fields>),
) {
    for (step, last) in last.steps() {
        let kept = kept
            .and_then(|kept| kept.step(step))
            .filter(|kept| !kept.is_empty());
        match (step.split_once(':'), &mut *value) {
            (Some(("f", name)), Value::Object(members)) => {
                if kept.is_none() {
                    members.remove(name);
                } else if let Some(member) = members.get_mut(name) {
                    remove(schema, schema.member(shape, name), member, (last, kept));
                }
            }
            (Some((_, key)), Value::Array(items)) => {
                let Shape::List(list) = schema.resolve(shape) else {
                    continue;
                };
                let Some(at) = items.iter().position(|item| list.kind.key_of(item) == key) else {
                    continue;
                };
                match kept {
                    None => drop(items.remove(at)),
                    Some(_) => remove(schema, &list.item, &mut items[at], (last, kept)),
                }
            }
            _ => {}
        }
    }
}

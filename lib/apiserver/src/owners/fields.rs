//! Sets of fields, as `FieldsV1` writes them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::schema::{ListKind, Schema, Shape};

/// A set of fields: a tree whose steps are `f:name`, `k:{"key":…}` or `v:value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    /// The field at this place is in the set itself.
    here: bool,
    below: BTreeMap<String, Self>,
}

impl Fields {
    pub(crate) fn is_empty(&self) -> bool {
        !self.here && self.below.is_empty()
    }

    /// The fields that stating this object claims.
    pub(crate) fn of(schema: &Schema, object: &Value) -> Self {
        let mut fields = Self::default();
        fields.add(schema, schema.root(), object);
        fields
    }

    /// Every place that the object has, those included that only hold others.
    pub(crate) fn places(schema: &Schema, object: &Value) -> Self {
        let mut fields = Self::of(schema, object);
        fields.mark_all();
        fields
    }

    fn mark_all(&mut self) {
        self.here = true;
        self.below.values_mut().for_each(Self::mark_all);
    }

    /// Every field whose value, or presence, differs.
    pub(crate) fn changed(schema: &Schema, old: &Value, new: &Value) -> Self {
        let mut fields = Self::default();
        fields.compare(schema, schema.root(), Some(old), Some(new));
        fields
    }

    fn add(&mut self, schema: &Schema, shape: &Shape, value: &Value) {
        let Some(children) = Children::of(schema, shape, value) else {
            self.here = true;
            return;
        };
        if children.items.is_empty() {
            self.here = true;
        }
        for (step, (shape, value)) in &children.items {
            let mut child = Self::default();
            child.add(schema, shape, value);
            child.here |= children.marked || value.is_null();
            self.below.insert(step.clone(), child);
        }
    }

    fn compare(
        &mut self,
        schema: &Schema,
        shape: &Shape,
        old: Option<&Value>,
        new: Option<&Value>,
    ) {
        if old == new {
            return;
        }
        // A scalar, or what is owned as a whole.
        let (Some(before), Some(after)) = (
            old.map_or_else(
                || Some(Children::default()),
                |it| Children::of(schema, shape, it),
            ),
            new.map_or_else(
                || Some(Children::default()),
                |it| Children::of(schema, shape, it),
            ),
        ) else {
            self.here = true;
            return;
        };
        // A map or a list that came or went is a change of itself, beside what is in it.
        let came_or_went = old.is_none() || new.is_none();
        let is_struct = matches!(schema.resolve(shape), Shape::Struct(_));
        let hollow = before.items.is_empty() && after.items.is_empty();
        self.here |= hollow || (came_or_went && !is_struct);
        let steps: BTreeSet<&String> = before.items.keys().chain(after.items.keys()).collect();
        for step in steps {
            let (old, new) = (before.items.get(step), after.items.get(step));
            let shape = new.or(old).map_or(&Shape::Any, |(shape, _)| shape);
            let mut child = Self::default();
            child.compare(schema, shape, old.map(|it| it.1), new.map(|it| it.1));
            child.here |= (before.marked || after.marked) && (old.is_none() || new.is_none());
            if !child.is_empty() {
                self.below.insert(step.clone(), child);
            }
        }
    }

    /// Fields in either set.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.here |= other.here;
        for (step, fields) in &other.below {
            let entry = sum.below.entry(step.clone()).or_default();
            *entry = entry.plus(fields);
        }
        sum
    }

    /// Fields in both sets.
    pub(crate) fn and(&self, other: &Self) -> Self {
        self.filter(Some(other), |mine, theirs| mine && theirs)
    }

    /// Fields that the other set does not have.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.filter(Some(other), |mine, theirs| mine && !theirs)
    }

    fn filter(&self, other: Option<&Self>, keep: fn(bool, bool) -> bool) -> Self {
        let below = self.below.iter().map(|(step, fields)| {
            let theirs = other.and_then(|other| other.below.get(step));
            (step.clone(), fields.filter(theirs, keep))
        });
        Self {
            here: keep(self.here, other.is_some_and(|other| other.here)),
            below: below.filter(|(_, fields)| !fields.is_empty()).collect(),
        }
    }

    /// The paths of all fields of the set, as people write them.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, path: &str, paths: &mut Vec<String>) {
        if self.here {
            paths.push(path.to_owned());
        }
        for (step, fields) in &self.below {
            let step = match step.split_once(':') {
                Some(("f", name)) => format!(".{name}"),
                Some(("k", key)) => format!("[{}]", spell_key(key)),
                Some((_, value)) => format!("[={value}]"),
                None => String::new(),
            };
            fields.collect(&format!("{path}{step}"), paths);
        }
    }

    /// The steps below this place, with what they lead to.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&String, &Self)> {
        self.below.iter()
    }

    pub(crate) fn step(&self, step: &str) -> Option<&Self> {
        self.below.get(step)
    }

    pub(crate) fn parse(json: &Value) -> Self {
        let mut fields = Self::default();
        let Some(members) = json.as_object() else {
            return fields;
        };
        for (step, below) in members {
            match step.as_str() {
                "." => fields.here = true,
                step => {
                    let mut child = Self::parse(below);
                    child.here |= child.below.is_empty();
                    fields.below.insert(step.to_owned(), child);
                }
            }
        }
        fields
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut members = Map::new();
        if self.here && !self.below.is_empty() {
            members.insert(".".to_owned(), super::empty());
        }
        for (step, fields) in &self.below {
            members.insert(step.clone(), fields.to_json());
        }
        Value::Object(members)
    }
}

/// `{"name":"a"}` as `name="a"`.
fn spell_key(key: &str) -> String {
    let members: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    members.join(",")
}

/// The parts of a value that can be owned one by one.
#[derive(Debug, Default)]
pub(crate) struct Children<'a> {
    pub(crate) items: BTreeMap<String, (&'a Shape, &'a Value)>,
    /// The parts are in the set themselves, beside what is below them.
    marked: bool,
}

impl<'a> Children<'a> {
    /// None for a scalar and for what is owned as a whole.
    pub(crate) fn of(schema: &'a Schema, shape: &'a Shape, value: &'a Value) -> Option<Self> {
        match (schema.resolve(shape), value) {
            (Shape::Struct(it), Value::Object(_)) if it.atomic => None,
            (Shape::Map(it), Value::Object(_)) if it.atomic => None,
            (shape @ (Shape::Struct(_) | Shape::Map(_) | Shape::Any), Value::Object(members)) => {
                let items = members
                    .iter()
                    .map(|(key, value)| (format!("f:{key}"), (schema.member(shape, key), value)));
                let marked = !matches!(shape, Shape::Struct(_));
                Some(Self {
                    items: items.collect(),
                    marked,
                })
            }
            (Shape::List(it), Value::Array(items)) => {
                let sign = match it.kind {
                    ListKind::Atomic => return None,
                    ListKind::Set => 'v',
                    ListKind::Keyed(_) => 'k',
                };
                let items = items.iter().map(|item| {
                    (
                        format!("{sign}:{}", it.kind.key_of(item)),
                        (schema.resolve(&it.item), item),
                    )
                });
                Some(Self {
                    items: items.collect(),
                    marked: true,
                })
            }
            _ => None,
        }
    }
}

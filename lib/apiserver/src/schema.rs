//! What a type's objects look like: which fields there are, and how lists and maps merge.
//!
//! Built-in types are described by the schemas that `k8s-openapi` carries, custom ones by their
//! definition. Both are compiled to the same compact form when the type is first written.

mod builtin;
mod compile;
mod decode;
mod documented;
mod lists;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;

pub(crate) use compile::compile;
pub(crate) use decode::{Findings, decode};
pub(crate) use documented::documented;

/// A type, and the types that it refers to by name.
#[derive(Debug)]
pub(crate) struct Schema {
    root: Shape,
    named: HashMap<Box<str>, Shape>,
    /// A custom type: every required field must be there, not only those that Go's decoder misses.
    custom: bool,
}

/// What a value may be.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Any,
    Text,
    /// Base64.
    Bytes,
    /// RFC 3339.
    Time,
    Boolean,
    Integer,
    /// Fits 32 bits.
    Short,
    Number,
    IntOrText,
    Struct(Arc<Struct>),
    Map(Arc<Map>),
    List(Arc<List>),
    Limited(Arc<(Self, Limits)>),
    Named(Box<str>),
}

/// An object with known fields.
#[derive(Debug, Default)]
pub(crate) struct Struct {
    pub(crate) fields: BTreeMap<Box<str>, Shape>,
    required: Vec<Box<str>>,
    defaults: Vec<(Box<str>, Value)>,
    nullable: Vec<Box<str>>,
    /// Unknown fields stay.
    open: bool,
    /// Owned as a whole.
    pub(crate) atomic: bool,
}

/// An object with any keys.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) item: Shape,
    pub(crate) atomic: bool,
}

/// A list.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) item: Shape,
    /// How server-side apply merges it.
    pub(crate) kind: ListKind,
    /// The key by which a strategic merge patch merges it; none replaces it.
    pub(crate) patch: Option<PatchKey>,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    Atomic,
    Set,
    /// Items are told apart by these fields.
    Keyed(Vec<Box<str>>),
}

/// `x-kubernetes-patch-merge-key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKey {
    /// Items are scalars, and are their own key.
    Item,
    Field(&'static str),
}

/// What a custom type says of a scalar beyond its type.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    allowed: Vec<Value>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
}

impl Schema {
    pub(crate) fn root(&self) -> &Shape {
        self.resolve(&self.root)
    }

    /// The shape itself, behind names and limits.
    pub(crate) fn resolve<'a>(&'a self, shape: &'a Shape) -> &'a Shape {
        match shape {
            Shape::Named(name) => self
                .named
                .get(name)
                .map_or(&Shape::Any, |it| self.resolve(it)),
            Shape::Limited(limited) => self.resolve(&limited.0),
            shape => shape,
        }
    }

    /// The shape of an object's member.
    pub(crate) fn member<'a>(&'a self, shape: &'a Shape, key: &str) -> &'a Shape {
        match self.resolve(shape) {
            Shape::Struct(it) => it
                .fields
                .get(key)
                .map_or(&Shape::Any, |it| self.resolve(it)),
            Shape::Map(it) => self.resolve(&it.item),
            _ => &Shape::Any,
        }
    }
}

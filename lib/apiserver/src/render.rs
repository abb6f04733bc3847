//! The forms in which objects are answered: whole, metadata only, or rows of a table.

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{convert, object::Object, registry::ResourceType, status::Status, table};

/// The form that a client accepts best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// `as=PartialObjectMetadata` and its list.
    Metadata,
    /// `as=Table`
    Table(Inclusion),
}

/// What a table's rows carry of the object (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inclusion {
    None,
    Metadata,
    Object,
}

impl Form {
    /// Chooses from an `Accept` header; the first acceptable one counts, as its order says.
    pub(crate) fn negotiate(accept: Option<&str>, include: Option<&str>) -> Result<Self, Status> {
        let Some(accept) = accept.filter(|it| !it.trim().is_empty()) else {
            return Ok(Self::Whole);
        };
        accept
            .split(',')
            .find_map(|it| media_range(it, include))
            .ok_or_else(Status::not_acceptable)
    }

    /// One object, as the body of an answer or of a watch event.
    pub(crate) fn object(self, resource: &ResourceType, object: &Object, now: Timestamp) -> Bytes {
        match self {
            Self::Whole => convert::json(resource, object),
            Self::Metadata => metadata_only(&object.value()).to_string().into(),
            Self::Table(include) => {
                table::of(resource, std::slice::from_ref(&object), include, now)
                    .to_string()
                    .into()
            }
        }
    }
}

fn media_range(range: &str, include: Option<&str>) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    if !matches!(kind, "application/json" | "application/*" | "*/*") {
        return None;
    }
    let parameters: Vec<(&str, &str)> = parts.filter_map(|it| it.split_once('=')).collect();
    let parameter = |name: &str| parameters.iter().find(|it| it.0 == name).map(|it| it.1);
    if parameter("q").is_some_and(|q| q.parse() == Ok(0.0)) {
        return None;
    }
    match parameter("as") {
        None => Some(Form::Whole),
        Some("Table") => Some(Form::Table(match include {
            Some("None") => Inclusion::None,
            Some("Object") => Inclusion::Object,
            _ => Inclusion::Metadata,
        })),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Form::Metadata),
        Some(_) => None,
    }
}

/// The object as `meta.k8s.io/v1 PartialObjectMetadata`.
pub(crate) fn metadata_only(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// Metadata of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) version: u64,
    pub(crate) next: Option<String>,
    pub(crate) remaining: Option<usize>,
}

impl ListMeta {
    pub(crate) fn to_json(&self) -> Value {
        let mut meta = json!({ "resourceVersion": self.version.to_string() });
        if let Some(next) = &self.next {
            meta["continue"] = Value::from(next.as_str());
        }
        if let Some(remaining) = self.remaining {
            meta["remainingItemCount"] = Value::from(remaining);
        }
        meta
    }
}

/// Joins pieces until they are worth a write to a socket.
pub(crate) struct Chunk(BytesMut);

impl Chunk {
    const SIZE: usize = 64 << 10;

    pub(crate) fn new() -> Self {
        Self(BytesMut::new())
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.0.put_slice(piece);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= Self::SIZE
    }

    pub(crate) fn take(&mut self) -> Bytes {
        self.0.split().freeze()
    }
}

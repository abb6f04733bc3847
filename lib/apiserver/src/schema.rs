//! Decoding objects by the schema of their type.

use serde_json::Value;

use crate::{registry::ResourceType, status::Cause};

/// What decoding finds.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Values of a wrong type and missing ones.
    pub(crate) causes: Vec<Cause>,
    /// Fields that the type does not have.
    pub(crate) unknown: Vec<String>,
}

/// Decodes the object.
pub(crate) fn decode(_resource: &ResourceType, _object: &mut Value) -> Findings {
    Findings::default()
}

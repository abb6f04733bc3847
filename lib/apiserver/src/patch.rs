//! The patch formats: what each media type does to an object.

mod merge;
mod strategic;

use http::StatusCode;
use json_patch::PatchOperation;
use serde_json::Value;

pub(crate) use merge::merge;
pub(crate) use strategic::strategic;

use crate::{registry::ResourceType, status::Status};

/// A patch, decoded.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// RFC 6902
    Json(json_patch::Patch),
    /// RFC 7386
    Merge(Value),
    /// Kubernetes' merge that knows the keys of lists.
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

/// The media types, as refusals list them.
pub(crate) const MEDIA_TYPES: &str = "application/json-patch+json, application/merge-patch+json, \
     application/strategic-merge-patch+json, application/apply-patch+yaml";

impl Patch {
    /// Decodes the body by its media type.
    pub(crate) fn decode(media_type: &str, body: &[u8]) -> Result<Self, Status> {
        let fault = |error: serde_json::Error| {
            Status::bad_request(format!("error decoding patch: {error}"))
        };
        Ok(match media_type {
            "application/json-patch+json" => {
                Self::Json(serde_json::from_slice(body).map_err(fault)?)
            }
            "application/merge-patch+json" => {
                Self::Merge(serde_json::from_slice(body).map_err(fault)?)
            }
            "application/strategic-merge-patch+json" => {
                Self::Strategic(serde_json::from_slice(body).map_err(fault)?)
            }
            "application/apply-patch+yaml" | "application/apply-patch+json" => {
                Self::Apply(crate::body::yaml(body)?)
            }
            _ => return Err(Status::unsupported_media_type(MEDIA_TYPES)),
        })
    }
}

/// Applies the operations in order, all or none.
pub(crate) fn json(patch: &json_patch::Patch, object: &Value) -> Result<Value, Status> {
    if patch.len() > MOST_OPERATIONS {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
            patch.len()
        );
        return Err(Status::too_large(message));
    }
    let mut object = object.clone();
    let mut copied = 0;
    for operation in patch.iter() {
        // A few copies, each of what the last one made, would fill the memory.
        if let PatchOperation::Copy(copy) = operation {
            let source = object.pointer(copy.from.as_str());
            copied += source.map_or(0, |value| value.to_string().len());
            if copied > MOST_COPIED {
                return Err(Status::too_large("the JSON patch copies too much"));
            }
        }
        json_patch::patch(&mut object, std::slice::from_ref(operation)).map_err(|error| {
            Status::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                format!("the server rejected our request due to an error in our request: {error}"),
            )
        })?;
    }
    Ok(object)
}

/// Kubernetes' own limits.
const MOST_OPERATIONS: usize = 10_000;
const MOST_COPIED: usize = 3 << 20;

/// Strategic merge is a format of built-in types only.
pub(crate) fn check_strategic(resource: &ResourceType) -> Result<(), Status> {
    match resource.custom {
        None => Ok(()),
        Some(_) => Err(Status::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, \
             application/apply-patch+yaml",
        )),
    }
}

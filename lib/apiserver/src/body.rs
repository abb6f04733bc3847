//! Bodies of requests: JSON or YAML, and never more than the limit.

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::{protobuf, status::Status};

/// Reads the body whole.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, Status>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<tower::BoxError>,
{
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(format!(
            "Request entity too large: limit is {limit}"
        ))),
        Err(error) => Err(Status::bad_request(format!(
            "the body of the request broke off: {error}"
        ))),
    }
}

/// The media type of the body, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value
        .unwrap_or("application/json")
        .split(';')
        .next()
        .unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// Decodes an object by the body's media type.
pub(crate) fn object(media_type: &str, body: &[u8]) -> Result<Value, Status> {
    match media_type {
        "" | "application/json" => serde_json::from_slice(body).map_err(|error| {
            Status::bad_request(format!("the body of the request is not JSON: {error}"))
        }),
        "application/yaml" => yaml(body),
        protobuf::MEDIA_TYPE => protobuf::object(body).ok_or_else(unsupported),
        _ => Err(unsupported()),
    }
}

fn unsupported() -> Status {
    Status::unsupported_media_type("application/json, application/yaml")
}

/// Decodes YAML, of which JSON is a part.
pub(crate) fn yaml(body: &[u8]) -> Result<Value, Status> {
    // JSON is what most clients send; its decoder is the faster one.
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    serde_saphyr::from_slice(body)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
}

//! Answers: how objects, lists, streams and refusals become HTTP responses.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use serde_json::Value;

use crate::status::Status;

/// Body of an answer.
pub type BoxBody = UnsyncBoxBody<Bytes, Closed>;

/// The connection ends without an answer, or in the middle of one: a fault that was asked for.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the API server closed the connection")]
pub struct Closed;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer that is at hand.
pub(crate) fn full(
    code: StatusCode,
    kind: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<BoxBody> {
    let body = Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    respond(code, kind, body)
}

pub(crate) fn json(code: StatusCode, value: &Value) -> Response<BoxBody> {
    full(code, JSON, value.to_string())
}

/// An answer that comes in pieces.
pub(crate) fn stream(
    pieces: impl Stream<Item = Result<Bytes, Closed>> + Send + 'static,
) -> Response<BoxBody> {
    let body = StreamBody::new(pieces.fuse().map(|piece| piece.map(Frame::data)));
    respond(StatusCode::OK, JSON, UnsyncBoxBody::new(body))
}

/// A refusal.
pub(crate) fn refusal(status: &Status) -> Response<BoxBody> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, &status.to_json());
    let seconds = status
        .details
        .as_ref()
        .and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds `Warning` headers, RFC 9111 section 5.5 with code 299.
pub(crate) fn warn(mut response: Response<BoxBody>, warnings: &[String]) -> Response<BoxBody> {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::try_from(format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

fn respond(code: StatusCode, kind: HeaderValue, body: BoxBody) -> Response<BoxBody> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

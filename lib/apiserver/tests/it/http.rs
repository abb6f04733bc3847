//! Requests to the API as bytes on a wire would make them, and tables of them.

use std::time::Duration;

use apiserver::{ApiServer, BoxBody};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

/// Sends a request such as `GET /api/v1/pods`; more words are headers, as `accept:TYPE`.
pub(crate) async fn send(server: &ApiServer, request: &str, body: &Value) -> Response<BoxBody> {
    let mut words = request.split_whitespace();
    let method = words.next().unwrap();
    let mut builder = Request::builder().method(method).uri(words.next().unwrap());
    for word in words {
        let (name, value) = word.split_once(':').unwrap();
        builder = builder.header(name, value);
    }
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = builder.body(Full::<Bytes>::from(body)).unwrap();
    server.service().oneshot(request).await.unwrap()
}

pub(crate) async fn call(server: &ApiServer, request: &str, body: &Value) -> Answer {
    let response = send(server, request, body).await;
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&bytes).unwrap_or_default();
    Answer {
        code: head.status.as_u16(),
        headers: head.headers,
        json,
    }
}

/// One row of a table: what the Kubernetes documentation says, a request, and what must hold.
pub(crate) struct Row {
    pub(crate) says: &'static str,
    pub(crate) request: String,
    pub(crate) body: Value,
    pub(crate) code: u16,
    /// JSON pointers and what must be there; null for nothing.
    pub(crate) holds: Vec<(&'static str, Value)>,
}

pub(crate) fn row(
    says: &'static str,
    request: &str,
    body: Value,
    code: u16,
    holds: &[(&'static str, Value)],
) -> Row {
    Row {
        says,
        request: request.to_owned(),
        body,
        code,
        holds: holds.to_vec(),
    }
}

/// Sends the rows in order.
pub(crate) async fn check(server: &ApiServer, rows: Vec<Row>) {
    for row in rows {
        let answer = call(server, &row.request, &row.body).await;
        let at = format!(
            "{}\n{} {}\n{}",
            row.says, row.request, row.body, answer.json
        );
        assert_eq!(answer.code, row.code, "{at}");
        for (pointer, expect) in &row.holds {
            let found = answer.json.pointer(pointer).cloned().unwrap_or_default();
            assert_eq!(found, *expect, "{pointer}\n{at}");
        }
    }
}

/// A watch that is read event by event.
pub(crate) struct Watch {
    body: BoxBody,
    buffer: Vec<u8>,
}

impl Watch {
    pub(crate) async fn open(server: &ApiServer, request: &str) -> Self {
        let response = send(server, &format!("GET {request}"), &Value::Null).await;
        assert_eq!(response.status(), 200, "{request}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        Self {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }

    /// The next event; an error if the connection broke, none at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Value, apiserver::Closed>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(Ok(serde_json::from_slice(&line).unwrap()));
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame());
            match frame
                .await
                .expect("the watch says something within ten seconds")?
            {
                Ok(frame) => self.buffer.extend_from_slice(frame.data_ref().unwrap()),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next event as `TYPE name`.
    pub(crate) async fn summary(&mut self) -> String {
        let event = self.next().await.expect("the watch goes on").unwrap();
        let name = &event["object"]["metadata"]["name"];
        format!(
            "{} {}",
            event["type"].as_str().unwrap(),
            name.as_str().unwrap_or_default()
        )
    }
}

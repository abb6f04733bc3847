//! The server that `auth-url` asks: `$AUTH` in a table stands for `http://ADDRESS:PORT`.
//!
//! It answers with the status that `x-auth-status` asks for, else with the one that its target begins with
//! (`/401/anything`), else with 200; and with the fields of `x-auth-fields`, as in `A: b | C: d`.

use std::sync::{Arc, Mutex};

use http::{HeaderName, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::harness::{Backend, describe};

pub(super) struct Guard {
    backend: Backend,
    // A mutex: the test reads what the server's tasks write.
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Guard {
    pub(super) async fn start() -> Self {
        let asked = Arc::<Mutex<Vec<Value>>>::default();
        let seen = Arc::clone(&asked);
        let backend = Backend::http(move |request| answer(Arc::clone(&seen), request)).await;
        Self { backend, asked }
    }

    /// Puts its address into an object.
    pub(super) fn place(&self, object: &Value) -> Value {
        let url = format!("http://{}", self.backend.address);
        let text = object.to_string().replace("$AUTH", &url);
        serde_json::from_str(&text).unwrap()
    }

    /// What it was asked since the last time.
    pub(super) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

async fn answer(
    asked: Arc<Mutex<Vec<Value>>>,
    request: Request<Incoming>,
) -> http::Response<crate::harness::Body> {
    let fields = request.headers().clone();
    let text = |name: &str| fields.get(name).map(|text| text.to_str().unwrap());
    let first = request.uri().path().split('/').nth(1).unwrap_or_default();
    let status = text("x-auth-status").unwrap_or(first).parse();
    let mut response = describe("guard".to_owned(), request).await;
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    for field in text("x-auth-fields").unwrap_or_default().split('|') {
        if let Some((name, value)) = field.split_once(':') {
            let name: HeaderName = name.trim().parse().unwrap();
            let headers = response.headers_mut();
            headers.append(name, value.trim().parse().unwrap());
        }
    }
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let described = serde_json::from_slice(&body).unwrap();
    asked.lock().unwrap().push(described);
    http::Response::from_parts(head, crate::harness::full(body))
}

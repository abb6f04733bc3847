//! What the tests are made of: an l7-ingress in this process, backends, clients, objects.

mod authority;
mod backend;
mod ca;
mod client;
mod names;
mod objects;
mod proxy;

use std::time::Duration;

pub(crate) use authority::{Authority, Pem};
pub(crate) use backend::{Backend, Raw, call, describe, hexadecimal, trailing};
pub(crate) use ca::{Ca, Flaws, credentials};
pub(crate) use client::{Answer, Connection, Lost, Request, get, request};
pub(crate) use names::Names;
pub(crate) use objects::{
    annotate, class, ingress, ingress_id, secret, served, service, slice, slice_id, tls,
};
pub(crate) use proxy::{Door, Proxy};

/// Long enough for any machine; a test that gets there has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A body of any kind.
pub(crate) type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, Fault>;
/// What a body can fail with.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A body that is there already.
pub(crate) fn full(bytes: impl Into<bytes::Bytes>) -> Body {
    use http_body_util::BodyExt as _;
    http_body_util::Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// No body.
pub(crate) fn empty() -> Body {
    full(bytes::Bytes::new())
}

/// Waits for the end of something that ends soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Asks until the answer is what is wanted.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

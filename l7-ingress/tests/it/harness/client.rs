//! Clients that speak HTTP/1.1 or HTTP/2 on one connection.

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Body, Fault, empty};

/// A request, with the whole URL.
pub(crate) type Request = http::Request<Body>;

/// A request without a body.
pub(crate) fn get(url: &str) -> Request {
    request("GET", url, empty())
}

/// A request with a body.
pub(crate) fn request(method: &str, url: &str, body: Body) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = url.parse().unwrap();
    request
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) version: Version,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's value, empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The backend that echoed the request.
    pub(crate) fn backend(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["pod"].as_str().unwrap().to_owned()
    }
}

/// A client's connection.
pub(crate) struct Connection {
    sender: Sender,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The request was not sent: the connection had ended, or was told to.
    Unsent,
    /// It was, and got no answer or none in full.
    Sent(Fault),
}

impl Connection {
    /// HTTP/1.1 on `io`.
    pub(crate) async fn http1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, driver) = http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::task::spawn(driver.with_upgrades());
        let sender = Sender::Http1(sender);
        Self { sender }
    }

    /// HTTP/2 on `io`.
    pub(crate) async fn http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(io));
        let (sender, driver) = handshake.await.unwrap();
        tokio::task::spawn(driver);
        let sender = Sender::Http2(sender);
        Self { sender }
    }

    /// Sends a request and takes the whole answer.
    pub(crate) async fn send(&mut self, request: Request) -> Result<Answer, Lost> {
        let response = self.open(request).await?;
        collect(response).await.map_err(Lost::Sent)
    }

    /// Sends a request and takes the head of the answer.
    pub(crate) async fn open(
        &mut self,
        mut request: Request,
    ) -> Result<http::Response<hyper::body::Incoming>, Lost> {
        let sent = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(|_| Lost::Unsent)?;
                let uri = std::mem::take(request.uri_mut());
                if let Some(host) = uri.authority()
                    && !request.headers().contains_key(HOST)
                {
                    let host = HeaderValue::try_from(host.as_str()).unwrap();
                    request.headers_mut().insert(HOST, host);
                }
                *request.uri_mut() = Uri::from(uri.path_and_query().unwrap().clone());
                sender.try_send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(|_| Lost::Unsent)?;
                sender.try_send_request(request).await
            }
        };
        sent.map_err(|mut refused| {
            let unsent = refused.take_message().is_some();
            let error = refused.into_error();
            if unsent || is_unprocessed(&error) {
                Lost::Unsent
            } else {
                Lost::Sent(error.into())
            }
        })
    }
}

/// Whether a GOAWAY says that the server has not looked at the request (RFC 9113 §6.8).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let error = source.and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR))
}

/// Takes the whole answer.
async fn collect(response: http::Response<hyper::body::Incoming>) -> Result<Answer, Fault> {
    let (head, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok(Answer {
        version: head.version,
        status: head.status,
        headers: head.headers,
        body: collected.to_bytes(),
        trailers,
    })
}

//! HTTP/2 towards a backend (gRPC, h2c): one connection per endpoint and worker, shared by all
//! requests.

use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::body::RequestBody;
use crate::stream::Stream;
use crate::worker::LocalExecutor;

/// How often an otherwise silent connection is asked whether it still stands.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long the answer may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of one response may be under way; the client's pace bounds what is taken.
const STREAM_WINDOW: u32 = 256 * 1024;
/// How much of all responses together may be under way.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// A connection that many requests share.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    sender: SendRequest<RequestBody>,
}

/// A request that got no response.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) error: hyper::Error,
    /// The body, if no byte of the request was sent.
    pub(crate) unsent: Option<RequestBody>,
}

impl Connection {
    /// Speaks HTTP/2 on `stream` with prior knowledge; the connection is driven by a task of this
    /// worker until it ends.
    pub(crate) async fn open(stream: Stream) -> Result<Self, hyper::Error> {
        let (sender, driver) = Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::task::spawn_local(async move {
            // Its end shows in every request on it.
            let _ = driver.await;
        });
        Ok(Self { sender })
    }

    /// Whether it takes no more requests.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the response's head.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Unanswered> {
        self.sender
            .try_send_request(request)
            .await
            .map_err(|mut refused| {
                let unsent = refused.take_message().map(Request::into_body);
                Unanswered {
                    error: refused.into_error(),
                    unsent,
                }
            })
    }
}

//! Serves HTTP/2, in which every response has its own time to be taken.
//!
//! hyper asks a body for its next piece when the client has made room for the last one, and waits
//! for that without a limit: a client that keeps its flow-control window shut and answers PING
//! would hold its stream and the backend's connection for ever. So the task of a stream looks at
//! its response whenever it has to wait:
//!
//! ```text
//!   connection ── service.call ──▶ Taking ──▶ TimedBody: a piece was given
//!        │                            │
//!        └─── executor.execute ──▶ the stream's task: how long ago?
//! ```

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{ConnectionError, Drain, PREFACE};
use crate::body::{ResponseBody, ResponseBodyError};
use crate::client::Client;
use crate::flood::BudgetedIo;
use crate::forward;
use crate::stream::Stream;
use crate::watchdog::Watchdog;
use crate::worker::Worker;

/// Streams that a client may reset before they are looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that a client may make us reset (CVE-2025-8671).
const ERROR_RESETS: usize = 128;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one response that wait for the client.
const SEND_BUFFER: usize = 128 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection until it ends.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    stream: Stream,
    client: Arc<Client>,
) -> Result<(), ConnectionError> {
    let global = worker.global();
    let limits = global.http2;
    let executor = StreamExecutor {
        begun: Rc::default(),
        patience: global.client.send,
    };
    let service = {
        let (worker, client) = (Rc::clone(worker), Arc::clone(&client));
        let begun = Rc::clone(&executor.begun);
        service_fn(move |request| {
            let (worker, client) = (Rc::clone(&worker), Arc::clone(&client));
            let taking = Rc::<Taking>::default();
            begun.set(Some(Rc::clone(&taking)));
            async move {
                if has_outer_space(request.headers()) {
                    worker.metrics.bad_requests.add(1);
                    return Err(h2::Error::from(Reason::PROTOCOL_ERROR));
                }
                let Ok(response) = forward::answer(&worker, &client, request).await;
                Ok(response.map(|body| TimedBody { body, taking }))
            }
        })
    };
    let stream = BudgetedIo::new(stream, PREFACE.len());
    let mut connection = pin!(
        http2::Builder::new(executor)
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_concurrent_streams)
            .max_header_list_size(limits.max_header_list_size)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(ERROR_RESETS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut drain = Drain::new(worker);
    let mut told = None;
    poll_fn(|cx| {
        if told.is_none() && drain.poll_http2(cx, &client).is_ready() {
            told = Some(Instant::now());
            connection.as_mut().graceful_shutdown();
        }
        let ended = connection.as_mut().poll(cx);
        match told {
            Some(since) if ended.is_pending() => drain.poll_left(cx, &client, since).map(Ok),
            _ => ended,
        }
    })
    .await?;
    Ok(())
}

/// Whether a value begins or ends with white space, which makes a request malformed (RFC 9113 §8.2.1); `h2` looks at
/// the other characters.
fn has_outer_space(fields: &HeaderMap) -> bool {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    fields.values().any(|value| {
        let value = value.as_bytes();
        space(value.first()) || space(value.last())
    })
}

/// Runs streams on the worker's own thread, and gives up those whose client takes nothing.
#[derive(Clone)]
struct StreamExecutor {
    /// Of the stream that begins: hyper calls the service and then executes what becomes of it.
    begun: Rc<Cell<Option<Rc<Taking>>>>,
    patience: Duration,
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future + 'static,
{
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(TimedStream {
            stream,
            taking: self.begun.take().unwrap_or_default(),
            watchdog: Watchdog::default(),
            patience: self.patience,
        });
    }
}

pin_project! {
    /// A stream that ends when its client has taken nothing for too long: dropping it unfinished resets it,
    /// and frees the backend's connection. No `async` block: that would hold, and move, the stream twice.
    struct TimedStream<F> {
        #[pin]
        stream: F,
        taking: Rc<Taking>,
        watchdog: Watchdog,
        patience: Duration,
    }
}

impl<F: Future> Future for TimedStream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        this.taking.poll_given_up(cx, this.watchdog, *this.patience)
    }
}

/// How far a client is with its response: shared by the response's body and its stream's task.
#[derive(Debug, Default)]
struct Taking(Cell<Piece>);

/// The piece of a body that was given last.
#[derive(Clone, Copy, Debug, Default)]
enum Piece {
    /// Has gone, or has not come: nobody waits for the client.
    #[default]
    None,
    /// Was given just now.
    Given,
    /// Was given, and has waited for the client since then.
    WaitsSince(Instant),
}

impl Taking {
    /// Ready when a piece has waited for longer than `patience`. The clock is read only for those
    /// that wait at all.
    fn poll_given_up(
        &self,
        cx: &mut Context<'_>,
        watchdog: &mut Watchdog,
        patience: Duration,
    ) -> Poll<()> {
        let since = match self.0.get() {
            Piece::None => return Poll::Pending,
            Piece::Given => Instant::now(),
            Piece::WaitsSince(since) => since,
        };
        self.0.set(Piece::WaitsSince(since));
        watchdog.poll(cx, since + patience)
    }
}

/// A response's body that notes when it gives a piece.
#[derive(Debug)]
struct TimedBody {
    body: ResponseBody,
    taking: Rc<Taking>,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        let given = matches!(frame, Poll::Ready(Some(Ok(_))));
        this.taking
            .0
            .set(if given { Piece::Given } else { Piece::None });
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

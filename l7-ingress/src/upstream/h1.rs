//! HTTP/1.1 towards a backend: one request out and one response in, on one connection.
//!
//! hyper's client is not used here. It moves every message through channels between two tasks, which
//! costs a request one more write to the client (the head leaves before the body has arrived) and
//! three wake-ups; and it consumes the request, so that a retry would need a copy of each. An
//! exchange is polled by the task that serves the client's connection and nobody else. Parsing is
//! httparse, framing is [`l7_ingress_core::response_head`].
//!
//! ```text
//!   checkout ─▶ start ──▶ head ──▶ Exchange (response body; the request's rest goes out meanwhile)
//!                 │                    └─▶ complete, both ways ─▶ back to the peer's idle list
//!                 └─▶ failed: says whether anything was sent   └─▶ anything else ─▶ closed
//! ```

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body::{Body as _, Frame};
use l7_ingress_core::global::Patience;
use l7_ingress_core::{BodyDecoder, Piece, ResponseError, ResponseHead, response_head};
use tokio::io::AsyncWrite as _;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::peer::InFlight;
use crate::body::{RequestBody, RequestBodyError};
use crate::stream::Stream;
use crate::watchdog::Watchdog;

/// The most interim responses (1xx) before the response.
const MAX_INTERIM: u32 = 32;
/// What one read may take, at first and at most.
const READ_SIZE: std::ops::RangeInclusive<usize> = 4 * 1024..=64 * 1024;

/// How the request's body is framed towards the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none, and no field says so.
    None,
    /// `Content-Length`
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("backend closed the connection before it answered")]
    Closed,
    #[error("connection to the backend failed")]
    Io(#[source] io::Error),
    #[error("backend did not take or send anything in time")]
    Timeout,
    #[error(transparent)]
    Response(#[from] ResponseError),
    #[error(transparent)]
    Request(#[from] RequestBodyError),
}

/// What is about to be written: the head and chunk sizes, then a piece of the body, then its end.
#[derive(Debug, Default)]
struct Outbox {
    front: BytesMut,
    body: Bytes,
    tail: &'static [u8],
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.front.is_empty() && self.body.is_empty() && self.tail.is_empty()
    }

    fn advance(&mut self, mut n: usize) {
        let front = n.min(self.front.len());
        self.front.advance(front);
        n -= front;
        let body = n.min(self.body.len());
        self.body.advance(body);
        self.tail = &self.tail[n - body..];
    }
}

/// A connection to a backend. It is idle, or owned by one exchange.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    read: BytesMut,
    out: Outbox,
    watchdog: Watchdog,
    read_size: usize,
    largest_read: usize,
    /// Whether a byte of the present request has left.
    touched: bool,
    /// When it was made.
    pub(crate) opened: Instant,
    /// When it was last given back.
    pub(crate) idle_since: Instant,
    /// How many requests it has carried.
    pub(crate) served: u32,
}

impl Connection {
    pub(crate) fn new(stream: Stream, now: Instant) -> Box<Self> {
        Box::new(Self {
            stream,
            read: BytesMut::new(),
            out: Outbox::default(),
            watchdog: Watchdog::default(),
            read_size: *READ_SIZE.start(),
            largest_read: 0,
            touched: false,
            opened: now,
            idle_since: now,
            served: 0,
        })
    }

    /// Where the next request's head is to be written, before [`Self::start`].
    pub(crate) const fn head(&mut self) -> &mut BytesMut {
        &mut self.out.front
    }

    /// Whether a byte of the present request has left: if not, the backend cannot have acted on it.
    pub(crate) const fn touched(&self) -> bool {
        self.touched
    }

    /// Whether the backend has neither closed an idle connection nor said anything on it.
    ///
    /// Costs no system call as long as nothing has happened; with `ask_kernel` it looks past what
    /// the event loop knows, for requests that must not meet a connection that has just been closed.
    pub(crate) fn is_quiet(&self, ask_kernel: bool) -> bool {
        let tcp = self.stream.tcp();
        let quiet = |result: io::Result<usize>| match result {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            // Under TLS a session ticket may wait to be read.
            Ok(n) => n > 0 && matches!(self.stream, Stream::Tls(_)),
        };
        if ask_kernel {
            let socket = socket2::SockRef::from(tcp);
            return quiet(socket.peek(&mut [mem::MaybeUninit::uninit()]));
        }
        // Readiness is known without a system call; only what is ready is looked at.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if tcp.poll_read_ready(&mut cx).is_pending() {
            return true;
        }
        let socket = socket2::SockRef::from(tcp);
        quiet(socket.peek(&mut [mem::MaybeUninit::uninit()]))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < self.read_size / 2 {
            self.read.reserve(self.read_size);
        }
        let room = self.read.capacity() - self.read.len();
        let n = ready!(poll_read_buf(
            Pin::new(&mut self.stream),
            cx,
            &mut self.read
        ))?;
        self.largest_read = self.largest_read.max(n);
        if n == room {
            self.read_size = (self.read_size * 2).min(*READ_SIZE.end());
        }
        Poll::Ready(Ok(n))
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        if self.out.body.is_empty() && self.out.tail.is_empty() {
            // `send` costs the kernel less than `writev` does.
            return stream.poll_write(cx, &self.out.front);
        }
        let slices = [
            IoSlice::new(&self.out.front),
            IoSlice::new(&self.out.body),
            IoSlice::new(self.out.tail),
        ];
        stream.poll_write_vectored(cx, &slices)
    }

    /// Writes what is in the outbox; says whether that was more than the first piece of a request,
    /// which leaves when the request's time begins.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut wrote = false;
        while !self.out.is_empty() {
            let n = ready!(self.poll_write_some(cx))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(n);
            wrote |= mem::replace(&mut self.touched, true);
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(wrote))
    }

    /// Sends the head that was written to [`Self::head`] and `body`, and waits for the response's
    /// head. Interim responses are read past, but for 101.
    ///
    /// When the response comes before the whole request has left, the rest is the
    /// [`Exchange`]'s business.
    ///
    /// # Errors
    /// `body` says whether it was touched, [`Self::touched`] whether anything was sent.
    pub(crate) async fn start(
        &mut self,
        method: &Method,
        sending: &mut Sending,
        body: &mut RequestBody,
        patience: Patience,
    ) -> Result<ResponseHead, ExchangeError> {
        self.touched = false;
        self.largest_read = 0;
        let mut interim = 0;
        poll_fn(|cx| {
            let broken = match self.poll_send(cx, sending, body) {
                Poll::Ready(Ok(())) => None,
                // The backend may have answered before it closed: its answer counts.
                Poll::Ready(Err(ExchangeError::Io(error))) => Some(error),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => None,
            };
            loop {
                while let Some(head) = response_head(&mut self.read, method, patience.head)? {
                    let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
                    if switched || !head.status.is_informational() {
                        return Poll::Ready(Ok(head));
                    }
                    interim += 1;
                    if interim > MAX_INTERIM {
                        return Poll::Ready(Err(ResponseError::HeadTooLong.into()));
                    }
                }
                match self.poll_read(cx) {
                    Poll::Ready(Ok(0)) if self.read.is_empty() => {
                        return Poll::Ready(Err(ExchangeError::Closed));
                    }
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(ResponseError::Incomplete.into()));
                    }
                    Poll::Ready(Ok(_)) => sending.progress = Instant::now(),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(ExchangeError::Io(error))),
                    Poll::Pending => break,
                }
            }
            if let Some(error) = broken {
                return Poll::Ready(Err(ExchangeError::Io(error)));
            }
            ready!(self.poll_patience(cx, sending, patience));
            Poll::Ready(Err(ExchangeError::Timeout))
        })
        .await
    }

    /// Ready when the backend has let its time pass. A client that is slow with its body is not the
    /// backend's fault: [`RequestBody`] watches that.
    fn poll_patience(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending,
        patience: Patience,
    ) -> Poll<()> {
        if mem::take(&mut sending.progressed) {
            sending.progress = Instant::now();
        }
        let limit = if sending.done {
            patience.read
        } else if self.out.is_empty() {
            return Poll::Pending;
        } else {
            patience.send
        };
        self.watchdog.poll(cx, sending.progress + limit)
    }

    /// Moves the request towards the backend; ready when all of it has left.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending,
        body: &mut RequestBody,
    ) -> Poll<Result<(), ExchangeError>> {
        while !sending.done {
            // A piece of the body that is there already leaves together with the head.
            if self.out.body.is_empty() && self.out.tail.is_empty() && !sending.body_ended {
                match sending.poll_body(cx, body, &mut self.out)? {
                    Poll::Ready(()) => {}
                    Poll::Pending => {
                        sending.progressed |=
                            ready!(self.poll_write(cx)).map_err(ExchangeError::Io)?;
                        return Poll::Pending;
                    }
                }
            }
            sending.progressed |= ready!(self.poll_write(cx)).map_err(ExchangeError::Io)?;
            sending.done = sending.body_ended;
        }
        Poll::Ready(Ok(()))
    }

    /// Readies the connection for the next request; `None` if it cannot carry one.
    fn recycle(mut self: Box<Self>, now: Instant) -> Option<Box<Self>> {
        if !self.read.is_empty() || !self.out.is_empty() {
            // Bytes that nobody asked for: the next response would start with them.
            return None;
        }
        let fitting = self.largest_read.next_power_of_two();
        self.read_size = fitting.clamp(*READ_SIZE.start(), *READ_SIZE.end());
        // An idle connection holds no buffers.
        self.read = BytesMut::new();
        self.served += 1;
        self.idle_since = now;
        Some(self)
    }

    /// The stream and what was already read from it, once the backend has switched protocols.
    pub(crate) fn into_tunnel(self) -> (Stream, Bytes) {
        (self.stream, self.read.freeze())
    }
}

/// How far the request has got.
#[derive(Debug)]
pub(crate) struct Sending {
    framing: Framing,
    body_ended: bool,
    done: bool,
    /// Whether anything has left since it was last asked.
    progressed: bool,
    /// When something last moved, either way.
    progress: Instant,
}

impl Sending {
    pub(crate) const fn new(framing: Framing, now: Instant) -> Self {
        let body_ended = matches!(framing, Framing::None | Framing::Length(0));
        Self {
            framing,
            body_ended,
            done: false,
            progressed: false,
            progress: now,
        }
    }

    /// When something last moved; the response's head, once it has come.
    pub(crate) const fn progress(&self) -> Instant {
        self.progress
    }

    /// Puts the next piece of the body into the outbox.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut RequestBody,
        out: &mut Outbox,
    ) -> Poll<Result<(), RequestBodyError>> {
        let chunked = self.framing == Framing::Chunked;
        match ready!(Pin::new(&mut *body).poll_frame(cx)).transpose()? {
            None => {
                self.body_ended = true;
                out.tail = if chunked { b"0\r\n\r\n" } else { b"" };
            }
            Some(frame) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    if chunked {
                        write_chunk_size(&mut out.front, data.len());
                        out.tail = b"\r\n";
                    }
                    out.body = data;
                    self.body_ended = !chunked && body.is_end_stream();
                }
                Err(frame) => {
                    self.body_ended = true;
                    if let (true, Ok(trailers)) = (chunked, frame.into_trailers()) {
                        write_trailers(&mut out.front, &trailers);
                    }
                }
            },
        }
        Poll::Ready(Ok(()))
    }
}

fn write_chunk_size(out: &mut BytesMut, size: usize) {
    use std::fmt::Write as _;
    write!(out, "{size:x}\r\n").expect("a buffer in memory grows");
}

fn write_trailers(out: &mut BytesMut, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        write_field(out, name.as_str(), value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes one field line.
pub(crate) fn write_field(out: &mut BytesMut, name: &str, value: &HeaderValue) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A response body that is arriving, while the rest of the request may still be leaving.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: Option<Box<Connection>>,
    sending: Sending,
    body: RequestBody,
    decoder: BodyDecoder,
    keep_alive: bool,
    patience: Patience,
    in_flight: InFlight,
}

impl Exchange {
    pub(crate) fn new(
        connection: Box<Connection>,
        head: &ResponseHead,
        (sending, body): (Sending, RequestBody),
        patience: Patience,
        in_flight: InFlight,
    ) -> Self {
        let mut exchange = Self {
            connection: Some(connection),
            sending,
            body,
            decoder: head.body,
            keep_alive: head.keep_alive,
            patience,
            in_flight,
        };
        exchange.finish_if_done();
        exchange
    }

    /// Gives the connection back as soon as the last byte has been read: the client may be slow to
    /// take it.
    fn finish_if_done(&mut self) {
        if self.decoder != BodyDecoder::Done {
            return;
        }
        let Some(connection) = self.connection.take() else {
            return;
        };
        if self.keep_alive
            && self.sending.done
            && let Some(connection) = connection.recycle(self.sending.progress)
        {
            self.in_flight.give_back(connection);
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.decoder == BodyDecoder::Done
    }

    pub(crate) const fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        loop {
            let Some(connection) = self.connection.as_mut() else {
                return Poll::Ready(None);
            };
            match self.decoder.decode(&mut connection.read)? {
                Piece::Data(data) => {
                    self.finish_if_done();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Piece::Trailers(trailers) => {
                    self.finish_if_done();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Piece::Done => {
                    self.finish_if_done();
                    return Poll::Ready(None);
                }
                Piece::More => ready!(self.poll_more(cx))?,
            }
        }
    }

    /// Ready when there is more to decode, or the stream has ended where it may.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        let Some(connection) = self.connection.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        // What happens to the rest of the request is no longer decisive: the response is.
        let _ = connection.poll_send(cx, &mut self.sending, &mut self.body);
        match connection.poll_read(cx) {
            Poll::Ready(Ok(0)) => {
                self.decoder.end_of_stream()?;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(_)) => {
                self.sending.progress = Instant::now();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(ExchangeError::Io(error))),
            Poll::Pending => {
                ready!(connection.poll_patience(cx, &mut self.sending, self.patience));
                Poll::Ready(Err(ExchangeError::Timeout))
            }
        }
    }
}

//! Bodies on their way through: the client's to a backend, a backend's to the client.

mod buffer;
mod coded;
mod paced;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use l7_ingress_core::filter::{Encoding, Pace};
use tokio::time::Instant;

use crate::record::Record;
use crate::upstream::{Exchange, ExchangeError, InFlight};
use crate::watchdog::Watchdog;

pub(crate) use buffer::Budget;
use buffer::Buffer;
use coded::Coded;
use paced::Paced;

/// Why a request body did not arrive. The client is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("client did not complete its request")]
    Client(#[source] hyper::Error),
    #[error("client did not send anything in time")]
    Timeout,
    #[error("client sent more than it may")]
    TooLong,
}

/// A client's request body.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// `None` where there is no body.
    incoming: Option<Incoming>,
    patience: Duration,
    waiting_since: Option<Instant>,
    watchdog: Watchdog,
    /// Shared with the request's record, which outlives it.
    received: Rc<Cell<u64>>,
    /// How many bytes there may be.
    limit: u64,
    /// What was read before an endpoint was contacted.
    buffer: Option<Box<Buffer>>,
}

impl RequestBody {
    /// The body of a request, of which each piece has `patience` to arrive; `received` counts its
    /// bytes.
    pub(crate) fn new(incoming: Incoming, patience: Duration, received: Rc<Cell<u64>>) -> Self {
        let watchdog = Watchdog::default();
        let incoming = (!incoming.is_end_stream()).then_some(incoming);
        Self {
            incoming,
            patience,
            waiting_since: None,
            watchdog,
            received,
            limit: u64::MAX,
            buffer: None,
        }
    }

    /// Ends the body with an error when there are more bytes than this.
    pub(crate) fn limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// No body.
    pub(crate) fn empty() -> Self {
        let watchdog = Watchdog::default();
        let patience = Duration::ZERO;
        Self {
            incoming: None,
            patience,
            waiting_since: None,
            watchdog,
            received: Rc::default(),
            limit: u64::MAX,
            buffer: None,
        }
    }

    /// Whether some of it is gone: then the request cannot be sent a second time.
    pub(crate) fn is_touched(&self) -> bool {
        match &self.buffer {
            Some(buffer) => buffer.is_overrun,
            None => self.received.get() > 0,
        }
    }

    /// Reads it into memory, all of it if it fits into what is left of `budget`.
    ///
    /// # Errors
    /// When the client does not send it, or too much of it.
    pub(crate) async fn buffer(&mut self, budget: &Rc<Budget>) -> Result<(), RequestBodyError> {
        let mut buffer = Box::new(Buffer::new(Rc::clone(budget)));
        while !buffer.is_full() {
            let frame = poll_fn(|cx| self.poll_incoming(cx)).await.transpose()?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => buffer.push(data),
                Some(Err(frame)) => buffer.trailers = frame.into_trailers().ok(),
                None => {
                    self.incoming = None;
                    break;
                }
            }
        }
        self.buffer = Some(buffer);
        Ok(())
    }

    /// Begins anew, if nothing of it is gone.
    pub(crate) fn rewind(&mut self) {
        if let Some(buffer) = self.buffer.as_mut().filter(|buffer| !buffer.is_overrun) {
            buffer.next = 0;
        }
    }

    /// Another one that is the same; `None` if the client has still to send some of it.
    pub(crate) fn replica(&self) -> Option<Self> {
        if self.incoming.is_some() {
            return None;
        }
        let mut replica = Self::empty();
        replica.received = Rc::clone(&self.received);
        replica.buffer = self
            .buffer
            .as_ref()
            .map(|buffer| Box::new(buffer.replica()));
        Some(replica)
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) else {
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            let deadline = since + self.patience;
            ready!(self.watchdog.poll(cx, deadline));
            return Poll::Ready(Some(Err(RequestBodyError::Timeout)));
        };
        self.waiting_since = None;
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            let received = self.received.get() + bytes;
            self.received.set(received);
            if received > self.limit {
                self.incoming = None;
                return Poll::Ready(Some(Err(RequestBodyError::TooLong)));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(RequestBodyError::Client)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(frame) = self.buffer.as_mut().and_then(|buffer| buffer.take()) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = ready!(self.poll_incoming(cx));
        if let (Some(_), Some(buffer)) = (&frame, &mut self.buffer) {
            buffer.is_overrun = true;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.buffer
            .as_ref()
            .is_none_or(|buffer| buffer.is_drained())
            && self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let empty = || SizeHint::with_exact(0);
        let rest = self
            .incoming
            .as_ref()
            .map_or_else(empty, Incoming::size_hint);
        match (&self.buffer, rest.exact()) {
            (None, _) => rest,
            (Some(buffer), Some(rest)) => SizeHint::with_exact(buffer.left() + rest),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

/// Why a response body did not arrive. The backend is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResponseBodyError {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("backend reset the stream")]
    Stream(#[source] hyper::Error),
    #[error("backend did not send anything in time")]
    Timeout,
    #[error("cannot be compressed")]
    Coding(#[from] std::io::Error),
}

/// A response body, with the record of the request that ends with it.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    source: Source,
    record: Option<Record>,
    coded: Option<Box<Coded>>,
    paced: Option<Box<Paced>>,
}

/// Where a response body comes from.
#[derive(Debug)]
enum Source {
    Empty,
    Full(Bytes),
    /// A backend over HTTP/1.1.
    Http1(Box<Exchange>),
    /// A backend over HTTP/2.
    Http2(Box<Http2Body>),
}

#[derive(Debug)]
struct Http2Body {
    incoming: Incoming,
    patience: Duration,
    waiting_since: Option<Instant>,
    watchdog: Watchdog,
    _in_flight: InFlight,
}

impl ResponseBody {
    /// No body.
    pub(crate) const fn empty() -> Self {
        Self {
            source: Source::Empty,
            record: None,
            coded: None,
            paced: None,
        }
    }

    /// A body of our own.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self {
            source: Source::Full(bytes.into()),
            record: None,
            coded: None,
            paced: None,
        }
    }

    pub(crate) fn http1(exchange: Exchange) -> Self {
        if exchange.is_end_stream() {
            return Self::empty();
        }
        Self {
            source: Source::Http1(Box::new(exchange)),
            record: None,
            coded: None,
            paced: None,
        }
    }

    pub(crate) fn http2(incoming: Incoming, patience: Duration, in_flight: InFlight) -> Self {
        let watchdog = Watchdog::default();
        let body = Http2Body {
            incoming,
            patience,
            waiting_since: None,
            watchdog,
            _in_flight: in_flight,
        };
        Self {
            source: Source::Http2(Box::new(body)),
            record: None,
            coded: None,
            paced: None,
        }
    }

    /// Ends `record` when the body has been taken or dropped.
    pub(crate) fn recorded(mut self, record: Record) -> Self {
        self.record = Some(record);
        self
    }

    /// Compresses it.
    pub(crate) fn coded(mut self, encoding: Encoding) -> Self {
        self.coded = Some(Coded::new(encoding));
        self
    }

    /// Sends it no faster than this.
    pub(crate) fn paced(mut self, pace: Option<Pace>) -> Self {
        self.paced = pace.map(Paced::new);
        self
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let Some(paced) = &mut self.paced else {
            return self.poll_coded(cx);
        };
        ready!(paced.poll_turn(cx));
        if paced.holds() {
            let rest = paced.take();
            return Poll::Ready(Some(Ok(paced.piece(rest))));
        }
        let frame = ready!(self.poll_coded(cx));
        let Some(paced) = &mut self.paced else {
            return Poll::Ready(frame);
        };
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(data) => paced.piece(data),
                Err(trailers) => trailers,
            })
        }))
    }

    fn poll_coded(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let Some(mut coded) = self.coded.take() else {
            return self.poll_source(cx);
        };
        let frame = self.poll_coder(cx, &mut coded);
        self.coded = Some(coded);
        frame
    }

    fn poll_coder(
        &mut self,
        cx: &mut Context<'_>,
        coded: &mut Coded,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        loop {
            if coded.has_ended() {
                return Poll::Ready(coded.trailers().map(Ok));
            }
            let out = match self.poll_source(cx) {
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => coded.put(&data),
                    Err(trailers) => {
                        coded.keep(trailers);
                        coded.finish()
                    }
                },
                Poll::Ready(None) => coded.finish(),
                // Whoever reads as it comes gets what has come.
                Poll::Pending => match coded.flush() {
                    Ok(out) if out.is_empty() => return Poll::Pending,
                    out => out,
                },
            };
            match out {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Http1(exchange) => exchange
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| Ok(frame?))),
            Source::Http2(body) => body.poll_frame(cx),
        }
    }
}

impl Http2Body {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.waiting_since = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(ResponseBodyError::Stream)));
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        ready!(self.watchdog.poll(cx, since + self.patience));
        Poll::Ready(Some(Err(ResponseBodyError::Timeout)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let frame = ready!(self.poll_piece(cx));
        if let Some(record) = &mut self.record {
            match &frame {
                Some(Ok(frame)) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(_)) => record.failed(),
                None => record.complete(),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        if self.paced.as_ref().is_some_and(|paced| paced.holds()) {
            return false;
        }
        if let Some(coded) = &self.coded {
            return coded.is_done();
        }
        match &self.source {
            Source::Empty => true,
            Source::Full(bytes) => bytes.is_empty(),
            Source::Http1(exchange) => exchange.is_end_stream(),
            Source::Http2(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.coded.is_some() {
            return SizeHint::default();
        }
        let held = self.paced.as_ref().map_or(0, |paced| paced.held());
        match &self.source {
            Source::Empty => SizeHint::with_exact(held),
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64 + held),
            Source::Http1(exchange) => exchange
                .remaining()
                .map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held)),
            Source::Http2(body) => match body.incoming.size_hint().exact() {
                Some(rest) => SizeHint::with_exact(rest + held),
                None => SizeHint::default(),
            },
        }
    }
}

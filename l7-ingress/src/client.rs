//! A client's connection: what it may send, and how long it may take.

mod linger;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use l7_ingress_core::global::ClientPatience;
use l7_ingress_core::head_guard::{HeadGuard, Limits, Phase, Scan};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::session::Session;
use crate::stream::Stream;
use crate::watchdog::Watchdog;

pub(crate) use linger::Linger;

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The client's.
    pub(crate) address: SocketAddr,
    /// The port that it connected to.
    pub(crate) port: u16,
    /// Whether both are what a PROXY header says.
    pub(crate) proxied: bool,
}

/// What is known of a client's connection, for as long as it lasts.
///
/// hyper wants what it may hand over after an Upgrade to be `Send`, though it never leaves its
/// thread; so these are atomics, of which a relaxed load or store costs no more than a `Cell`'s.
#[derive(Debug)]
pub(crate) struct Client {
    /// The client's address; with PROXY protocol the one that the header names.
    pub(crate) address: SocketAddr,
    /// Its IP as text, for headers and logs.
    pub(crate) ip: Box<str>,
    /// The port that the client connected to, as text.
    pub(crate) port: Box<str>,
    /// Whether a PROXY header was read.
    pub(crate) proxied: bool,
    /// Whether it came through TLS.
    pub(crate) tls: bool,
    /// What TLS told of it.
    pub(crate) session: Option<Box<Session>>,
    opened: Instant,
    /// Requests that are being answered.
    in_flight: AtomicU32,
    /// Requests so far.
    requests: AtomicU64,
    /// When something last happened on it, in nanoseconds after `opened`.
    active_at: AtomicU64,
    /// What becomes of bytes that follow an Upgrade: an [`AfterUpgrade`].
    after_upgrade: AtomicU8,
    waiting: AtomicWaker,
}

/// What becomes of bytes that follow a request with Upgrade. None is read before this is known:
/// they are the next request if the backend refuses, and another protocol's if it agrees
/// (CVE-2026-2833 is what happens otherwise).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum AfterUpgrade {
    /// No such request is open.
    NotAsked,
    /// Held back.
    Held,
    /// The backend refused: HTTP goes on.
    Http,
    /// The backend agreed: none of our business any more.
    Tunnel,
}

impl AfterUpgrade {
    const fn of(number: u8) -> Self {
        match number {
            1 => Self::Held,
            2 => Self::Http,
            3 => Self::Tunnel,
            _ => Self::NotAsked,
        }
    }
}

impl Client {
    pub(crate) fn new(origin: Origin, session: Option<Session>, now: Instant) -> Arc<Self> {
        let Origin {
            address,
            port,
            proxied,
        } = origin;
        Arc::new(Self {
            address,
            ip: address.ip().to_canonical().to_string().into(),
            port: port.to_string().into(),
            proxied,
            tls: session.is_some(),
            session: session.map(Box::new),
            opened: now,
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            active_at: AtomicU64::new(0),
            after_upgrade: AtomicU8::new(AfterUpgrade::NotAsked as u8),
            waiting: AtomicWaker::new(),
        })
    }

    /// A request has begun; returns whether it is the only one.
    pub(crate) fn begin(&self) -> bool {
        let others = self.in_flight.load(Relaxed);
        self.in_flight.store(others + 1, Relaxed);
        self.requests
            .store(self.requests.load(Relaxed) + 1, Relaxed);
        others == 0
    }

    /// A request has ended, its response sent or given up; returns whether it was the only one.
    pub(crate) fn end(&self, now: Instant) -> bool {
        let others = self.in_flight.load(Relaxed) - 1;
        self.in_flight.store(others, Relaxed);
        let age = now.saturating_duration_since(self.opened).as_nanos();
        self.active_at
            .store(u64::try_from(age).unwrap_or(u64::MAX), Relaxed);
        others == 0
    }

    /// How many requests it has sent.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Since when nothing is being answered; `None` while something is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let idle = self.in_flight.load(Relaxed) == 0;
        idle.then(|| self.opened + Duration::from_nanos(self.active_at.load(Relaxed)))
    }

    /// The response to a request with Upgrade is known.
    pub(crate) fn upgrade_answered(&self, agreed: bool) {
        if self.after_upgrade() == AfterUpgrade::Held {
            self.set_after_upgrade(if agreed {
                AfterUpgrade::Tunnel
            } else {
                AfterUpgrade::Http
            });
            self.waiting.wake();
        }
    }

    fn after_upgrade(&self) -> AfterUpgrade {
        AfterUpgrade::of(self.after_upgrade.load(Relaxed))
    }

    fn set_after_upgrade(&self, next: AfterUpgrade) {
        self.after_upgrade.store(next as u8, Relaxed);
    }
}

/// A client's connection as hyper's HTTP/1 server reads and writes it: guarded and timed.
#[derive(Debug)]
pub(crate) struct GuardedIo {
    stream: Stream,
    client: Arc<Client>,
    patience: ClientPatience,
    guard: HeadGuard,
    /// Bytes that have been read and may not be passed on yet, or have to be before others.
    held: Bytes,
    /// The guard has refused: only its verdict is passed on.
    refused: bool,
    watchdog: Watchdog,
    head_since: Option<Instant>,
    blocked_since: Option<Instant>,
    /// Once the sending half is closed.
    linger: Option<Box<Linger>>,
}

impl GuardedIo {
    /// Guards `stream`, of which `first` was read already.
    pub(crate) fn new(
        stream: Stream,
        client: Arc<Client>,
        patience: ClientPatience,
        limits: Limits,
        first: Bytes,
    ) -> Self {
        Self {
            stream,
            client,
            patience,
            guard: HeadGuard::new(limits),
            held: first,
            refused: false,
            watchdog: Watchdog::default(),
            head_since: None,
            blocked_since: None,
            linger: None,
        }
    }

    /// Lets the bytes of `buf` from `start` on pass, up to where the guard objects or pauses.
    fn pass(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        match self.guard.scan(&buf.filled()[start..]) {
            Scan::Pass => {}
            Scan::Pause { at } => {
                let rest = Bytes::copy_from_slice(&buf.filled()[start + at..]);
                buf.set_filled(start + at);
                self.held = rest;
                self.client.set_after_upgrade(AfterUpgrade::Held);
            }
            Scan::Refuse { at, why } => {
                tracing::debug!(client = %self.client.address, "refused: {why}");
                buf.set_filled(start + at);
                self.held = self.guard.poison().into();
                self.refused = true;
            }
        }
        self.head_since = match self.guard.phase() {
            Phase::Head => self.head_since.or_else(|| Some(Instant::now())),
            Phase::Idle | Phase::Body => None,
        };
    }

    /// Passes on what is held, as far as it may.
    fn release(&mut self, buf: &mut ReadBuf<'_>, verbatim: bool) {
        let start = buf.filled().len();
        let n = self.held.len().min(buf.remaining());
        let piece = self.held.split_to(n);
        buf.put_slice(&piece);
        if self.held.is_empty() {
            // An empty rest would keep all of it in memory for as long as the connection lasts.
            self.held = Bytes::new();
        }
        if !verbatim {
            let rest = std::mem::take(&mut self.held);
            self.pass(buf, start);
            if !rest.is_empty() && !self.refused {
                self.held = [self.held.as_ref(), rest.as_ref()].concat().into();
            }
        }
    }

    /// Ready when the client has used up its time.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(idle_since) = self.client.idle_since() else {
            // A request is being answered: its body and the backend have deadlines of their own.
            return Poll::Pending;
        };
        let deadline = match self.head_since {
            Some(since) => since + self.patience.head,
            None if self.client.requests() == 0 => idle_since + self.patience.head,
            None => idle_since + self.patience.keep_alive,
        };
        self.watchdog.poll(cx, deadline)
    }

    /// Gives a client that takes nothing its time, and no more.
    fn poll_sent<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.blocked_since = None;
            return result;
        }
        let since = *self.blocked_since.get_or_insert_with(Instant::now);
        ready!(self.watchdog.poll(cx, since + self.patience.send));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for GuardedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let after_upgrade = this.client.after_upgrade();
        match after_upgrade {
            AfterUpgrade::NotAsked | AfterUpgrade::Tunnel => {}
            AfterUpgrade::Held => {
                this.client.waiting.register(cx.waker());
                return Poll::Pending;
            }
            AfterUpgrade::Http => {
                this.guard.resume_http();
                this.client.set_after_upgrade(AfterUpgrade::NotAsked);
            }
        }
        let verbatim = this.refused || after_upgrade == AfterUpgrade::Tunnel;
        if this.held.has_remaining() {
            let start = buf.filled().len();
            this.release(buf, verbatim);
            if buf.filled().len() == start {
                // Refused at once: nothing at all would look like the end of the stream.
                this.release(buf, true);
            }
            return Poll::Ready(Ok(()));
        }
        if this.refused {
            return Poll::Ready(Ok(()));
        }
        let start = buf.filled().len();
        if Pin::new(&mut this.stream).poll_read(cx, buf)?.is_pending() {
            ready!(this.poll_patience(cx));
            // As if the client had closed: it gets no answer to a request that it never sent.
            return Poll::Ready(Ok(()));
        }
        if !verbatim {
            this.pass(buf, start);
            if this.refused {
                // Nothing at all would look like the end of the stream.
                this.release(buf, true);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What is copied together rather than written as a vector.
const GATHERED: usize = 1024;

/// Copies a short message into one piece: `send` costs the kernel less than `writev` does, and TLS
/// less than a record of several pieces.
fn gather<'g>(bufs: &[IoSlice<'_>], gathered: &'g mut [u8; GATHERED]) -> Option<&'g [u8]> {
    let mut length = 0;
    for buf in bufs {
        let end = length + buf.len();
        gathered.get_mut(length..end)?.copy_from_slice(buf);
        length = end;
    }
    gathered.get(..length)
}

impl AsyncWrite for GuardedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.poll_sent(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut gathered = [0; GATHERED];
        let result = match gather(bufs, &mut gathered) {
            Some(bytes) => Pin::new(&mut this.stream).poll_write(cx, bytes),
            None => Pin::new(&mut this.stream).poll_write_vectored(cx, bufs),
        };
        this.poll_sent(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        match this.stream {
            // Always ready: says nothing of what the client takes.
            Stream::Plain(_) => result,
            Stream::Tls(_) => this.poll_sent(cx, result),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            let result = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.poll_sent(cx, result))?;
        }
        if this.client.after_upgrade() == AfterUpgrade::Tunnel {
            // Only this half has ended.
            return Poll::Ready(Ok(()));
        }
        let sending = this.refused || !this.held.is_empty() || this.guard.phase() != Phase::Idle;
        let linger = this
            .linger
            .get_or_insert_with(|| Box::new(Linger::new(Instant::now())));
        linger.poll(cx, this.stream.tcp(), sending).map(Ok)
    }
}

//! One endpoint as one worker sees it: idle connections, load, latency, health.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use l7_ingress_core::global::KeepAlive;
use l7_ingress_core::upstream::Number;
use l7_ingress_core::{BackendProtocol, BackendTls};
use tokio::time::Instant;

use super::h1::Connection;
use super::h2;

/// The time after which a latency sample has lost all but 1/e of its weight.
const LATENCY_DECAY: Duration = Duration::from_secs(10);
/// What one that has not answered yet is taken to need for each request that it has: enough to be
/// tried, and not given everything before its first answer.
const UNKNOWN_LATENCY: f64 = 1.0;
/// For how long an endpoint is left out after its first failure; doubled with each further one.
const FIRST_EJECTION: Duration = Duration::from_secs(1);
/// At most.
const LONGEST_EJECTION: Duration = Duration::from_secs(30);

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// What keys and cookies know it by.
    pub(crate) number: Number,
    pub(crate) protocol: BackendProtocol,
    /// How TLS is spoken to it, where it is; `None` for the default.
    pub(crate) tls: Option<Arc<BackendTls>>,
    /// The address as logs and metrics print it.
    pub(crate) name: Box<str>,
    /// Where it speaks HTTP/2: the connection that all requests share.
    pub(crate) h2: RefCell<Option<h2::Connection>>,
    #[expect(
        clippy::vec_box,
        reason = "connections go in and out with each request: boxes move"
    )]
    idle: RefCell<Vec<Box<Connection>>>,
    /// The worker's idle connections, over all endpoints.
    all_idle: Rc<Cell<usize>>,
    keep_alive: Rc<Cell<KeepAlive>>,
    active: Cell<u32>,
    latency: Cell<f64>,
    latency_at: Cell<Instant>,
    failures: Cell<u32>,
    ejected_until: Cell<Option<Instant>>,
}

impl Peer {
    pub(crate) fn new(
        address: SocketAddr,
        (protocol, tls): (BackendProtocol, Option<Arc<BackendTls>>),
        keep_alive: Rc<Cell<KeepAlive>>,
        all_idle: Rc<Cell<usize>>,
        now: Instant,
    ) -> Self {
        Self {
            address,
            number: Number::of(address),
            protocol,
            tls,
            name: address.to_string().into(),
            h2: RefCell::default(),
            idle: RefCell::default(),
            all_idle,
            keep_alive,
            active: Cell::new(0),
            latency: Cell::new(0.0),
            latency_at: Cell::new(now),
            failures: Cell::new(0),
            ejected_until: Cell::new(None),
        }
    }

    /// An idle connection that still stands: the one that was used last, so that what is not needed
    /// ages out.
    pub(crate) fn checkout(&self, now: Instant, ask_kernel: bool) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(connection) = idle.pop() {
            self.all_idle.set(self.all_idle.get() - 1);
            if self.is_usable(&connection, now) && connection.is_quiet(ask_kernel) {
                return Some(connection);
            }
        }
        None
    }

    fn is_usable(&self, connection: &Connection, now: Instant) -> bool {
        let keep_alive = self.keep_alive.get();
        connection.served < keep_alive.requests
            && now.saturating_duration_since(connection.idle_since) < keep_alive.idle
            && now.saturating_duration_since(connection.opened) < keep_alive.age
    }

    /// Closes idle connections that have aged out or that the endpoint has closed.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain(|connection| self.is_usable(connection, now) && connection.is_quiet(false));
        self.all_idle
            .set(self.all_idle.get() - (before - idle.len()));
    }

    /// Whether it is left out for its failures.
    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.get().is_some_and(|until| now < until)
    }

    /// It could not be reached, or broke off: leave it out for a while.
    pub(crate) fn failed(&self, now: Instant) {
        let failures = self.failures.get();
        let ejection = FIRST_EJECTION
            .saturating_mul(1 << failures.min(5))
            .min(LONGEST_EJECTION);
        self.failures.set(failures + 1);
        self.ejected_until.set(Some(now + ejection));
    }

    /// Peak-EWMA of its latency times the requests it is busy with: what the next one would wait for.
    pub(crate) fn cost(&self, now: Instant) -> f64 {
        if self.latency.get() == 0.0 {
            return UNKNOWN_LATENCY * f64::from(self.active.get());
        }
        let age = now.saturating_duration_since(self.latency_at.get());
        let weight = (-age.as_secs_f64() / LATENCY_DECAY.as_secs_f64()).exp();
        self.latency.get() * weight * f64::from(self.active.get() + 1)
    }

    /// Takes a sample: a peak counts at once and is forgotten slowly.
    fn observe(&self, latency: f64, now: Instant) {
        let age = now.saturating_duration_since(self.latency_at.get());
        let weight = (-age.as_secs_f64() / LATENCY_DECAY.as_secs_f64()).exp();
        let averaged = self.latency.get() * weight + latency * (1.0 - weight);
        self.latency.set(averaged.max(latency));
        self.latency_at.set(now);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.all_idle
            .set(self.all_idle.get() - self.idle.get_mut().len());
    }
}

/// A request that a peer is busy with.
#[derive(Debug)]
pub(crate) struct InFlight {
    peer: Rc<Peer>,
    since: Instant,
}

impl InFlight {
    pub(crate) fn new(peer: Rc<Peer>, since: Instant) -> Self {
        peer.active.set(peer.active.get() + 1);
        Self { peer, since }
    }

    /// The response's head has come: the endpoint is well.
    pub(crate) fn answered(&self, now: Instant) {
        self.peer.failures.set(0);
        self.peer.ejected_until.set(None);
        self.peer
            .observe(now.saturating_duration_since(self.since).as_secs_f64(), now);
    }

    /// Keeps `connection` for the next request, within the worker's bound.
    pub(crate) fn give_back(&self, connection: Box<Connection>) {
        let peer = &self.peer;
        if peer.all_idle.get() < peer.keep_alive.get().connections {
            peer.all_idle.set(peer.all_idle.get() + 1);
            peer.idle.borrow_mut().push(connection);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.peer.active.set(self.peer.active.get() - 1);
    }
}

//! A worker's way to the backends: which endpoints there are, which one is next, which connections
//! are open. Nothing here is shared between workers.

mod balance;
mod connect;
mod h1;
mod h2;
mod peer;
mod site;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use foldhash::fast::RandomState;
use l7_ingress_core::global::KeepAlive;
use l7_ingress_core::upstream::{Choice, Key, Number};
use l7_ingress_core::{Backend, BackendId, BackendProtocol, Balance, EndpointSet, TlsId};
use tokio::time::Instant;

pub(crate) use connect::{ConnectError, Connector};
pub(crate) use h1::{Connection, Exchange, ExchangeError, Framing, Sending, write_field};
pub(crate) use h2::Connection as Http2Connection;
pub(crate) use peer::{InFlight, Peer};
pub(crate) use site::{Site, SiteError, Sites};

/// The endpoints that a worker knows.
#[derive(Debug)]
pub(crate) struct Upstreams {
    /// Shared with the peers: it may change.
    keep_alive: Rc<Cell<KeepAlive>>,
    all_idle: Rc<Cell<usize>>,
    groups: RefCell<HashMap<(BackendId, BackendProtocol), Rc<Group>, RandomState>>,
    /// Backends that share an endpoint share its connections, latency and health, if they are to it one and the same.
    peers: RefCell<HashMap<PeerKey, Weak<Peer>, RandomState>>,
}

/// An endpoint, what is spoken to it, and as whom.
type PeerKey = (SocketAddr, BackendProtocol, TlsId);

/// The peers of one backend.
#[derive(Debug)]
pub(crate) struct Group {
    backend: std::sync::Weak<Backend>,
    balance: Balance,
    endpoints: RefCell<Arc<EndpointSet>>,
    peers: RefCell<Rc<[Rc<Peer>]>>,
    turn: Cell<usize>,
}

impl Upstreams {
    pub(crate) fn new(keep_alive: KeepAlive) -> Self {
        Self {
            keep_alive: Rc::new(Cell::new(keep_alive)),
            all_idle: Rc::default(),
            groups: RefCell::default(),
            peers: RefCell::default(),
        }
    }

    /// Keeps connections like this from now on.
    pub(crate) fn keep(&self, keep_alive: KeepAlive) {
        self.keep_alive.set(keep_alive);
    }

    /// The peers of `backend` that are spoken to in `protocol`, as of its endpoints now.
    pub(crate) fn group(
        &self,
        backend: &Arc<Backend>,
        protocol: BackendProtocol,
        now: Instant,
    ) -> Rc<Group> {
        let endpoints = backend.endpoints();
        if let Some(group) = self.groups.borrow().get(&(backend.id, protocol)) {
            if !Arc::ptr_eq(&group.endpoints.borrow(), &endpoints) {
                *group.peers.borrow_mut() = self.peers_of(backend, &endpoints, protocol, now);
                *group.endpoints.borrow_mut() = Arc::clone(&endpoints);
            }
            return Rc::clone(group);
        }
        let peers = self.peers_of(backend, &endpoints, protocol, now);
        // Workers and replicas that start together must not all turn to the first endpoint.
        let turn = Cell::new(fastrand::usize(..peers.len().max(1)));
        let group = Rc::new(Group {
            backend: Arc::downgrade(backend),
            balance: backend.manner.balance,
            endpoints: RefCell::new(Arc::clone(&endpoints)),
            peers: RefCell::new(peers),
            turn,
        });
        self.groups
            .borrow_mut()
            .insert((backend.id, protocol), Rc::clone(&group));
        group
    }

    fn peers_of(
        &self,
        backend: &Backend,
        endpoints: &EndpointSet,
        protocol: BackendProtocol,
        now: Instant,
    ) -> Rc<[Rc<Peer>]> {
        let tls = backend.tls.as_ref().filter(|_| protocol.is_tls());
        let id = tls.map(|tls| tls.id()).unwrap_or_default();
        let mut known = self.peers.borrow_mut();
        endpoints
            .addresses
            .iter()
            .map(|address| {
                let slot = known.entry((*address, protocol, id)).or_default();
                slot.upgrade().unwrap_or_else(|| {
                    let all_idle = Rc::clone(&self.all_idle);
                    let keep_alive = Rc::clone(&self.keep_alive);
                    let peer = Peer::new(
                        *address,
                        (protocol, tls.cloned()),
                        keep_alive,
                        all_idle,
                        now,
                    );
                    let peer = Rc::new(peer);
                    *slot = Rc::downgrade(&peer);
                    peer
                })
            })
            .collect()
    }

    /// Forgets backends that are gone and closes connections that have idled too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.groups
            .borrow_mut()
            .retain(|_, group| group.backend.strong_count() > 0);
        let peers: Vec<Rc<Peer>> = self
            .peers
            .borrow()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for peer in peers {
            peer.sweep(now);
        }
        self.peers
            .borrow_mut()
            .retain(|_, peer| peer.strong_count() > 0);
    }

    /// How many connections idle.
    pub(crate) fn idle(&self) -> usize {
        self.all_idle.get()
    }
}

impl Group {
    /// The next endpoint to try, none of `tried`.
    pub(crate) fn pick(
        &self,
        choice: Choice,
        tried: &[Rc<Peer>],
        now: Instant,
    ) -> Option<Rc<Peer>> {
        match choice {
            Choice::Any => self.next(tried, now),
            Choice::Key(key) => self.subset(key, NonZeroUsize::MIN, tried, now),
            Choice::Subset(key, size) => self.subset(key, size, tried, now),
            Choice::Endpoint(number) => {
                let own = self
                    .find(number)
                    .filter(|own| !balance::contains(tried, own));
                own.or_else(|| self.next(tried, now))
            }
        }
    }

    /// How many endpoints there are.
    pub(crate) fn len(&self) -> usize {
        self.peers.borrow().len()
    }

    /// The endpoint of this number.
    pub(crate) fn find(&self, number: Number) -> Option<Rc<Peer>> {
        let peers = self.peers.borrow();
        peers.iter().find(|peer| peer.number == number).cloned()
    }

    /// The endpoint of this key.
    pub(crate) fn owner(&self, key: Key) -> Option<Rc<Peer>> {
        let peers = self.peers.borrow();
        balance::heaviest(&peers, key, NonZeroUsize::MIN, |_| false).pop()
    }

    /// A random one of the `size` that weigh most for `key`; the next in weight when all of these were tried.
    fn subset(
        &self,
        key: Key,
        size: NonZeroUsize,
        tried: &[Rc<Peer>],
        now: Instant,
    ) -> Option<Rc<Peer>> {
        let peers = self.peers.borrow();
        let was_tried = |peer: &Rc<Peer>| balance::contains(tried, peer);
        let mut own = balance::heaviest(&peers, key, size, |_| false);
        own.retain(|peer| !was_tried(peer));
        // What a key is for is worth a try even if it failed lately: its session is there.
        if size.get() > 1 && own.iter().any(|peer| !peer.is_ejected(now)) {
            own.retain(|peer| !peer.is_ejected(now));
        }
        match own.len() {
            0 => balance::heaviest(&peers, key, NonZeroUsize::MIN, was_tried).pop(),
            left => Some(own.swap_remove(fastrand::usize(..left))),
        }
    }

    fn next(&self, tried: &[Rc<Peer>], now: Instant) -> Option<Rc<Peer>> {
        let peers = Rc::clone(&self.peers.borrow());
        match self.balance {
            Balance::RoundRobin => {
                let turn = self.turn.get();
                self.turn.set(turn.wrapping_add(1));
                balance::round_robin(&peers, turn, tried, now)
            }
            Balance::Ewma => balance::ewma(&peers, |n| fastrand::usize(..n), tried, now),
        }
    }
}

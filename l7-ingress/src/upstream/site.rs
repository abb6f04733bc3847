//! Hosts that the proxy asks by itself: their addresses, and the connections to them.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use l7_ingress_core::global::KeepAlive;
use l7_ingress_core::{BackendProtocol, BackendTls, Url};
use rustls_pki_types::ServerName;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::balance;
use super::peer::Peer;
use crate::dns;

/// Sites that a worker knows: variables in URLs are the clients' to fill.
const MOST_SITES: usize = 1024;
/// For how long one that is not asked is known.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// How long a name may take to resolve.
const LOOKUP: Duration = Duration::from_secs(5);
/// When a name that did not resolve is asked for again.
const RETRY: Duration = Duration::from_secs(1);
/// How far apart complaints are.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// Why no address of a site is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error("the resolver cannot be set up")]
    Resolver(#[source] NetError),
    #[error("the name does not resolve")]
    Name(#[source] NetError),
    #[error("the name does not resolve in time")]
    Timeout,
    #[error("the name resolves to no address that may be used")]
    Nowhere,
    #[error("the name did not resolve a moment ago")]
    Lately,
}

/// The sites that a worker knows.
#[derive(Debug)]
pub(crate) struct Sites {
    /// The name servers; those of the system, if there are none.
    servers: Arc<[SocketAddr]>,
    /// Made on the worker's thread, when it is first needed: its sockets are the thread's.
    resolver: OnceCell<TokioResolver>,
    known: RefCell<HashMap<Origin, Rc<Site>, RandomState>>,
    complained: Cell<Option<Instant>>,
}

/// What connections are kept apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin {
    is_https: bool,
    host: Box<str>,
    port: u16,
    keep_alive: KeepAlive,
}

/// A host and a port.
#[derive(Debug)]
pub(crate) struct Site {
    host: Box<str>,
    port: u16,
    protocol: BackendProtocol,
    tls: Option<Arc<BackendTls>>,
    keep_alive: Rc<Cell<KeepAlive>>,
    all_idle: Rc<Cell<usize>>,
    // A mutex, among the tasks of one thread: one asks for the name, the others wait for its answer.
    found: Mutex<Found>,
    turn: Cell<usize>,
    used: Cell<Instant>,
}

/// Where a name leads to.
#[derive(Debug)]
struct Found {
    peers: Rc<[Rc<Peer>]>,
    /// When to ask again; `None` before it was asked.
    until: Option<Instant>,
}

impl Sites {
    /// Resolves names by these servers; with none, by those of the system.
    pub(crate) fn new(servers: Arc<[SocketAddr]>) -> Self {
        Self {
            servers,
            resolver: OnceCell::new(),
            known: RefCell::default(),
            complained: Cell::new(None),
        }
    }

    /// The site of `url`; where connections are kept in different ways, there are several.
    pub(crate) fn of(&self, url: &Url, keep_alive: KeepAlive, now: Instant) -> Rc<Site> {
        let origin = Origin {
            is_https: url.is_https,
            host: url.host.clone(),
            port: url.port,
            keep_alive,
        };
        let mut known = self.known.borrow_mut();
        if let Some(site) = known.get(&origin) {
            site.used.set(now);
            return Rc::clone(site);
        }
        if known.len() >= MOST_SITES {
            let oldest = known.iter().min_by_key(|(_, site)| site.used.get());
            let oldest = oldest.map(|(origin, _)| origin.clone());
            oldest.and_then(|origin| known.remove(&origin));
        }
        let site = Rc::new(Site::new(&origin, now));
        known.insert(origin, Rc::clone(&site));
        site
    }

    /// Whether a fault is worth a line in the log: not every request's is.
    pub(crate) fn complains(&self, now: Instant) -> bool {
        let last = self.complained.get();
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINTS);
        if is_due {
            self.complained.set(Some(now));
        }
        is_due
    }

    fn resolver(&self) -> Result<&TokioResolver, SiteError> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let resolver = dns::resolver(&self.servers).map_err(SiteError::Resolver)?;
        Ok(self.resolver.get_or_init(|| resolver))
    }

    /// Forgets what is not asked any more, and closes connections that have idled too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut known = self.known.borrow_mut();
        known.retain(|_, site| now.saturating_duration_since(site.used.get()) < FORGOTTEN);
        for site in known.values() {
            if let Ok(found) = site.found.try_lock() {
                found.peers.iter().for_each(|peer| peer.sweep(now));
            }
        }
    }
}

impl Site {
    fn new(origin: &Origin, now: Instant) -> Self {
        let protocol = match origin.is_https {
            true => BackendProtocol::Https,
            false => BackendProtocol::Http,
        };
        let name = ServerName::try_from(origin.host.to_string());
        let name = name.ok().filter(|_| origin.is_https);
        let found = Found {
            peers: Rc::default(),
            until: None,
        };
        Self {
            host: origin.host.clone(),
            port: origin.port,
            protocol,
            tls: name.map(|name| Arc::new(BackendTls::of_server(name))),
            keep_alive: Rc::new(Cell::new(origin.keep_alive)),
            all_idle: Rc::default(),
            found: Mutex::new(found),
            turn: Cell::new(fastrand::usize(..1 << 16)),
            used: Cell::new(now),
        }
    }

    /// Whether connections are kept.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keep_alive.get().connections > 0
    }

    /// The addresses to try, the next one in turn first; those that failed lately last.
    ///
    /// # Errors
    /// When none is known.
    pub(crate) async fn peers(
        &self,
        sites: &Sites,
        now: Instant,
    ) -> Result<Vec<Rc<Peer>>, SiteError> {
        let mut found = self.found.lock().await;
        if found.until.is_none_or(|until| until <= now) {
            let answer = self.find(sites).await;
            let (addresses, ttl) = match answer {
                Ok(answer) => answer,
                // What was true a moment ago is better than nothing.
                Err(error) => {
                    found.until = Some(Instant::now() + RETRY);
                    if found.peers.is_empty() {
                        return Err(error);
                    }
                    tracing::warn!("{}: {error}; its last addresses are used", self.host);
                    return Ok(self.in_turn(&found.peers, now));
                }
            };
            found.peers = self.peers_at(&addresses, &found.peers, now);
            found.until = Some(Instant::now() + ttl);
        }
        match found.peers.is_empty() {
            true => Err(SiteError::Lately),
            false => Ok(self.in_turn(&found.peers, now)),
        }
    }

    async fn find(&self, sites: &Sites) -> Result<(Box<[SocketAddr]>, Duration), SiteError> {
        /// Addresses do not change.
        const FOR_LONG: Duration = Duration::from_secs(86_400);
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            let addresses = dns::reachable(address).then(|| SocketAddr::new(address, self.port));
            let address = addresses.ok_or(SiteError::Nowhere)?;
            return Ok(([address].into(), FOR_LONG));
        }
        let lookup = dns::lookup(sites.resolver()?, &self.host, self.port);
        let answer = timeout(LOOKUP, lookup)
            .await
            .map_err(|_| SiteError::Timeout)?;
        let (addresses, ttl) = answer.map_err(SiteError::Name)?;
        match addresses.is_empty() {
            true => Err(SiteError::Nowhere),
            false => Ok((addresses, ttl)),
        }
    }

    fn peers_at(&self, addresses: &[SocketAddr], old: &[Rc<Peer>], now: Instant) -> Rc<[Rc<Peer>]> {
        let peer = |address: &SocketAddr| {
            let known = old.iter().find(|peer| peer.address == *address);
            known.cloned().unwrap_or_else(|| {
                let (keep_alive, all_idle) =
                    (Rc::clone(&self.keep_alive), Rc::clone(&self.all_idle));
                Rc::new(Peer::new(
                    *address,
                    (self.protocol, self.tls.clone()),
                    keep_alive,
                    all_idle,
                    now,
                ))
            })
        };
        addresses.iter().map(peer).collect()
    }

    fn in_turn(&self, peers: &[Rc<Peer>], now: Instant) -> Vec<Rc<Peer>> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let mut ordered = Vec::with_capacity(peers.len());
        while let Some(next) = balance::round_robin(peers, turn, &ordered, now) {
            ordered.push(next);
        }
        ordered
    }
}

//! What clients have asked for, counted over all workers: one zone for each Ingress that limits.
//!
//! A lock guards one shard of one zone for the few instructions that a bucket takes; workers meet on it only for
//! clients of the same shard, and nothing waits while it is held. Messages to an owner would cost every request a
//! wake-up of another thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use foldhash::fast::RandomState;
use l7_ingress_core::Route;
use l7_ingress_core::filter::{Limits, Zone};
use model::ObjectName;
use tokio::time::Instant;

const SHARDS: usize = 16;
/// The most clients that one shard knows: a zone holds as many as nginx's of 5 MB does.
const CLIENTS: u32 = 5120;

/// The zones of all Ingresses.
#[derive(Debug)]
pub(crate) struct Zones {
    epoch: Instant,
    /// Taken when a worker first sees a route, never per request.
    all: Mutex<HashMap<ObjectName, Weak<Counted>, RandomState>>,
}

impl Zones {
    pub(crate) fn new(epoch: Instant) -> Arc<Self> {
        Arc::new(Self {
            epoch,
            all: Mutex::default(),
        })
    }

    fn zone(&self, ingress: &ObjectName) -> Arc<Counted> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = all.get(ingress).and_then(Weak::upgrade) {
            return zone;
        }
        all.retain(|_, zone| zone.strong_count() > 0);
        let zone = Arc::new(Counted::new(self.epoch));
        all.insert(ingress.clone(), Arc::downgrade(&zone));
        zone
    }
}

/// One Ingress's zone.
#[derive(Debug)]
pub(crate) struct Counted {
    epoch: Instant,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug)]
struct Shard {
    rates: Zone,
    /// Requests that are open, by client: no more entries than requests.
    open: HashMap<IpAddr, u32, RandomState>,
}

impl Counted {
    fn new(epoch: Instant) -> Self {
        let shard = |_| {
            Mutex::new(Shard {
                rates: Zone::new(CLIENTS),
                open: HashMap::default(),
            })
        };
        Self {
            epoch,
            hasher: RandomState::default(),
            shards: std::array::from_fn(shard),
        }
    }

    fn with<T>(&self, address: IpAddr, run: impl FnOnce(&mut Shard) -> T) -> T {
        let hash = self.hasher.hash_one(address);
        let shard = &self.shards[usize::try_from(hash >> 32).unwrap_or(0) % SHARDS];
        run(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the client keeps to the rates; then the request is counted.
    pub(crate) fn admits(&self, now: Instant, address: IpAddr, limits: &Limits) -> bool {
        let since: Duration = now.saturating_duration_since(self.epoch);
        self.with(address, |shard| {
            shard.rates.admit(since, address, &limits.rates)
        })
    }

    /// A place among the client's open requests, if there is one.
    pub(crate) fn open(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<Open> {
        let admitted = self.with(address, |shard| {
            let count = shard.open.entry(address).or_default();
            let admitted = *count < most;
            *count += u32::from(admitted);
            admitted
        });
        admitted.then(|| Open {
            zone: Arc::clone(self),
            address,
        })
    }
}

/// One of a client's open requests.
#[derive(Debug)]
pub(crate) struct Open {
    zone: Arc<Counted>,
    address: IpAddr,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.zone.with(self.address, |shard| {
            if let Entry::Occupied(mut count) = shard.open.entry(self.address) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        });
    }
}

/// Holds each route, so that no other one comes to its address.
type Known = HashMap<*const Route, (Arc<Route>, Arc<Counted>), RandomState>;

/// A worker's way to the zones, by the route's address.
#[derive(Debug)]
pub(crate) struct ZoneCache {
    zones: Arc<Zones>,
    known: RefCell<Known>,
}

impl ZoneCache {
    pub(crate) fn new(zones: Arc<Zones>) -> Self {
        Self {
            zones,
            known: RefCell::default(),
        }
    }

    /// The zone of the route's Ingress.
    pub(crate) fn of(&self, route: &Arc<Route>) -> Arc<Counted> {
        let mut known = self.known.borrow_mut();
        let (_, zone) = known.entry(Arc::as_ptr(route)).or_insert_with(|| {
            let zone = self.zones.zone(&route.ingress);
            (Arc::clone(route), zone)
        });
        Arc::clone(zone)
    }

    /// Forgets routes of replaced tables. What was counted stays for as long as one route of the Ingress does.
    pub(crate) fn sweep(&self) {
        self.known
            .borrow_mut()
            .retain(|_, (route, _)| Arc::strong_count(route) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_no_more_open_requests_than_it_may() {
        let zone = Arc::new(Counted::new(Instant::now()));
        let client = |last| IpAddr::from([10, 0, 0, last]);
        let (first, second) = (zone.open(client(1), 2), zone.open(client(1), 2));
        assert!(first.is_some() && second.is_some());
        assert!(zone.open(client(1), 2).is_none());
        assert!(zone.open(client(2), 2).is_some(), "another one may");
        drop(first);
        let third = zone.open(client(1), 2);
        assert!(third.is_some());
        drop((second, third));
        let open = |shard: &Mutex<Shard>| shard.lock().unwrap().open.len();
        assert_eq!(zone.shards.iter().map(open).sum::<usize>(), 0);
    }

    #[test]
    fn an_ingress_has_one_zone_however_many_routes_and_tables() {
        let zones = Zones::new(Instant::now());
        let (a, b) = (ObjectName::new("n", "a"), ObjectName::new("n", "b"));
        let first = zones.zone(&a);
        assert!(Arc::ptr_eq(&first, &zones.zone(&a)));
        assert!(!Arc::ptr_eq(&first, &zones.zone(&b)));
        drop(first);
        let _ = zones.zone(&b);
        assert_eq!(zones.all.lock().unwrap().len(), 1, "nobody uses a's");
    }
}

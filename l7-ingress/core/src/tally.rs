//! What is counted of a route's requests hangs on the route: a request needs no lookup to be counted.
//!
//! Each worker has a place of its own on each route and is its only writer, with plain loads and stores;
//! whoever wants a sum adds the places up. What the cells of a series mean is for the proxy to say.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use http::Method;

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds; only the owning worker calls this.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes away; only the owning worker calls this.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Replaces; only the owning worker calls this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// What it is now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker counts of one kind of request.
pub type Series = [Cell];

/// The methods that are told apart; what clients make up is the last.
pub const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "OTHER",
];

/// What tells the requests of one route apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    method: u8,
    status: u16,
    canary: bool,
}

impl Kind {
    /// The kind of a request with this method, which was answered with this status, by the canary or not.
    #[must_use]
    pub fn new(method: &Method, status: u16, canary: bool) -> Self {
        let method = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::DELETE => 4,
            Method::OPTIONS => 5,
            Method::PATCH => 6,
            _ => 7,
        };
        Self {
            method,
            status,
            canary,
        }
    }

    /// The method, as one of [`METHODS`].
    #[must_use]
    pub fn method(self) -> &'static str {
        METHODS[usize::from(self.method)]
    }

    /// The status, or its class, as it was said.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.status
    }

    /// Whether the canary answered.
    #[must_use]
    pub const fn is_canary(self) -> bool {
        self.canary
    }
}

/// A worker, of how many there are.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which one, from 0.
    pub worker: usize,
    /// How many.
    pub workers: usize,
}

/// The series of one route.
#[derive(Debug, Default)]
pub struct Tally {
    places: OnceLock<Box<[Lists]>>,
}

/// One list for each method: most have one or two entries.
type Lists = [OnceLock<Box<Entry>>; METHODS.len()];

#[derive(Debug)]
struct Entry {
    kind: Kind,
    series: Arc<Series>,
    next: OnceLock<Box<Self>>,
}

impl Tally {
    /// The series of `kind` that the worker at `place` writes, made by `make` when it is first asked for.
    ///
    /// # Panics
    /// When there are more workers than were said before.
    pub fn series(
        &self,
        place: Place,
        kind: Kind,
        make: impl FnOnce() -> Arc<Series>,
    ) -> &Arc<Series> {
        let places = self
            .places
            .get_or_init(|| (0..place.workers).map(|_| Lists::default()).collect());
        let mut next = &places[place.worker][usize::from(kind.method)];
        while let Some(entry) = next.get() {
            if entry.kind == kind {
                return &entry.series;
            }
            next = &entry.next;
        }
        let entry = next.get_or_init(|| {
            Box::new(Entry {
                kind,
                series: make(),
                next: OnceLock::new(),
            })
        });
        &entry.series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        worker: 1,
        workers: 2,
    };

    fn series() -> Arc<Series> {
        Arc::new([Cell::default()])
    }

    #[test]
    fn each_kind_of_request_has_one_series_for_each_worker() {
        let tally = Tally::default();
        let other = Place { worker: 0, ..PLACE };
        let kinds = [
            Kind::new(&Method::GET, 200, false),
            Kind::new(&Method::GET, 404, false),
            Kind::new(&Method::GET, 200, true),
            Kind::new(&Method::POST, 200, false),
        ];
        let mut all = Vec::new();
        for kind in kinds {
            for place in [PLACE, other] {
                let made = tally.series(place, kind, series);
                let known = tally.series(place, kind, || unreachable!("it was made before"));
                assert!(Arc::ptr_eq(made, known), "{kind:?}");
                all.push(Arc::as_ptr(made).cast::<Cell>());
            }
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn methods_that_clients_make_up_are_one() {
        let named =
            |name: &str| Kind::new(&Method::from_bytes(name.as_bytes()).unwrap(), 200, false);
        for known in &METHODS[..7] {
            assert_eq!(named(known).method(), *known);
        }
        assert_eq!(named("get").method(), "OTHER");
        assert_eq!(named("BREW"), named("PROPFIND"));
    }
}

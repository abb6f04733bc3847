//! Who holds what: the ledger and its journal, changed together.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cni_core::ipam::{AllocationError, Key, Lease, Ledger, Phase};
use cni_core::journal::Record;
use ipnet::IpNet;

use crate::journal::Journal;

/// Why nothing was given out or taken back.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// There is nothing to give.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// It cannot be written down.
    #[error("the journal of addresses cannot be written")]
    Journal(#[source] io::Error),
}

/// The ledger and its journal.
#[derive(Debug)]
pub struct Book {
    // A lock and not a channel: it guards the one order of reservations, and whoever reserves waits for
    // the disk in any case.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    journal: Journal,
}

impl Book {
    /// Opens the book of this boot.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(directory: &Path, boot: &str) -> io::Result<Self> {
        let (journal, replayed) = Journal::open(directory, boot)?;
        if replayed.torn > 0 {
            tracing::info!(
                "the journal's last {} bytes were cut off by a crash",
                replayed.torn
            );
        }
        if !replayed.damaged.is_empty() {
            tracing::error!(
                "{} lines of the journal are damaged; it was copied to journal.damaged",
                replayed.damaged.len()
            );
        }
        let ledger = replayed.ledger;
        Ok(Self {
            inner: Mutex::new(Inner { ledger, journal }),
        })
    }

    /// Gives out addresses of these ranges from now on.
    pub fn set_ranges(&self, ranges: &[IpNet]) {
        self.lock().ledger.set_ranges(ranges);
    }

    /// Chooses addresses for a lease that has none yet, and writes it down before anybody can use it.
    pub(crate) fn reserve(&self, mut lease: Lease, asked: &[IpAddr]) -> Result<Lease, BookError> {
        let mut inner = self.lock();
        inner.ledger.check_ports(&lease.key, &lease.ports)?;
        lease.addresses = inner.ledger.choose(&lease.key, asked)?;
        inner.write(&[Record::Hold(Box::new(lease.clone()))])?;
        inner.ledger.hold(lease.clone());
        Ok(lease)
    }

    /// Takes what a lease says, chosen by somebody else.
    pub(crate) fn hold(&self, lease: Lease) -> Result<(), BookError> {
        let mut inner = self.lock();
        inner.write(&[Record::Hold(Box::new(lease.clone()))])?;
        inner.ledger.hold(lease);
        Ok(())
    }

    /// ADD has succeeded.
    pub(crate) fn complete(&self, key: &Key) -> Result<(), BookError> {
        let mut inner = self.lock();
        let record = Record::Complete(key.clone());
        inner.journal.note(&[record]).map_err(BookError::Journal)?;
        inner.ledger.complete(key);
        Ok(())
    }

    /// DEL has succeeded. Returns whether there is anything to give back.
    pub(crate) fn go(&self, key: &Key) -> Result<bool, BookError> {
        let mut inner = self.lock();
        let Some(lease) = inner.ledger.lease(key) else {
            return Ok(false);
        };
        if lease.phase != Phase::Going {
            inner.write(&[Record::Going(key.clone())])?;
            inner.ledger.go(key);
        }
        Ok(true)
    }

    /// Whether what an attachment held is being removed.
    pub(crate) fn is_going(&self, key: &Key) -> bool {
        let inner = self.lock();
        let lease = inner.ledger.lease(key);
        lease.is_some_and(|lease| lease.phase == Phase::Going)
    }

    /// Gives back what these attachments hold.
    pub(crate) fn release(&self, keys: &[Key]) -> Result<(), BookError> {
        let mut inner = self.lock();
        let records: Vec<_> = keys.iter().cloned().map(Record::Release).collect();
        inner.journal.note(&records).map_err(BookError::Journal)?;
        for key in keys {
            inner.ledger.release(key);
        }
        let Inner { ledger, journal } = &mut *inner;
        journal.tidy(ledger).map_err(BookError::Journal)
    }

    /// All leases.
    pub fn leases(&self) -> Vec<Lease> {
        self.lock().ledger.leases().cloned().collect()
    }

    /// An attachment's.
    pub fn lease(&self, key: &Key) -> Option<Lease> {
        self.lock().ledger.lease(key).cloned()
    }

    /// The ranges that addresses are given out of.
    pub(crate) fn ranges(&self) -> Vec<IpNet> {
        self.lock().ledger.ranges().collect()
    }

    /// A range whose addresses are all given out.
    pub(crate) fn full(&self) -> Option<IpNet> {
        self.lock().ledger.full()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, records: &[Record]) -> Result<(), BookError> {
        self.journal.append(records).map_err(BookError::Journal)
    }
}

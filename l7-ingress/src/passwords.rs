//! Checks passwords: hashing is meant to take long, so it is done on threads of its own, few at a time, and what was
//! right is remembered.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use foldhash::fast::RandomState;
use l7_ingress_core::filter::{Basic, Credentials};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Hashes that one worker has computed at once.
const AT_ONCE: usize = 2;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many right passwords a worker remembers.
const REMEMBERED: usize = 4096;

/// What the workers of a process remember passwords under.
///
/// # Errors
/// When the system has no random bytes.
pub(crate) fn key() -> Result<hmac::Key, rustls::Error> {
    let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
    key.map_err(|_| rustls::Error::FailedToGetRandomBytes)
}

/// Why a password was not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub(crate) struct Busy;

/// A worker's checks.
#[derive(Debug)]
pub(crate) struct Checks {
    places: Arc<Semaphore>,
    /// Of this process alone, so that what it remembers is worth nothing elsewhere.
    key: hmac::Key,
    known: RefCell<Known>,
}

/// The right ones, the oldest first.
#[derive(Debug, Default)]
struct Known {
    all: HashSet<[u8; 32], RandomState>,
    order: VecDeque<[u8; 32]>,
}

impl Checks {
    pub(crate) fn new(key: hmac::Key) -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            key,
            known: RefCell::default(),
        }
    }

    /// Whether the password is the user's; a user that does not exist costs as much as one that does.
    pub(crate) async fn check(
        &self,
        basic: &Arc<Basic>,
        credentials: Credentials,
    ) -> Result<bool, Busy> {
        let tag = self.tag(basic, &credentials);
        if tag.is_some_and(|tag| self.known.borrow().all.contains(&tag)) {
            return Ok(true);
        }
        let place = Arc::clone(&self.places).acquire_owned();
        let place = timeout(PATIENCE, place).await.map_err(|_| Busy)?;
        let place = place.map_err(|_| Busy)?;
        let passwords = Arc::clone(&basic.passwords);
        // A client that leaves does not stop it: the place is free when it is done.
        let hashed = tokio::task::spawn_blocking(move || {
            let _place = place;
            passwords.check(credentials.user(), credentials.password())
        });
        let right = hashed.await.map_err(|_| Busy)?;
        if let Some(tag) = tag.filter(|_| right) {
            self.known.borrow_mut().add(tag);
        }
        Ok(right)
    }

    /// Stands for a user, the hash of the user's password, and a password; another hash makes another tag, so that a
    /// changed Secret forgets.
    fn tag(&self, basic: &Basic, credentials: &Credentials) -> Option<[u8; 32]> {
        let hash = basic.passwords.fingerprint(credentials.user())?;
        let mut context = hmac::Context::with_key(&self.key);
        for part in [credentials.user(), hash, credentials.password()] {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }
}

impl Known {
    fn add(&mut self, tag: [u8; 32]) {
        if !self.all.insert(tag) {
            return;
        }
        self.order.push_back(tag);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut known = Known::default();
        let tag = |number: usize| {
            let mut tag = [0; 32];
            tag[..8].copy_from_slice(&number.to_le_bytes());
            tag
        };
        for number in 0..=REMEMBERED {
            known.add(tag(number));
            known.add(tag(number));
        }
        assert_eq!(known.order.len(), REMEMBERED);
        assert_eq!(known.all.len(), REMEMBERED);
        assert!(!known.all.contains(&tag(0)));
        assert!(known.all.contains(&tag(1)));
    }
}

//! What a worker remembers of the servers that are asked who may come in.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use foldhash::fast::RandomState;
use http::HeaderMap;
use l7_ingress_core::filter::{Freshness, Heard};
use tokio::time::Instant;

/// Answers that a worker remembers.
const MOST: usize = 16 * 1024;
/// Bytes of all of them, with their keys.
const MOST_BYTES: usize = 16 << 20;
/// Bytes of one.
const LONGEST: usize = 16 << 10;

/// Answers by what was asked. Where there is no more room, the oldest goes.
#[derive(Debug, Default)]
pub(crate) struct Answers(RefCell<Kept>);

#[derive(Debug, Default)]
struct Kept {
    all: HashMap<Rc<[u8]>, Entry, RandomState>,
    /// Their keys as they came.
    order: BTreeMap<u64, Rc<[u8]>>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    bytes: usize,
    until: Instant,
    freshness: Freshness,
    heard: Rc<Heard>,
}

impl Answers {
    /// The answer to this, if there is one that still holds, for a request with these fields.
    pub(crate) fn get(&self, key: &[u8], asked: &HeaderMap, now: Instant) -> Option<Rc<Heard>> {
        let kept = self.0.borrow();
        let entry = kept.all.get(key)?;
        let holds = now < entry.until && entry.freshness.fits(asked);
        holds.then(|| Rc::clone(&entry.heard))
    }

    /// Remembers an answer, in place of the last one to the same.
    pub(crate) fn add(&self, key: &[u8], heard: Rc<Heard>, freshness: Freshness, now: Instant) {
        let bytes = key.len() + heard.size() + freshness.size();
        let mut kept = self.0.borrow_mut();
        kept.remove(key);
        let Some(until) = now.checked_add(freshness.time) else {
            return;
        };
        if bytes > LONGEST {
            return;
        }
        while kept.all.len() >= MOST || kept.bytes + bytes > MOST_BYTES {
            let Some((_, oldest)) = kept.order.pop_first() else {
                break;
            };
            kept.remove(&oldest);
        }
        let key: Rc<[u8]> = key.into();
        let number = kept.next;
        kept.next += 1;
        kept.bytes += bytes;
        kept.order.insert(number, Rc::clone(&key));
        let entry = Entry {
            number,
            bytes,
            until,
            freshness,
            heard,
        };
        kept.all.insert(key, entry);
    }

    /// Forgets what holds no longer.
    pub(crate) fn sweep(&self, now: Instant) {
        let kept = &mut *self.0.borrow_mut();
        kept.all.retain(|_, entry| {
            let holds = now < entry.until;
            if !holds {
                kept.order.remove(&entry.number);
                kept.bytes -= entry.bytes;
            }
            holds
        });
    }
}

impl Kept {
    fn remove(&mut self, key: &[u8]) {
        if let Some(old) = self.all.remove(key) {
            self.order.remove(&old.number);
            self.bytes -= old.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::StatusCode;
    use l7_ingress_core::filter::{Caching, External};

    use super::*;

    fn answer() -> (Rc<Heard>, Freshness) {
        let (heard, headers) = (External::default(), HeaderMap::new());
        let freshness = Caching::default().freshness(
            &headers,
            (StatusCode::OK, &headers),
            SystemTime::UNIX_EPOCH,
        );
        let heard = heard.hear(StatusCode::OK, &headers);
        (Rc::new(heard), freshness.unwrap())
    }

    #[tokio::test]
    async fn no_more_is_remembered_than_there_is_room_for() {
        let (answers, now) = (Answers::default(), Instant::now());
        let add = |key: &[u8]| {
            let (heard, freshness) = answer();
            answers.add(key, heard, freshness, now);
        };
        let is_known = |key: &[u8]| answers.get(key, &HeaderMap::new(), now).is_some();
        for number in 0..=MOST {
            add(&number.to_le_bytes());
            add(&number.to_le_bytes());
        }
        assert!(!is_known(&0_usize.to_le_bytes()));
        assert!(is_known(&1_usize.to_le_bytes()));
        assert_eq!(answers.0.borrow().all.len(), MOST);
        assert_eq!(answers.0.borrow().order.len(), MOST);
        add(&[0; LONGEST + 1]);
        assert!(!is_known(&[0; LONGEST + 1]), "longer than one may be");
        for number in 0..2048_u64 {
            let mut key = vec![0; LONGEST];
            key[..8].copy_from_slice(&number.to_le_bytes());
            add(&key);
        }
        let held: usize = answers
            .0
            .borrow()
            .all
            .values()
            .map(|entry| entry.bytes)
            .sum();
        assert_eq!(answers.0.borrow().bytes, held);
        assert!(held <= MOST_BYTES);
    }

    #[tokio::test]
    async fn what_holds_no_longer_is_forgotten() {
        let (answers, now) = (Answers::default(), Instant::now());
        let (heard, freshness) = answer();
        let time = freshness.time;
        answers.add(b"key", heard, freshness, now);
        let last = now + time - Duration::from_millis(1);
        let known = |at| answers.get(b"key", &HeaderMap::new(), at).is_some();
        assert!(known(last) && !known(now + time));
        answers.sweep(last);
        assert!(known(last));
        answers.sweep(now + time);
        let kept = answers.0.borrow();
        assert!(kept.all.is_empty() && kept.order.is_empty() && kept.bytes == 0);
    }
}

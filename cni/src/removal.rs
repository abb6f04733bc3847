//! Cables removed behind DEL's back: the kernel waits for tens of milliseconds until nobody can still be
//! using one, and once for all of a group.
//!
//! ```text
//!  DEL ── going in the journal ──▶ waiting ──▶ at work: links go, then leases ──▶ finished
//! ```
//! A crash anywhere leaves leases that are going, and the next start takes them up.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cni_core::ipam::Key;

/// How long somebody waits who needs what is going.
const PATIENCE: Duration = Duration::from_secs(10);

/// A thread that removes what it is told to, all that is waiting at once. Dropped, it finishes first.
pub(crate) struct Remover {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    // A lock and not a channel: those who wait for a removal look at what is waiting, and nothing waits
    // twice, so that there are never more than there are leases.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Key>,
    begun: u64,
    finished: u64,
    ended: bool,
}

impl Remover {
    pub(crate) fn start(remove: impl Fn(&[Key]) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("removal".to_owned())
            .spawn(move || {
                while let Some(keys) = theirs.next() {
                    remove(&keys);
                }
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    pub(crate) fn push(&self, key: Key) {
        let mut state = self.shared.lock();
        if !state.waiting.contains(&key) {
            state.waiting.push_back(key);
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Waits until all that is waiting now has been tried. Returns whether there was anything.
    pub(crate) fn settle(&self) -> bool {
        let state = self.shared.lock();
        let target = state.begun + u64::from(!state.waiting.is_empty());
        if state.finished >= target {
            return false;
        }
        let unfinished = |state: &mut State| state.finished < target;
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(state, PATIENCE, unfinished);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Remover {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; what it left is taken up at the next start.
            drop(thread.join());
        }
    }
}

impl Shared {
    /// Says that the last ones are done, and waits for more; none when it is time to go.
    fn next(&self) -> Option<Vec<Key>> {
        let mut state = self.lock();
        state.finished = state.begun;
        self.changed.notify_all();
        let idle = |state: &mut State| state.waiting.is_empty() && !state.ended;
        let mut state = self
            .changed
            .wait_while(state, idle)
            .unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() {
            return None;
        }
        state.begun += 1;
        Some(state.waiting.drain(..).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni_core::spec::Attachment;
    use std::sync::mpsc;

    fn key(number: u8) -> Key {
        Key {
            network: "n".to_owned(),
            attachment: Attachment {
                container: format!("c{number}"),
                ifname: "eth0".to_owned(),
            },
        }
    }

    #[test]
    fn what_comes_meanwhile_goes_together_and_all_goes_before_the_end() {
        let (began, begun) = mpsc::sync_channel(9);
        let (release, gate) = mpsc::sync_channel(9);
        let remover = Remover::start(move |keys| {
            began.send(keys.to_vec()).unwrap();
            gate.recv().unwrap();
        });
        let remover = remover.unwrap();
        assert!(!remover.settle(), "there is nothing to wait for");
        remover.push(key(1));
        assert_eq!(begun.recv().unwrap(), [key(1)]);
        for number in [2, 3, 2] {
            remover.push(key(number));
        }
        thread::scope(|scope| {
            let settled = scope.spawn(|| remover.settle());
            release.send(()).unwrap();
            assert_eq!(begun.recv().unwrap(), [key(2), key(3)]);
            release.send(()).unwrap();
            settled.join().unwrap();
        });
        remover.push(key(4));
        release.send(()).unwrap();
        drop(remover);
        assert_eq!(begun.recv().unwrap(), [key(4)]);
        assert!(begun.recv().is_err());
    }
}

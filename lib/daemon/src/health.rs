//! Whether the process is ready, and whether it still moves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What /readyz and /healthz answer from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    // A lock and not a channel: it guards two lists that grow at start and are read by probes;
    // the gates themselves are atomics, so that nothing that serves traffic ever waits for it.
    lists: Arc<Mutex<Lists>>,
}

#[derive(Debug, Default)]
struct Lists {
    gates: Vec<(String, Arc<AtomicBool>)>,
    watchdogs: Vec<Watchdog>,
}

impl Health {
    pub(crate) fn gate(&self, name: &str) -> ReadyGate {
        let open = Arc::new(AtomicBool::new(false));
        self.lists()
            .gates
            .push((name.to_owned(), Arc::clone(&open)));
        ReadyGate(open)
    }

    pub(crate) fn watchdog(&self, name: &'static str, limit: Duration) -> Watchdog {
        let watchdog = Watchdog {
            name,
            limit,
            start: Instant::now(),
            last_beat: Arc::new(AtomicU64::new(0)),
        };
        self.lists().watchdogs.push(watchdog.clone());
        watchdog
    }

    /// The names of the gates that are closed; `None` as long as there are no gates, because a
    /// process that has not yet said what it waits for has only just begun.
    pub(crate) fn missing(&self) -> Option<Vec<String>> {
        let lists = self.lists();
        let closed = |(_, open): &&(String, Arc<AtomicBool>)| !open.load(Ordering::Acquire);
        (!lists.gates.is_empty()).then(|| {
            lists
                .gates
                .iter()
                .filter(closed)
                .map(|(name, _)| name.clone())
                .collect()
        })
    }

    /// The names of the loops that have not moved for as long as they may stand still.
    pub(crate) fn stuck(&self) -> Vec<&'static str> {
        self.lists()
            .watchdogs
            .iter()
            .filter(|watchdog| watchdog.is_stuck())
            .map(|watchdog| watchdog.name)
            .collect()
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One condition of readiness: the process is ready when every gate is open.
#[derive(Clone, Debug)]
pub struct ReadyGate(Arc<AtomicBool>);

impl ReadyGate {
    /// The condition holds.
    pub fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// The condition holds no longer.
    pub fn close(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Watches a loop that must keep moving; when it does not, /healthz fails and the process is
/// restarted by whoever asks there.
#[derive(Clone, Debug)]
pub struct Watchdog {
    name: &'static str,
    limit: Duration,
    start: Instant,
    /// Milliseconds after `start`.
    last_beat: Arc<AtomicU64>,
}

impl Watchdog {
    /// The loop has moved.
    pub fn beat(&self) {
        self.last_beat.store(self.now(), Ordering::Relaxed);
    }

    fn is_stuck(&self) -> bool {
        let still = self
            .now()
            .saturating_sub(self.last_beat.load(Ordering::Relaxed));
        u128::from(still) >= self.limit.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gate_has_to_be_open() {
        let health = Health::default();
        assert_eq!(health.missing(), None, "nothing is known yet");
        let objects = health.gate("objects");
        let table = health.gate("table");
        assert_eq!(
            health.missing(),
            Some(vec!["objects".to_owned(), "table".to_owned()])
        );
        objects.open();
        assert_eq!(health.missing(), Some(vec!["table".to_owned()]));
        table.open();
        assert_eq!(health.missing(), Some(vec![]));
        objects.close();
        assert_eq!(health.missing(), Some(vec!["objects".to_owned()]));
    }

    #[test]
    fn a_loop_is_stuck_when_it_is_silent_for_its_limit() {
        let health = Health::default();
        let calm = health.watchdog("calm", Duration::from_secs(3600));
        let mut late = health.watchdog("late", Duration::ZERO);
        late.start -= Duration::from_secs(1);
        health.lists().watchdogs[1].start = late.start;
        calm.beat();
        assert_eq!(health.stuck(), ["late"]);
    }
}

//! Leader election by a Lease: at most one process of several acts.
//!
//! The algorithm is client-go's: whoever holds the Lease renews it; others take it over when they
//! have not seen it change for as long as it says. Time is each process's own monotonic clock,
//! never the times written in the Lease, so that clocks need not agree. The holder gives up before
//! others may take over, by its own clock too:
//!
//! ```text
//!  holder   renew ──────────── renew_deadline: no longer leader
//!  other       sees it ──────────────────── duration: takes over
//! ```

use std::time::Duration;

use daemon::{Process, error_chain};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::Instant;

/// Whether this process is the one that acts. Copies are the same candidate.
#[derive(Clone, Debug)]
pub struct Leader {
    leads_until: watch::Receiver<Option<Instant>>,
    /// What `changed` said last.
    last: bool,
}

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How long others wait for a holder that is silent; whole seconds.
    pub duration: Duration,
    /// How long the holder acts after the last renewal that worked.
    pub renew_deadline: Duration,
    /// How often the Lease is looked at or renewed.
    pub retry: Duration,
}

impl Default for LeaseTimes {
    /// Those of the components of Kubernetes itself.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

impl Leader {
    pub(crate) fn start(candidate: Candidate, process: &Process) -> Self {
        let (sender, leads_until) = watch::channel(None);
        let shutdown = process.shutdown().clone();
        let task = candidate.run(sender, async move { shutdown.requested().await });
        process.tasks().spawn_finishing("leader election", task);
        Self {
            leads_until,
            last: false,
        }
    }

    /// Whether this process holds the Lease at this moment.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leads_until
            .borrow()
            .is_some_and(|until| Instant::now() < until)
    }

    /// Ends when this process begins or ceases to lead, and says which; the first time, as soon as
    /// it leads.
    pub async fn changed(&mut self) -> bool {
        loop {
            let until = *self.leads_until.borrow_and_update();
            let now = self.is_leader();
            if std::mem::replace(&mut self.last, now) != now {
                return now;
            }
            let expiry = async {
                match until {
                    Some(until) if now => tokio::time::sleep_until(until).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.leads_until.changed() => {
                    if changed.is_err() {
                        // The process is leaving, and leads no more.
                        return std::future::pending().await;
                    }
                }
                () = expiry => {}
            }
        }
    }
}

/// One that stands for election.
#[derive(Debug)]
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    times: LeaseTimes,
    gauge: IntGauge,
    /// The Lease as it last changed, and when that was seen.
    observed: Option<(Lease, Instant)>,
}

/// Why an attempt to hold the Lease failed.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer in time")]
    Silent,
}

impl Candidate {
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        (name, identity): (&str, &str),
        times: LeaseTimes,
        gauge: IntGauge,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            times,
            gauge,
            observed: None,
        }
    }

    async fn run(
        mut self,
        state: watch::Sender<Option<Instant>>,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut failing = false;
        loop {
            // What others may do is counted from when they see the renewal, which is later.
            let begin = Instant::now();
            let attempt = tokio::time::timeout(self.times.renew_deadline, self.attempt());
            let attempt = tokio::select! {
                attempt = attempt => attempt.unwrap_or(Err(LeaseError::Silent)),
                () = &mut shutdown => break,
            };
            match attempt {
                Ok(holds) => {
                    failing = false;
                    self.publish(&state, holds.then(|| begin + self.times.renew_deadline));
                }
                Err(error) => {
                    // Until the deadline of the last renewal, it is still the leader.
                    let until = *state.borrow();
                    self.publish(&state, until.filter(|until| Instant::now() < *until));
                    if !std::mem::replace(&mut failing, true) {
                        let error = error_chain(&error);
                        tracing::warn!("cannot hold or look at Lease {}: {error}", self.name);
                    }
                }
            }
            let jitter = self.times.retry.mul_f64(fastrand::f64() * 0.2);
            tokio::select! {
                () = tokio::time::sleep(self.times.retry + jitter) => {}
                () = &mut shutdown => break,
            }
        }
        let held = state.borrow().is_some();
        self.publish(&state, None);
        if held {
            self.release().await;
        }
    }

    fn publish(&self, state: &watch::Sender<Option<Instant>>, until: Option<Instant>) {
        let before = state.send_replace(until).is_some();
        self.gauge.set(i64::from(until.is_some()));
        match (before, until.is_some()) {
            (false, true) => tracing::info!("Lease {}: leading as {}", self.name, self.identity),
            (true, false) => tracing::info!("Lease {}: leading no longer", self.name),
            _ => {}
        }
    }

    /// Acquires or renews; whether the Lease is held.
    async fn attempt(&mut self) -> Result<bool, LeaseError> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            return self.create().await;
        };
        self.observe(&lease);
        let holder = holder(&lease);
        if holder != self.identity && !holder.is_empty() && !self.is_expired() {
            return Ok(false);
        }
        let renewed = self.renewed(lease);
        self.replace(renewed).await
    }

    async fn create(&mut self) -> Result<bool, LeaseError> {
        let lease = self.renewed(Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        match self.api.create(&PostParams::default(), &lease).await {
            Ok(created) => {
                self.observe(&created);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the Lease if nobody wrote it since it was read: its resourceVersion goes with it.
    async fn replace(&mut self, lease: Lease) -> Result<bool, LeaseError> {
        let parameters = PostParams::default();
        match self.api.replace(&self.name, &parameters, &lease).await {
            Ok(replaced) => {
                self.observe(&replaced);
                Ok(holder(&replaced) == self.identity)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn observe(&mut self, lease: &Lease) {
        let seen = match &self.observed {
            Some((known, seen)) if known.spec == lease.spec => *seen,
            _ => Instant::now(),
        };
        self.observed = Some((lease.clone(), seen));
    }

    fn is_expired(&self) -> bool {
        self.observed.as_ref().is_none_or(|(lease, seen)| {
            let spec = lease.spec.as_ref();
            let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
            let duration = seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map_or(self.times.duration, Duration::from_secs);
            seen.elapsed() >= duration
        })
    }

    /// The Lease as this candidate would hold it.
    fn renewed(&self, lease: Lease) -> Lease {
        let now = MicroTime(jiff::Timestamp::now());
        let before = lease.spec.unwrap_or_default();
        let held = before.holder_identity.as_deref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        let first = before.holder_identity.is_none();
        Lease {
            metadata: lease.metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(self.times.duration.as_secs()).ok(),
                acquire_time: if held {
                    before.acquire_time.clone()
                } else {
                    Some(now.clone())
                },
                renew_time: Some(now),
                lease_transitions: Some(transitions + i32::from(!held && !first)),
                ..before
            }),
        }
    }

    /// Lets another one lead at once instead of after the Lease's duration.
    async fn release(&mut self) {
        let Some((mut lease, _)) = self.observed.take() else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(jiff::Timestamp::now()));
        // Refused with a conflict when another one leads already.
        let released = tokio::time::timeout(RELEASE_TIMEOUT, self.replace(lease)).await;
        if let Ok(Err(error)) = released {
            let error = error_chain(&error);
            tracing::warn!("cannot release Lease {}: {error}", self.name);
        }
    }
}

fn holder(lease: &Lease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

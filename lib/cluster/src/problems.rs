//! What objects ask for and cannot be honoured, told where people look: Events, log, metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use daemon::Process;
use model::{ObjectRef, Problem, Severity};
use tokio::sync::watch;

use crate::events::{EventKind, Events, Report};
use crate::metrics::Metrics;

/// Where problems are reported: each source hands in all that it knows of now, and what is new
/// among them is told once.
///
/// Nothing waits: the newest set replaces those that were not yet looked at, and Events are written
/// at their own pace. One object's problems of one reason are one Event.
#[derive(Clone, Debug)]
pub struct Problems(watch::Sender<BySource>);

type BySource = BTreeMap<&'static str, Arc<[Problem]>>;

impl Problems {
    pub(crate) fn start(events: Events, process: &Process, metrics: Metrics) -> Self {
        let sender = watch::Sender::new(BySource::new());
        let reporter = Reporter {
            events,
            metrics,
            known: BTreeSet::new(),
            untold: BTreeSet::new(),
        };
        process
            .tasks()
            .spawn("problems", reporter.run(sender.subscribe()));
        Self(sender)
    }

    /// Replaces what `source` reported before by these: all that it knows of now.
    pub fn report(&self, source: &'static str, problems: Vec<Problem>) {
        self.0.send_if_modified(|sources| {
            let known = sources.get(source);
            if known.map_or(problems.is_empty(), |known| **known == *problems) {
                return false;
            }
            sources.insert(source, problems.into());
            true
        });
    }

    /// All problems that are known now.
    #[must_use]
    pub fn current(&self) -> Vec<Problem> {
        let sources = self.0.borrow();
        sources
            .values()
            .flat_map(|them| them.iter().cloned())
            .collect()
    }
}

struct Reporter {
    events: Events,
    metrics: Metrics,
    known: BTreeSet<Problem>,
    /// What an Event is owed for; never more than `known` holds.
    untold: BTreeSet<(ObjectRef, &'static str)>,
}

impl Reporter {
    async fn run(mut self, mut sources: watch::Receiver<BySource>) {
        let events = self.events.clone();
        loop {
            tokio::select! {
                changed = sources.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = sources.borrow_and_update().clone();
                    self.take_over(now.values().flat_map(|them| them.iter().cloned()).collect());
                }
                Some(room) = events.room(), if !self.untold.is_empty() => {
                    if let Some(report) = self.next_report() {
                        room.send(report);
                    }
                }
            }
        }
    }

    fn take_over(&mut self, now: BTreeSet<Problem>) {
        for problem in now.difference(&self.known) {
            tracing::warn!(
                object = %problem.object, field = problem.field, reason = problem.reason,
                "{}", problem.message
            );
            self.untold.insert((problem.object.clone(), problem.reason));
        }
        for problem in self.known.difference(&now) {
            tracing::info!(
                object = %problem.object, field = problem.field, reason = problem.reason,
                "no longer a problem"
            );
        }
        self.known = now;
        self.count();
    }

    fn count(&self) {
        self.metrics.problems.reset();
        let mut counts: BTreeMap<_, i64> = BTreeMap::new();
        for problem in &self.known {
            *counts
                .entry((problem.object.kind.as_str(), problem.reason))
                .or_default() += 1;
        }
        for ((kind, reason), count) in counts {
            self.metrics
                .problems
                .with_label_values(&[kind, reason])
                .set(count);
        }
    }

    /// The next Event that is still owed: its problems may be gone by now.
    fn next_report(&mut self) -> Option<Report> {
        while let Some((object, reason)) = self.untold.pop_first() {
            let messages: Vec<String> = self
                .known
                .range(first_of(&object)..)
                .take_while(|problem| problem.object == object)
                .filter(|problem| problem.reason == reason)
                .map(|problem| format!("{}: {}", problem.field, problem.message))
                .collect();
            if !messages.is_empty() {
                return Some(Report {
                    object,
                    kind: EventKind::Warning,
                    reason,
                    message: messages.join("; "),
                });
            }
        }
        None
    }
}

/// Before all problems of an object.
fn first_of(object: &ObjectRef) -> Problem {
    Problem {
        object: object.clone(),
        field: String::new(),
        reason: "",
        message: String::new(),
        severity: Severity::Warning,
    }
}

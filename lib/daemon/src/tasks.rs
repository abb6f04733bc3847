//! The tasks that a process owns.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::Shutdown;

/// Any error of a task.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What a task may end with: nothing, or a result whose error ends the process.
pub trait Outcome {
    /// The outcome as a result.
    ///
    /// # Errors
    ///
    /// When the task failed.
    fn into_result(self) -> Result<(), BoxError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// The tasks that a process owns: awaited when it leaves, and heard when they fail.
///
/// A task that returns an error or panics takes the process with it: the shutdown is requested, so
/// that traffic in flight is drained, and the exit code is 1. One that returns well has done its work.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runtime: Handle,
    /// Tasks that are dropped at the end.
    loops: TaskTracker,
    /// Tasks that are awaited first, because they end well by themselves.
    finishers: TaskTracker,
    cancel: CancellationToken,
    failed: AtomicBool,
    shutdown: Shutdown,
}

impl Tasks {
    /// Must be called on the runtime that is to run the tasks.
    pub(crate) fn new(shutdown: Shutdown) -> Self {
        Self(Arc::new(Inner {
            runtime: Handle::current(),
            loops: TaskTracker::new(),
            finishers: TaskTracker::new(),
            cancel: CancellationToken::new(),
            failed: AtomicBool::new(false),
            shutdown,
        }))
    }

    /// Runs `task` on the control plane's runtime until it ends, or the process does: then it is
    /// dropped where it waits.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let task = self.watched(name, task);
        drop(self.0.loops.spawn_on(task, &self.0.runtime));
    }

    /// Runs `task`, which ends by itself after [`Shutdown::requested`] and is given time to: one
    /// that has something to hand back when the process leaves, as a lease.
    pub fn spawn_finishing<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let task = self.watched(name, task);
        drop(self.0.finishers.spawn_on(task, &self.0.runtime));
    }

    /// Whether a task failed.
    pub(crate) fn failed(&self) -> bool {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Drops the tasks when it is dropped.
    pub(crate) fn drop_guard(&self) -> DropGuard {
        self.0.cancel.clone().drop_guard()
    }

    /// Awaits what finishes by itself, for a bounded time, then drops the others where they wait.
    pub(crate) async fn finish(&self) {
        self.0.finishers.close();
        if tokio::time::timeout(FINISH_TIME, self.0.finishers.wait())
            .await
            .is_err()
        {
            tracing::warn!("a task did not finish within {FINISH_TIME:?}");
        }
        self.0.cancel.cancel();
        self.0.loops.close();
        // Bounded, for a task that blocks its thread cannot be dropped.
        let _dropped = tokio::time::timeout(FINISH_TIME, self.0.loops.wait()).await;
    }

    /// `task` until it is cancelled, with its failure reported to the process.
    fn watched<F>(&self, name: &'static str, task: F) -> impl Future<Output = ()> + use<F>
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let tasks = self.clone();
        async move {
            let ended = tokio::select! {
                biased;
                () = tasks.0.cancel.cancelled() => return,
                ended = AssertUnwindSafe(task).catch_unwind() => ended,
            };
            let outcome = match ended {
                Ok(outcome) => outcome.into_result(),
                Err(_) => Err("it panicked".into()),
            };
            if let Err(error) = outcome {
                tasks.fail(name, error.as_ref());
            }
        }
    }

    fn fail(&self, name: &str, error: &(dyn Error + 'static)) {
        tracing::error!("task {name} failed, leaving: {}", error_chain(error));
        self.0.failed.store(true, Ordering::Relaxed);
        self.0.shutdown.request();
    }
}

/// An error with what caused it, in one line.
#[must_use]
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// How long a process waits for its tasks when everything else is done.
const FINISH_TIME: Duration = Duration::from_secs(5);

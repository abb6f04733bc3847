//! Keeps the embedded API at what the folder says.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use prometheus::IntGauge;
use tokio::sync::{mpsc, watch as state};
use tokio::time::{Instant, MissedTickBehavior};

use super::pending::Pending;
use super::{Finding, Folder};

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no such folder, or it cannot be read.
    #[error("--manifests {folder}: no folder that can be read")]
    Folder {
        /// The folder asked for.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The kernel does not tell of changes.
    #[error("--manifests {folder}: cannot watch it")]
    Watch {
        /// The folder asked for.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: notify::Error,
    },
    /// Reading the folder panicked.
    #[error("reading the manifests failed")]
    Reload(#[from] tokio::task::JoinError),
}

/// Where the events of a folder arrive.
#[derive(Debug)]
pub(crate) struct Watching {
    root: PathBuf,
    events: mpsc::Receiver<(EventKind, PathBuf)>,
    /// Events were lost.
    overflown: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

impl Watching {
    /// Begins to watch, which has to be before the folder is read, so that nothing is missed.
    pub(crate) fn begin(folder: &Path) -> Result<Self, FolderError> {
        let root = folder
            .canonicalize()
            .map_err(|source| FolderError::Folder {
                folder: folder.to_owned(),
                source,
            })?;
        let (sender, events) = mpsc::channel(EVENTS);
        let overflown = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&overflown);
        let on_event = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else {
                lost.store(true, Ordering::Release);
                return;
            };
            if event.need_rescan() {
                lost.store(true, Ordering::Release);
            }
            if matches!(
                event.kind,
                EventKind::Access(notify::event::AccessKind::Open(_))
            ) {
                return;
            }
            for path in event.paths {
                if sender.try_send((event.kind, path)).is_err() {
                    lost.store(true, Ordering::Release);
                }
            }
        };
        let watching = |source| FolderError::Watch {
            folder: folder.to_owned(),
            source,
        };
        let mut watcher = notify::recommended_watcher(on_event).map_err(watching)?;
        watcher
            .watch(&root, RecursiveMode::Recursive)
            .map_err(watching)?;
        Ok(Self {
            root,
            events,
            overflown,
            _watcher: watcher,
        })
    }

    /// The folder's path without links.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// Reads what changes in the folder, for as long as the process lives.
pub(crate) async fn watch(
    mut watching: Watching,
    mut folder: Folder,
    findings: state::Sender<Arc<[Finding]>>,
    gauge: IntGauge,
) -> Result<(), FolderError> {
    let mut pending = Pending::default();
    let mut resync = tokio::time::interval_at(Instant::now() + RESYNC, RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let deadline = pending.deadline();
        let settled = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((kind, path)) = watching.events.recv() => {
                if let Ok(path) = path.strip_prefix(&watching.root) {
                    pending.note(Instant::now(), &kind, path);
                }
            }
            _ = resync.tick() => pending.note_all(Instant::now()),
            () = settled => {}
        }
        if watching.overflown.swap(false, Ordering::AcqRel) {
            pending.note_all(Instant::now());
        }
        if let Some(changed) = pending.take(Instant::now()) {
            // Reading and parsing block: off the threads that answer probes.
            folder = tokio::task::spawn_blocking(move || {
                folder.reload(&changed);
                folder
            })
            .await?;
            publish(&folder, &findings, &gauge);
        }
    }
}

/// Tells what is wrong: each finding is logged when it comes and when it goes.
pub(crate) fn publish(folder: &Folder, findings: &state::Sender<Arc<[Finding]>>, gauge: &IntGauge) {
    let now: Arc<[Finding]> = folder.findings().into();
    gauge.set(i64::try_from(now.len()).unwrap_or(i64::MAX));
    let before = findings.send_replace(Arc::clone(&now));
    for finding in now.iter().filter(|it| before.binary_search(it).is_err()) {
        tracing::warn!("manifests: {finding}");
    }
    for finding in before.iter().filter(|it| now.binary_search(it).is_err()) {
        tracing::info!("manifests: mended: {finding}");
    }
}

/// Events that wait; when there are more, the whole folder is looked at.
const EVENTS: usize = 1024;
/// For file systems that tell of nothing, and links to files elsewhere.
const RESYNC: Duration = Duration::from_secs(60);

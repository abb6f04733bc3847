//! A folder of manifests as a cluster.
//!
//! ```text
//!  inotify ──▶ Pending (what changed, when it is settled) ──▶ Folder::reload ──▶ embedded API
//!                                                                  └──▶ findings
//! ```

mod document;
mod finding;
mod folder;
mod locate;
mod pending;
mod scan;
mod texts;
mod watcher;

pub use finding::Finding;
pub(crate) use folder::Changed;
pub(crate) use folder::Folder;
pub use watcher::FolderError;
pub(crate) use watcher::{Watching, publish, watch};

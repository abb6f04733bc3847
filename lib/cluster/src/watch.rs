//! Watches one kind of objects and says what changed, exactly.
//!
//! ```text
//!            ┌────────── 410 ───────────┐
//!            ▼                          │
//!  ──▶ List (pages) ──▶ Open ──▶ Follow (events, bookmarks)
//!        ▲    │          ▲  │       │
//!        └err─┘          └err┴──end─┘
//! ```
//!
//! This stands where `kube::runtime::watcher` could: that one decodes a page of objects as a whole,
//! so that a malformed one hides all others, restarts without a pause when a server ends its
//! watches at once, and stays with a version that the server refuses with 410 when a watch begins.

mod decode;
mod known;
mod stream;

use kube::Resource;
use model::{ObjectName, ObjectRef, Problem, Severity};
use serde::de::DeserializeOwned;

pub(crate) use stream::watch;

/// What changed. For each object, what it was before is in the hands of whoever receives this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// The object is new or different.
    Set(ObjectName, T),
    /// The object is gone.
    Removed(ObjectName),
    /// The object is new or different, but cannot be read; what was read before stays in effect.
    Malformed(ObjectName, Malformed),
    /// Every object that existed at the start was reported; comes once.
    Synced,
}

/// The changes of one kind, without an end.
pub type Changes<T> = futures_util::stream::BoxStream<'static, Change<T>>;

/// Why an object cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The path of the field at fault.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Malformed {
    /// The same as a problem of the object.
    #[must_use]
    pub fn problem(self, object: ObjectRef) -> Problem {
        Problem {
            object,
            field: self.field,
            reason: "Malformed",
            message: format!(
                "the object cannot be read, its last good version stays in effect: {}",
                self.message
            ),
            severity: Severity::Error,
        }
    }
}

/// Which objects of a kind are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those in this namespace.
    pub namespace: Option<String>,
    /// Only those that this label selector selects.
    pub labels: Option<String>,
    /// Only those that this field selector selects.
    pub fields: Option<String>,
}

impl Selection {
    /// All objects of the cluster.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The objects of a namespace; of the cluster if none is given.
    #[must_use]
    pub fn namespace(namespace: Option<&str>) -> Self {
        Self {
            namespace: namespace.map(ToOwned::to_owned),
            ..Self::default()
        }
    }
}

/// A kind that can be watched: any of `k8s-openapi`, and custom ones.
pub trait Watched: Resource<DynamicType = ()> + DeserializeOwned + Send + 'static {}

impl<K: Resource<DynamicType = ()> + DeserializeOwned + Send + 'static> Watched for K {}

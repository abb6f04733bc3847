//! Where Kubernetes objects come from, and where findings go back to.
//!
//! ```text
//!  API server ─────────────────┐                 ┌──▶ watch ──▶ Change<T> ──▶ component
//!                              ├─ kube::Client ──┤
//!  folder ──▶ embedded API ────┘                 ├──▶ Leader
//!    ▲  annotation ──▶ EndpointSlices            └──◀ Problems, Events, StatusWriter
//! ```
//!
//! Whichever it is, components see a `kube::Client`; nothing above this crate knows more.

mod backoff;
mod connect;
mod endpoints;
mod events;
mod flags;
mod leader;
mod manifests;
mod metrics;
mod problems;
mod status;
mod watch;

pub use connect::{Cluster, ConnectError, Offline};
pub use endpoints::ENDPOINTS_ANNOTATION;
pub use events::{EventKind, Events};
pub use flags::Flags;
pub use leader::{Leader, LeaseTimes};
pub use manifests::{Finding, FolderError};
pub use problems::Problems;
pub use status::{StatusReport, StatusWriter};
pub use watch::{Change, Changes, Malformed, Selection, Watched};

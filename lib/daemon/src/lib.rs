//! A process: flags, runtime, signals, drain, admin port, metrics, logs.
//!
//! Every daemon's `main` is one call of [`run`]; what the daemon does begins in the closure given to
//! it, with a [`Process`] in its hands:
//!
//! ```text
//!  run ─┬─ logs, runtime (the control plane's; a data plane makes its own threads)
//!       ├─ admin port: /healthz /readyz /metrics and what Process::admin_route adds
//!       ├─ signals ──▶ Shutdown: requested ──▶ accepting ends ──▶ deadline
//!       └─ Tasks: one that fails requests the shutdown, and the exit code is 1
//! ```

mod admin;
mod duration;
mod flags;
mod health;
mod logging;
mod process;
mod procfs;
mod run;
mod shutdown;
mod tasks;

pub use admin::AdminResponse;
pub use duration::{DurationError, parse_duration};
pub use flags::{Flags, LogFormat};
pub use health::{ReadyGate, Watchdog};
pub use process::{Process, StartError};
pub use procfs::Usage;
pub use run::run;
pub use shutdown::Shutdown;
pub use tasks::{BoxError, Outcome, Tasks, error_chain};

//! What a component sees of the process it runs in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

use crate::admin::{Admin, AdminResponse};
use crate::health::{Health, ReadyGate, Watchdog};
use crate::procfs::ProcessCollector;
use crate::{Flags, Shutdown, Tasks};

/// A running process: its tasks, its shutdown, its admin port, its metrics.
///
/// Copies are the same process. When the last one is dropped, the tasks are.
#[derive(Clone, Debug)]
pub struct Process(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    tasks: Tasks,
    admin: Admin,
    admin_addr: SocketAddr,
    _cancel_tasks: DropGuard,
}

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The runtime's threads cannot be made.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// The system refuses to deliver signals.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// `--log-level` is wrong.
    #[error("--log-level is no filter")]
    LogLevel(#[source] tracing_subscriber::filter::ParseError),
    /// `--admin` cannot be listened on.
    #[error("cannot listen on --admin {address}")]
    Admin {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The process's own metrics cannot be registered.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
}

impl Process {
    /// Starts a process on the current runtime, without logs and signals; [`crate::run`] is for
    /// programs, this is for those who make their own, as tests do.
    ///
    /// # Errors
    ///
    /// When the admin address cannot be listened on.
    pub async fn start(name: &str, flags: &Flags) -> Result<Self, StartError> {
        let listening = |source| StartError::Admin {
            address: flags.admin,
            source,
        };
        let listener = TcpListener::bind(flags.admin).await.map_err(listening)?;
        let admin_addr = listener.local_addr().map_err(listening)?;
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::new()?))?;
        let shutdown = Shutdown::new(flags);
        let tasks = Tasks::new(shutdown.clone());
        let admin = Admin::new(Health::default(), shutdown, registry);
        tasks.spawn("admin port", admin.clone().serve(listener));
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            _cancel_tasks: tasks.drop_guard(),
            tasks,
            admin,
            admin_addr,
        })))
    }

    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where tasks are given to the process.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// When to leave.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.admin.shutdown
    }

    /// Where metrics are registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.admin.registry
    }

    /// The address that the admin port listens on.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.0.admin_addr
    }

    /// Adds a condition of readiness, closed at first. The process is ready when there is at least
    /// one, all are open, and no shutdown is requested.
    #[must_use]
    pub fn ready(&self, name: &str) -> ReadyGate {
        self.0.admin.health.gate(name)
    }

    /// Adds a loop that must move at least every `limit`.
    #[must_use]
    pub fn watchdog(&self, name: &'static str, limit: Duration) -> Watchdog {
        self.0.admin.health.watchdog(name, limit)
    }

    /// Answers GET requests for `path` on the admin port; a handler may take its time.
    pub fn admin_route(
        &self,
        path: &str,
        handler: impl Fn() -> AdminResponse + Send + Sync + 'static,
    ) {
        self.0.admin.route(path, Arc::new(handler));
    }
}

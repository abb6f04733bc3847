//! A worker: one thread that accepts, serves and forwards, and shares nothing with the others but
//! the snapshot of the table.
//!
//! ```text
//!              ArcSwap<Table>  ◀── control loop
//!        ┌───────────┼───────────┐
//!   worker 0     worker 1     worker N      each: listeners (SO_REUSEPORT), connections,
//!                                           pools, counters, one thread, one event loop
//! ```

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use daemon::Shutdown;
use http::HeaderValue;
use l7_ingress_core::Table;
use l7_ingress_core::global::{Global, LogForm};
use rustls::ServerConfig;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, interval};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::access_log::AccessLog;
use crate::answers::Answers;
use crate::body::Budget;
use crate::limits::{ZoneCache, Zones};
use crate::listen::{self, Listeners};
use crate::metrics::WorkerMetrics;
use crate::passwords::Checks;
use crate::streams::{self, Open};
use crate::traces::Spans;
use crate::upstream::{Connector, Sites, Upstreams};

/// How often idle connections are looked over and stale caches dropped.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a log line may wait to be handed over.
const LOG_FLUSH: Duration = Duration::from_millis(200);
/// How often the end of the last connection is looked for while draining.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// What a worker is made from; crosses to its thread.
pub(crate) struct Seed {
    pub(crate) table: Arc<ArcSwap<Table>>,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) connector: Connector,
    pub(crate) listeners: Listeners,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) log: AccessLog,
    pub(crate) spans: Spans,
    pub(crate) shutdown: Shutdown,
    pub(crate) zones: Arc<Zones>,
    pub(crate) checks: Checks,
    pub(crate) resolvers: Arc<[SocketAddr]>,
    pub(crate) loop_mark: HeaderValue,
    pub(crate) ports: mpsc::Receiver<Open>,
}

/// A worker's own state.
pub(crate) struct Worker {
    pub(crate) upstreams: Upstreams,
    pub(crate) connector: Connector,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) log: AccessLog,
    /// Where it tells of requests that are traced.
    pub(crate) spans: Spans,
    pub(crate) tls: Arc<ServerConfig>,
    /// The same for where HTTP/2 is not offered.
    pub(crate) tls_http1: Arc<ServerConfig>,
    /// What clients have asked for.
    pub(crate) zones: ZoneCache,
    /// What clients have proven.
    pub(crate) checks: Checks,
    /// What the proxy asks by itself.
    pub(crate) sites: Sites,
    /// What requests of this process carry, so that they are known when they come back to it.
    pub(crate) loop_mark: HeaderValue,
    /// What it remembers of who may come in.
    pub(crate) answers: Answers,
    /// What is held of request bodies.
    pub(crate) buffered: Rc<Budget>,
    table: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    /// That of the last table.
    global: RefCell<Arc<Global>>,
    connections: Cell<usize>,
    draining: Cell<bool>,
    drain: CancellationToken,
    /// Wakes those who wait for a connection to end.
    room: Notify,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl Worker {
    fn new(seed: Seed) -> (Rc<Self>, Listeners, mpsc::Receiver<Open>, Shutdown) {
        let global = Arc::clone(seed.table.load().global());
        let worker = Rc::new(Self {
            upstreams: Upstreams::new(global.keep_alive),
            global: RefCell::new(global),
            connector: seed.connector,
            metrics: seed.metrics,
            log: seed.log,
            spans: seed.spans,
            tls_http1: http1_only(&seed.tls),
            tls: seed.tls,
            zones: ZoneCache::new(seed.zones),
            checks: seed.checks,
            sites: Sites::new(seed.resolvers),
            loop_mark: seed.loop_mark,
            answers: Answers::default(),
            buffered: Rc::default(),
            table: RefCell::new(Cache::new(seed.table)),
            connections: Cell::new(0),
            draining: Cell::new(false),
            drain: CancellationToken::new(),
            room: Notify::new(),
        });
        (worker, seed.listeners, seed.ports, seed.shutdown)
    }

    /// The table of the moment; a request loads it once.
    pub(crate) fn table(&self) -> Arc<Table> {
        let table = Arc::clone(self.table.borrow_mut().load());
        if !Arc::ptr_eq(table.global(), &self.global.borrow()) {
            self.adopt(table.global());
        }
        table
    }

    /// What holds for all routes at the moment.
    pub(crate) fn global(&self) -> Arc<Global> {
        Arc::clone(self.table().global())
    }

    /// How many connections it may serve.
    pub(crate) fn most_connections(&self) -> usize {
        self.global.borrow().max_connections
    }

    /// Whether requests are logged.
    fn logs(&self) -> bool {
        self.global.borrow().log.form != LogForm::Off
    }

    fn adopt(&self, global: &Arc<Global>) {
        self.upstreams.keep(global.keep_alive);
        self.log.flush();
        *self.global.borrow_mut() = Arc::clone(global);
        self.room.notify_waiters();
    }

    /// Whether connections are to be closed when their requests are answered.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Ends when the worker begins to drain.
    pub(crate) fn drain(&self) -> WaitForCancellationFuture<'_> {
        self.drain.cancelled()
    }

    /// Ends when a connection that was one too many has ended.
    pub(crate) fn room(&self) -> Notified<'_> {
        self.room.notified()
    }

    /// How many connections it serves.
    pub(crate) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Counts a connection for as long as the result lives.
    pub(crate) fn connection(self: &Rc<Self>) -> Counted {
        self.connections.set(self.connections.get() + 1);
        self.metrics.accepted.add(1);
        self.metrics.active.add(1);
        Counted {
            worker: Rc::clone(self),
            tunnel: false,
        }
    }

    /// Counts a client's connection that goes on as a tunnel.
    pub(crate) fn tunnel(self: &Rc<Self>) -> Counted {
        self.connections.set(self.connections.get() + 1);
        self.metrics.active.add(1);
        self.metrics.tunnels.add(1);
        Counted {
            worker: Rc::clone(self),
            tunnel: true,
        }
    }

    fn sweep(&self, now: Instant) {
        // Adopts what has changed even where nobody asks.
        self.table();
        self.upstreams.sweep(now);
        self.sites.sweep(now);
        self.answers.sweep(now);
        self.metrics.idle_upstream.set(self.upstreams.idle() as u64);
        self.zones.sweep();
    }
}

fn http1_only(tls: &ServerConfig) -> Arc<ServerConfig> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls)
}

/// A connection that counts.
#[derive(Debug)]
pub(crate) struct Counted {
    worker: Rc<Worker>,
    tunnel: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.connections.set(worker.connections.get() - 1);
        worker.metrics.active.sub(1);
        if self.tunnel {
            worker.metrics.tunnels.sub(1);
        }
        if worker.connections.get() + 1 == worker.most_connections() {
            worker.room.notify_waiters();
        }
    }
}

/// Runs hyper's tasks on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Runs a worker on this thread until it has drained.
///
/// # Errors
/// When the event loop cannot be made.
pub(crate) fn run(seed: Seed) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async {
        let (worker, listeners, ports, shutdown) = Worker::new(seed);
        let accepting = listen::start(&worker, listeners)?;
        tokio::task::spawn_local(housekeeping(Rc::clone(&worker)));
        tokio::task::spawn_local(streams::run(Rc::clone(&worker), ports));
        shutdown.accepting_ends().await;
        drop(accepting);
        worker.draining.set(true);
        worker.drain.cancel();
        tokio::select! {
            () = drained(&worker) => {}
            () = shutdown.deadline() => {
                let forced = worker.connections();
                worker.metrics.drain_forced.add(forced as u64);
                tracing::warn!("cut {forced} connections at the drain deadline");
            }
        }
        worker.log.flush();
        Ok(())
    })
}

async fn drained(worker: &Worker) {
    let mut check = interval(DRAIN_CHECK);
    while worker.connections() > 0 {
        check.tick().await;
    }
}

async fn housekeeping(worker: Rc<Worker>) {
    let mut sweep = interval(SWEEP);
    let mut flush = interval(LOG_FLUSH);
    loop {
        tokio::select! {
            now = sweep.tick() => worker.sweep(now),
            _ = flush.tick(), if worker.logs() => worker.log.flush(),
        }
    }
}

//! The control loop: objects in, table out; and the process around it.

mod publish;
mod status;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use cluster::{Cluster, Selection};
use daemon::Process;
use futures_util::stream::{BoxStream, StreamExt as _, select_all};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use l7_ingress_core::{Backend, Change, Compiler, ConfigData, SecretData, Table};
use model::{Kind, ObjectName, ObjectRef};
use tokio::sync::{oneshot, watch};

use crate::access_log::Writer;
use crate::limits::Zones;
use crate::listen::{self, Listeners};
use crate::metrics::{Metrics, Orphans};
use crate::passwords::{self, Checks};
use crate::settings::{ArgumentError, RunArgs};
use crate::streams::{self, Ports};
use crate::tls;
use crate::traces::Export;
use crate::upstream::Connector;
use crate::worker::{self, Seed};
use crate::{calls, dns, routes};

use publish::Publisher;
use status::Status;

/// Changes that are taken together into one table.
const BATCH: usize = 4096;
/// How often certificates are looked at for having expired.
const EXPIRY_CHECK: Duration = Duration::from_secs(3600);
/// How often what was counted for paths that are gone is dropped.
const TIDY: Duration = Duration::from_secs(60);
/// How often a port is tried that could not be opened.
const PORT_RETRY: Duration = Duration::from_secs(1);
/// How long the control loop may be busy with one batch before `/healthz` says so.
const STUCK: Duration = Duration::from_secs(120);

/// Why l7-ingress does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A flag has a value that means nothing.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// There is no cluster.
    #[error(transparent)]
    Cluster(#[from] cluster::ConnectError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The TLS library cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// There is no certificate to start with.
    #[error(transparent)]
    DefaultCertificate(#[from] tls::DefaultCertificateError),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A worker ended before it was asked to.
    #[error("worker {0} has died")]
    Worker(usize),
    /// A metric is there twice.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Serves until the process is asked to leave, then drains.
///
/// # Errors
/// When it cannot start, or a worker dies.
pub async fn run(process: Process, args: RunArgs) -> Result<(), RunError> {
    let server = Server::bind(args)?;
    let cluster = Cluster::connect(&server.args.cluster, &process).await?;
    server.serve(process, cluster).await
}

/// An l7-ingress whose addresses are bound.
#[derive(Debug)]
pub struct Server {
    args: RunArgs,
    settings: l7_ingress_core::Settings,
    listeners: Vec<Listeners>,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
}

impl Server {
    /// Binds the addresses; nobody is served yet.
    ///
    /// # Errors
    /// When a flag means nothing or an address cannot be bound.
    pub fn bind(args: RunArgs) -> Result<Self, RunError> {
        let mut settings = args.ingress.settings()?;
        let workers = args.proxy.workers();
        let mut listeners: Vec<Listeners> = (0..workers).map(|_| Listeners::default()).collect();
        let http = bind(&args.proxy.http, &mut listeners, |worker| &mut worker.http)?;
        let https = bind(&args.proxy.https, &mut listeners, |worker| {
            &mut worker.https
        })?;
        settings.https_port = https.first().map_or(settings.https_port, SocketAddr::port);
        settings.global = Arc::new(args.proxy.global(&https, workers));
        Ok(Self {
            args,
            settings,
            listeners,
            http,
            https,
        })
    }

    /// The addresses for HTTP; a port of 0 has become a real one.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// The addresses for HTTPS.
    #[must_use]
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Serves the Ingresses of `cluster` until the process is asked to leave, then drains.
    ///
    /// # Errors
    /// When it cannot start, or a worker dies.
    pub async fn serve(self, process: Process, cluster: Cluster) -> Result<(), RunError> {
        let Self {
            args,
            settings,
            listeners,
            http,
            https,
        } = self;
        let gate = process.ready("routes");
        let provider = tls::provider();
        let labels = args.constant_labels();
        let metrics = Metrics::new(listeners.len(), Arc::clone(&labels), args.metrics.layout()?);
        process.registry().register(Box::new(metrics.clone()))?;
        let table = Arc::new(ArcSwap::from_pointee(Table::default()));
        let orphans = Orphans::new(Arc::clone(&table), labels)?;
        process.registry().register(Box::new(orphans))?;
        let default_certificate = tls::default_certificate(&provider)?;
        let compiler = Compiler::new(settings, default_certificate);
        let (openers, ports): (Vec<_>, Vec<_>) =
            listeners.iter().map(|_| streams::channel()).unzip();
        let taken = [&http[..], &https[..], &[process.admin_addr()]].concat();
        let openers = Ports::new(&http, taken.into_iter(), openers);
        let parts = (compiler, Arc::clone(&table), metrics.clone(), openers);
        let first_table = Control::start(&process, cluster, &args, parts)?;

        let log = Writer::start().map_err(RunError::Thread)?;
        let tls = tls::server_config(Arc::clone(&provider), Arc::clone(&table))?;
        let (spans, export) = Export::new(Arc::clone(&table), process.registry())?;
        process.tasks().spawn_finishing("traces", export.run());
        let key = passwords::key()?;
        let connector = Connector::new();
        let zones = Zones::new(tokio::time::Instant::now());
        let resolvers: Arc<[SocketAddr]> = args.proxy.resolver.clone().into();
        let loop_mark = calls::loop_mark();
        let seed = |(index, (listeners, ports)): (usize, (Listeners, _))| Seed {
            table: Arc::clone(&table),
            tls: Arc::clone(&tls),
            connector: connector.clone(),
            listeners,
            metrics: metrics.worker(index),
            log: log.handle(metrics.worker(index)),
            spans: spans.clone(),
            shutdown: process.shutdown().clone(),
            zones: Arc::clone(&zones),
            checks: Checks::new(key.clone()),
            resolvers: Arc::clone(&resolvers),
            loop_mark: loop_mark.clone(),
            ports,
        };
        let sockets = listeners.into_iter().zip(ports);
        let seeds: Vec<Seed> = sockets.enumerate().map(seed).collect();
        // The queue ends with the workers.
        drop(spans);
        // Nobody is served from a table that does not know all: clients wait in the kernel's queue.
        tokio::select! {
            first = first_table => if first.is_err() {
                return Ok(());
            },
            () = process.shutdown().requested() => return Ok(()),
        }
        let threads = start_workers(seeds)?;
        tracing::info!("serving http on {http:?} and https on {https:?}");
        gate.open();
        await_workers(threads).await?;
        log.finish();
        Ok(())
    }
}

/// Binds the addresses of one port for all workers; returns what they have become.
fn bind(
    addresses: &[SocketAddr],
    workers: &mut [Listeners],
    port: impl Fn(&mut Listeners) -> &mut Vec<std::net::TcpListener>,
) -> Result<Vec<SocketAddr>, RunError> {
    let mut bound = Vec::new();
    for &address in addresses {
        let failed = |source| RunError::Listen { address, source };
        let sockets = match listen::bind(address, workers.len()) {
            Ok(sockets) => sockets,
            Err(error) if addresses.len() > 1 && listen::lacks_ipv6(address, &error) => {
                tracing::info!("not listening on {address}: {error}");
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        if let Some(first) = sockets.first() {
            bound.push(first.local_addr().map_err(failed)?);
        }
        for (worker, socket) in workers.iter_mut().zip(sockets) {
            port(worker).push(socket);
        }
    }
    Ok(bound)
}

fn start_dns(
    process: &Process,
    servers: &[SocketAddr],
    backends: watch::Receiver<Vec<Arc<Backend>>>,
) {
    match dns::resolver(servers) {
        Ok(resolver) => process
            .tasks()
            .spawn("dns", dns::resolve(resolver, backends)),
        Err(error) => tracing::warn!("ExternalName Services cannot be resolved: {error}"),
    }
}

type Threads = Vec<oneshot::Receiver<io::Result<()>>>;

fn start_workers(seeds: Vec<Seed>) -> Result<Threads, RunError> {
    let start = |(index, seed): (usize, Seed)| {
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("worker-{index}"))
            // A receiver that is gone means that the process is going, too.
            .spawn(move || drop(ended.send(worker::run(seed))))
            .map_err(RunError::Thread)?;
        Ok(end)
    };
    seeds.into_iter().enumerate().map(start).collect()
}

/// Ends when all workers have drained.
async fn await_workers(threads: Threads) -> Result<(), RunError> {
    for (index, end) in threads.into_iter().enumerate() {
        match end.await {
            Ok(Ok(())) => {}
            Ok(Err(source)) => return Err(RunError::Thread(source)),
            Err(_) => return Err(RunError::Worker(index)),
        }
    }
    Ok(())
}

/// One thing that the control loop hears of.
enum Heard {
    Change(Change),
    /// The status that an Ingress has.
    IngressStatus(ObjectName, Option<Arc<serde_json::Value>>),
    /// A kind was listed in full.
    Synced,
}

/// The owner of the compiler; the only one who publishes a table.
struct Control {
    compiler: Compiler,
    cluster: Cluster,
    table: Arc<ArcSwap<Table>>,
    ports: Ports,
    externals: watch::Sender<Vec<Arc<Backend>>>,
    publisher: Publisher,
    status: Status,
    published: Option<oneshot::Sender<()>>,
    /// Ingresses that went since the last table.
    gone: BTreeSet<ObjectName>,
}

impl Control {
    /// Starts the loop; the result is told when the first table is published.
    fn start(
        process: &Process,
        cluster: Cluster,
        args: &RunArgs,
        (compiler, table, metrics, ports): (Compiler, Arc<ArcSwap<Table>>, Metrics, Ports),
    ) -> Result<oneshot::Receiver<()>, RunError> {
        routes::expose(process, Arc::clone(&table));
        let (externals, backends) = watch::channel(Vec::new());
        start_dns(process, &args.proxy.resolver, backends);
        let (published, first_table) = oneshot::channel();
        let control = Self {
            compiler,
            publisher: Publisher::new(process, args, metrics)?,
            status: Status::start(&args.status, &cluster, process)?,
            cluster,
            table,
            ports,
            externals,
            published: Some(published),
            gone: BTreeSet::new(),
        };
        let watchdog = process.watchdog("control loop", STUCK);
        process.tasks().spawn("control loop", control.run(watchdog));
        Ok(first_table)
    }

    async fn run(mut self, watchdog: daemon::Watchdog) {
        let sources = self.sources();
        let mut unsynced = sources.len();
        let mut heard = select_all(sources).ready_chunks(BATCH);
        let mut expiry = tokio::time::interval(EXPIRY_CHECK);
        let mut tidy = tokio::time::interval(TIDY);
        let mut again = tokio::time::interval(PORT_RETRY);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beat = tokio::time::interval(STUCK / 4);
        loop {
            tokio::select! {
                batch = heard.next() => {
                    let Some(batch) = batch else { return };
                    for heard in batch {
                        match heard {
                            Heard::Change(change) => self.apply(change),
                            Heard::IngressStatus(name, status) => self.status.seen(name, status),
                            Heard::Synced => unsynced -= 1,
                        }
                    }
                    if unsynced == 0 && self.compile() {
                        self.open_ports().await;
                    }
                }
                _ = again.tick(), if self.ports.has_failed() => self.open_ports().await,
                _ = expiry.tick() => self.report_problems(),
                _ = tidy.tick() => self.publisher.prune(&self.table.load()),
                () = self.status.changed() => {
                    self.status.report(&self.compiler);
                    self.publisher.leads(self.status.is_leader());
                }
                _ = beat.tick() => {}
            }
            watchdog.beat();
        }
    }

    /// The kinds that are watched.
    fn sources(&self) -> Vec<BoxStream<'static, Heard>> {
        let cluster = &self.cluster;
        let all = Selection::all;
        let with_status = self.status.is_wanted();
        let ingresses = cluster.watch(all(), move |object: Ingress| {
            let status = with_status.then(|| status::of(&object)).flatten();
            (l7_ingress_core::Ingress::read(&object), status)
        });
        let classes = cluster.watch(all(), |object: IngressClass| {
            l7_ingress_core::IngressClass::read(&object)
        });
        let services = cluster.watch(all(), |object: Service| model::Service::from(&object));
        let slices = cluster.watch(all(), |object: EndpointSlice| {
            model::EndpointSlice::read(&object)
        });
        let secrets = cluster.watch(all(), |object: Secret| SecretData::read(&object));
        let configs = cluster.watch(all(), |object: ConfigMap| ConfigData::read(&object));
        vec![
            ingresses.flat_map(ingress).boxed(),
            hear(classes, Kind::IngressClass, |name, class| {
                Change::IngressClass(name, class)
            }),
            hear(services, Kind::Service, Change::Service),
            hear(slices, Kind::EndpointSlice, |name, slice| {
                Change::EndpointSlice(name, slice.flatten())
            }),
            hear(secrets, Kind::Secret, |name, secret| {
                Change::Secret(name, secret.flatten())
            }),
            hear(configs, Kind::ConfigMap, |name, config| {
                Change::ConfigMap(name, config.flatten())
            }),
        ]
    }

    fn apply(&mut self, change: Change) {
        match &change {
            Change::Ingress(name, None) => self.gone.insert(name.clone()),
            Change::Ingress(name, Some(_)) => self.gone.remove(name),
            _ => false,
        };
        self.compiler.apply(change);
    }

    /// Makes the ports of TCP and UDP services what the table says.
    async fn open_ports(&mut self) {
        let table = self.table.load_full();
        self.ports.reconcile(&table).await;
        let problems = self.ports.problems(&table);
        self.cluster.problems().report("ports", problems);
    }

    /// Returns whether another table was published.
    fn compile(&mut self) -> bool {
        if !self.gone.is_empty() {
            self.publisher.forget(&std::mem::take(&mut self.gone));
        }
        let outcome = self.compiler.compile();
        if outcome.externals_changed {
            let externals = self.compiler.externals().cloned().collect();
            self.externals.send_replace(externals);
        }
        let changed = outcome.table.is_some();
        if let Some(table) = outcome.table {
            self.table.store(table);
            self.publisher.published();
        }
        if let Some(published) = self.published.take() {
            // Whoever waited for it is gone when the process is.
            let _ = published.send(());
        }
        if outcome.certificates_changed {
            self.publisher.certificates(self.compiler.certificates());
        }
        if outcome.problems_changed {
            self.report_problems();
        }
        self.status.report(&self.compiler);
        changed
    }

    fn report_problems(&self) {
        let problems = self.compiler.problems(SystemTime::now()).collect();
        self.cluster.problems().report("ingresses", problems);
    }
}

type IngressAndStatus = (l7_ingress_core::Ingress, Option<Arc<serde_json::Value>>);

fn ingress(
    change: cluster::Change<IngressAndStatus>,
) -> futures_util::stream::Iter<std::vec::IntoIter<Heard>> {
    let heard = match change {
        cluster::Change::Set(name, (ingress, status)) => vec![
            Heard::IngressStatus(name.clone(), status),
            Heard::Change(Change::Ingress(name, Some(ingress))),
        ],
        cluster::Change::Removed(name) => vec![
            Heard::IngressStatus(name.clone(), None),
            Heard::Change(Change::Ingress(name, None)),
        ],
        other => vec![plain(other, Kind::Ingress, |name, _| {
            Change::Ingress(name, None)
        })],
    };
    futures_util::stream::iter(heard)
}

fn hear<T: Send + 'static>(
    changes: cluster::Changes<T>,
    kind: Kind,
    change: impl Fn(ObjectName, Option<T>) -> Change + Send + Copy + 'static,
) -> BoxStream<'static, Heard> {
    changes.map(move |heard| plain(heard, kind, change)).boxed()
}

fn plain<T>(
    heard: cluster::Change<T>,
    kind: Kind,
    change: impl Fn(ObjectName, Option<T>) -> Change,
) -> Heard {
    match heard {
        cluster::Change::Set(name, object) => Heard::Change(change(name, Some(object))),
        cluster::Change::Removed(name) => Heard::Change(change(name, None)),
        cluster::Change::Malformed(name, malformed) => {
            let object = ObjectRef::new(kind, name);
            let problem = malformed.problem(object.clone());
            Heard::Change(Change::Malformed(object, problem))
        }
        cluster::Change::Synced => Heard::Synced,
    }
}

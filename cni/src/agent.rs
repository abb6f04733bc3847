//! The agent's life: what starts in which order, and the loop that keeps it going.
//!
//! A further part of the agent is a module with `run(Context)`, spawned in [`run`]: it watches its objects
//! through [`Context::cluster`] and [`Context::network`], computes what is wanted, lists what the kernel
//! holds, and applies the difference, from a thread that may block.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use daemon::{Process, ReadyGate};
use model::{Problem, Severity};
use netlink::Namespace;
use tokio::sync::watch;

use crate::book::Book;
use crate::collect::CollectError;
use crate::files;
use crate::forward;
use crate::mesh;
use crate::metrics::Metrics;
use crate::nat::Outside;
use crate::node::{self, Network};
use crate::requests::Requests;
use crate::server;
use crate::settings::{AgentArgs, RunArgs};
use crate::underlay::{self, Underlay};

/// How often garbage is looked for, and the underlay's MTU with it.
const COLLECT: Duration = Duration::from_secs(60);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no cluster.
    #[error(transparent)]
    Cluster(#[from] cluster::ConnectError),
    /// The plugin cannot ask.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be had.
    #[error("cannot keep the journal in {}", path.display())]
    Journal {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What runtimes or tools read cannot be written.
    #[error("cannot write the network's configuration")]
    Files(#[source] io::Error),
    /// There is no thread for removals.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] netlink::Error),
    /// A metric is there twice.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    /// Work that blocks has panicked.
    #[error("a part of the agent has panicked")]
    Panicked,
}

/// What every part of the agent is given.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) args: Arc<AgentArgs>,
    pub(crate) cluster: Cluster,
    pub(crate) network: watch::Receiver<Network>,
    /// How large a pod's packet may be, as far as the mesh knows.
    mtu: watch::Receiver<Option<u32>>,
    book: Arc<Book>,
    requests: Arc<Requests>,
    metrics: Metrics,
}

/// Connects pods until the process is asked to leave. Pods stay connected without it.
///
/// # Errors
/// When it cannot start, or cannot tell runtimes that it has.
pub async fn run(process: Process, args: RunArgs) -> Result<(), RunError> {
    let ready = process.ready("pods");
    let metrics = Metrics::register(process.registry())?;
    let cluster = Cluster::connect(&args.cluster, &process).await?;
    let agent = Arc::new(args.agent);
    let book = Arc::new(open_book(&agent)?);
    let requests = Requests::new(Arc::clone(&book), Namespace::current()?);
    let requests = Arc::new(requests.map_err(RunError::Thread)?);
    let (sender, network) = watch::channel(Network::default());
    let (mtu_sender, mtu) = watch::channel(None);
    let mesh_metrics = mesh::Metrics::register(process.registry())?;
    let context = Context {
        args: agent,
        cluster: cluster.clone(),
        network,
        mtu,
        book,
        requests,
        metrics,
    };
    blocking(&context, |context| {
        log(context.requests.recover());
        // Before anybody is served: an old word of a deletion must not reach a new pod.
        keep_tidy(context)?;
        context.requests.settle();
        Ok(())
    })
    .await?;
    let name = context.args.node_name.clone();
    let tasks = process.tasks();
    let (changed, below) = watch::channel(());
    let given = context.args.cluster_cidr.clone();
    if !given.is_empty() {
        sender.send_modify(|network| network.cluster = Some(given));
    }
    tasks.spawn("node", node::follow(cluster, name, sender.clone()));
    let news = blocking(&context, move |_| Ok(underlay::follow(&changed)?));
    tasks.spawn("underlay", news);
    let wires = mesh::Wires {
        below: below.clone(),
        network: sender,
        mtu: mtu_sender,
        ready: process.ready("mesh"),
        metrics: mesh_metrics,
    };
    tasks.spawn("mesh", mesh::run(context.clone(), args.mesh, wires));
    tasks.spawn("pods", serve_pods(process.clone(), context, below, ready));
    process.shutdown().requested().await;
    Ok(())
}

fn open_book(args: &AgentArgs) -> Result<Book, RunError> {
    let journal = |source| RunError::Journal {
        path: args.state_dir.clone(),
        source,
    };
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(journal)?;
    Book::open(&args.state_dir, boot.trim()).map_err(journal)
}

/// Nobody is served before the node has a range, and is known to have which neighbours: until then the
/// plugin says "try again".
async fn serve_pods(
    process: Process,
    mut context: Context,
    mut below: watch::Receiver<()>,
    ready: ReadyGate,
) -> Result<(), RunError> {
    let mut serving = false;
    let mut tick = tokio::time::interval(COLLECT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = context.network.changed() => if changed.is_err() {
                return Ok(());
            },
            changed = below.changed() => if changed.is_err() {
                return Ok(());
            },
            changed = context.mtu.changed() => if changed.is_err() {
                return Ok(());
            },
            _ = tick.tick() => blocking(&context, keep_tidy).await?,
        }
        let network = context.network.borrow_and_update().clone();
        let Some(cluster) = network.cluster.filter(|_| !network.ranges.is_empty()) else {
            continue;
        };
        let outside = Outside {
            cluster: [&cluster[..], &network.ranges].concat(),
            local: network.ranges,
            masquerade: context.args.masquerade,
        };
        blocking(&context, move |context| set_up(context, outside)).await?;
        if !serving {
            serving = true;
            serve(&process, &context)?;
        }
        files::write_conflist(&context.args).map_err(RunError::Files)?;
        ready.open();
    }
}

fn serve(process: &Process, context: &Context) -> Result<(), RunError> {
    let path = &context.args.socket;
    let listener = server::listen(path).map_err(|source| RunError::Socket {
        path: path.clone(),
        source,
    })?;
    let requests = Arc::clone(&context.requests);
    let serving = server::serve(listener, requests, context.metrics.clone());
    process.tasks().spawn("plugin's socket", serving);
    Ok(())
}

/// What pods have from now on, and word of it to tools that want to know.
fn set_up(context: &Context, outside: Outside) -> Result<(), RunError> {
    let ranges = &outside.local.clone();
    let underlay = Underlay::look(ranges)?;
    let mtu = *context.mtu.borrow();
    let mtu = context.args.mtu.or(mtu).unwrap_or(underlay.mtu);
    let mut problems: Vec<_> = underlay
        .closed
        .into_iter()
        .map(|sysctl| (sysctl, "ForwardingOff", CLOSED.to_owned()))
        .collect();
    context.book.set_ranges(ranges);
    context.requests.set_mtu(mtu);
    if let Err(error) = context.requests.set_outside(outside) {
        let message = format!("pods reach no others: {}", daemon::error_chain(&error));
        problems.push(("nftables".to_owned(), "NoTranslation", message));
    }
    let problems = problems
        .into_iter()
        .map(|(field, reason, message)| Problem {
            object: node::reference(&context.args.node_name),
            field,
            reason,
            message,
            severity: Severity::Error,
        });
    let report = context.cluster.problems();
    report.report("node", problems.collect());
    files::write_subnet(&context.args, ranges, mtu).map_err(RunError::Files)
}

const CLOSED: &str = "is 0: packets from elsewhere do not reach the pods of this node; set it to 1";

fn keep_tidy(context: &Context) -> Result<(), RunError> {
    log(context.requests.collect(&context.args.socket));
    if let Err(error) = context.requests.keep_ports() {
        tracing::warn!("keeping host ports: {}", daemon::error_chain(&error));
    }
    report_firewalls(context);
    let leases = i64::try_from(context.book.leases().len()).unwrap_or(i64::MAX);
    context.metrics.leases.set(leases);
    Ok(())
}

/// Without nftables there is none to report.
fn report_firewalls(context: &Context) {
    let chains = forward::dropping().unwrap_or_default().into_iter();
    let problems = chains.map(|chain| Problem {
        object: node::reference(&context.args.node_name),
        field: format!("nftables {chain}"),
        reason: "ForwardPolicyDrop",
        message: DROPPING.to_owned(),
        severity: Severity::Warning,
    });
    let report = context.cluster.problems();
    report.report("firewalls", problems.collect());
}

const DROPPING: &str =
    "drops what is forwarded and no rule of it accepts: pods are cut off unless one does";

/// The next minute tries again.
fn log(collected: Result<(), CollectError>) {
    if let Err(error) = collected {
        tracing::warn!("collecting garbage: {}", daemon::error_chain(&error));
    }
}

fn blocking<W>(context: &Context, work: W) -> impl Future<Output = Result<(), RunError>> + use<W>
where
    W: FnOnce(&Context) -> Result<(), RunError> + Send + 'static,
{
    let context = context.clone();
    let thread = tokio::task::spawn_blocking(move || work(&context));
    async move { thread.await.map_err(|_| RunError::Panicked)? }
}

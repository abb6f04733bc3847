//! This node's part in the mesh: its tunnels, an entry for each other node, and word of itself.
//!
//! ```text
//!  Nodes ───┐                 ┌─▶ tunnels ─▶ list ─▶ diff ─▶ apply
//!  ranges ──┼─▶ a pass, aside ┼─▶ MTU of pods
//!  underlay ┤   (compile)     ├─▶ announcement ─▶ this node's object
//!  a minute ┘                 └─▶ problems, metrics, readiness
//! ```
//! Nothing is removed before all Nodes have been seen, nor while this node has no way out; and nothing at the
//! end: the next agent finds what this one left, as it finds what flannel left.

mod announce;
mod kernel;
mod metrics;
mod nodes;
mod outside;
mod tunnel;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use cni_core::mesh::{self, Entry, Problem, Settings};
use daemon::{ReadyGate, error_chain};
use futures_util::{FutureExt as _, StreamExt as _};
use ipnet::IpNet;
use model::Severity;
use netlink::{Error, LinkName, Netlink};
use tokio::sync::watch;
use tokio::time::{self, MissedTickBehavior};

pub(crate) use metrics::Metrics;

use crate::agent::{Context, RunError};
use crate::node::{self, Network};
use crate::settings::MeshArgs;
use announce::Announcement;
use kernel::Tunnels;
use nodes::Nodes;
use outside::Search;

/// Who made our routes (`rtm_protocol`): a number that no routing daemon is known to use.
pub(crate) const PROTOCOL: u8 = 112;
/// How often all is listed though nothing is known to have changed.
const RESYNC: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How many refusals of one pass are told one by one.
const TOLD: usize = 5;

/// What the mesh is told, and tells.
#[derive(Debug)]
pub(crate) struct Wires {
    /// Something about links, addresses or routes has changed.
    pub(crate) below: watch::Receiver<()>,
    /// Where the ranges of all Nodes are told, unless they are given.
    pub(crate) network: watch::Sender<Network>,
    /// How large a pod's packet may be, once that is known.
    pub(crate) mtu: watch::Sender<Option<u32>>,
    pub(crate) ready: ReadyGate,
    pub(crate) metrics: Metrics,
}

/// Keeps this node's part of the mesh.
pub(crate) async fn run(context: Context, args: MeshArgs, wires: Wires) -> Result<(), RunError> {
    let client = context.cluster.client();
    let name = context.args.node_name.clone();
    let (sender, announcements) = watch::channel(Announcement::default());
    tokio::select! {
        ended = keep(context, args, wires, sender) => ended,
        () = announce::run(client, name, announcements) => Ok(()),
    }
}

async fn keep(
    mut context: Context,
    args: MeshArgs,
    mut wires: Wires,
    announcements: watch::Sender<Announcement>,
) -> Result<(), RunError> {
    let mut mesh = Mesh::new(&context.args.node_name, args);
    let mut changes = mesh.nodes.watch(&context.cluster, mesh.settings);
    let mut tick = time::interval(RESYNC);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retry = FIRST_RETRY;
    let mut failed = false;
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(change) => mesh.nodes.take(change),
                None => return Ok(()),
            },
            changed = context.network.changed() => if changed.is_err() {
                return Ok(());
            },
            changed = wires.below.changed() => if changed.is_err() {
                return Ok(());
            },
            _ = tick.tick() => {}
            () = time::sleep(retry), if failed => retry = (retry * 2).min(LAST_RETRY),
        }
        // All that is known already is one pass.
        while let Some(Some(change)) = changes.next().now_or_never() {
            mesh.nodes.take(change);
        }
        if mesh.nodes.synced && context.args.cluster_cidr.is_empty() {
            tell_ranges(mesh.nodes.ranges(), &wires.network);
        }
        let ranges = context.network.borrow_and_update().ranges.clone();
        if !mesh.nodes.synced || mesh.nodes.own.is_none() || ranges.is_empty() {
            continue;
        }
        let pass = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let report = mesh.pass(&ranges);
            (mesh, report, begun.elapsed())
        });
        let (back, report, took) = pass.await.map_err(|_| RunError::Panicked)?;
        mesh = back;
        wires.metrics.passes.observe(took.as_secs_f64());
        failed = mesh.tell(report, &context, &wires, &announcements);
        if !failed {
            retry = FIRST_RETRY;
        }
    }
}

fn tell_ranges(ranges: Vec<IpNet>, network: &watch::Sender<Network>) {
    network.send_if_modified(|network| {
        let different = network.cluster.as_ref() != Some(&ranges);
        network.cluster = Some(ranges);
        different
    });
}

/// What a pass came to.
#[derive(Debug, Default)]
struct Report {
    mtu: Option<u32>,
    announcement: Announcement,
    problems: BTreeSet<Problem>,
    entries: usize,
    /// Entries that were not as they were left.
    drift: usize,
    failures: Vec<Error>,
    /// There is a way out, with its tunnel.
    leads_out: bool,
}

#[derive(Debug)]
struct Mesh {
    name: String,
    nodes: Nodes,
    settings: Settings,
    interface: Option<LinkName>,
    /// A digest of what the kernel held after the last pass, if all of it was made.
    left: Option<u64>,
    /// What has been said about other nodes.
    told: BTreeSet<Problem>,
}

impl Mesh {
    fn new(name: &str, args: MeshArgs) -> Self {
        Self {
            name: name.to_owned(),
            nodes: Nodes::new(name),
            settings: args.settings(),
            interface: args.interface,
            left: None,
            told: BTreeSet::new(),
        }
    }

    /// Looks at everything, and makes it right.
    fn pass(&mut self, ranges: &[IpNet]) -> Result<Report, Error> {
        let mut report = Report::default();
        let Some(own) = &self.nodes.own else {
            return Ok(report);
        };
        let mut netlink = Netlink::open()?;
        let search = Search {
            name: &self.name,
            own,
            ranges,
            interface: self.interface.as_ref(),
            settings: &self.settings,
        };
        let local = search.look(&mut netlink)?;
        report.problems = self.nodes.problems();
        if local.outside.is_empty() {
            report.problems.insert(self.no_way_out());
            return Ok(report);
        }
        report.mtu = local.mtu(self.settings.backend);
        for device in mesh::devices(&local, &self.settings) {
            let made = tunnel::ensure(&mut netlink, &device, &self.settings);
            report.failures.extend(made.err());
        }
        report.leads_out = report.failures.is_empty();
        let tunnels = Tunnels::find(&mut netlink, &self.settings)?;
        let (want, problems) = mesh::compile(&local, self.nodes.peers(), &self.settings);
        report.problems.extend(problems);
        // An earlier agent may have led over links; this one knows what it does.
        let links_too = self.left.is_none()
            || self.settings.direct_routing
            || self.settings.backend == mesh::Backend::HostGw;
        let listed = tunnels.list(&mut netlink, links_too)?;
        let ops = mesh::diff(&listed.entries, &want);
        let wanted = digest(&want);
        if self.left == Some(wanted) {
            report.drift = ops.len();
        }
        let failures = tunnels.apply(&mut netlink, &ops, &listed).into_iter();
        report
            .failures
            .extend(failures.map(|failure| failure.error));
        report.entries = want.len();
        self.left = report.failures.is_empty().then_some(wanted);
        let (annotations, problems) = mesh::announce(&local, &self.settings, &own.annotations);
        report.problems.extend(problems);
        report.announcement = Announcement {
            annotations,
            is_up: report.leads_out && !own.available,
        };
        Ok(report)
    }

    fn no_way_out(&self) -> Problem {
        let message = match &self.interface {
            Some(interface) => {
                format!("interface {interface} has no address of the pods' families")
            }
            None => "no address of it is on this machine, and there is no default route".to_owned(),
        };
        Problem {
            node: self.name.as_str().into(),
            field: "status.addresses".to_owned(),
            reason: "NoUnderlay",
            message: format!("{message}: pods of other nodes are not reached"),
        }
    }

    /// Says what came of a pass. Returns whether another one is needed soon.
    fn tell(
        &mut self,
        report: Result<Report, Error>,
        context: &Context,
        wires: &Wires,
        announcements: &watch::Sender<Announcement>,
    ) -> bool {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!("keeping the mesh: {}", error_chain(&error));
                wires.metrics.failures.inc();
                wires.ready.close();
                return true;
            }
        };
        for error in report.failures.iter().take(TOLD) {
            tracing::warn!("keeping the mesh: {}", error_chain(error));
        }
        let metrics = &wires.metrics;
        metrics.failures.inc_by(count(report.failures.len()));
        metrics.drift.inc_by(count(report.drift));
        metrics.problems.set(level(report.problems.len()));
        metrics.nodes.set(level(self.nodes.peers().count()));
        if report.drift > 0 {
            tracing::info!(
                "{} entries of the mesh were changed by others",
                report.drift
            );
        }
        match report.leads_out {
            true => wires.ready.open(),
            false => wires.ready.close(),
        }
        if report.mtu.is_some() {
            metrics.entries.set(level(report.entries));
            wires.mtu.send_if_modified(|mtu| {
                let changed = *mtu != report.mtu;
                *mtu = report.mtu;
                changed
            });
        }
        announcements.send_if_modified(|announcement| {
            let changed = *announcement != report.announcement;
            *announcement = report.announcement;
            changed
        });
        self.tell_problems(report.problems, context);
        !report.failures.is_empty()
    }

    /// Those of this node become Events; those of others only lines, for each node sees them.
    fn tell_problems(&mut self, problems: BTreeSet<Problem>, context: &Context) {
        let own = problems.iter().filter(|it| *it.node == *self.name);
        let own = own.map(|problem| model::Problem {
            object: node::reference(&self.name),
            field: problem.field.clone(),
            reason: problem.reason,
            message: problem.message.clone(),
            severity: Severity::Error,
        });
        context.cluster.problems().report("mesh", own.collect());
        for problem in problems.difference(&self.told) {
            if *problem.node != *self.name {
                tracing::warn!("{problem}");
            }
        }
        self.told = problems;
    }
}

/// The same for the same entries, within this process.
fn digest(entries: &BTreeSet<Entry>) -> u64 {
    let mut hasher = DefaultHasher::new();
    entries.hash(&mut hasher);
    hasher.finish()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn level(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

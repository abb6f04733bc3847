//! `cargo xtask bench mesh`: a node among thousands: how soon it leads to all of them, and to one that changes.
//!
//! One agent runs in a namespace that stands for its node; the others are objects of an API in this process, as
//! large as kubelets make them. What the agent has done is asked of the kernel.

mod cluster;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use loadtest::lab::{Lab, Machine};
use netlink::{Event, Monitor, Topic};
use tempfile::TempDir;

use self::cluster::{Cluster, Families};
use super::conditions;
use super::document::Markers;
use super::procfs;
use super::table::{mib, table};
use crate::process::{self, Daemon};
use crate::workspace;

/// `cargo xtask bench mesh`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Other nodes
    #[arg(long, value_name = "N", default_value_t = 5000)]
    nodes: u32,
    /// Changes of one node each
    #[arg(long, value_name = "N", default_value_t = 100)]
    changes: u32,
    /// Few nodes, and nothing is written: to see that it works
    #[arg(long)]
    quick: bool,
    /// The cni-agent to measure, instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(super) fn run(
    args: &Args,
    runtime: impl FnOnce() -> Result<tokio::runtime::Runtime>,
) -> Result<ExitCode> {
    ensure!(rustix::process::geteuid().is_root(), "this needs root");
    let program = match &args.program {
        Some(program) => program.clone(),
        None => {
            println!("Building cni-agent in the release profile …");
            workspace::build("cni-agent", "release")?
        }
    };
    let (nodes, changes) = match args.quick {
        true => (50, 5),
        false => (args.nodes, args.changes),
    };
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let handle = tokio::runtime::Handle::current();
        let measuring = tokio::task::spawn_blocking(move || {
            let measure = |families| measure(&program, families, nodes, changes, &handle);
            Ok([measure(Families::One)?, measure(Families::Both)?])
        });
        tokio::select! {
            done = measuring => done.context("measuring has panicked")?.map(Some),
            result = process::interrupted() => result.map(|()| None),
        }
    });
    let Some(measured) = done? else {
        println!("\ninterrupted");
        return Ok(ExitCode::FAILURE);
    };
    let report = report(&measured, nodes, changes);
    println!("{report}");
    if !args.quick {
        MARKERS.replace(&workspace::root().join("docs/benchmarks.md"), &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What came of one agent.
#[derive(Debug)]
struct Measured {
    families: Families,
    /// From the start of the process until the kernel holds the last entry.
    cold: Duration,
    /// The same for a second agent, which finds all entries there.
    restart_until_ready: Duration,
    /// Messages about changed entries that the second one has caused.
    restart_changes: usize,
    change: Vec<Duration>,
    rss: u64,
    peak: u64,
}

fn measure(
    program: &Path,
    families: Families,
    nodes: u32,
    changes: u32,
    runtime: &tokio::runtime::Handle,
) -> Result<Measured> {
    println!("{families}: {nodes} nodes");
    let folder = TempDir::with_prefix("penstock-bench-").context("a temporary folder")?;
    let lab = Lab::new()?;
    let cluster = Cluster::new(&lab, families, nodes, runtime, folder.path())?;
    let machine = cluster.add_own_node(&lab)?;
    let start = || Agent::start(&machine, program, folder.path(), &cluster);
    let begun = Instant::now();
    let mut agent = start()?;
    let routes = cluster.routes();
    agent.wait(|| Ok(led_to(&machine)? == routes))?;
    let cold = begun.elapsed();

    let mut change = Vec::new();
    for number in 1..=changes {
        change.push(one_change(&machine, &cluster, number)?);
    }
    let (rss, peak) = (
        procfs::rss(agent.process.pid())?,
        procfs::peak(agent.process.pid())?,
    );
    let mut news = monitor(&machine)?;
    drop(agent);
    let begun = Instant::now();
    agent = start()?;
    agent.wait(|| is_ready(&machine))?;
    let restart_until_ready = begun.elapsed();
    let mut restart_changes = 0;
    while let Some(event) = news.try_next()? {
        restart_changes += usize::from(is_of_the_mesh(&event));
    }
    Ok(Measured {
        families,
        cold,
        restart_until_ready,
        restart_changes,
        change,
        rss,
        peak,
    })
}

/// An agent on the node.
#[derive(Debug)]
struct Agent {
    process: Daemon,
}

impl Agent {
    fn start(machine: &Machine, program: &Path, folder: &Path, cluster: &Cluster) -> Result<Self> {
        let flag = |name: &str, file: &str| format!("--{name}={}", folder.join(file).display());
        let mut command = Command::new(program);
        command.args([
            "run",
            "--node-name=own",
            "--log-level=warn",
            &format!("--admin={ADMIN}"),
            &format!("--kubeconfig={}", cluster.kubeconfig().display()),
        ]);
        command.args([
            flag("socket", "cni.sock"),
            flag("state-dir", "state"),
            flag("cni-conf-dir", "net.d"),
            flag("subnet-file", "subnet.env"),
        ]);
        let log = folder.join("agent.log");
        let process = machine.enter(|| Daemon::start("cni-agent", &mut command, &log))??;
        Ok(Self { process })
    }

    /// Asks until it is so, seldom enough that the agent has the machine to itself.
    fn wait(&mut self, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while !is_so()? {
            let words = || self.process.last_words();
            ensure!(begun.elapsed() < PATIENCE, "cni-agent: {}", words());
            ensure!(
                self.process.exited()?.is_none(),
                "{}",
                self.process.last_words()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn is_ready(machine: &Machine) -> Result<bool> {
    machine.enter(|| {
        let Ok(mut stream) = TcpStream::connect(ADMIN) else {
            return Ok(false);
        };
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.0 200"))
    })?
}

/// How many ranges it leads to. Routes are written last.
fn led_to(machine: &Machine) -> Result<usize> {
    let filter = netlink::RouteFilter {
        protocol: PROTOCOL,
        ..netlink::RouteFilter::default()
    };
    Ok(machine.netlink()?.routes(filter)?.len())
}

/// From the change of a Node's address until the kernel sends there.
fn one_change(machine: &Machine, cluster: &Cluster, number: u32) -> Result<Duration> {
    let mut news = monitor(machine)?;
    let address = cluster.move_node(number)?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let found = news.next_within(PATIENCE)?;
        if matches!(found, Some(Event::Forwarding(entry)) if entry.remote == Some(address)) {
            return Ok(begun.elapsed());
        }
    }
    anyhow::bail!("the agent does not follow node {number} to {address}")
}

fn monitor(machine: &Machine) -> Result<Monitor> {
    let topics = [Topic::Routes, Topic::Neighbours];
    Ok(Monitor::open_in(machine.namespace(), &topics, 64 << 20)?)
}

fn is_of_the_mesh(event: &Event) -> bool {
    match event {
        Event::Route(route) | Event::RouteGone(route) => route.protocol == PROTOCOL,
        Event::Neighbour(it) | Event::NeighbourGone(it) => it.permanent,
        Event::Forwarding(_) | Event::ForwardingGone(_) | Event::Overrun => true,
        _ => false,
    }
}

fn percentile(times: &[Duration], share: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    let time = sorted.get((sorted.len() * share / 100).min(last));
    time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

fn report(measured: &[Measured; 2], nodes: u32, changes: u32) -> String {
    let reached = |reached: bool| if reached { "reached" } else { "not reached" }.to_owned();
    let mut goals = Vec::new();
    let mut rows = Vec::new();
    for it in measured {
        let (name, cold) = (it.families.to_string(), it.cold.as_secs_f64());
        let change = percentile(&it.change, 95);
        goals.extend([
            vec![
                format!("{name}: all nodes ≤ 1.5 s after the start"),
                format!("{cold:.2} s"),
                reached(cold <= 1.5),
            ],
            vec![
                format!("{name}: one node's change ≤ 100 ms (p95)"),
                format!("{change:.1} ms"),
                reached(change <= 100.0),
            ],
            vec![
                format!("{name}: RSS ≤ 40 MB"),
                format!("{:.1} MB", megabytes(it.rss)),
                reached(megabytes(it.rss) <= 40.0),
            ],
        ]);
        rows.push(vec![
            name,
            format!("{:.0}", cold * 1000.0),
            format!("{:.1} / {change:.1}", percentile(&it.change, 50)),
            format!("{:.0}", it.restart_until_ready.as_secs_f64() * 1000.0),
            it.restart_changes.to_string(),
            format!("{} / {} MiB", mib(it.rss), mib(it.peak)),
        ]);
    }
    let mut facts = conditions::machine();
    facts.push(("nodes", format!("{nodes}, and {changes} changes")));
    let facts = facts.into_iter();
    let facts = facts.map(|(name, value)| vec![name.to_owned(), value]);
    let header = [
        "",
        "cold, ms",
        "a change, ms, p50 / p95",
        "restart until ready, ms",
        "entries that a restart touched",
        "RSS / peak",
    ];
    format!(
        "# The mesh\n\n{}\n{READING}{}\n## Conditions of this part\n\n{}",
        table(&["goal", "measured", ""], goals.into_iter()),
        table(&header, rows.into_iter()),
        table(&["", ""], facts),
    )
}

fn megabytes(bytes: u64) -> f64 {
    // Exact up to 2⁵³.
    u32::try_from(bytes / 1000).map_or(f64::INFINITY, f64::from) / 1000.0
}

const READING: &str = "\
Cold is the time from the start of the agent's process until the kernel holds the last route; a change is the time from
the API's having taken it until the kernel's forwarding entry. The API runs on the same two CPUs, and its Nodes are as
large as a kubelet's with 50 images.

";

const MARKERS: Markers = Markers {
    begin: "<!-- begin: written by cargo xtask bench mesh -->",
    end: "<!-- end: written by cargo xtask bench mesh; what is below is kept -->",
};

/// Of the agent's routes (`rtm_protocol`).
const PROTOCOL: u8 = 112;
const ADMIN: &str = "127.0.0.1:10254";
const PATIENCE: Duration = Duration::from_secs(60);

//! `cargo xtask bench cni`: pods connected and disconnected by penstock-cni and by the reference plugins.
//!
//! Both are called as runtimes call them, one program after the other, in turns, each in a namespace of
//! its own that stands for the node. Everything is gone when this process is.

mod chain;

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netlink::Namespace;
use tempfile::TempDir;

use self::chain::{Chain, Connected};
use super::conditions;
use super::document::Markers;
use super::table::{mib, table};
use crate::packages::{self, Tool};
use crate::{process, workspace};

/// `cargo xtask bench cni`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pods that are connected and disconnected one after the other
    #[arg(long, value_name = "N", default_value_t = 200)]
    pods: usize,
    /// Pods that are there all the time, connected at once at the start
    #[arg(long, value_name = "N", default_value_t = 100)]
    neighbours: usize,
    /// Few pods, and nothing is written: to see that it works
    #[arg(long)]
    quick: bool,
    /// Folder of the penstock-cni and cni-agent to measure, instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

const TOOLS: [Tool; 2] = [
    Tool {
        program: "host-local",
        package: "containernetworking-plugins",
    },
    // What its portmap calls.
    Tool {
        program: "iptables",
        package: "iptables",
    },
];

pub(super) fn run(
    args: &Args,
    runtime: impl FnOnce() -> Result<tokio::runtime::Runtime>,
) -> Result<ExitCode> {
    ensure!(rustix::process::geteuid().is_root(), "this needs root");
    let missing = packages::ensure(&TOOLS);
    ensure!(missing.is_empty(), "these are needed: {missing:?}");
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None => build()?,
    };
    let (pods, neighbours) = match args.quick {
        true => (10, 5),
        false => (args.pods, args.neighbours),
    };
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let folder = TempDir::with_prefix("penstock-bench-").context("a temporary folder")?;
        let mut chains = [
            Chain::penstock(&programs, folder.path()).await?,
            Chain::reference(folder.path())?,
        ];
        let measuring = tokio::task::spawn_blocking(move || {
            let report = measure(&mut chains, pods, neighbours);
            (chains, report)
        });
        tokio::select! {
            done = measuring => Ok(Some(done.context("measuring has panicked")?.1?)),
            result = process::interrupted() => result.map(|()| None),
        }
    });
    let Some(report) = done? else {
        println!("\ninterrupted");
        return Ok(ExitCode::FAILURE);
    };
    println!("{report}");
    if !args.quick {
        MARKERS.replace(&workspace::root().join("docs/benchmarks.md"), &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build() -> Result<PathBuf> {
    println!("Building penstock-cni and cni-agent in the release profile …");
    workspace::build("cni-agent", "release")?;
    let plugin = workspace::build("penstock-cni", "release")?;
    let folder = plugin.parent().context("a program is in a folder")?;
    Ok(folder.to_owned())
}

/// A pod's namespace, which goes with this.
#[derive(Debug)]
struct Pod {
    name: String,
    namespace: Namespace,
}

impl Pod {
    fn new(name: String) -> Result<Self> {
        let namespace = Namespace::new()?;
        Ok(Self { name, namespace })
    }

    fn path(&self) -> String {
        let fd = self.namespace.as_fd().as_raw_fd();
        format!("/proc/{}/fd/{fd}", std::process::id())
    }
}

/// How long something took, each time.
#[derive(Debug, Default)]
struct Times(Vec<Duration>);

impl Times {
    /// In milliseconds.
    fn percentile(&self, share: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
        sorted
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}

/// What came of one chain, without and with a host port.
#[derive(Debug, Default)]
struct Measured {
    add: [Times; 2],
    del: [Times; 2],
    /// From the beginning of DEL until the kernel has removed the interface.
    gone: [Times; 2],
    together: Duration,
}

fn measure(chains: &mut [Chain; 2], pods: usize, neighbours: usize) -> Result<String> {
    let mut measured = [Measured::default(), Measured::default()];
    let mut kept = Vec::new();
    for (chain, measured) in chains.iter().zip(&mut measured) {
        println!("{}: {neighbours} pods at once", chain.name());
        let (pods, time) = connect_at_once(chain, neighbours)?;
        measured.together = time;
        kept.push(pods);
    }
    let mut done = Vec::with_capacity(2 * pods);
    for round in 0..pods {
        let port = round % 2;
        for turn in 0..2 {
            let which = (round / 2 + turn) % 2;
            done.push(one_pod(&chains[which], round, port, &mut measured[which])?);
        }
    }
    let report = report(chains, &measured, pods, neighbours)?;
    for (chain, pods) in chains.iter().zip(kept) {
        for (pod, connected) in pods {
            chain.del(&pod, &connected)?;
        }
    }
    Ok(report)
}

fn connect_at_once(chain: &Chain, count: usize) -> Result<(Vec<(Pod, Connected)>, Duration)> {
    let pods: Result<Vec<_>> = (0..count)
        .map(|number| Pod::new(format!("neighbour{number}")))
        .collect();
    let pods = pods?;
    let begun = Instant::now();
    let connected: Result<Vec<Connected>> = thread::scope(|scope| {
        let threads: Vec<_> = pods
            .iter()
            .map(|pod| scope.spawn(|| chain.add(pod, None).map(|(connected, _)| connected)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread of this benchmark panicked"))
            .collect()
    });
    let time = begun.elapsed();
    Ok((pods.into_iter().zip(connected?).collect(), time))
}

/// The first pods are there to warm up.
const WARM_UP: usize = 4;

/// Returns the pod: a namespace that goes holds up everybody who asks for links.
fn one_pod(chain: &Chain, round: usize, port: usize, measured: &mut Measured) -> Result<Pod> {
    let pod = Pod::new(format!("pod{round}"))?;
    let host_port = (port == 1).then_some(30_000);
    let before = chain.links()?;
    let (connected, add) = chain.add(&pod, host_port)?;
    let begun = Instant::now();
    let del = chain.del(&pod, &connected)?;
    // What the kernel still does is not to be found in the next one's time.
    while chain.links()? != before {
        let name = chain.name();
        ensure!(begun.elapsed() < PATIENCE, "{name}: an interface stays");
        thread::park_timeout(Duration::from_micros(200));
    }
    let gone = begun.elapsed();
    if round >= WARM_UP {
        measured.add[port].0.push(add);
        measured.del[port].0.push(del);
        measured.gone[port].0.push(gone);
    }
    Ok(pod)
}

const PATIENCE: Duration = Duration::from_secs(20);

const MARKERS: Markers = Markers {
    begin: "<!-- begin: written by cargo xtask bench cni -->",
    end: "<!-- end: written by cargo xtask bench cni; what is below is kept -->",
};

fn report(
    chains: &[Chain; 2],
    measured: &[Measured; 2],
    pods: usize,
    neighbours: usize,
) -> Result<String> {
    let [ours, theirs] = measured;
    let mut rows = Vec::new();
    let mut goals = Vec::new();
    for (port, with) in ["", " with a host port"].into_iter().enumerate() {
        for (what, ours, theirs) in [
            ("ADD", &ours.add[port], &theirs.add[port]),
            ("DEL", &ours.del[port], &theirs.del[port]),
            (
                "DEL until the interface is gone",
                &ours.gone[port],
                &theirs.gone[port],
            ),
        ] {
            let both = |times: &Times| {
                format!("{:.2} / {:.2}", times.percentile(50), times.percentile(95))
            };
            let (mine, other) = (ours.percentile(50), theirs.percentile(50));
            let ratio = other / mine;
            rows.push(vec![
                format!("{what}{with}"),
                both(ours),
                both(theirs),
                format!("{ratio:.1} ×"),
            ]);
            if what.len() == 3 {
                let reached = |reached| if reached { "reached" } else { "not reached" };
                goals.push(vec![
                    format!("{what}{with}: p50 ≤ 5 ms"),
                    format!("{mine:.2} ms"),
                    reached(mine <= 5.0).to_owned(),
                ]);
                goals.push(vec![
                    format!("{what}{with}: at least 5 × faster"),
                    format!("{ratio:.1} ×"),
                    reached(ratio >= 5.0).to_owned(),
                ]);
            }
        }
    }
    let together = |measured: &Measured| format!("{:.0}", measured.together.as_secs_f64() * 1000.0);
    rows.push(vec![
        format!("{neighbours} pods at once, all of them"),
        together(ours),
        together(theirs),
        format!(
            "{:.1} ×",
            theirs.together.as_secs_f64() / ours.together.as_secs_f64()
        ),
    ]);
    let mut facts: Vec<_> = conditions::machine();
    facts.push((
        "pods",
        format!("{pods} one after the other, beside {neighbours} that stay"),
    ));
    facts.extend(chains[0].facts()?);
    let facts = facts
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value]);
    let header = [
        "ms, p50 / p95",
        chains[0].name(),
        chains[1].name(),
        "faster",
    ];
    Ok(format!(
        "# Pods connected\n\n{}\n{READING}{}\n## Conditions of this part\n\n{}",
        table(&["goal", "measured", ""], goals.into_iter()),
        table(&header, rows.into_iter()),
        table(&["", ""], facts),
    ))
}

const READING: &str = "\
Each is the time of the plugins' processes, one after the other, from start to exit, as a runtime calls them; both have
IPv4 alone. penstock-cni answers DEL when nobody can have the pod's addresses and ports before the interface is
gone; the kernel then takes its time, which the reference plugins wait for.

";

fn size(file: &Path) -> Result<String> {
    let length = std::fs::metadata(file)
        .with_context(|| format!("{}", file.display()))?
        .len();
    Ok(format!("{} MiB", mib(length)))
}

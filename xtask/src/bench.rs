//! `cargo xtask bench l7`: l7-ingress beside nginx and HAProxy, and alone at scale. `cni`: pods connected.
//! `mesh`: one node among thousands.

mod backend;
mod client;
mod cni;
mod conditions;
mod config;
mod document;
mod measure;
mod mesh;
mod procfs;
mod report;
mod scale;
mod scenario;
mod stats;
mod sut;
mod table;

pub(crate) use sut::free_ports;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;

use self::client::Site;
use self::measure::Plan;
use self::report::Report;
use self::scenario::Scenario;
use self::sut::{Bench, Cpus, Who};
use crate::packages::{self, Tool};
use crate::{certs, process, workspace};

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Target {
    /// l7-ingress, nginx and HAProxy in turns; writes docs/benchmarks.md
    L7(Args),
    /// penstock-cni and Debian's containernetworking-plugins in turns; writes docs/benchmarks.md
    Cni(cni::Args),
    /// One node's agent among 5 000 nodes; writes docs/benchmarks.md
    Mesh(mesh::Args),
}

/// `cargo xtask bench l7`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure only this; may be repeated
    #[arg(long, value_name = "NAME", value_enum)]
    scenario: Vec<Scenario>,
    /// Seconds of each run
    #[arg(long, value_name = "SECONDS", default_value_t = 6)]
    duration: u64,
    /// Runs of each proxy in each scenario
    #[arg(long, value_name = "N", default_value_t = 5)]
    repeats: usize,
    /// Short runs, few repeats, small scale: to see that it works
    #[arg(long)]
    quick: bool,
    /// Numbers of Ingresses for the scale scenario
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "1,1000,10000,100000"
    )]
    ingresses: Vec<u32>,
    /// Proxies to measure
    #[arg(
        long,
        value_name = "NAME",
        value_enum,
        value_delimiter = ',',
        default_value = "nginx,haproxy,l7-ingress"
    )]
    proxies: Vec<Who>,
    /// Where the report is written; by default docs/benchmarks.md, and only if everything was measured
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The l7-ingress to measure, instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

const TOOLS: [Tool; 5] = [
    Tool {
        program: "nginx",
        package: "nginx",
    },
    Tool {
        program: "haproxy",
        package: "haproxy",
    },
    Tool {
        program: "wrk",
        package: "wrk",
    },
    Tool {
        program: "h2load",
        package: "nghttp2-client",
    },
    Tool {
        program: "taskset",
        package: "util-linux",
    },
];

/// Open files: 10 000 connections on both sides of a proxy, and some.
const OPEN_FILES: u64 = 65_536;

pub(crate) fn run(
    target: Target,
    runtime: impl FnOnce() -> Result<tokio::runtime::Runtime>,
) -> Result<ExitCode> {
    let args = match target {
        Target::L7(args) => args,
        Target::Cni(args) => return cni::run(&args, runtime),
        Target::Mesh(args) => return mesh::run(&args, runtime),
    };
    let Some(program) = args.program.clone() else {
        return build_and_rerun();
    };
    let missing = packages::ensure(&TOOLS);
    ensure!(missing.is_empty(), "these are needed: {missing:?}");
    let cpus = split_cpus()?;
    let file_limit = raise_file_limit();
    // The runtime's thread inherits the CPUs that were just set.
    runtime()?.block_on(async {
        tokio::select! {
            result = measure_all(&args, program, cpus, file_limit) => result.map(|()| ExitCode::SUCCESS),
            result = process::interrupted() => {
                result?;
                println!("\ninterrupted; everything that was started is ended");
                Ok(ExitCode::FAILURE)
            }
        }
    })
}

/// Clients in the dev profile would be the ceiling: builds the release profile and becomes it.
fn build_and_rerun() -> Result<ExitCode> {
    println!("Building l7-ingress and the clients in the release profile …");
    let program = workspace::build("l7-ingress", "release")?;
    let xtask = workspace::build("xtask", "release")?;
    let error = Command::new(xtask)
        .args(std::env::args_os().skip(1))
        .arg("--program")
        .arg(program)
        .exec();
    bail!("the release build does not start: {error}")
}

/// The last CPU for the proxy, the others for clients and backend: this thread moves there.
fn split_cpus() -> Result<Cpus> {
    let all = sched_getaffinity(None).context("the CPUs")?;
    let list: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| all.is_set(*cpu))
        .collect();
    let Some((proxy, others)) = list.split_last().filter(|(_, others)| !others.is_empty()) else {
        bail!("one CPU is not enough: the proxy needs its own");
    };
    let mut set = CpuSet::new();
    for cpu in others {
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).context("moving to the clients' CPUs")?;
    let others: Vec<_> = others.iter().map(ToString::to_string).collect();
    Ok(Cpus {
        proxy: proxy.to_string(),
        others: others.join(","),
    })
}

fn raise_file_limit() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let maximum = now
        .maximum
        .map_or(OPEN_FILES, |maximum| maximum.max(OPEN_FILES));
    for (current, maximum) in [
        (OPEN_FILES, Some(maximum)),
        (now.maximum.unwrap_or(OPEN_FILES), now.maximum),
    ] {
        let limit = Rlimit {
            current: Some(current),
            maximum,
        };
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return current;
        }
    }
    now.current.unwrap_or(OPEN_FILES)
}

async fn measure_all(args: &Args, program: PathBuf, cpus: Cpus, file_limit: u64) -> Result<()> {
    let plan = if args.quick {
        Plan {
            duration: Duration::from_secs(2),
            warm_up: Duration::from_secs(1),
            repeats: 3,
        }
    } else {
        Plan {
            duration: Duration::from_secs(args.duration),
            warm_up: Duration::from_secs(1),
            repeats: args.repeats,
        }
    };
    let folder = TempDir::with_prefix("penstock-bench-").context("a temporary folder")?;
    let pems = certs::issue(&[client::TLS_HOST])?;
    let (websocket, _websocket_task) = backend::websocket().await?;
    let (_backend, backend) = sut::start_backend(folder.path(), &pems, &cpus, websocket).await?;
    let bench = Bench {
        cpus,
        pems,
        program,
        folder: folder.path().to_owned(),
        // A proxied request needs two files.
        connections: file_limit.saturating_sub(1000) / 2,
        backend,
    };
    let chosen = Scenario::chosen(&args.scenario);
    let mut report = Report::new(conditions::gather(&bench, plan));
    for scenario in &chosen {
        println!("measuring: {}", scenario.title());
        match scenario.load() {
            Some(load) => {
                let rows = measure::rows(&bench, &args.proxies, load, plan).await?;
                report.compared(*scenario, rows);
            }
            None if *scenario == Scenario::Filters => {
                let loads = [Site::Plain, Site::Filtered].map(scenario::filters);
                report.filters = Some(measure::pair(&bench, loads, plan).await?);
            }
            None if *scenario == Scenario::Idle => {
                report.idle = scale::idle(&bench, &args.proxies).await?;
            }
            None => {
                let sizes: Vec<u32> = if args.quick {
                    vec![1, 1000]
                } else {
                    args.ingresses.clone()
                };
                report.scale = scale::ingresses(&bench, &sizes).await?;
            }
        }
        println!("{}", report.latest());
    }
    println!("{}", report.verdicts());
    let whole = !args.quick && args.scenario.is_empty() && args.proxies.len() == Who::ALL.len();
    let default = workspace::root().join("docs/benchmarks.md");
    match (&args.output, whole) {
        (Some(file), _) => report.write(file),
        (None, true) => report.write(&default),
        (None, false) => {
            println!("docs/benchmarks.md is left as it is: not everything was measured");
            Ok(())
        }
    }
}

//! Alternating runs of one load over all proxies.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::client::{Load, Ports, Sample};
use super::procfs;
use super::stats::Summary;
use super::sut::{Bench, Sut, Who};

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) duration: Duration,
    pub(super) warm_up: Duration,
    pub(super) repeats: usize,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) sample: Sample,
    /// Microseconds of the proxy's user and system time for each request.
    pub(super) cpu_per_request: f64,
    /// Share of the time that the proxy was on its CPU.
    pub(super) busy: f64,
}

/// All runs of one proxy, or of none.
#[derive(Debug)]
pub(super) struct Row {
    /// `None`: straight to the backend.
    pub(super) who: Option<Who>,
    pub(super) runs: Vec<Run>,
    /// Resident memory after the last run.
    pub(super) rss: u64,
}

impl Row {
    pub(super) fn name(&self) -> &'static str {
        self.who.map_or("direct", Who::name)
    }

    pub(super) fn summary(&self, of: impl Fn(&Run) -> f64) -> Option<Summary> {
        Summary::of(self.runs.iter().map(of))
    }

    pub(super) fn errors(&self) -> u64 {
        self.runs.iter().map(|run| run.sample.errors).sum()
    }
}

/// Measures `load` over each of `proxies`, and without any.
pub(super) async fn rows(
    bench: &Bench,
    proxies: &[Who],
    load: Load,
    plan: Plan,
) -> Result<Vec<Row>> {
    let mut suts = Vec::new();
    for who in proxies {
        suts.push(bench.start(*who).await?);
    }
    let mut rows: Vec<Row> = std::iter::once(None)
        .chain(proxies.iter().copied().map(Some))
        .map(|who| Row {
            who,
            runs: Vec::new(),
            rss: 0,
        })
        .collect();
    for repeat in 0..plan.repeats {
        for turn in 0..rows.len() {
            // Another one goes first each time.
            let index = (turn + repeat) % rows.len();
            let sut = index.checked_sub(1).map(|index| &suts[index]);
            let name = rows[index].name();
            let run = run(bench, sut, load, plan).await;
            rows[index].runs.push(run.with_context(|| name)?);
        }
    }
    for (row, sut) in rows.iter_mut().skip(1).zip(&suts) {
        row.rss = procfs::rss(sut.daemon.pid())?;
    }
    for sut in suts {
        sut.daemon.stop(Duration::from_secs(5)).await;
    }
    Ok(rows)
}

/// Measures l7-ingress alone, with each of two loads in turn.
pub(super) async fn pair(bench: &Bench, loads: [Load; 2], plan: Plan) -> Result<[Row; 2]> {
    let sut = bench.start(Who::Penstock).await?;
    let mut rows = loads.map(|_| Row {
        who: Some(Who::Penstock),
        runs: Vec::new(),
        rss: 0,
    });
    for repeat in 0..plan.repeats {
        for turn in 0..loads.len() {
            let index = (turn + repeat) % loads.len();
            let run = run(bench, Some(&sut), loads[index], plan).await?;
            rows[index].runs.push(run);
        }
    }
    for row in &mut rows {
        row.rss = procfs::rss(sut.daemon.pid())?;
    }
    sut.daemon.stop(Duration::from_secs(5)).await;
    Ok(rows)
}

async fn run(bench: &Bench, sut: Option<&Sut>, load: Load, plan: Plan) -> Result<Run> {
    let ports: Ports = sut.map_or(bench.backend, |sut| sut.ports);
    load.run(ports, plan.warm_up, &bench.folder).await?;
    let cpu = || sut.map_or(Ok(Duration::ZERO), |sut| procfs::cpu(sut.daemon.pid()));
    let (start, before) = (Instant::now(), cpu()?);
    let sample = load.run(ports, plan.duration, &bench.folder).await?;
    let used = cpu()?.saturating_sub(before);
    let busy = used.as_secs_f64() / start.elapsed().as_secs_f64();
    Ok(Run {
        sample,
        cpu_per_request: used.as_secs_f64() * 1e6 / sample.requests.max(1) as f64,
        busy,
    })
}

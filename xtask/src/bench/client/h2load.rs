//! HTTP/2 by `h2load`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{Sample, output};
use crate::bench::stats::percentile;

pub(super) async fn run(
    url: &str,
    (connections, streams): (u32, u32),
    duration: Duration,
    scratch: &Path,
) -> Result<Sample> {
    let log = scratch.join("h2load.tsv");
    // It appends.
    if log.exists() {
        std::fs::remove_file(&log).context("h2load's log")?;
    }
    let mut command = Command::new("h2load");
    command
        .args(["--threads", "1"])
        .args(["--clients", &connections.to_string()])
        .args(["--max-concurrent-streams", &streams.to_string()])
        .args(["--duration", &duration.as_secs().max(1).to_string()])
        .arg(format!("--log-file={}", log.display()))
        .arg(url);
    let text = output(&mut command).await?;
    let log = std::fs::read_to_string(&log).context("h2load's log")?;
    parse(&text, &log).with_context(|| format!("h2load says:\n{text}"))
}

fn parse(text: &str, log: &str) -> Option<Sample> {
    let line = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix));
    let count = |list: &str, what: &str| -> Option<u64> {
        let mut parts = list.split(", ");
        parts.find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    let finished = line("finished in ")?;
    let per_second = finished
        .split(", ")
        .find_map(|part| part.strip_suffix(" req/s")?.parse().ok())?;
    let requests = line("requests: ")?;
    let codes = line("status codes: ")?;
    let succeeded = count(requests, "succeeded")?;
    let broken =
        count(requests, "failed")? + count(requests, "errored")? + count(requests, "timeout")?;
    let bad: u64 = ["3xx", "4xx", "5xx"]
        .iter()
        .filter_map(|code| count(codes, code))
        .sum();
    let mut latencies: Vec<u32> = log
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse().ok())
        .collect();
    latencies.sort_unstable();
    Some(Sample {
        requests: succeeded,
        per_second,
        p50: percentile(&latencies, 0.5),
        p99: percentile(&latencies, 0.99),
        errors: broken + bad,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2load_is_read() {
        let text = "starting benchmark...
finished in 2.00s, 25519.00 req/s, 3.73MB/s
requests: 51038 total, 51198 started, 51038 done, 51030 succeeded, 8 failed, 0 errored, 0 timeout
status codes: 51030 2xx, 0 3xx, 0 4xx, 8 5xx
traffic: 7.46MB (7826310) total, 1.80MB (1888406) headers (space savings 84.58%), 4.87MB (5103800) data
";
        let log = "1700000000\t200\t300\n1700000001\t200\t100\n1700000002\t200\t200\n";
        let want = Sample {
            requests: 51_030,
            per_second: 25_519.0,
            p50: 200.0,
            p99: 300.0,
            errors: 16,
        };
        assert_eq!(parse(text, log), Some(want));
    }
}

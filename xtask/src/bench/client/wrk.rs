//! HTTP/1.1 by `wrk`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{FILTERED_HOST, PLAIN_HOST, Ports, Sample, Site, TLS_HOST, output};

pub(super) async fn run(
    (site, ports): (Site, Ports),
    path: &str,
    connections: u32,
    duration: Duration,
) -> Result<Sample> {
    let mut command = wrk(connections, duration);
    let (http, https) = (ports.http, ports.https);
    let host = match site {
        Site::Tls => return sample(command.arg(format!("https://{TLS_HOST}:{https}{path}"))).await,
        Site::Plain => PLAIN_HOST,
        Site::Filtered => FILTERED_HOST,
    };
    command.args(["--header", &format!("Host: {host}")]);
    sample(command.arg(format!("http://127.0.0.1:{http}{path}"))).await
}

/// Requests for `/100` on the hosts `h0.bench.localhost` to `hN.bench.localhost`, at random.
pub(in crate::bench) async fn many_hosts(
    port: u16,
    hosts: u32,
    duration: Duration,
    scratch: &Path,
) -> Result<Sample> {
    let script = scratch.join("hosts.lua");
    let text = format!(
        "request = function()\n  \
           local host = 'h' .. math.random(0, {}) .. '.bench.localhost'\n  \
           return 'GET /100 HTTP/1.1\\r\\nHost: ' .. host .. '\\r\\n\\r\\n'\n\
         end\n",
        hosts.saturating_sub(1)
    );
    std::fs::write(&script, text).context("the script")?;
    let mut command = wrk(64, duration);
    command.arg("--script").arg(script);
    sample(command.arg(format!("http://127.0.0.1:{port}"))).await
}

fn wrk(connections: u32, duration: Duration) -> Command {
    let mut command = Command::new("wrk");
    command
        .args(["--threads", "1", "--latency"])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", duration.as_secs().max(1))]);
    command
}

async fn sample(command: &mut Command) -> Result<Sample> {
    let text = output(command).await?;
    parse(&text).with_context(|| format!("wrk says:\n{text}"))
}

fn parse(text: &str) -> Option<Sample> {
    let after = |prefix: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find_map(|line| Some(line.strip_prefix(prefix)?.trim()))
    };
    let requests = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    let socket_errors: u64 = after("Socket errors:").map_or(0, |list| {
        let counts = list.split(", ");
        counts
            .filter_map(|one| one.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    });
    let bad: u64 = after("Non-2xx or 3xx responses:").map_or(Some(0), |n| n.parse().ok())?;
    Some(Sample {
        requests,
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50: micros(after("50%")?)?,
        p99: micros(after("99%")?)?,
        errors: socket_errors + bad,
    })
}

/// `12.34us`, `1.20ms`, `1.01s`, `1.5m`
fn micros(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 6e7,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_read() {
        let text = "Running 8s test @ http://127.0.0.1:8080/100
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.05ms  250.11us   9.80ms   91.33%
    Req/Sec    60.11k     2.25k   64.07k    75.00%
  Latency Distribution
     50%  998.00us
     75%    1.12ms
     90%    1.30ms
     99%    2.05ms
  480934 requests in 8.01s, 103.20MB read
  Socket errors: connect 0, read 2, write 0, timeout 1
  Non-2xx or 3xx responses: 4
Requests/sec:  60041.57
Transfer/sec:     12.88MB
";
        let want = Sample {
            requests: 480_934,
            per_second: 60_041.57,
            p50: 998.0,
            p99: 2050.0,
            errors: 7,
        };
        assert_eq!(parse(text), Some(want));
    }
}

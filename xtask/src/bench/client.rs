//! Load. HTTP by `wrk` and `h2load`; what they cannot do, new TLS connections and WebSocket frames, by
//! small clients of our own.

mod h2load;
mod tls;
mod websocket;
mod wrk;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use tokio::process::Command;

use super::stats::percentile;

pub(super) use tls::idle_connections;
pub(super) use websocket::{CLIENT_FRAME_LENGTH, SERVER_FRAME, UPGRADED};
pub(super) use wrk::many_hosts;

/// The host of routes without TLS.
pub(super) const PLAIN_HOST: &str = "plain.localhost";
/// The host of routes with TLS; it is also what `wrk` and `h2load` resolve.
pub(super) const TLS_HOST: &str = "localhost";

/// The host of the route with filters.
pub(super) const FILTERED_HOST: &str = "filtered.localhost";

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    Plain,
    Tls,
    /// The route with filters, which l7-ingress alone has.
    Filtered,
}

/// What one run of a client saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) per_second: f64,
    /// Microseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) errors: u64,
}

/// What is asked, and by how many connections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    Http {
        site: Site,
        path: &'static str,
        connections: u32,
    },
    Http2 {
        path: &'static str,
        connections: u32,
        streams: u32,
    },
    Handshakes {
        connections: u32,
    },
    WebSocket {
        connections: u32,
    },
}

/// Where a proxy, or the backend itself, listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) https: u16,
    pub(super) websocket: u16,
}

impl Load {
    /// Puts this load on `ports` for `duration`.
    pub(super) async fn run(
        self,
        ports: Ports,
        duration: Duration,
        scratch: &Path,
    ) -> Result<Sample> {
        match self {
            Self::Http {
                site,
                path,
                connections,
            } => wrk::run((site, ports), path, connections, duration).await,
            Self::Http2 {
                path,
                connections,
                streams,
            } => {
                let url = format!("https://{TLS_HOST}:{}{path}", ports.https);
                h2load::run(&url, (connections, streams), duration, scratch).await
            }
            Self::Handshakes { connections } => tls::run(ports.https, connections, duration).await,
            Self::WebSocket { connections } => {
                websocket::run(ports.websocket, connections, duration).await
            }
        }
    }
}

async fn output(command: &mut Command) -> Result<String> {
    let output = command.kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}:\n{text}{error}", output.status);
    }
    Ok(text)
}

/// Runs `one` again and again in `connections` tasks of this thread until `duration` is over.
async fn repeat<F, T>(connections: u32, duration: Duration, one: F) -> Sample
where
    F: AsyncFn(u32, Instant, &mut Vec<u32>) -> T,
    T: IntoIterator<Item = u64>,
{
    let start = Instant::now();
    let end = start + duration;
    let workers = (0..connections).map(async |worker| {
        let mut latencies = Vec::new();
        let errors: u64 = one(worker, end, &mut latencies).await.into_iter().sum();
        (latencies, errors)
    });
    let results = join_all(workers).await;
    let seconds = start.elapsed().as_secs_f64();
    let errors = results.iter().map(|(_, errors)| errors).sum();
    let mut latencies: Vec<u32> = results.into_iter().flat_map(|(l, _)| l).collect();
    latencies.sort_unstable();
    Sample {
        requests: latencies.len() as u64,
        per_second: latencies.len() as f64 / seconds,
        p50: percentile(&latencies, 0.5),
        p99: percentile(&latencies, 0.99),
        errors,
    }
}

fn since(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)
}

//! Memory at rest, and what many Ingresses cost.
//!
//! The objects are served over TCP by the embedded API in this process, so that the proxy's memory is
//! its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use apiserver::ApiServer;
use rustix::process::Pid;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::client::{Ports, idle_connections, many_hosts};
use super::procfs;
use super::stats::Summary;
use super::sut::{Bench, Objects, Sut, Who, free_ports};
use crate::probe;

/// A proxy without traffic.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) who: Who,
    pub(super) rss: u64,
    pub(super) connections: u32,
    /// Bytes for each TLS connection that has answered a request and waits for the next.
    pub(super) per_connection: u64,
}

/// l7-ingress with so many Ingresses.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) ingresses: u32,
    pub(super) ready_after: Duration,
    pub(super) rss: u64,
    /// Milliseconds from a change at the API to the first answer that shows it.
    pub(super) served_after: Summary,
    /// Milliseconds of CPU.
    pub(super) cpu_per_change: f64,
    /// Microseconds of CPU, with requests spread over all hosts.
    pub(super) cpu_per_request: f64,
}

const IDLE_CONNECTIONS: u32 = 10_000;
/// Lets what follows a start or a burst, such as freeing memory, come to an end.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) async fn idle(bench: &Bench, proxies: &[Who]) -> Result<Vec<Idle>> {
    // Fewer than a proxy may have: what it does at its limit is not the question.
    let spare = u32::try_from(bench.connections * 9 / 10).unwrap_or(u32::MAX);
    let connections = IDLE_CONNECTIONS.min(spare);
    let mut results = Vec::new();
    for who in proxies {
        let sut = bench.start(*who).await?;
        sleep(SETTLE).await;
        let rss = procfs::rss(sut.daemon.pid())?;
        let open = idle_connections(sut.ports.https, connections).await;
        let open = open.with_context(|| {
            let words = sut.daemon.last_words();
            format!("idle connections to {}, which says: {words}", who.name())
        })?;
        sleep(SETTLE).await;
        let more = procfs::rss(sut.daemon.pid())?.saturating_sub(rss);
        drop(open);
        results.push(Idle {
            who: *who,
            rss,
            connections,
            per_connection: more / u64::from(connections.max(1)),
        });
        sut.daemon.stop(Duration::from_secs(5)).await;
    }
    Ok(results)
}

pub(super) async fn ingresses(bench: &Bench, sizes: &[u32]) -> Result<Vec<Scale>> {
    let mut results = Vec::new();
    for count in sizes {
        let one = at(bench, *count).await;
        results.push(one.with_context(|| format!("with {count} Ingresses"))?);
    }
    Ok(results)
}

async fn at(bench: &Bench, count: u32) -> Result<Scale> {
    let api = ApiServer::new();
    fill(&api, count, bench.backend)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.context("the embedded API")?;
    let kubeconfig = bench.folder.join("kubeconfig");
    write_kubeconfig(
        &kubeconfig,
        listener.local_addr().context("the embedded API")?,
    )?;
    let serving = tokio::spawn(api.clone().serve(listener, std::future::pending()));

    let [http, https] = free_ports()?;
    let ports = Ports {
        http,
        https,
        websocket: http,
    };
    let sut = bench
        .start_penstock(ports, Objects::Api(&kubeconfig))
        .await?;
    sleep(SETTLE).await;
    let rss = procfs::rss(sut.daemon.pid())?;
    let served_after = changes(&api, &sut, count).await?;
    let cpu_per_change = cost_of_changes(&api, &sut, count).await?;
    let cpu_per_request = lookups(bench, &sut, count).await?;
    let ready_after = sut.ready_after;
    sut.daemon.stop(Duration::from_secs(5)).await;
    serving.abort();
    Ok(Scale {
        ingresses: count,
        ready_after,
        rss,
        served_after,
        cpu_per_change,
        cpu_per_request,
    })
}

const CHANGES: u32 = 20;
const COUNTED_CHANGES: u32 = 30;
/// Apart enough that no two changes are taken together.
const APART: Duration = Duration::from_millis(100);

/// The Ingress of a change: far apart, so that no two are neighbours.
fn index(change: u32, count: u32) -> u32 {
    let spread = u64::from(change) * 7919 % u64::from(count.max(1));
    u32::try_from(spread).expect("less than a u32")
}

async fn changes(api: &ApiServer, sut: &Sut, count: u32) -> Result<Summary> {
    let mut times = Vec::new();
    for change in 0..CHANGES {
        times.push(one_change(api, sut, (index(change, count), change)).await?);
        sleep(APART).await;
    }
    Summary::of(times).context("no change")
}

/// Milliseconds until a path that was not there answers.
async fn one_change(api: &ApiServer, sut: &Sut, (number, change): (u32, u32)) -> Result<f64> {
    let path = format!("/v{change}");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, sut.ports.http));
    let host = host(number);
    let before = probe::get(address, &host, &path).await;
    ensure!(
        before.is_some_and(|(status, _)| status == 404),
        "{host}{path} was there before its change"
    );
    let start = Instant::now();
    apply(api, ingress(number, Some(&path)))?;
    while start.elapsed() < Duration::from_secs(30) {
        if probe::get(address, &host, &path)
            .await
            .is_some_and(|(status, _)| status == 200)
        {
            return Ok(start.elapsed().as_secs_f64() * 1e3);
        }
        tokio::task::yield_now().await;
    }
    Err(anyhow!("{host}{path} is not served 30 s after its change"))
}

/// Milliseconds of CPU for each change, less what the proxy uses when nothing happens.
async fn cost_of_changes(api: &ApiServer, sut: &Sut, count: u32) -> Result<f64> {
    let pid = sut.daemon.pid();
    sleep(SETTLE).await;
    let quiet = used_during(pid, async {
        sleep(APART * COUNTED_CHANGES).await;
        Ok(())
    });
    let quiet = quiet.await?;
    let busy = used_during(pid, async {
        for change in 0..COUNTED_CHANGES {
            let number = index(change + CHANGES, count);
            apply(api, ingress(number, Some(&format!("/v{}", change + 1000))))?;
            sleep(APART).await;
        }
        Ok(())
    });
    let busy = busy.await?;
    let more = busy.saturating_sub(quiet);
    Ok(more.as_secs_f64() * 1e3 / f64::from(COUNTED_CHANGES))
}

async fn used_during(pid: Pid, what: impl Future<Output = Result<()>>) -> Result<Duration> {
    let before = procfs::cpu_fine(pid)?;
    what.await?;
    Ok(procfs::cpu_fine(pid)?.saturating_sub(before))
}

async fn lookups(bench: &Bench, sut: &Sut, count: u32) -> Result<f64> {
    let load = |seconds| {
        many_hosts(
            sut.ports.http,
            count,
            Duration::from_secs(seconds),
            &bench.folder,
        )
    };
    load(1).await?;
    let before = procfs::cpu(sut.daemon.pid())?;
    let sample = load(4).await?;
    let used = procfs::cpu(sut.daemon.pid())?.saturating_sub(before);
    ensure!(sample.errors == 0, "{} errors", sample.errors);
    Ok(used.as_secs_f64() * 1e6 / sample.requests.max(1) as f64)
}

fn fill(api: &ApiServer, count: u32, backend: Ports) -> Result<()> {
    apply(
        api,
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": { "name": "penstock" },
            "spec": { "controller": "penstock.dev/ingress" },
        }),
    )?;
    apply(
        api,
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "web", "namespace": "default" },
            "spec": { "ports": [{ "name": "http", "port": 80 }] },
        }),
    )?;
    apply(
        api,
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "web-1", "namespace": "default",
                "labels": { "kubernetes.io/service-name": "web" },
            },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["127.0.0.1"], "conditions": { "ready": true } }],
            "ports": [{ "name": "http", "port": backend.http, "protocol": "TCP" }],
        }),
    )?;
    (0..count).try_for_each(|number| apply(api, ingress(number, None)))
}

fn host(number: u32) -> String {
    format!("h{number}.bench.localhost")
}

fn ingress(number: u32, more: Option<&str>) -> Value {
    let paths: Vec<Value> = std::iter::once("/100")
        .chain(more)
        .map(|path| {
            json!({
                "path": path, "pathType": "Exact",
                "backend": { "service": { "name": "web", "port": { "number": 80 } } },
            })
        })
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": format!("i{number}"), "namespace": "default" },
        "spec": {
            "ingressClassName": "penstock",
            "rules": [{ "host": host(number), "http": { "paths": paths } }],
        },
    })
}

fn apply(api: &ApiServer, object: Value) -> Result<()> {
    api.apply("bench", object)
        .map(|_| ())
        .map_err(|status| anyhow!("the embedded API refuses an object: {status:?}"))
}

fn write_kubeconfig(file: &Path, api: SocketAddr) -> Result<()> {
    let text = format!(
        "apiVersion: v1
kind: Config
current-context: bench
clusters: [{{ name: bench, cluster: {{ server: \"http://{api}\" }} }}]
contexts: [{{ name: bench, context: {{ cluster: bench, user: bench }} }}]
users: [{{ name: bench, user: {{}} }}]
"
    );
    fs::write(file, text).context("kubeconfig")
}

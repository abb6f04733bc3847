//! Backends that die, hang, break off and are replaced under load (F01 to F04): what clients notice
//! of it, and that nothing is executed twice. Further faults are in modules of their own.

mod endpoints;
mod hello;
mod outage;
mod rotation;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::attacks::backend::{Backend, Ledger, read_request, record, recorder};
use crate::attacks::client::Wire;
use crate::attacks::program::{Program, Route, SOON};

/// Clients that ask on one connection each until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: JoinSet<Vec<u16>>,
}

impl Load {
    fn start(to: SocketAddr, method: &'static str) -> Self {
        let (stop, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut clients = JoinSet::new();
        for _ in 0..8 {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            clients.spawn(async move {
                let mut wire = Wire::connect(to).await;
                let mut statuses = Vec::new();
                while !stop.load(Relaxed) {
                    let id = asked.fetch_add(1, Relaxed);
                    wire.send(format!(
                        "{method} /{id} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
                    ))
                    .await;
                    statuses.push(wire.response().await.map_or(0, |response| response.status));
                }
                statuses
            });
        }
        Self {
            stop,
            asked,
            clients,
        }
    }

    /// Waits for that many further requests.
    async fn pass(&self, requests: usize) {
        let goal = self.asked.load(Relaxed) + requests;
        let passing = async {
            while self.asked.load(Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, passing).await.unwrap();
    }

    /// How often each status was answered; 0 is none.
    async fn end(self) -> BTreeMap<u16, usize> {
        self.stop.store(true, Relaxed);
        let statuses = timeout(SOON, self.clients.join_all()).await.unwrap();
        let mut counts = BTreeMap::new();
        for status in statuses.into_iter().flatten() {
            *counts.entry(status).or_default() += 1;
        }
        counts
    }
}

/// No request was seen twice by the ledgers together.
fn assert_once(ledgers: &[&Ledger]) {
    let mut seen = BTreeMap::<String, usize>::new();
    for request in ledgers.iter().flat_map(|ledger| ledger.take()) {
        *seen.entry(request.target).or_default() += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// F01: one of three backends is killed. Idempotent requests are answered by another one.
#[tokio::test]
async fn a_killed_backend_costs_no_idempotent_request() {
    let (first, second, third) = (recorder().await, recorder().await, recorder().await);
    let addresses = [&first, &second, &third].map(|(backend, _)| backend.address);
    let program = Program::start(&[Route::new("web", "/", &addresses)], &[]).await;
    let load = Load::start(program.http, "GET");
    load.pass(300).await;
    drop(first);
    load.pass(300).await;
    let counts = load.end().await;
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&200]);
    program.finish().await;
}

/// F01: one that is not idempotent and was sent fails with 502, and is not executed twice.
#[tokio::test]
async fn a_killed_backend_executes_nothing_twice() {
    let (first, second, third) = (recorder().await, recorder().await, recorder().await);
    let addresses = [&first, &second, &third].map(|(backend, _)| backend.address);
    let program = Program::start(&[Route::new("web", "/", &addresses)], &[]).await;
    let load = Load::start(program.http, "POST");
    load.pass(300).await;
    drop(first.0);
    load.pass(300).await;
    let counts = load.end().await;
    let failed: usize = counts
        .iter()
        .filter(|one| *one.0 != 200)
        .map(|one| one.1)
        .sum();
    // At most what was in flight on it.
    assert!(failed <= 8, "{counts:?}");
    assert!(
        counts.keys().all(|status| [200, 502].contains(status)),
        "{counts:?}"
    );
    assert_once(&[&first.1, &second.1, &third.1]);
    program.finish().await;
}

/// F02: all backends are replaced, one by one, by a change of the Service and a graceful end.
#[tokio::test]
async fn a_rolling_restart_is_not_noticed() {
    let mut backends = vec![recorder().await, recorder().await, recorder().await];
    let addresses = |backends: &[(Backend, Ledger)]| {
        backends
            .iter()
            .map(|(backend, _)| backend.address)
            .collect::<Vec<_>>()
    };
    let program = Program::start(&[Route::new("web", "/", &addresses(&backends))], &[]).await;
    let load = Load::start(program.http, "POST");
    let mut ledgers = Vec::new();
    for _ in 0..3 {
        load.pass(100).await;
        backends.push(recorder().await);
        let (old, ledger) = backends.remove(0);
        ledgers.push(ledger);
        program
            .apply(&Route::new("web", "/", &addresses(&backends)))
            .await;
        // What was in flight on it when it left the Service has been answered by then.
        load.pass(100).await;
        drop(old);
    }
    load.pass(100).await;
    let counts = load.end().await;
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&200], "{counts:?}");
    ledgers.extend(backends.iter().map(|(_, ledger)| ledger.clone()));
    assert_once(&ledgers.iter().collect::<Vec<_>>());
    program.finish().await;
}

/// F03: a backend that takes requests and keeps silent, as a stopped process does, is waited for
/// once and then left out.
#[tokio::test]
async fn a_silent_backend_is_left_out() {
    let silent = Arc::new(AtomicBool::new(false));
    let hangs = Arc::clone(&silent);
    let grey = Backend::start(move |mut tcp, _| {
        let hangs = Arc::clone(&hangs);
        async move {
            while read_request(&mut tcp).await.is_some() {
                if hangs.load(Relaxed) {
                    return std::future::pending().await;
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                tcp.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let well = recorder().await;
    let routes = [Route::new("web", "/", &[grey.address, well.0.address])];
    let program = Program::start(&routes, &["--proxy-read-timeout=300ms"]).await;
    let load = Load::start(program.http, "GET");
    load.pass(100).await;
    silent.store(true, Relaxed);
    let began = Instant::now();
    load.pass(1000).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    silent.store(false, Relaxed);
    load.pass(100).await;
    let counts = load.end().await;
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&200], "{counts:?}");
    program.finish().await;
}

/// F04: a backend that resets every connection once it has the request.
#[tokio::test]
async fn a_resetting_backend_is_retried_only_where_that_is_safe() {
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let resetting = Backend::start(move |mut tcp, _| {
        let seen = seen.clone();
        async move {
            if let Some(request) = read_request(&mut tcp).await {
                seen.add(request);
            }
            tcp.set_zero_linger().unwrap();
        }
    })
    .await;
    let well = recorder().await;
    let routes = [Route::new("web", "/", &[resetting.address, well.0.address])];
    for (method, allowed) in [
        ("GET", &[200][..]),
        ("DELETE", &[200]),
        ("POST", &[200, 502]),
    ] {
        let program = Program::start(&routes, &[]).await;
        let load = Load::start(program.http, method);
        load.pass(200).await;
        let counts = load.end().await;
        assert!(
            counts.keys().all(|status| allowed.contains(status)),
            "{method}: {counts:?}"
        );
        if method == "POST" {
            assert_once(&[&ledger, &well.1]);
        } else {
            assert!(!ledger.take().is_empty(), "{method} was never sent there");
            well.1.take();
        }
        program.finish().await;
    }
}

/// A backend that comes back on its address is used again.
#[tokio::test]
async fn a_backend_that_returns_is_used_again() {
    let (first, _) = recorder().await;
    let address = first.address;
    let well = recorder().await;
    let routes = [Route::new("web", "/", &[address, well.0.address])];
    let program = Program::start(&routes, &[]).await;
    let load = Load::start(program.http, "GET");
    load.pass(100).await;
    drop(first);
    load.pass(100).await;
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let _again = Backend::start_on(address, move |tcp, _| record(tcp, seen.clone())).await;
    let returning = async {
        while ledger.len() == 0 {
            load.pass(10).await;
        }
    };
    timeout(SOON, returning).await.unwrap();
    let counts = load.end().await;
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&200], "{counts:?}");
    program.finish().await;
}

//! Clients and backends that take their time: they are given so much of it, and others none of theirs.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::backend::{Backend, read_request, recorder};
use super::client::{self, Wire};
use super::frames::{END_HEADERS, HEADERS, Http2, fields, frame};
use super::program::{Program, Route, SOON};

/// What is granted for anything.
const GRANTED: Duration = Duration::from_millis(400);
/// How often a slow client sends a byte.
const DRIP: Duration = Duration::from_millis(50);

const FLAGS: &[&str] = &[
    "--client-header-timeout=400ms",
    "--client-body-timeout=400ms",
    "--send-timeout=400ms",
    "--keep-alive=400ms",
    "--handshake-timeout=400ms",
];

/// Name, what is sent at once, and what drips after it without an end.
const SLOW: &[(&str, &str, &str)] = &[
    ("nothing", "", ""),
    ("empty lines", "\r\n\r\n", ""),
    ("a head", "GET / HTTP/1.1\r\nHost: a\r\n", "X-Y: z\r\n"),
    ("half a method", "G", ""),
    ("half a preface", "PRI * HTTP/2.0\r\n", ""),
    ("a preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
    (
        "half a body",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        "",
    ),
    (
        "half a chunk",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "",
    ),
    (
        "an answered request",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "",
    ),
    (
        "a head behind another",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n",
        "X-Y: z\r\n",
    ),
];

#[tokio::test]
async fn slow_clients_are_closed_and_others_are_served() {
    let (backend, ledger) = recorder().await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], FLAGS).await;
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (name, sent, drip) in SLOW {
        for _ in 0..10 {
            clients.spawn(lag(program.http, name, sent, drip));
        }
    }
    // Silence where a handshake is expected.
    clients.spawn(lag(program.https, "no handshake", "", ""));
    let served = async {
        for _ in 0..20 {
            assert_eq!(client::get(program.http, "/legitimate").await.status, 200);
        }
    };
    served.await;
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(began.elapsed() > GRANTED, "closed too early");
    let whole = ledger.take();
    assert!(
        whole
            .iter()
            .all(|seen| seen.complete == (seen.method == "GET"))
    );
    program.finish().await;
}

/// Sends, drips, and waits to be closed.
async fn lag(to: SocketAddr, name: &str, sent: &str, drip: &str) {
    let mut wire = Wire::connect(to).await;
    wire.send(sent).await;
    let (mut read, mut write) = wire.tcp.into_split();
    let dripping = async {
        let mut pace = interval(DRIP);
        for byte in drip.bytes().cycle() {
            pace.tick().await;
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    let closing = async {
        let mut answer = Vec::new();
        let _reset = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer).await;
        answer
    };
    let ended = async {
        tokio::select! {
            answer = closing => answer,
            () = dripping => Vec::new(),
        }
    };
    let answer = timeout(SOON, ended).await;
    let answer = answer.unwrap_or_else(|_| panic!("{name} was never closed"));
    let answer = String::from_utf8_lossy(&answer);
    if name.starts_with("half a body") || name.starts_with("half a chunk") {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{name}: {answer}");
    }
}

/// The same over HTTP/2, whose connections have several things to wait for.
#[tokio::test]
async fn slow_http2_clients_are_closed() {
    let (backend, ledger) = recorder().await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], FLAGS).await;
    let head = fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/"),
    ]);
    let half_a_block = frame(HEADERS, 0, 1, &head);
    let no_body = frame(HEADERS, END_HEADERS, 1, &head);
    let mut silent = Http2::connect(program.http, &[]).await;
    let mut undecided = Http2::connect(program.http, &[]).await;
    undecided.send(&half_a_block).await;
    let mut bodiless = Http2::connect(program.http, &[]).await;
    bodiless.send(&no_body).await;
    silent.until(|seen| seen.closed).await;
    undecided.until(|seen| seen.closed).await;
    let answered = |seen: &super::frames::Received| {
        seen.status.contains_key(&1) || seen.reset.contains_key(&1) || seen.closed
    };
    let seen = bodiless.until(answered).await;
    assert_ne!(seen.status.get(&1).map(String::as_str), Some("200"));
    bodiless.until(|seen| seen.closed).await;
    assert!(ledger.take().iter().all(|seen| !seen.complete));
    program.finish().await;
}

/// A client that does not take its response holds neither its backend nor memory.
#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let (hung_up, mut noticed) = mpsc::channel(100);
    let backend = Backend::start(move |mut tcp, _| {
        let hung_up = hung_up.clone();
        async move {
            if read_request(&mut tcp).await.is_none() {
                return;
            }
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            tcp.write_all(head).await.unwrap();
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            while tcp.write_all(chunk.as_bytes()).await.is_ok() {}
            hung_up.send(()).await.unwrap();
        }
    })
    .await;
    let quick = recorder().await;
    let routes = [
        Route::new("web", "/", &[backend.address]),
        Route::new("quick", "/quick", &[quick.0.address]),
    ];
    let program = Program::start(&routes, FLAGS).await;
    let memory = program.resident();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut wire = Wire::connect(program.http).await;
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(wire);
    }
    assert_eq!(client::get(program.http, "/quick").await.status, 200);
    let grown = program.resident().saturating_sub(memory);
    println!("{} bytes for each client", grown / 50);
    assert!(grown < 50 * (256 << 10), "{grown}");
    for _ in 0..50 {
        timeout(SOON, noticed.recv()).await.unwrap().unwrap();
    }
    program.finish().await;
}

/// Backends that answer a byte at a time hold up nobody else (F08).
#[tokio::test]
async fn slow_backends_hold_up_nobody_else() {
    let backend = Backend::start(|mut tcp, _| async move {
        if read_request(&mut tcp).await.is_none() {
            return;
        }
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
        tcp.write_all(head).await.unwrap();
        let mut pace = interval(DRIP);
        for _ in 0..10 {
            pace.tick().await;
            tcp.write_all(b"x").await.unwrap();
        }
    })
    .await;
    let quick = recorder().await;
    let routes = [
        Route::new("web", "/", &[backend.address]),
        Route::new("quick", "/quick", &[quick.0.address]),
    ];
    let program = Program::start(&routes, &[]).await;
    let memory = program.resident();
    let mut slow = JoinSet::new();
    for _ in 0..200 {
        slow.spawn(client::get(program.http, "/"));
    }
    for _ in 0..20 {
        assert_eq!(client::get(program.http, "/quick").await.status, 200);
    }
    let grown = program.resident().saturating_sub(memory);
    assert!(grown < 200 * (64 << 10), "{grown}");
    while let Some(response) = slow.join_next().await {
        assert_eq!(response.unwrap().body, b"xxxxxxxxxx");
    }
    program.finish().await;
}

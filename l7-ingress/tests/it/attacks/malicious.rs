//! Backends that break the protocol: nothing of what they send beyond one response reaches anyone,
//! and what is not a whole response is not passed on as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;

use super::backend::{Backend, Ledger, read_request, record};
use super::client::{Wire, get};
use super::program::{Program, Route};

/// What becomes of a response.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The client gets this status and body.
    Answer(u16, &'static str),
    /// The client gets 502.
    BadGateway,
    /// The client gets the head, and the connection ends before the body does.
    Cut,
}
use Outcome::{Answer, BadGateway, Cut};

/// Name, what the backend says to every request, and what the client gets.
const SAID: &[(&str, &[u8], Outcome)] = &[
    ("nothing", b"", BadGateway),
    ("a body alone", b"hello", BadGateway),
    ("half a head", b"HTTP/1.1 200 OK\r\nx: y\r\n", BadGateway),
    ("HTTP/2.0", b"HTTP/2.0 200 OK\r\n\r\n", BadGateway),
    ("another protocol", b"ICY 200 OK\r\n\r\n", BadGateway),
    ("no status", b"HTTP/1.1 OK\r\n\r\n", BadGateway),
    ("a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n", BadGateway),
    ("101 unasked", b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", BadGateway),
    ("CL.TE", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", BadGateway),
    ("two lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\nhello", BadGateway),
    ("a list of lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello", BadGateway),
    ("a signed length", b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello", BadGateway),
    ("a length beyond 64 bits", b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551621\r\n\r\nhello", BadGateway),
    ("another coding", b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", BadGateway),
    ("chunked in HTTP/1.0", b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", BadGateway),
    ("a folded field", b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 0\r\n\r\n", BadGateway),
    ("NUL within a value", b"HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 0\r\n\r\n", BadGateway),
    ("a carriage return within a value", b"HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\ncontent-length: 0\r\n\r\n", BadGateway),
    ("a space before the colon", b"HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 0\r\n\r\n", BadGateway),
    ("a short body", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", Cut),
    ("a short chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", Cut),
    ("no last chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", Cut),
    ("a chunk size beyond 64 bits", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", Cut),
    ("a chunk size that is none", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n", Cut),
    ("a chunk longer than said", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", Cut),
    ("a second response behind the first", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale", Answer(200, "ok")),
    ("a second response behind chunks", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale", Answer(200, "ok")),
    ("a body behind 204", b"HTTP/1.1 204 No Content\r\n\r\nstale", Answer(204, "")),
    ("a body behind 304", b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\nstale", Answer(304, "")),
    ("interim responses", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Answer(200, "ok")),
    ("trailers that frame", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ncontent-length: 9\r\nx: y\r\n\r\n", Answer(200, "ok")),
    ("a Connection that names the length", b"HTTP/1.1 200 OK\r\nconnection: content-length, x\r\ncontent-length: 2\r\nx: y\r\n\r\nok", Answer(200, "ok")),
];

#[tokio::test]
async fn what_breaks_the_protocol_is_not_passed_on() {
    let mut backends = Vec::new();
    let mut routes = Vec::new();
    for (index, &(_, said, outcome)) in SAID.iter().enumerate() {
        // One that keeps silent without closing is a slow backend: that is another test.
        let backend = Backend::saying(said, matches!(outcome, Answer(..))).await;
        let name = format!("case-{index}");
        routes.push(Route::new(&name, &format!("/{index}"), &[backend.address]));
        backends.push(backend);
    }
    let program = Program::start(&routes, &[]).await;
    for (index, &(name, _, outcome)) in SAID.iter().enumerate() {
        // Again, so that what is left over of a response has a taker.
        for _ in 0..3 {
            check(&program, &format!("/{index}"), name, outcome).await;
        }
    }
    program.finish().await;
}

async fn check(program: &Program, target: &str, name: &str, outcome: Outcome) {
    let mut wire = Wire::connect(program.http).await;
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .await;
    match outcome {
        Answer(status, body) => {
            let response = wire.response().await.unwrap_or_else(|| panic!("{name}"));
            assert_eq!(response.status, status, "{name}");
            assert_eq!(response.body, body.as_bytes(), "{name}");
        }
        BadGateway => {
            let response = wire.response().await.unwrap_or_else(|| panic!("{name}"));
            assert_eq!(response.status, 502, "{name}");
        }
        Cut => {
            let (raw, _) = wire.rest().await;
            let raw = String::from_utf8(raw).unwrap();
            // It may be known to be broken before its head has left.
            let begun = raw.is_empty() || raw.starts_with("HTTP/1.1 200");
            assert!(begun && !raw.ends_with("0\r\n\r\n"), "{name}: {raw}");
        }
    }
}

/// The body that a broken backend sends with its answer to HEAD does not become the next answer.
#[tokio::test]
async fn a_body_behind_the_answer_to_head_is_no_answer() {
    let said = b"HTTP/1.1 200 OK\r\ncontent-length: 44\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: y\r\n\r\n";
    let backend = Backend::saying(said, true).await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
    let mut wire = Wire::connect(program.http).await;
    wire.send("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let (raw, _) = wire.rest().await;
    assert!(raw.starts_with(b"HTTP/1.1 200") && raw.ends_with(b"\r\n\r\n"));
    let next = get(program.http, "/").await;
    assert!(next.body.ends_with(b"x: y\r\n\r\n"), "{next:?}");
    program.finish().await;
}

/// Interim responses and fields without end are cut off, and cost no memory.
#[tokio::test]
async fn endless_heads_are_cut_off() {
    for piece in [
        "HTTP/1.1 102 Processing\r\n\r\n",
        "x: y\r\n",
        "x",
        "HTTP/1.1 100 Continue\r\nx: y\r\n\r\n",
    ] {
        let backend = Backend::start(move |mut tcp, _| async move {
            if read_request(&mut tcp).await.is_none() {
                return;
            }
            if !piece.starts_with("HTTP") {
                let _hung_up = tcp.write_all(b"HTTP/1.1 200 OK\r\n").await;
            }
            let many = piece.repeat(1000);
            while tcp.write_all(many.as_bytes()).await.is_ok() {}
        })
        .await;
        let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
        let before = program.resident();
        assert_eq!(get(program.http, "/").await.status, 502, "{piece:?}");
        let grown = program.resident().saturating_sub(before);
        assert!(grown < 8 << 20, "{piece:?}: {grown}");
        program.finish().await;
    }
}

/// What a backend says on an idle connection is nobody's answer.
#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_dropped_with_its_connection() {
    let (said, mut heard) = tokio::sync::mpsc::channel(1);
    let backend = Backend::start(move |mut tcp, number| {
        let said = said.clone();
        async move {
            while read_request(&mut tcp).await.is_some() {
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                tcp.write_all(answer.as_bytes()).await.unwrap();
                if number == 0 {
                    let stale = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale";
                    tcp.write_all(stale).await.unwrap();
                    said.send(()).await.unwrap();
                }
            }
        }
    })
    .await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
    let mut wire = Wire::connect(program.http).await;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    wire.send(get).await;
    assert_eq!(wire.response().await.unwrap().body, b"0");
    heard.recv().await.unwrap();
    // A round trip through the proxy's event loop, so that it has seen what the kernel holds.
    assert_eq!(Wire::nothing(program.http).await, 405);
    wire.send(get).await;
    assert_eq!(wire.response().await.unwrap().body, b"1");
    program.finish().await;
}

/// A connection that the backend closes as the next request arrives: that request is repeated if
/// that is safe, and never executed twice.
#[tokio::test]
async fn a_stale_connection_costs_nobody_an_answer() {
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let backend = Backend::start(move |mut tcp, number| {
        let seen = seen.clone();
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            if number % 2 == 1 {
                return record(tcp, seen).await;
            }
            // Answers once, takes the next request, and hangs up.
            let first = read_request(&mut tcp).await;
            seen.add(first.unwrap());
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            tcp.write_all(answer).await.unwrap();
            if let Some(second) = read_request(&mut tcp).await {
                seen.add(second);
            }
        }
    })
    .await;
    let routes = [Route::new("web", "/", &[backend.address])];
    for (request, status, executed) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, 2),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            200,
            2,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            502,
            1,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            502,
            1,
        ),
        (
            "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            502,
            1,
        ),
    ] {
        let program = Program::start(&routes, &[]).await;
        let mut wire = Wire::connect(program.http).await;
        wire.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.response().await.unwrap().status, 200);
        wire.send(request).await;
        assert_eq!(wire.response().await.unwrap().status, status, "{request}");
        let mut seen = ledger.take();
        seen.retain(|seen| seen.target == "/");
        assert_eq!(seen.len(), executed, "{request}");
        // The next program's first connection is an even one again.
        if connections.load(Ordering::Relaxed) % 2 == 1 {
            drop(Wire::connect(backend.address).await);
        }
        program.finish().await;
    }
}

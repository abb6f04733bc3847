//! Answers that end a connection while the client still sends: it can read all of them, for what it
//! sends is taken and dropped for a while.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::backend::{Backend, recorder};
use super::client::{End, Wire};
use super::frames::{ENHANCE_YOUR_CALM, Http2, PING, frame};
use super::program::{Program, Route, SOON};
use crate::harness::{Authority, Proxy, class, ingress, secret, served, tls};

/// More than the sockets of both sides hold.
const MUCH: usize = 24 << 20;

/// Name, what is sent first, what follows without being looked at, and the answer.
const CUT_OFF: &[(&str, &str, &str, u16)] = &[
    (
        "two hosts",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "x",
        400,
    ),
    ("no request", "\x16\x03\x01", "\x01", 400),
    ("a target without an end", "GET /", "x", 414),
    (
        "fields without an end",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "x: y\r\n",
        431,
    ),
    (
        "a value without an end",
        "GET / HTTP/1.1\r\nHost: a\r\nx: ",
        "y",
        431,
    ),
    (
        "a name without an end",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "x",
        431,
    ),
    (
        "a body behind a refused path",
        "POST /../x HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n",
        "x",
        400,
    ),
    (
        "a body behind a refused method",
        "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n",
        "x",
        405,
    ),
    (
        "a chunk that is none",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "x",
        400,
    ),
    (
        "a body that the backend does not want",
        "POST /unwanted HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n",
        "x",
        413,
    ),
    (
        "requests behind the last",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        200,
    ),
];

/// Answers every head at once, and reads no body.
async fn unwilling() -> Backend {
    Backend::start(|mut tcp, _| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match tcp.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno";
        let _hung_up = tcp.write_all(answer).await;
        // Hanging up here would be an answer of another kind.
        let _hung_up = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await
}

#[tokio::test]
async fn whoever_sends_on_can_read_the_answer() {
    let (backend, unwilling) = (recorder().await, unwilling().await);
    let routes = [
        Route::new("web", "/", &[backend.0.address]),
        Route::new("unwilling", "/unwanted", &[unwilling.address]),
    ];
    let program = Program::start(&routes, &[]).await;
    for &(name, first, more, status) in CUT_OFF {
        let mut wire = Wire::connect(program.http).await;
        let sent = [first, &more.repeat(MUCH / more.len())].concat();
        let sending = timeout(SOON, wire.tcp.write_all(sent.as_bytes())).await;
        sending
            .unwrap()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        wire.tcp.shutdown().await.unwrap();
        let response = wire.response().await;
        let response = response.unwrap_or_else(|| panic!("{name} was not answered"));
        assert_eq!(response.status, status, "{name}");
        let (rest, end) = wire.rest().await;
        assert_eq!((rest.as_slice(), end), (&b""[..], End::Closed), "{name}");
    }
    program.finish().await;
}

/// Who goes on after having been given up for being slow is told so.
#[tokio::test]
async fn whoever_comes_too_late_can_read_so() {
    let (backend, _) = recorder().await;
    let flags = ["--client-body-timeout=300ms", "--proxy-body-size=0"];
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &flags).await;
    let mut wire = Wire::connect(program.http).await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\nx")
        .await;
    timeout(SOON, wire.tcp.readable()).await.unwrap().unwrap();
    timeout(SOON, wire.tcp.write_all(&vec![b'x'; MUCH]))
        .await
        .unwrap()
        .unwrap();
    wire.tcp.shutdown().await.unwrap();
    assert_eq!(wire.response().await.unwrap().status, 408);
    assert_eq!(wire.rest().await, (Vec::new(), End::Closed));
    program.finish().await;
}

/// A flood over HTTP/2 that goes on after it was ended.
#[tokio::test]
async fn whoever_floods_on_can_read_why_it_ended() {
    let (backend, _) = recorder().await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
    let mut http2 = Http2::connect(program.http, &[]).await;
    let flood = frame(PING, 0, 0, b"12345678").repeat(MUCH / 17);
    assert!(http2.send(&flood).await, "it was reset");
    let seen = http2.until(|seen| seen.closed).await;
    assert_eq!(seen.go_away, Some(ENHANCE_YOUR_CALM));
    program.finish().await;
}

/// Under TLS what is dropped is not decrypted; the answer is no other.
#[tokio::test]
async fn whoever_sends_on_under_tls_can_read_the_answer() {
    let (backend, _) = recorder().await;
    let mut objects = served("web", &[backend.address]);
    objects.extend([
        class(),
        secret("tls", &Authority::issue(&["a.test"])),
        tls(ingress("web", &["a.test Prefix / web"]), &["a.test"], "tls"),
    ]);
    let proxy = Proxy::start(&objects, &[]).await;
    for &(name, first, more, status) in CUT_OFF.iter().filter(|case| case.3 != 413) {
        let mut session = proxy.tls("a.test", &["http/1.1"]).await;
        let first = first.replace("Host: a\r\n", "Host: a.test\r\n");
        let sent = [first.as_str(), &more.repeat(MUCH / more.len())].concat();
        let sending = timeout(SOON, session.write_all(sent.as_bytes())).await;
        sending
            .unwrap()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        session.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let reading = timeout(SOON, session.read_to_end(&mut answer)).await;
        reading
            .unwrap()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{name}: {answer}"
        );
    }
}

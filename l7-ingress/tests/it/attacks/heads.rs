//! HTTP/2 requests that mean something else in HTTP/1.1: refused, or sent on in one form.

use super::backend::recorder;
use super::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, Http2, fields, frame, get};
use super::program::{Program, Route};

type Fields = &'static [(&'static str, &'static str)];

/// A request in order, to which the cases add, and what they replace in it.
const ORDINARY: Fields = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "a"),
    (":path", "/case"),
];

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Name, pseudo-fields, further fields. The body is a request.
const REFUSED: &[(&str, Fields, Fields)] = &[
    ("a name in capitals", &[], &[("X-Y", "z")]),
    ("a name with a space", &[], &[("x y", "z")]),
    ("a name with a colon", &[], &[("x:y", "z")]),
    (
        "a name that is a field line",
        &[],
        &[("x: y\r\nhost: b\r\nz", "z")],
    ),
    ("an empty name", &[], &[("", "z")]),
    ("a value with a line end", &[], &[("x", "y\r\nhost: b")]),
    ("a value with a line feed", &[], &[("x", "y\nhost: b")]),
    (
        "a value with a carriage return",
        &[],
        &[("x", "y\rhost: b")],
    ),
    ("a value with NUL", &[], &[("x", "y\0")]),
    ("a value behind a space", &[], &[("x", " y")]),
    ("a value before a tab", &[], &[("x", "y\t")]),
    ("Connection", &[], &[("connection", "close")]),
    ("Keep-Alive", &[], &[("keep-alive", "timeout=5")]),
    (
        "Proxy-Connection",
        &[],
        &[("proxy-connection", "keep-alive")],
    ),
    ("Upgrade", &[], &[("upgrade", "websocket")]),
    (
        "Transfer-Encoding (h2.TE)",
        &[],
        &[("transfer-encoding", "chunked")],
    ),
    ("TE: gzip", &[], &[("te", "gzip")]),
    (
        "a length of zero before a body (h2.CL)",
        &[],
        &[("content-length", "0")],
    ),
    (
        "a length shorter than the body",
        &[],
        &[("content-length", "5")],
    ),
    (
        "a length longer than the body",
        &[],
        &[("content-length", "500")],
    ),
    (
        "two lengths",
        &[],
        &[("content-length", "35"), ("content-length", "0")],
    ),
    ("a list of lengths", &[], &[("content-length", "35, 0")]),
    ("a signed length", &[], &[("content-length", "+35")]),
    ("a Host that contradicts", &[], &[("host", "b")]),
    (
        "a pseudo-field behind the fields",
        &[],
        &[("x", "y"), (":path", "/smuggled")],
    ),
    ("a pseudo-field twice", &[], &[(":path", "/smuggled")]),
    ("an unknown pseudo-field", &[], &[(":x", "y")]),
    ("the status of a response", &[], &[(":status", "200")]),
    (
        "a path with a space",
        &[(":path", "/case HTTP/1.1\r\nhost: b\r\n\r\nGET /smuggled")],
        &[],
    ),
    (
        "a path with a space alone",
        &[(":path", "/case /smuggled")],
        &[],
    ),
    ("an empty path", &[(":path", "")], &[]),
    (
        "a path that does not begin with a slash",
        &[(":path", "case")],
        &[],
    ),
    ("a path above the root", &[(":path", "/../case")], &[]),
    (
        "a method with a space",
        &[(":method", "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\nPOST")],
        &[],
    ),
    ("an empty method", &[(":method", "")], &[]),
    ("an authority with userinfo", &[(":authority", "a@b")], &[]),
    (
        "an authority with a line end",
        &[(":authority", "a\r\nx: y")],
        &[],
    ),
    ("an authority with a space", &[(":authority", "a b")], &[]),
    ("an authority with a path", &[(":authority", "a/b")], &[]),
    ("an empty authority", &[(":authority", "")], &[]),
    (
        "a scheme with a line end",
        &[(":scheme", "http\r\nx: y")],
        &[],
    ),
];

/// What is odd but in order, and what a backend gets of it.
const SERVED: &[(&str, Fields, &str, &[&str])] = &[
    (
        "the length of the body",
        &[("content-length", "35")],
        "content-length",
        &["35"],
    ),
    ("no length", &[], "transfer-encoding", &["chunked"]),
    ("TE: trailers", &[("te", "trailers")], "te", &["trailers"]),
    ("a Host that agrees", &[("host", "A:80")], "host", &["a"]),
    (
        "a cookie in crumbs",
        &[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")],
        "cookie",
        &["a=b; c=d"],
    ),
    ("Expect", &[("expect", "100-continue")], "expect", &[]),
    (
        "a forged address",
        &[("x-real-ip", "10.0.0.1")],
        "x-real-ip",
        &["127.0.0.1"],
    ),
];

fn block(replaced: Fields, more: Fields) -> Vec<u8> {
    let ordinary = ORDINARY.iter().map(|one| {
        let replaced = replaced.iter().find(|other| other.0 == one.0);
        *replaced.unwrap_or(one)
    });
    let all: Vec<_> = ordinary.chain(more.iter().copied()).collect();
    fields(&all)
}

#[tokio::test]
async fn what_http1_would_read_otherwise_is_refused() {
    let (backend, ledger) = recorder().await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
    for &(name, replaced, more) in REFUSED {
        let mut http2 = Http2::connect(program.http, &[]).await;
        http2
            .send(&frame(HEADERS, END_HEADERS, 1, &block(replaced, more)))
            .await;
        http2
            .send(&frame(DATA, END_STREAM, 1, SMUGGLED.as_bytes()))
            .await;
        let seen = http2
            .until(|seen| {
                let answered = seen.status.contains_key(&1) || seen.reset.contains_key(&1);
                answered || seen.go_away.is_some() || seen.closed
            })
            .await;
        let status = seen.status.get(&1).map_or("", String::as_str);
        assert!(
            status.is_empty() || status.starts_with('4'),
            "{name}: {seen:?}"
        );
        // It may have reached the backend while its body was still awaited, but not been complete.
        let executed = ledger.take().iter().filter(|seen| seen.complete).count();
        assert_eq!(executed, 0, "{name}");
    }
    program.finish().await;
}

#[tokio::test]
async fn what_is_odd_reaches_the_backend_in_one_form() {
    let (backend, ledger) = recorder().await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
    let mut http2 = Http2::connect(program.http, &[]).await;
    for (stream, &(name, more, field, values)) in (1..).step_by(2).zip(SERVED) {
        let head = frame(HEADERS, END_HEADERS, stream, &block(&[], more));
        http2.send(&head).await;
        http2
            .send(&frame(DATA, END_STREAM, stream, SMUGGLED.as_bytes()))
            .await;
        let seen = http2.until(|seen| seen.status.contains_key(&stream)).await;
        assert_eq!(seen.status[&stream], "200", "{name}");
        let seen = ledger.take();
        assert_eq!(seen.len(), 1, "{name}");
        assert_eq!(seen[0].body, SMUGGLED.as_bytes(), "{name}");
        assert_eq!(seen[0].field(field), values, "{name}");
    }
    program.finish().await;
}

/// A stream error is that stream's alone.
#[tokio::test]
async fn other_streams_outlive_a_malformed_one() {
    let (backend, ledger) = recorder().await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
    let mut http2 = Http2::connect(program.http, &[]).await;
    let malformed = block(&[], &[("connection", "close")]);
    http2
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &malformed))
        .await;
    http2.send(&get(3, "/fine")).await;
    let seen = http2.until(|seen| seen.status.contains_key(&3)).await;
    assert_eq!((seen.status[&3].as_str(), seen.go_away), ("200", None));
    assert_eq!(ledger.take().len(), 1);
    program.finish().await;
}

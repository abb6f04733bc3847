//! What the guard lets through, hyper reads as the guard does: the same requests with the same bodies.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Version, header};
use hyper_util::rt::TokioIo;
use l7_ingress_core::head_guard::{HeadGuard, Limits, Phase, Scan};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// What one side made of one connection.
#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Vec<u8>>,
    /// The last request asked for an end, so nothing after it counts.
    closed: bool,
    refused: bool,
}

/// Reads a connection as a hyper server does that is sent `pieces` and then the end.
fn hyper(pieces: &[&[u8]]) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let seen = Rc::new(RefCell::new(Seen::default()));
    let service = service_fn(async |request: Request<Incoming>| {
        let closes = request.version() == Version::HTTP_10
            || request
                .headers()
                .get_all(header::CONNECTION)
                .iter()
                .any(|value| {
                    value
                        .to_str()
                        .is_ok_and(|value| value.to_ascii_lowercase().contains("close"))
                });
        let body = request.into_body().collect().await;
        let mut seen = seen.borrow_mut();
        match body {
            Ok(body) => seen.requests.push(body.to_bytes().to_vec()),
            Err(_) => seen.refused = true,
        }
        seen.closed |= closes;
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    runtime.block_on(async {
        let (mut client, server) = duplex(1 << 20);
        let connection = http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(server), service);
        let client = async {
            for piece in pieces {
                // Fails once the server hung up, whose reasons are in its answer.
                if client.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
            let mut answers = Vec::new();
            client.read_to_end(&mut answers).await.unwrap();
            answers
        };
        let (served, answers) = tokio::join!(connection, client);
        let last = answers
            .rsplit(|&b| b == b'\n')
            .find(|line| line.starts_with(b"HTTP/"));
        let refused = last.is_some_and(|line| line.starts_with(b"HTTP/1.1 4"));
        seen.borrow_mut().refused |= refused || served.is_err();
    });
    seen.take()
}

/// Reads a connection byte by byte through the guard; gives back what may reach the parser.
fn guarded(bytes: &[u8]) -> (Seen, Vec<u8>) {
    let mut guard = HeadGuard::new(Limits::default());
    let (mut seen, mut passed) = (Seen::default(), Vec::new());
    let (mut phase, mut body) = (Phase::Idle, Vec::new());
    for byte in bytes {
        let scan = guard.scan(&[*byte]);
        if let Scan::Refuse { at, .. } = scan {
            assert_eq!(at, 0);
            seen.refused = true;
            passed.extend_from_slice(&guard.poison());
            break;
        }
        passed.push(*byte);
        if phase == Phase::Body {
            body.push(*byte);
        }
        if phase != Phase::Idle && guard.phase() == Phase::Idle {
            seen.requests.push(std::mem::take(&mut body));
        }
        if scan == (Scan::Pause { at: 1 }) {
            guard.resume_http();
        }
        phase = guard.phase();
    }
    (seen, passed)
}

/// The data of chunked coding that the guard let through.
fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let digits = rest.iter().position(|b| !b.is_ascii_hexdigit()).unwrap();
        let size = usize::from_str_radix(str::from_utf8(&rest[..digits]).unwrap(), 16).unwrap();
        if size == 0 {
            return data;
        }
        let start = rest.iter().position(|&b| b == b'\n').unwrap() + 1;
        data.extend_from_slice(&rest[start..start + size]);
        rest = &rest[start + size + 2..];
    }
}

/// hyper may refuse more (it parses targets) and stop earlier (`Connection: close`), but may not disagree.
fn check_agreement(bytes: &[u8], cuts: &[Index]) {
    let (guard, passed) = guarded(bytes);
    let hyper = hyper(&cut(&passed, cuts));
    let shown = bytes.escape_ascii().to_string();
    if guard.refused {
        assert!(hyper.refused || hyper.closed, "hyper went on: {shown}");
    }
    let same = guard
        .requests
        .iter()
        .zip(&hyper.requests)
        .all(|(raw, body)| raw == body || raw.ends_with(b"\r\n") && dechunk(raw) == *body);
    assert!(
        same,
        "bodies differ: {shown}\nguard {guard:?}\nhyper {hyper:?}"
    );
    let ended = hyper.closed || hyper.refused;
    let (ours, theirs) = (guard.requests.len(), hyper.requests.len());
    assert!(
        theirs == ours || theirs < ours && ended,
        "{ours} against {theirs}: {shown}"
    );
}

fn cut<'a>(mut rest: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, tail) = rest.split_at(cut.index(rest.len() + 1));
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    pieces
}

/// A request and its body.
fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let body = vec(any::<u8>(), 0..40);
    let head = (
        select(vec!["GET", "POST", "OPTIONS", "X-Y"]),
        "/[a-z/%?&=.;~]{0,12}",
        vec(
            "(X-[A-Za-z_]{1,9}|Accept|Cookie|Hos|Content-Type):[ \t]?[ -~]{0,20}[ \t]?\r\n",
            0..4,
        ),
        any::<bool>(),
    );
    (
        head,
        body,
        vec(1_usize..9, 0..6),
        "(;[a-z]=[ -~]{0,6})?",
        "(X-T: [a-z]{0,5}\r\n)?",
        any::<bool>(),
    )
        .prop_map(
            |((method, target, fields, upgrade), body, sizes, extension, trailer, chunked)| {
                let mut raw = format!(
                    "{method} {target} HTTP/1.1\r\n{}Host: a\r\n",
                    fields.concat()
                );
                if upgrade {
                    raw.push_str("Upgrade: x\r\n");
                }
                if !chunked {
                    raw.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
                    return ([raw.as_bytes(), &body].concat(), body);
                }
                raw.push_str("Transfer-Encoding: chunked\r\n\r\n");
                let mut raw = raw.into_bytes();
                let mut rest = &body[..];
                for size in sizes.into_iter().chain([body.len()]) {
                    let (chunk, tail) = rest.split_at(size.min(rest.len()));
                    if !chunk.is_empty() {
                        raw.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
                        raw.extend([chunk, b"\r\n"].concat());
                    }
                    rest = tail;
                }
                raw.extend(format!("0{extension}\r\n{trailer}\r\n").bytes());
                (raw, body)
            },
        )
}

/// A request that says twice where it ends, and whose body holds another for whoever believes the chunks.
fn ambiguous() -> impl Strategy<Value = Vec<u8>> {
    let framings = vec![
        "Transfer-Encoding: chunked\r\nContent-Length: 40",
        "Content-Length: 40\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 40",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 40",
        "Transfer-Encoding: identity, chunked\r\nContent-Length: 40",
    ];
    select(framings).prop_map(|framing| {
        let body = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}").into_bytes()
    })
}

/// What the art of smuggling inserts.
fn splice() -> impl Strategy<Value = &'static [u8]> {
    let splices: Vec<&'static [u8]> = vec![
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b" ",
        b"\t",
        b"\0",
        b":",
        b";",
        b",",
        b"0",
        b"5",
        b"f",
        b"+",
        b"-",
        b"_",
        b"\x0b",
        b"\x7f",
        b"\x80",
        b"\r\n ",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Host: b\r\n",
        b"Upgrade: y\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"CONNECT a:80",
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"0\r\n\r\n",
        b"5\r\nabcde\r\n",
        b"5;a\n",
        b"GET / HTTP/1.1\r\nHost: c\r\n\r\n",
        b"ffffffffffffffff1\r\n",
        b"chunked",
    ];
    select(splices)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn well_formed_requests_pass_and_are_read_alike(
        requests in vec(request(), 1..4),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let (raw, bodies): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let raw = raw.concat();
        let (guard, passed) = guarded(&raw);
        prop_assert!(!guard.refused);
        prop_assert_eq!(&passed, &raw);
        prop_assert_eq!(guard.requests.len(), bodies.len());
        prop_assert_eq!(hyper(&cut(&raw, &cuts)).requests, bodies);
    }

    #[test]
    fn broken_requests_are_read_alike_or_refused(
        requests in vec(prop_oneof![4 => request().prop_map(|(raw, _)| raw), 1 => ambiguous()], 1..3),
        edits in vec((any::<Index>(), any::<bool>(), 0_usize..4, splice()), 0..4),
        cuts in vec(any::<Index>(), 0..4),
    ) {
        let mut raw: Vec<u8> = requests.concat();
        for (at, whole_line, drop, insert) in edits {
            let at = at.index(raw.len() + 1);
            if whole_line {
                let end = raw[at..].iter().position(|&b| b == b'\n');
                let at = end.map_or(raw.len(), |end| at + end + 1);
                raw.splice(at..at, insert.iter().copied());
                continue;
            }
            let end = (at + drop).min(raw.len());
            raw.splice(at..end, insert.iter().copied());
        }
        check_agreement(&raw, &cuts);
    }

    /// The position and the verdict do not depend on how the bytes arrive.
    #[test]
    fn cuts_change_nothing(
        requests in vec(request(), 1..3),
        edits in vec((any::<Index>(), splice()), 0..3),
        cuts in vec(any::<Index>(), 0..12),
        limits in (8_usize..60, 8_usize..60, 20_usize..200, 1_usize..6),
    ) {
        let mut raw: Vec<u8> = requests.into_iter().flat_map(|(raw, _)| raw).collect();
        for (at, insert) in edits {
            let at = at.index(raw.len() + 1);
            raw.splice(at..at, insert.iter().copied());
        }
        let (target, line, head, fields) = limits;
        for limits in [
            Limits::default(),
            Limits { target, line, head, fields, refuse_underscores: true },
        ] {
            let mut guard = HeadGuard::new(limits);
            let whole = guard.scan(&raw);
            let phase = guard.phase();
            let mut guard = HeadGuard::new(limits);
            let mut before = 0;
            let mut found = Scan::Pass;
            for piece in cut(&raw, &cuts) {
                found = match guard.scan(piece) {
                    Scan::Pass => Scan::Pass,
                    Scan::Pause { at } => Scan::Pause { at: before + at },
                    Scan::Refuse { at, why } => Scan::Refuse { at: before + at, why },
                };
                if found != Scan::Pass {
                    break;
                }
                before += piece.len();
            }
            prop_assert_eq!(found, whole);
            prop_assert_eq!(guard.phase(), phase);
        }
    }

    #[test]
    fn never_panics(raw in vec(any::<u8>(), 0..64)) {
        check_agreement(&raw, &[]);
    }
}

/// In an extension hyper takes every byte but CR and LF.
#[test]
fn poison_ends_a_chunk_extension() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_agreement(format!("{head}0;\x0b=\r\n\r\n").as_bytes(), &[]);
}

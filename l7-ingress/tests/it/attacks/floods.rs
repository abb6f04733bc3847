//! HTTP/2 floods: what costs a client little and the proxy much has a budget, and ends the connection
//! that exceeds it, while others are served.

use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::backend::{Backend, read_request, recorder};
use super::client;
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, Http2, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, fields, frame, get, string,
};
use super::program::{Program, Route};

/// How much more memory a single flood may take.
const MEMORY: usize = 8 << 20;

/// A flood: the bytes of its n-th step, and how many steps there are at most.
struct Flood {
    name: &'static str,
    step: fn(u32) -> Vec<u8>,
    steps: u32,
}

const fn flood(name: &'static str, steps: u32, step: fn(u32) -> Vec<u8>) -> Flood {
    Flood { name, step, steps }
}

/// The stream of a step.
const fn stream(step: u32) -> u32 {
    step * 2 + 1
}

const FLOODS: &[Flood] = &[
    flood("rapid reset", 50_000, |step| {
        let id = stream(step);
        [get(id, "/slow"), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
    }),
    flood("made you reset", 50_000, |step| {
        let block = fields(&[(":method", "GET"), ("connection", "close")]);
        frame(HEADERS, END_HEADERS | END_STREAM, stream(step), &block)
    }),
    flood("CONTINUATION", 50_000, |step| match step {
        0 => frame(HEADERS, END_STREAM, 1, &fields(&[(":method", "GET")])),
        _ => frame(CONTINUATION, 0, 1, &fields(&[("x", "y")])),
    }),
    flood("CONTINUATION without content", 50_000, |step| match step {
        0 => frame(HEADERS, END_STREAM, 1, &[]),
        _ => frame(CONTINUATION, 0, 1, &[]),
    }),
    flood("SETTINGS", 200_000, |_| {
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])
    }),
    flood("SETTINGS without content", 200_000, |_| {
        frame(SETTINGS, 0, 0, &[])
    }),
    flood("PING", 400_000, |_| frame(PING, 0, 0, b"12345678")),
    flood("acknowledged PING", 400_000, |_| {
        frame(PING, 1, 0, b"12345678")
    }),
    flood("PRIORITY", 400_000, |step| {
        frame(PRIORITY, 0, stream(step % 1000), &[0, 0, 0, 0, 1])
    }),
    flood("WINDOW_UPDATE", 400_000, |step| match step {
        0 => get(1, "/slow"),
        _ => frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
    }),
    flood("unknown frames", 400_000, |_| frame(0xbe, 0, 0, &[])),
    flood("empty DATA", 400_000, |step| match step {
        0 => upload(1),
        _ => frame(DATA, 0, 1, &[]),
    }),
    flood("padded DATA", 400_000, |step| match step {
        0 => upload(1),
        _ => frame(DATA, 8, 1, &[0]),
    }),
    flood("one byte of DATA", 400_000, |step| match step {
        0 => upload(1),
        _ => frame(DATA, 0, 1, b"x"),
    }),
];

/// The head of a request whose body a backend does not read.
fn upload(id: u32) -> Vec<u8> {
    let block = fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/slow"),
    ]);
    frame(HEADERS, END_HEADERS, id, &block)
}

/// Takes requests for `/slow` and never answers them, answers others.
async fn sluggish() -> Backend {
    Backend::start(|mut tcp, _| async move {
        let mut first = [0; 16];
        let peeked = tcp.peek(&mut first).await;
        if peeked.is_err() || first.windows(5).any(|five| five == b"/slow") {
            return std::future::pending().await;
        }
        while read_request(&mut tcp).await.is_some() {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            tcp.write_all(answer).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn floods_end_their_connection_and_nothing_else() {
    let (slow, quick) = (sluggish().await, recorder().await);
    let routes = [
        Route::new("slow", "/", &[slow.address]),
        Route::new("quick", "/quick", &[quick.0.address]),
    ];
    let program = Program::start(&routes, &[]).await;
    for flood in FLOODS {
        let (memory, busy, began) = (program.resident(), program.processor_time(), Instant::now());
        let mut http2 = Http2::connect(program.http, &[]).await;
        let mut sent = 0;
        while sent < flood.steps && !http2.has_ended() {
            let steps = sent..flood.steps.min(sent + 500);
            sent = steps.end;
            let bytes: Vec<_> = steps.flat_map(flood.step).collect();
            if !http2.send(&bytes).await {
                break;
            }
            if sent % 20_000 == 0 {
                assert_eq!(client::get(program.http, "/quick").await.status, 200);
            }
        }
        let seen = http2
            .until(|seen| seen.go_away.is_some() || seen.closed)
            .await;
        let grown = program.resident().saturating_sub(memory);
        println!(
            "{}: ended with {:?} after at most {sent} steps in {:?}, {:?} of processor time, {grown} bytes",
            flood.name,
            seen.go_away,
            began.elapsed(),
            program.processor_time().saturating_sub(busy),
        );
        assert_eq!(seen.go_away, Some(ENHANCE_YOUR_CALM), "{}", flood.name);
        assert!(grown < MEMORY, "{}: {grown}", flood.name);
        assert_eq!(client::get(program.http, "/quick").await.status, 200);
    }
    program.finish().await;
}

/// Streams that are reset one by one, after each was accepted, exhaust a budget too.
#[tokio::test]
async fn a_slow_rapid_reset_is_one_as_well() {
    let slow = sluggish().await;
    let program = Program::start(&[Route::new("slow", "/", &[slow.address])], &[]).await;
    let mut http2 = Http2::connect(program.http, &[]).await;
    let mut step = 0;
    while !http2.has_ended() {
        let id = stream(step);
        let request = [get(id, "/slow"), frame(PING, 0, 0, b"12345678")].concat();
        let reset = frame(RST_STREAM, 0, id, &[0, 0, 0, 8]);
        if !http2.send(&request).await || !http2.send(&reset).await {
            break;
        }
        // In another read, as good as always.
        tokio::task::yield_now().await;
        step += 1;
        assert!(step < 20_000, "never ended");
    }
    let seen = http2
        .until(|seen| seen.go_away.is_some() || seen.closed)
        .await;
    assert_eq!(seen.go_away, Some(ENHANCE_YOUR_CALM));
    program.finish().await;
}

/// A field that is stored once in the table and named often is as long as all its copies.
#[tokio::test]
async fn an_hpack_bomb_does_not_grow() {
    let (backend, ledger) = recorder().await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
    let memory = program.resident();
    for _ in 0..5 {
        let mut http2 = Http2::connect(program.http, &[]).await;
        let mut block = fields(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/"),
        ]);
        // Stored in the table as number 62, then named 12 000 times.
        block.push(0x40);
        string(&mut block, b"x");
        string(&mut block, &[b'y'; 4000]);
        block.extend([0xbe; 12_000]);
        for id in (1..).step_by(2).take(50) {
            http2
                .send(&frame(HEADERS, END_HEADERS | END_STREAM, id, &block))
                .await;
        }
        http2
            .until(|seen| seen.status.contains_key(&1) || seen.go_away.is_some() || seen.closed)
            .await;
    }
    assert_eq!(ledger.len(), 0);
    let grown = program.resident().saturating_sub(memory);
    assert!(grown < MEMORY, "{grown}");
    program.finish().await;
}

/// Responses that a client asks for and does not take: little is held for them, others are served.
#[tokio::test]
async fn a_window_that_stays_shut_holds_little() {
    let large = Backend::start(|mut tcp, _| async move {
        while read_request(&mut tcp).await.is_some() {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 8388608\r\n\r\n";
            let _hung_up = tcp.write_all(head).await;
            let _hung_up = tcp.write_all(&vec![b'x'; 8 << 20]).await;
        }
    })
    .await;
    let quick = recorder().await;
    let routes = [
        Route::new("large", "/", &[large.address]),
        Route::new("quick", "/quick", &[quick.0.address]),
    ];
    let program = Program::start(&routes, &[]).await;
    // No window at all, and one that is used up.
    for window in [0, 65_535] {
        let memory = program.resident();
        let mut http2 = Http2::connect(program.http, &[(4, window)]).await;
        for id in (1..).step_by(2).take(100) {
            http2.send(&get(id, "/")).await;
        }
        http2.until(|seen| seen.status.len() == 100).await;
        assert_eq!(client::get(program.http, "/quick").await.status, 200);
        let grown = program.resident().saturating_sub(memory);
        println!("100 responses for a window of {window}: {grown} bytes");
        assert!(grown < 100 * (256 << 10), "{grown}");
    }
    program.finish().await;
}

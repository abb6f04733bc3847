//! Large bodies pass in constant memory, and no faster than they are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::in_front_of;
use crate::harness::{Backend, Body, eventually, get, request, soon};

const PIECE: usize = 64 * 1024;
const LARGE: usize = 256 << 20;
/// What the pieces in flight may add, in the client and the backend of this process too.
const GROWTH: usize = 48 << 20;
/// More than sockets and buffers hold.
const AHEAD: usize = 64 << 20;

/// A body of so many bytes, made as it is taken; `made` counts them.
fn generated(bytes: usize, made: Arc<AtomicUsize>) -> Body {
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let pieces = stream::iter((0..bytes / PIECE).map(move |_| {
        made.fetch_add(PIECE, Ordering::Relaxed);
        Ok(Frame::data(piece.clone()))
    }));
    StreamBody::new(pieces).boxed_unsync()
}

/// Memory of this process that is in use.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_goes_there_and_back_in_constant_memory() {
    let mirror = Backend::mirror().await;
    let proxy = in_front_of(&[&mirror], &["--proxy-body-size=0"]).await;
    let mut client = proxy.connect("http://a.test/").await;
    let before = resident();
    let sent = request("POST", "http://a.test/", generated(LARGE, Arc::default()));
    let mut body = client.open(sent).await.unwrap().into_body();
    let (mut received, mut most) = (0, 0);
    while let Some(frame) = soon("the next piece", body.frame()).await {
        let before = received;
        received += frame.unwrap().data_ref().map_or(0, Bytes::len);
        if before >> 23 != received >> 23 {
            most = most.max(resident());
        }
    }
    assert_eq!(received, LARGE);
    let growth = most.saturating_sub(before);
    assert!(growth < GROWTH, "{} MiB", growth >> 20);
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_the_backend() {
    let made = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&made);
    let backend = Backend::http(move |_| {
        let body = generated(LARGE, Arc::clone(&counter));
        async { Response::new(body) }
    })
    .await;
    let proxy = in_front_of(&[&backend], &[]).await;
    for http2 in [false, true] {
        made.store(0, Ordering::Relaxed);
        let mut client = if http2 {
            proxy.connect_http2("http://a.test/").await
        } else {
            proxy.connect("http://a.test/").await
        };
        let response = client.open(get("http://a.test/")).await.unwrap();
        let (mut last, mut same) = (0, 0);
        let stalled = eventually("a stall", async || {
            let now = made.load(Ordering::Relaxed);
            same = if now == last { same + 1 } else { 0 };
            last = now;
            (same >= 50).then_some(now)
        })
        .await;
        assert!(stalled < AHEAD, "{} MiB ahead", stalled >> 20);
        let mut body = response.into_body();
        let mut received = 0;
        while received < stalled + AHEAD {
            let frame = soon("the next piece", body.frame()).await.unwrap();
            received += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        assert!(made.load(Ordering::Relaxed) > stalled);
    }
}

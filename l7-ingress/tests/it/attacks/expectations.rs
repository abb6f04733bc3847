//! Requests whose bodies or successors are not where they seem to be: early answers, Expect, Upgrade.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::backend::{Backend, Ledger, Seen, read_request, recorder};
use super::client::Wire;
use super::program::{Program, Route};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let (backend, ledger) = recorder().await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
    let mut wire = Wire::connect(program.http).await;
    wire.send(
        "POST /first HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    )
    .await;
    assert_eq!(wire.response().await.unwrap().status, 100);
    wire.send(format!("abc{NEXT}")).await;
    let statuses: Vec<_> = wire.responses().await.iter().map(|r| r.status).collect();
    assert_eq!(statuses, [200, 200]);
    let seen = ledger.take();
    assert_eq!(seen[0].body, b"abc");
    assert_eq!(seen[0].field("expect"), [""; 0]);
    assert_eq!(seen.len(), 2);
    program.finish().await;
}

/// A backend that answers a head and takes what follows for the next request, as naive ones do.
async fn hasty() -> (Backend, Ledger) {
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let backend = Backend::start(move |mut tcp, _| {
        let seen = seen.clone();
        async move {
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match tcp.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.add(Seen {
                    method: String::new(),
                    target,
                    head,
                    body: Vec::new(),
                    complete: true,
                });
                let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
                if tcp.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (backend, ledger)
}

/// The answer comes before the body: what the client sends then is body, or nothing (CL.0, 0.CL).
#[tokio::test]
async fn a_body_behind_an_early_answer_is_no_request() {
    let (backend, ledger) = hasty().await;
    let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
    let length = SMUGGLED.len();
    let chunk = format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    for (framing, body) in [
        (format!("Content-Length: {length}"), SMUGGLED),
        (
            format!("Expect: 100-continue\r\nContent-Length: {length}"),
            SMUGGLED,
        ),
        ("Transfer-Encoding: chunked".to_owned(), chunk.as_str()),
    ] {
        let mut wire = Wire::connect(program.http).await;
        wire.send(format!(
            "POST /early HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"
        ))
        .await;
        let mut response = wire.response().await.unwrap();
        if response.status == 100 {
            response = wire.response().await.unwrap();
        }
        assert_eq!(response.status, 413, "{framing}");
        wire.send(format!("{body}{NEXT}")).await;
        let (_, _) = wire.rest().await;
        let seen = ledger.take();
        let targets: Vec<_> = seen.iter().map(|seen| seen.target.as_str()).collect();
        assert!(
            targets == ["/early"] || targets == ["/early", "/next"],
            "{framing}: {targets:?}"
        );
    }
    program.finish().await;
}

/// What follows a request with Upgrade waits for the answer (CVE-2026-2833), and is then either the
/// other protocol's or the next request.
#[tokio::test]
async fn what_follows_an_upgrade_waits_for_the_answer() {
    for agrees in [true, false] {
        let (heard, raw) = oneshot::channel();
        let heard = std::sync::Mutex::new(Some(heard));
        let backend = Backend::start(move |mut tcp, number| {
            let heard = (number == 0)
                .then(|| heard.lock().unwrap().take())
                .flatten();
            async move {
                read_request(&mut tcp).await.unwrap();
                // What came along with the head would be here already, or come now.
                let mut early = [0; 64];
                let wait = std::time::Duration::from_millis(100);
                let came = tokio::time::timeout(wait, tcp.read(&mut early)).await;
                assert!(came.is_err(), "{came:?}");
                let answer: &[u8] = if agrees {
                    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
                } else {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
                };
                tcp.write_all(answer).await.unwrap();
                let mut rest = vec![0; SMUGGLED.len()];
                if agrees {
                    tcp.read_exact(&mut rest).await.unwrap();
                    heard.unwrap().send(rest).unwrap();
                    tcp.write_all(b"bye").await.unwrap();
                } else if let Some(next) = read_request(&mut tcp).await {
                    heard.unwrap().send(next.head.into_bytes()).unwrap();
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    tcp.write_all(answer).await.unwrap();
                }
            }
        })
        .await;
        let program = Program::start(&[Route::new("web", "/", &[backend.address])], &[]).await;
        let mut wire = Wire::connect(program.http).await;
        let asks = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        wire.send(format!("{asks}{SMUGGLED}")).await;
        let answer = wire.response().await.unwrap();
        let raw = raw.await.unwrap();
        if agrees {
            assert_eq!(answer.status, 101);
            assert_eq!(raw, SMUGGLED.as_bytes());
            assert_eq!(wire.rest().await.0, b"bye");
        } else {
            assert_eq!(answer.status, 200);
            assert!(raw.starts_with(b"GET /smuggled HTTP/1.1\r\nhost: a\r\nx-"));
            assert_eq!(wire.response().await.unwrap().status, 200);
        }
        program.finish().await;
    }
}

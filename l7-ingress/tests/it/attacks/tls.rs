//! Bytes on the TLS port that are no handshake, or one in pieces (F29).

use super::backend::recorder;
use super::client::{Wire, get};
use super::program::{Program, Route};

/// What is sent and what, if anything, is answered in the clear.
const SENT: &[(&str, &[u8], bool)] = &[
    (
        "a request in the clear",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        true,
    ),
    (
        "a preface in the clear",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        true,
    ),
    ("noise", &[0xff; 4096], false),
    ("an alert", &[21, 3, 3, 0, 2, 1, 0], false),
    (
        "a record of 64 KiB",
        &[22, 3, 1, 255, 255, 1, 0, 255, 251],
        false,
    ),
    (
        "a hello of 16 MiB",
        &[22, 3, 1, 0, 4, 1, 255, 255, 255],
        false,
    ),
    ("an empty hello", &[22, 3, 1, 0, 4, 1, 0, 0, 0], false),
    (
        "a hello of TLS 1.0",
        &[
            22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 47, 1, 0, 0,
        ],
        false,
    ),
    ("SSL 2.0", &[128, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16], false),
];

#[tokio::test]
async fn what_is_no_handshake_is_closed() {
    let (backend, ledger) = recorder().await;
    let routes = [Route::new("web", "/", &[backend.address])];
    let program = Program::start(&routes, &["--handshake-timeout=500ms"]).await;
    for &(name, sent, answered) in SENT {
        let mut wire = Wire::connect(program.https).await;
        wire.send(sent).await;
        let (answer, _) = wire.rest().await;
        let clear = answer.starts_with(b"HTTP/1.1 400 ");
        assert_eq!(clear, answered, "{name}: {}", answer.escape_ascii());
    }
    assert_eq!(ledger.len(), 0);
    assert_eq!(get(program.http, "/").await.status, 200);
    program.finish().await;
}

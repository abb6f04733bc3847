//! HTTP/2 clients that keep their windows shut and answer PING: their responses have a time to be
//! taken, their backends are let go, and what others do on the same connection goes on.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::{Request, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::backend::{Backend, read_request, recorder};
use super::program::{Program, Route, SOON};

/// What is granted for a piece of a response, which is of 64 KiB at most.
const GRANTED: Duration = Duration::from_millis(400);
/// What HTTP/2 begins with: room for one piece.
const WINDOW: u32 = 65_535;

/// Answers with as many bytes as the path says, or without an end; tells who was hung up on.
async fn sized() -> (Backend, mpsc::Receiver<String>) {
    let (hung_up, noticed) = mpsc::channel(100);
    let backend = Backend::start(move |mut tcp, _| {
        let hung_up = hung_up.clone();
        async move {
            while let Some(seen) = read_request(&mut tcp).await {
                if let Ok(length) = seen.target[1..].parse::<usize>() {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    tcp.write_all(head.as_bytes()).await.unwrap();
                    tcp.write_all(&vec![b'x'; length]).await.unwrap();
                    continue;
                }
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                tcp.write_all(head).await.unwrap();
                let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
                while tcp.write_all(chunk.as_bytes()).await.is_ok() {}
                hung_up.send(seen.target).await.unwrap();
                return;
            }
        }
    })
    .await;
    (backend, noticed)
}

/// A client whose streams begin with `window`, and what drives it.
async fn connect(to: SocketAddr, window: u32) -> (SendRequest<Bytes>, JoinSet<()>) {
    let tcp = TcpStream::connect(to).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let handshake = Builder::new().initial_window_size(window).handshake(tcp);
    let (sender, connection) = handshake.await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(async {
        let _ended = connection.await;
    });
    (sender, driver)
}

async fn open(sender: &mut SendRequest<Bytes>, path: &str) -> RecvStream {
    let request = Request::get(format!("http://a{path}")).body(()).unwrap();
    let opened = async {
        let mut ready = sender.clone().ready().await.unwrap();
        let (response, _) = ready.send_request(request, true).unwrap();
        response.await.unwrap()
    };
    let response = timeout(SOON, opened).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body()
}

#[tokio::test]
async fn a_response_that_is_not_taken_is_reset() {
    let ((backend, mut noticed), quick) = (sized().await, recorder().await);
    let routes = [
        Route::new("sized", "/", &[backend.address]),
        Route::new("quick", "/quick", &[quick.0.address]),
    ];
    let program = Program::start(&routes, &["--send-timeout=400ms"]).await;
    let (mut sender, _driver) = connect(program.http, 0).await;
    let began = Instant::now();
    let mut bodies = Vec::new();
    // The smallest, one of several pieces, and one without an end, of which several.
    for path in ["/1", "/1048576", "/endless", "/endless", "/endless"] {
        bodies.push(open(&mut sender, path).await);
    }
    for mut body in bodies {
        let error = timeout(SOON, body.data()).await.unwrap().unwrap();
        assert_eq!(error.unwrap_err().reason(), Some(Reason::CANCEL));
    }
    assert!(began.elapsed() >= GRANTED, "reset too early");
    for _ in 0..3 {
        assert_eq!(
            timeout(SOON, noticed.recv()).await.unwrap().unwrap(),
            "/endless"
        );
    }
    // The connection is as good as before.
    assert!(open(&mut sender, "/quick").await.is_end_stream());
    assert_eq!(quick.1.len(), 1);
    program.finish().await;
}

/// What it was sent before cannot be taken back, so no reset goes past it; but the backend is let go,
/// and the connection ends as one that idles.
#[tokio::test]
async fn a_window_that_is_used_up_holds_no_backend() {
    let (backend, mut noticed) = sized().await;
    let routes = [Route::new("sized", "/", &[backend.address])];
    let flags = ["--send-timeout=400ms", "--keep-alive=400ms"];
    let program = Program::start(&routes, &flags).await;
    let (mut sender, mut driver) = connect(program.http, WINDOW).await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(open(&mut sender, "/endless").await);
    }
    for _ in 0..3 {
        assert_eq!(
            timeout(SOON, noticed.recv()).await.unwrap().unwrap(),
            "/endless"
        );
    }
    timeout(SOON, driver.join_next()).await.unwrap();
    program.finish().await;
}

/// Slower in all than what is granted for a piece, and quick enough with each.
#[tokio::test]
async fn a_response_that_is_taken_slowly_is_served() {
    let (backend, _noticed) = sized().await;
    let routes = [Route::new("sized", "/", &[backend.address])];
    let program = Program::start(&routes, &["--send-timeout=1s"]).await;
    let (mut sender, _driver) = connect(program.http, WINDOW).await;
    let began = Instant::now();
    let mut body = open(&mut sender, "/327680").await;
    let (mut pace, mut taken) = (interval(Duration::from_millis(50)), 0);
    // A frame of 16 KiB at a time.
    while let Some(frame) = timeout(SOON, body.data()).await.unwrap() {
        let length = frame.unwrap().len();
        taken += length;
        pace.tick().await;
        body.flow_control().release_capacity(length).unwrap();
    }
    assert_eq!(taken, 327_680);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(1), "{took:?} proves nothing");
    program.finish().await;
}

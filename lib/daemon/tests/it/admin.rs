//! The admin port over a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use daemon::{Flags, Process};
use http::Response;
use http_body_util::Full;
use prometheus::IntCounter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn start() -> Process {
    let flags = Flags {
        admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..Flags::default()
    };
    Process::start("test", &flags).await.unwrap()
}

/// Status and everything after it, as it is on the wire.
async fn ask(process: &Process, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(process.admin_addr()).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

async fn check(process: &Process, path: &str, status: u16, part: &str) {
    let (got, answer) = ask(process, "GET", path).await;
    assert!(
        got == status && answer.contains(part),
        "{path}: want {status} and {part:?}, got {answer}"
    );
}

#[tokio::test]
async fn readiness_follows_the_gates_and_the_shutdown() {
    let process = start().await;
    check(&process, "/healthz", 200, "ok").await;
    check(&process, "/readyz", 503, "starting").await;
    let (objects, table) = (process.ready("objects"), process.ready("table"));
    check(&process, "/readyz", 503, "waiting for: objects, table").await;
    objects.open();
    check(&process, "/readyz", 503, "waiting for: table").await;
    table.open();
    check(&process, "/readyz", 200, "ok").await;
    process.shutdown().request();
    check(&process, "/readyz", 503, "shutting down").await;
    check(&process, "/healthz", 200, "ok").await;
}

#[tokio::test]
async fn a_stuck_loop_fails_the_health_check() {
    let process = start().await;
    let moving = process.watchdog("watch", Duration::from_secs(3600));
    moving.beat();
    check(&process, "/healthz", 200, "ok").await;
    let _stuck_from_the_start = process.watchdog("compile", Duration::ZERO);
    check(&process, "/healthz", 500, "stuck: compile\n").await;
}

#[tokio::test]
async fn metrics_are_those_of_the_registry_and_of_the_process() {
    let process = start().await;
    let counter = IntCounter::new("penstock_test_total", "A test.").unwrap();
    process
        .registry()
        .register(Box::new(counter.clone()))
        .unwrap();
    counter.inc_by(3);
    check(&process, "/metrics", 200, "text/plain; version=0.0.4").await;
    check(&process, "/metrics", 200, "\npenstock_test_total 3\n").await;
    check(&process, "/metrics", 200, "\nprocess_cpu_seconds_total ").await;
    check(
        &process,
        "/metrics",
        200,
        "\nprocess_resident_memory_bytes ",
    )
    .await;
}

#[tokio::test]
async fn components_add_routes_and_a_wrong_path_lists_them() {
    let process = start().await;
    process.admin_route("/debug/routes", || {
        Response::new(Full::new(Bytes::from_static(b"{\"hosts\":[]}")))
    });
    process.admin_route("/debug/broken", || panic!("on purpose"));
    check(&process, "/debug/routes", 200, "{\"hosts\":[]}").await;
    check(&process, "/debug/broken", 500, "panicked").await;
    check(&process, "/nope", 404, "/debug/routes\n").await;
    check(&process, "/nope", 404, "/metrics\n").await;
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let process = start().await;
    let (status, answer) = ask(&process, "POST", "/healthz").await;
    assert_eq!(status, 405);
    assert!(answer.to_lowercase().contains("allow: get, head"));
    let (status, answer) = ask(&process, "HEAD", "/healthz").await;
    assert_eq!(status, 200);
    assert!(answer.ends_with("\r\n\r\n"), "HEAD has no body: {answer}");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let process = start().await;
    let flags = Flags {
        admin: process.admin_addr(),
        ..Flags::default()
    };
    let error = Process::start("second", &flags).await.unwrap_err();
    let want = format!("cannot listen on --admin {}", process.admin_addr());
    assert_eq!(error.to_string(), want);
}

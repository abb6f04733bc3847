//! More connections than descriptors: those beyond wait, the admin port answers, and all is well
//! again when they have gone (F38).

use super::backend::{Backend, read_request, recorder};
use super::client::{self, Wire};
use super::program::{Program, Route};

#[tokio::test]
async fn connections_beyond_the_descriptors_wait() {
    let held = Backend::start(|mut tcp, _| async move {
        if read_request(&mut tcp).await.is_some() {
            std::future::pending::<()>().await;
        }
    })
    .await;
    let quick = recorder().await;
    let routes = [
        Route::new("held", "/", &[held.address]),
        Route::new("quick", "/quick", &[quick.0.address]),
    ];
    let program = Program::start_within(Some(128), &routes, &[]).await;
    assert_eq!(client::get(program.http, "/quick").await.status, 200);
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut wire = Wire::connect(program.http).await;
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(wire);
    }
    for _ in 0..20 {
        assert_eq!(client::get(program.admin, "/healthz").await.status, 200);
        assert_eq!(client::get(program.admin, "/readyz").await.status, 200);
    }
    let before = program.processor_time();
    assert!(
        program
            .metric("nginx_ingress_controller_nginx_process_connections")
            .await
            > 30.0
    );
    // Waiting is not spinning: these are the test's own round trips.
    assert!(program.processor_time() - before < std::time::Duration::from_millis(500));
    drop(clients);
    assert_eq!(client::get(program.http, "/quick").await.status, 200);
    program.finish().await;
}

//! Clients lose nothing when the process is asked to leave, as SIGTERM does.

use std::time::Instant;

use tokio::net::TcpStream;

use crate::harness::Backend;
use crate::load::Load;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_when_the_process_leaves() {
    let flags = ["--drain-delay", "500ms", "--drain-deadline", "25s"];
    let mut load = Load::start(&flags).await;
    load.more(2000).await;
    let asked = Instant::now();
    load.proxy.process.shutdown().request();
    assert_eq!(load.proxy.admin("/readyz").await.status, 503);
    // Load balancers have not noticed yet.
    let late = load.proxy.get("http://h1.test/late").await;
    assert_eq!(late.status, 200);

    let http = load.http().await;
    assert_eq!(http.closed, 150, "every one was told");
    assert!(http.lost.is_empty(), "{:?}", http.lost);
    // Tunnels go on until their clients end them.
    load.more(100).await;
    load.stop();
    let tunnels = load.tunnels().await;
    assert!(tunnels.lost.is_empty(), "{:?}", tunnels.lost);
    assert_eq!(tunnels.closed, 0);
    load.proxy.ended().await.unwrap();
    assert!(asked.elapsed().as_secs() < 25, "{:?}", asked.elapsed());
    assert_eq!(
        load.proxy.metric("penstock_l7_drain_forced_total", &[]),
        0.0
    );
    assert!(TcpStream::connect(load.proxy.http).await.is_err());
    println!(
        "{} requests of 200 clients, {:?} from the request to leave to the end: 0 lost",
        http.done + tunnels.done,
        asked.elapsed()
    );
    assert!(
        load.web
            .iter()
            .all(|backend: &Backend| backend.requests() > 0)
    );
}

//! The API over TCP.

use std::{future::Future, io, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet, time};

use crate::server::ApiServer;

/// How long answers may take to finish after the end was called.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait before another try when a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 1024;

pub(crate) async fn serve(
    server: ApiServer,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    // Clients choose HTTP/2 in a TLS handshake, and there is none here.
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => accepted,
            _ = connections.join_next(), if connections.len() >= CONNECTIONS => continue,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the API accepted no connection");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(server.service());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the API ended early");
            }
        });
    }
    drop(listener);
    // Watches would go on for ever; their clients come back to whoever is next.
    server.faults().end_watches();
    // What is not done by then is cut off when the set is dropped.
    let _ = time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

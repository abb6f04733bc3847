//! Connections of clients whose TLS is ended by an endpoint: told apart by what the client says first, and passed on as they
//! are. Whoever names no such host is served here, with nothing lost.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use l7_ingress_core::Passthrough;
use l7_ingress_core::client_hello::{ClientHello, Hello};
use l7_ingress_core::proxy_protocol::Endpoints;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::{ConnectionError, FIRST_FLIGHT};
use crate::stream::Socket;
use crate::streams::Session;
use crate::worker::Worker;

/// Passes the connection on to its end if its client asks for such a host; gives it back if not.
pub(super) async fn divert(
    worker: &Rc<Worker>,
    mut socket: Socket,
    ends: Endpoints,
) -> Result<Option<Socket>, ConnectionError> {
    let patience = worker.global().client.handshake;
    let target = timeout(patience, target(worker, &mut socket)).await??;
    let Some(target) = target else {
        return Ok(Some(socket));
    };
    worker.metrics.tls_sessions.add(1);
    let mut session = Session::new(ends.source, ends.destination.port());
    let told = target.writes_proxy.then_some(ends);
    let served = session.pass(worker, socket, (&target.backend, told)).await;
    session.end(worker, served);
    Ok(None)
}

/// Where the client is led by what it says first, which is left to be read.
async fn target(worker: &Worker, socket: &mut Socket) -> io::Result<Option<Arc<Passthrough>>> {
    let mut first = BytesMut::with_capacity(FIRST_FLIGHT);
    let mut hello = ClientHello::default();
    let name = loop {
        // A client that has gone is for the handshake to find.
        if socket.read_buf(&mut first).await? == 0 {
            break None;
        }
        match hello.read(&first) {
            Hello::Partial => {}
            Hello::Complete(name) => break name,
            Hello::Foreign => break None,
        }
    };
    socket.unread(first.freeze());
    // As it is by now.
    let table = worker.table();
    Ok(name.and_then(|name| table.passthrough(&name).cloned()))
}

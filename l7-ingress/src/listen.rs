//! Accepts connections, without spinning and without more of them than there are descriptors for.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::serve;
use crate::worker::Worker;

/// How many connections may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// How long to wait after an accept that failed for want of resources.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A worker's sockets: several for each of the two ports, one per address.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) http: Vec<std::net::TcpListener>,
    pub(crate) https: Vec<std::net::TcpListener>,
}

/// Binds one socket for each worker; connections are spread over them by the kernel.
///
/// A port of 0 is chosen by the first and shared by the others.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut address = address;
    (0..workers)
        .map(|_| {
            let socket = Socket::new(
                Domain::for_address(address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let listener = std::net::TcpListener::from(socket);
            address = listener.local_addr()?;
            Ok(listener)
        })
        .collect()
}

/// Whether "all addresses of IPv6" cannot be had because the kernel was told to be without it. That
/// address is among the defaults.
pub(crate) fn lacks_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
    let unsupported = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    address == all && error.raw_os_error() == Some(unsupported)
}

/// Starts to accept; stops when the result is dropped.
pub(crate) fn start(worker: &Rc<Worker>, listeners: Listeners) -> io::Result<DropGuard> {
    let stop = CancellationToken::new();
    let http = listeners.http.into_iter().map(|listener| (listener, false));
    let https = listeners.https.into_iter().map(|listener| (listener, true));
    for (listener, tls) in http.chain(https) {
        let listener = TcpListener::from_std(listener)?;
        let accept = accept(Rc::clone(worker), listener, tls, stop.clone());
        tokio::task::spawn_local(accept);
    }
    Ok(stop.drop_guard())
}

async fn accept(worker: Rc<Worker>, listener: TcpListener, tls: bool, stop: CancellationToken) {
    loop {
        wait_for_room(&worker).await;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => serve(&worker, tcp, peer, tls),
                Err(error) => refused(&worker, &error).await,
            },
        }
    }
    // Whoever completed the handshake before the end was promised an answer.
    while let Some(Ok((tcp, peer))) = listener.accept().now_or_never() {
        serve(&worker, tcp, peer, tls);
    }
}

fn serve(worker: &Rc<Worker>, tcp: TcpStream, peer: SocketAddr, tls: bool) {
    let counted = worker.connection();
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        serve::connection(worker, tcp, peer, tls).await;
        drop(counted);
    });
}

/// Connections beyond the limit wait in the kernel's queue.
pub(crate) async fn wait_for_room(worker: &Worker) {
    while worker.connections() >= worker.most_connections() && !worker.is_draining() {
        worker.metrics.waits_for_room.add(1);
        worker.room().await;
    }
}

/// A client that has gone again is nothing; want of descriptors or memory asks for patience.
pub(crate) async fn refused(worker: &Worker, error: &io::Error) {
    worker.metrics.accept_errors.add(1);
    let gone = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::Interrupted,
    ];
    if !gone.contains(&error.kind()) {
        tracing::debug!("cannot accept: {error}");
        tokio::time::sleep(BACK_OFF).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lack_of_ipv6_is_forgiven() {
        let check = |address: &str, errno: rustix::io::Errno, expect: bool| {
            let forgiven = lacks_ipv6(address.parse().unwrap(), &errno.into());
            assert_eq!(forgiven, expect, "{address} {errno}");
        };
        check("[::]:80", rustix::io::Errno::AFNOSUPPORT, true);
        check("[::]:80", rustix::io::Errno::ADDRINUSE, false);
        check("[::1]:80", rustix::io::Errno::AFNOSUPPORT, false);
        check("0.0.0.0:80", rustix::io::Errno::AFNOSUPPORT, false);
    }
}

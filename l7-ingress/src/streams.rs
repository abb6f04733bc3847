//! Ports that lead straight to a Service: opened and closed as the ConfigMaps of TCP and UDP services say.
//!
//! ```text
//!  control loop ─▶ Ports: bind one socket for each worker ─▶ Open ─▶ worker: tcp::accept, udp::serve
//!                    └ a port that is no longer wanted: its token is cancelled; connections go on
//! ```

mod datagrams;
mod ports;
mod tcp;
mod udp;

use std::rc::Rc;

use l7_ingress_core::StreamPort;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::worker::Worker;

pub(crate) use ports::Ports;
pub(crate) use tcp::Session;

/// How many ports may wait for a worker to take them.
const QUEUE: usize = 16;

/// A worker's socket of a port.
#[derive(Debug)]
pub(crate) struct Open {
    port: StreamPort,
    socket: Socket,
    /// Cancelled when the port is to be closed.
    stop: CancellationToken,
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Udp(std::net::UdpSocket),
}

/// The two ends of the way to a worker.
pub(crate) fn channel() -> (mpsc::Sender<Open>, mpsc::Receiver<Open>) {
    mpsc::channel(QUEUE)
}

/// Serves ports as they are opened.
pub(crate) async fn run(worker: Rc<Worker>, mut ports: mpsc::Receiver<Open>) {
    while let Some(Open { port, socket, stop }) = ports.recv().await {
        let worker = Rc::clone(&worker);
        let task = async move {
            let served = match socket {
                Socket::Tcp(listener) => tcp::accept(worker, listener, port, stop).await,
                Socket::Udp(socket) => udp::serve(worker, socket, port, stop).await,
            };
            if let Err(error) = served {
                tracing::warn!("port {} cannot be served: {error}", port.1);
            }
        };
        tokio::task::spawn_local(task);
    }
}

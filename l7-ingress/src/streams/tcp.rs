//! TCP: a connection of a client, and one to an endpoint of the Service, until both have ended.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use l7_ingress_core::proxy_protocol::{Endpoints, Version, encode};
use l7_ingress_core::upstream::Choice;
use l7_ingress_core::{Backend, BackendProtocol, Stream as Target, StreamPort};
use model::Protocol;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::access_log::StreamLine;
use crate::forward::{Moved, pipe};
use crate::listen;
use crate::proxy_protocol;
use crate::stream::{Socket, Stream};
use crate::upstream::{ConnectError, InFlight};
use crate::worker::Worker;

/// How long a PROXY header may take where none is expected of HTTP's clients.
const PROXY_HEADER: Duration = Duration::from_secs(5);

/// Accepts until the port is closed or the worker drains.
pub(super) async fn accept(
    worker: Rc<Worker>,
    listener: std::net::TcpListener,
    port: StreamPort,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        listen::wait_for_room(&worker).await;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = worker.drain() => break,
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => start(&worker, tcp, peer, port),
                Err(error) => listen::refused(&worker, &error).await,
            },
        }
    }
    // Whoever completed the handshake before the end was promised an answer.
    while let Some(Ok((tcp, peer))) = listener.accept().now_or_never() {
        start(&worker, tcp, peer, port);
    }
    Ok(())
}

fn start(worker: &Rc<Worker>, tcp: TcpStream, peer: SocketAddr, port: StreamPort) {
    // The port may be closed when the connection's task first runs.
    let Some(target) = worker.table().stream(port).cloned() else {
        return;
    };
    let counted = worker.connection();
    let worker = Rc::clone(worker);
    worker.metrics.tcp_sessions.add(1);
    tokio::task::spawn_local(async move {
        let mut session = Session::new(peer, port.1);
        let served = serve(&worker, tcp, &target, &mut session).await;
        session.end(&worker, served);
        drop(counted);
    });
}

/// What is known of a connection when it ends.
#[derive(Debug)]
pub(crate) struct Session {
    started: Instant,
    source: SocketAddr,
    port: u16,
    endpoint: Option<SocketAddr>,
    moved: Moved,
}

/// Why a connection could not be passed on to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the client sent no PROXY header in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error("bad PROXY protocol header: {0}")]
    ProxyProtocol(#[from] proxy_protocol::ReadError),
    #[error("no endpoint is ready")]
    NoEndpoint,
    #[error("no endpoint accepted")]
    Connect(#[source] ConnectError),
}

impl StreamError {
    /// What nginx logs.
    const fn status(&self) -> u16 {
        match self {
            Self::Io(_) => 200,
            Self::Timeout(_) | Self::ProxyProtocol(_) => 400,
            Self::NoEndpoint | Self::Connect(_) => 502,
        }
    }
}

async fn serve(
    worker: &Rc<Worker>,
    tcp: TcpStream,
    target: &Arc<Target>,
    session: &mut Session,
) -> Result<(), StreamError> {
    tcp.set_nodelay(true)?;
    let destination = tcp.local_addr()?;
    let mut ends = Endpoints {
        source: session.source,
        destination,
    };
    let mut client = Socket::new(tcp);
    let global = worker.global();
    if target.reads_proxy {
        let patience = global.proxy_protocol.unwrap_or(PROXY_HEADER);
        if let Some(told) = timeout(patience, proxy_protocol::read(&mut client)).await?? {
            ends = told;
            session.source = told.source;
        }
    }
    let told = target.writes_proxy.then_some(ends);
    session.pass(worker, client, (&target.backend, told)).await
}

impl Session {
    pub(crate) fn new(source: SocketAddr, port: u16) -> Self {
        Self {
            started: Instant::now(),
            source,
            port,
            endpoint: None,
            moved: Moved::default(),
        }
    }

    /// Passes what the client sends on to an endpoint of `backend`, after a PROXY header with these ends, and back,
    /// until both have ended.
    pub(crate) async fn pass(
        &mut self,
        worker: &Worker,
        client: Socket,
        (backend, told): (&Arc<Backend>, Option<Endpoints>),
    ) -> Result<(), StreamError> {
        let (mut endpoint, in_flight) = connect(worker, backend).await?;
        if let Some(ends) = told {
            endpoint.write_all(&encode(Version::V1, Some(ends))).await?;
        }
        self.endpoint = endpoint.tcp().peer_addr().ok();
        let idle = worker.global().streams.idle;
        pipe(client, endpoint, idle, &mut self.moved).await?;
        drop(in_flight);
        Ok(())
    }

    /// Counts and logs it.
    pub(crate) fn end(self, worker: &Worker, served: Result<(), StreamError>) {
        if let Err(error) = &served {
            worker.metrics.stream_failures.add(1);
            tracing::debug!(client = %self.source, "TCP connection ended: {error}");
        }
        let line = StreamLine {
            protocol: Protocol::Tcp,
            client: self.source,
            port: self.port,
            endpoint: self.endpoint,
            status: served.map_or_else(|error| error.status(), |()| 200),
            sent: self.moved.down,
            received: self.moved.up,
            lasted: self.started.elapsed(),
        };
        let log = &worker.global().log;
        worker.log.write_stream(&line, &log.form, &log.stream);
    }
}

/// Tries endpoints until one accepts.
async fn connect(
    worker: &Worker,
    backend: &Arc<Backend>,
) -> Result<(Stream, InFlight), StreamError> {
    let global = worker.global();
    let started = Instant::now();
    let group = worker
        .upstreams
        .group(backend, BackendProtocol::Http, started);
    let most = match global.streams.tries {
        0 => group.len().max(1),
        tries => tries,
    };
    let until = global.streams.tries_for;
    let mut tried = Vec::new();
    let mut failed = StreamError::NoEndpoint;
    for _ in 0..most {
        let now = Instant::now();
        if !until.is_zero() && now >= started + until {
            break;
        }
        let Some(peer) = group.pick(Choice::Any, &tried, now) else {
            break;
        };
        let in_flight = InFlight::new(Rc::clone(&peer), now);
        match worker
            .connector
            .connect(&peer, global.upstream.connect)
            .await
        {
            Ok(stream) => {
                in_flight.answered(Instant::now());
                return Ok((stream, in_flight));
            }
            Err(error) => {
                worker.metrics.connect_errors.add(1);
                peer.failed(Instant::now());
                failed = StreamError::Connect(error);
                tried.push(peer);
            }
        }
    }
    Err(failed)
}

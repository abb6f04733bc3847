//! One client connection from accept to close: PROXY protocol, TLS, HTTP/1 or HTTP/2, drain.

mod http2;
mod passthrough;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::WaitForCancellationFuture;

use l7_ingress_core::proxy_protocol::Endpoints;

use crate::client::{Client, GuardedIo, Linger, Origin};
use crate::forward;
use crate::proxy_protocol;
use crate::session::Session;
use crate::stream::{Socket, Stream};
use crate::tls::{self, canonical};
use crate::watchdog::Watchdog;
use crate::worker::Worker;

/// What a client that knows that we speak HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read to tell HTTP/2 from HTTP/1; more of a first request is read later.
const FIRST_READ: usize = 1024;
/// What hyper holds of a request's head, which the guard keeps smaller; and of a response that its
/// client does not take, a piece of at most 64 KiB more.
const BUFFERED: usize = 128 * 1024;
/// What is read to tell TLS from HTTP in the clear: most clients' first flight as a whole.
const FIRST_FLIGHT: usize = 4096;
/// How long an idle connection is spared when the worker drains: a request may be on its way.
const IDLE_GRACE: Duration = Duration::from_secs(1);
/// The answer to a request in the clear on the TLS port, as nginx gives it.
const PLAIN_ON_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
connection: close\r\ncontent-length: 52\r\n\r\nThe plain HTTP request was sent to the HTTPS port.\r\n";

/// Serves a connection until it ends.
pub(crate) async fn connection(worker: Rc<Worker>, tcp: TcpStream, peer: SocketAddr, tls: bool) {
    let address = peer;
    if let Err(error) = serve(&worker, tcp, peer, tls).await {
        tracing::debug!(client = %address, "connection ended: {error}");
    }
}

/// Why a connection ended before a request could be served.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("the socket failed")]
    Io(#[from] io::Error),
    #[error("the client did not begin in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error("bad PROXY protocol header: {0}")]
    ProxyProtocol(#[from] proxy_protocol::ReadError),
    #[error("TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
}

async fn serve(
    worker: &Rc<Worker>,
    tcp: TcpStream,
    peer: SocketAddr,
    tls: bool,
) -> Result<(), ConnectionError> {
    tcp.set_nodelay(true)?;
    let mut ends = Endpoints {
        source: peer,
        destination: tcp.local_addr()?,
    };
    let mut proxied = false;
    let mut socket = Socket::new(tcp);
    // The table itself would be held for as long as the connection lasts.
    let (patience, has_passthroughs) = {
        let table = worker.table();
        (table.global().proxy_protocol, table.has_passthroughs())
    };
    if let Some(patience) = patience {
        let read = proxy_protocol::read(&mut socket);
        if let Some(told) = timeout(patience, read).await?? {
            (ends, proxied) = (told, true);
        }
    }
    let origin = Origin {
        address: ends.source,
        port: ends.destination.port(),
        proxied,
    };
    if !tls {
        let client = Client::new(origin, None, Instant::now());
        return plain(worker, socket, client).await;
    }
    if has_passthroughs {
        let Some(kept) = passthrough::divert(worker, socket, ends).await? else {
            return Ok(());
        };
        socket = kept;
    }
    let stream = handshake(worker, socket).await?;
    let session = stream.get_ref().1;
    let http2 = session.alpn_protocol() == Some(b"h2");
    let client = Client::new(
        origin,
        Some(Session::new(session, &worker.table())),
        Instant::now(),
    );
    let stream = Stream::Tls(Box::new(stream.into()));
    if http2 {
        http2::serve(worker, stream, client).await
    } else {
        serve_http1(worker, stream, client, Bytes::new()).await
    }
}

async fn handshake(
    worker: &Worker,
    mut socket: Socket,
) -> Result<tokio_rustls::server::TlsStream<Socket>, ConnectionError> {
    let global = worker.global();
    let handshake = async {
        let mut first = BytesMut::with_capacity(FIRST_FLIGHT);
        socket.read_buf(&mut first).await?;
        if first.first().is_some_and(u8::is_ascii_uppercase) {
            // Before the TLS library sees it: that would answer with an alert.
            socket.write_all(PLAIN_ON_TLS).await?;
            socket.shutdown().await?;
            let mut linger = Linger::new(Instant::now());
            poll_fn(|cx| linger.poll(cx, socket.tcp(), true)).await;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "HTTP in the clear",
            ));
        }
        socket.unread(first.freeze());
        let tls = match global.http2.is_offered {
            true => &worker.tls,
            false => &worker.tls_http1,
        };
        let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let name = hello.client_hello().server_name().map(canonical);
        let own = worker.table();
        let own = own.authorities(name.as_deref());
        let tls = match own {
            None => tls,
            Some(authorities) => {
                let both = tls::with_clients(authorities, [&worker.tls, &worker.tls_http1]);
                &both[usize::from(!global.http2.is_offered)]
            }
        };
        hello.into_stream(Arc::clone(tls)).await
    };
    let stream = timeout(global.client.handshake, handshake).await?;
    stream.map_err(|error| {
        worker.metrics.handshake_errors.add(1);
        ConnectionError::Handshake(error)
    })
}

/// Tells HTTP/2 with prior knowledge from HTTP/1 by the first bytes.
async fn plain(
    worker: &Rc<Worker>,
    mut socket: Socket,
    client: Arc<Client>,
) -> Result<(), ConnectionError> {
    let mut first = BytesMut::with_capacity(FIRST_READ);
    let deadline = Instant::now() + worker.global().client.head;
    loop {
        let read = socket.read_buf(&mut first);
        if tokio::time::timeout_at(deadline, read).await?? == 0 {
            return Ok(());
        }
        let seen = first.len().min(PREFACE.len());
        if first[..seen] != PREFACE[..seen] {
            return serve_http1(worker, Stream::Plain(socket), client, first.freeze()).await;
        }
        if seen == PREFACE.len() {
            socket.unread(first.freeze());
            return http2::serve(worker, Stream::Plain(socket), client).await;
        }
    }
}

async fn serve_http1(
    worker: &Rc<Worker>,
    stream: Stream,
    client: Arc<Client>,
    first: Bytes,
) -> Result<(), ConnectionError> {
    let global = worker.global();
    let io = GuardedIo::new(
        stream,
        Arc::clone(&client),
        global.client,
        global.heads,
        first,
    );
    let service = service_fn(|request| forward::answer(worker, &client, request));
    let mut connection = pin!(
        http1::Builder::new()
            .max_headers(global.heads.fields)
            .max_buf_size(BUFFERED)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades()
    );
    let mut drain = Drain::new(worker);
    let mut told = false;
    poll_fn(|cx| {
        if !told && drain.poll_http1(cx, &client).is_ready() {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await?;
    Ok(())
}

/// Tells when a connection is to be wound up, at next to no cost while it is not.
struct Drain<'w> {
    worker: &'w Worker,
    begins: Pin<Box<WaitForCancellationFuture<'w>>>,
    armed: bool,
    watchdog: Watchdog,
}

impl<'w> Drain<'w> {
    fn new(worker: &'w Worker) -> Self {
        let begins = Box::pin(worker.drain());
        Self {
            worker,
            begins,
            armed: false,
            watchdog: Watchdog::default(),
        }
    }

    /// Whether the worker drains. The task is woken when it begins to: it registers once, for its
    /// waker stays the same.
    fn has_begun(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.armed {
            self.armed = true;
            return self.begins.as_mut().poll(cx).is_ready();
        }
        self.worker.is_draining()
    }

    /// Ready when an HTTP/1 connection is to close after what it is doing. One that idles is given
    /// a moment, for a request may be on its way: that one still gets its answer.
    fn poll_http1(&mut self, cx: &mut Context<'_>, client: &Client) -> Poll<()> {
        if !self.has_begun(cx) {
            return Poll::Pending;
        }
        match client.idle_since() {
            None => Poll::Ready(()),
            Some(since) => self.watchdog.poll(cx, since + IDLE_GRACE),
        }
    }

    /// Ready when an HTTP/2 connection is to send GOAWAY: the worker drains, or nothing has
    /// happened for long.
    fn poll_http2(&mut self, cx: &mut Context<'_>, client: &Client) -> Poll<()> {
        if self.has_begun(cx) {
            return Poll::Ready(());
        }
        match client.idle_since() {
            None => Poll::Pending,
            Some(since) => self
                .watchdog
                .poll(cx, since + self.worker.global().client.keep_alive),
        }
    }

    /// Ready when a client that was told to go, has nothing left to wait for, has had its time to
    /// take what it was sent, and is still there: h2 waits for it to acknowledge GOAWAY.
    fn poll_left(&mut self, cx: &mut Context<'_>, client: &Client, told: Instant) -> Poll<()> {
        match client.idle_since() {
            None => Poll::Pending,
            Some(since) => {
                let grace = self.worker.global().client.send;
                self.watchdog.poll(cx, since.max(told) + grace)
            }
        }
    }
}

//! UDP: the datagrams of one client form a session, which has a socket of its own towards one endpoint.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;
use l7_ingress_core::StreamPort;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::datagrams::{Datagrams, Ends};
use crate::access_log::StreamLine;
use crate::worker::Worker;

/// The longest datagram.
const LONGEST: usize = 65_535;
/// Sessions of one worker's port; datagrams of more clients are dropped and counted.
const SESSIONS: usize = 8192;
/// How long a session is kept that had all the answers that were expected.
const ANSWERED: Duration = Duration::from_secs(5);

/// A worker's socket of a port.
struct Port {
    worker: Rc<Worker>,
    port: StreamPort,
    socket: Datagrams,
    sessions: RefCell<HashMap<Ends, Rc<Session>, RandomState>>,
    turn: Cell<usize>,
    /// For answers: one at a time is passed back.
    answer: RefCell<Box<[u8]>>,
    stop: CancellationToken,
}

/// A client's way to an endpoint.
struct Session {
    socket: UdpSocket,
    endpoint: SocketAddr,
    sent: Cell<u64>,
    answered: Cell<u64>,
    /// Bytes from the client, and to it.
    up: Cell<u64>,
    down: Cell<u64>,
    started: Instant,
    last: Cell<Instant>,
}

/// Passes datagrams on until the port is closed or the worker drains; a session has nothing to finish.
pub(super) async fn serve(
    worker: Rc<Worker>,
    socket: std::net::UdpSocket,
    port: StreamPort,
    stop: CancellationToken,
) -> io::Result<()> {
    let port = Rc::new(Port {
        socket: Datagrams::new(socket)?,
        sessions: RefCell::default(),
        turn: Cell::new(fastrand::usize(..)),
        answer: RefCell::new(vec![0; LONGEST].into()),
        worker,
        port,
        stop: stop.child_token(),
    });
    let ended = port.stop.clone().drop_guard();
    let mut buffer = vec![0; LONGEST];
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = port.worker.drain() => break,
            received = port.socket.receive(&mut buffer) => match received {
                Ok((length, ends)) => port.pass(ends, &buffer[..length]).await,
                // What ICMP says of a datagram that was sent earlier.
                Err(error) => tracing::debug!("cannot receive a datagram: {error}"),
            },
        }
    }
    drop(ended);
    Ok(())
}

impl Port {
    async fn pass(self: &Rc<Self>, ends: Ends, datagram: &[u8]) {
        let known = self.sessions.borrow().get(&ends).cloned();
        let session = match known.filter(|session| self.leads_to(session.endpoint)) {
            Some(session) => Some(session),
            None => self.begin(ends).await,
        };
        let Some(session) = session else {
            self.worker.metrics.datagrams_dropped.add(1);
            return;
        };
        session.sent.set(session.sent.get() + 1);
        session.up.set(session.up.get() + datagram.len() as u64);
        session.last.set(Instant::now());
        if let Err(error) = session.socket.send(datagram).await {
            self.worker.metrics.datagrams_dropped.add(1);
            tracing::debug!(endpoint = %session.endpoint, "cannot send a datagram: {error}");
        }
    }

    /// Whether an endpoint is still one.
    fn leads_to(&self, endpoint: SocketAddr) -> bool {
        let table = self.worker.table();
        table.stream(self.port).is_some_and(|stream| {
            let endpoints = stream.backend.endpoints();
            endpoints.addresses.binary_search(&endpoint).is_ok()
        })
    }

    async fn begin(self: &Rc<Self>, ends: Ends) -> Option<Rc<Session>> {
        if self.sessions.borrow().len() >= SESSIONS {
            return None;
        }
        let endpoint = {
            let table = self.worker.table();
            let endpoints = table.stream(self.port)?.backend.endpoints();
            let turn = self.turn.get();
            self.turn.set(turn.wrapping_add(1));
            let count = endpoints.addresses.len();
            *endpoints.addresses.get(turn.checked_rem(count)?)?
        };
        let socket = match connect(endpoint).await {
            Ok(socket) => socket,
            Err(error) => {
                self.worker.metrics.stream_failures.add(1);
                tracing::debug!(%endpoint, "no socket for a session: {error}");
                return None;
            }
        };
        let session = Rc::new(Session {
            socket,
            endpoint,
            sent: Cell::new(0),
            answered: Cell::new(0),
            up: Cell::new(0),
            down: Cell::new(0),
            started: Instant::now(),
            last: Cell::new(Instant::now()),
        });
        self.sessions.borrow_mut().insert(ends, Rc::clone(&session));
        self.worker.metrics.udp_sessions.add(1);
        self.worker.metrics.udp_active.add(1);
        let (port, own) = (Rc::clone(self), Rc::clone(&session));
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = port.stop.cancelled() => {}
                () = port.answers(ends, &own) => {}
            }
            port.end(ends, &own);
        });
        Some(session)
    }

    /// Passes the endpoint's datagrams back until the session has idled for too long.
    async fn answers(&self, ends: Ends, session: &Session) {
        loop {
            let streams = self.worker.global().streams;
            let wanted = streams.answers.saturating_mul(session.sent.get());
            let idle = match streams.answers > 0 && session.answered.get() >= wanted {
                true => ANSWERED.min(streams.idle),
                false => streams.idle,
            };
            let left = (session.last.get() + idle).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // When time is up, the client may have said something since.
            if let Ok(readable) = timeout(left, session.socket.readable()).await
                && let Err(error) = readable.and_then(|()| self.pass_back(ends, session))
            {
                // Nobody listens there: the next datagram may find another endpoint.
                self.worker.metrics.stream_failures.add(1);
                tracing::debug!(endpoint = %session.endpoint, "session ended: {error}");
                return;
            }
        }
    }

    fn pass_back(&self, ends: Ends, session: &Session) -> io::Result<()> {
        let mut buffer = self.answer.borrow_mut();
        let length = match session.socket.try_recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        session.answered.set(session.answered.get() + 1);
        session.down.set(session.down.get() + length as u64);
        session.last.set(Instant::now());
        if let Err(error) = self.socket.try_send(&buffer[..length], ends) {
            self.worker.metrics.datagrams_dropped.add(1);
            tracing::debug!(client = %ends.client, "cannot send a datagram back: {error}");
        }
        Ok(())
    }

    fn end(&self, ends: Ends, session: &Rc<Session>) {
        self.worker.metrics.udp_active.sub(1);
        let line = StreamLine {
            protocol: self.port.0,
            client: ends.client,
            port: self.port.1,
            endpoint: Some(session.endpoint),
            status: 200,
            sent: session.down.get(),
            received: session.up.get(),
            lasted: session.started.elapsed(),
        };
        let log = &self.worker.global().log;
        self.worker.log.write_stream(&line, &log.form, &log.stream);
        let mut sessions = self.sessions.borrow_mut();
        // Another one may have taken its place.
        if sessions
            .get(&ends)
            .is_some_and(|own| Rc::ptr_eq(own, session))
        {
            sessions.remove(&ends);
        }
    }
}

async fn connect(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match endpoint {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(endpoint).await?;
    Ok(socket)
}

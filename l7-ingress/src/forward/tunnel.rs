//! After an Upgrade: bytes both ways, whatever they are.

use std::io;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;
use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::Instant;

use crate::stream::Stream;
use crate::upstream::InFlight;
use crate::watchdog::Watchdog;
use crate::worker::Worker;

/// What is read at once, each way.
const BUFFER: usize = 16 * 1024;

/// An endpoint's connection once it speaks another protocol.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) backend: Stream,
    /// What the endpoint sent already.
    pub(super) early: Bytes,
    pub(super) in_flight: InFlight,
}

/// Starts to pass bytes between the endpoint's connection and the client's, once the client has got
/// its 101; the tunnel counts as a connection until it ends.
pub(super) fn start(worker: &Rc<Worker>, tunnel: Tunnel, upgrade: OnUpgrade, idle: Duration) {
    let Tunnel {
        backend,
        early,
        in_flight,
    } = tunnel;
    let counted = worker.tunnel();
    tokio::task::spawn_local(async move {
        match upgrade.await {
            Ok(client) => {
                if let Err(error) = run(client, backend, early, idle).await {
                    tracing::debug!("tunnel ended: {error}");
                }
            }
            Err(error) => tracing::debug!("client left before its tunnel stood: {error}"),
        }
        drop((in_flight, counted));
    });
}

async fn run(client: Upgraded, backend: Stream, early: Bytes, idle: Duration) -> io::Result<()> {
    let mut client = TokioIo::new(client);
    client.write_all(&early).await?;
    client.flush().await?;
    pipe(client, backend, idle, &mut Moved::default()).await
}

/// Bytes from the client, and to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// Passes bytes both ways until both have ended, or nothing was said for too long.
///
/// # Errors
/// When a side fails, or time is up.
pub(crate) async fn pipe<C>(
    mut client: C,
    mut backend: Stream,
    idle: Duration,
    moved: &mut Moved,
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Way::default();
    let mut down = Way::default();
    let mut watchdog = Watchdog::default();
    let mut progress = Instant::now();
    poll_fn(|cx| {
        let before = (up.moved, down.moved);
        let sent = up.poll(cx, &mut client, &mut backend)?;
        let received = down.poll(cx, &mut backend, &mut client)?;
        (moved.up, moved.down) = (up.moved, down.moved);
        if sent.is_ready() && received.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if before != (up.moved, down.moved) {
            progress = Instant::now();
        }
        ready!(watchdog.poll(cx, progress + idle));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    })
    .await
}

/// One direction of a tunnel. Its buffer exists only while it holds something.
#[derive(Default)]
struct Way {
    buffer: Vec<u8>,
    written: usize,
    moved: u64,
    ended: bool,
    done: bool,
}

impl Way {
    /// Moves what can be moved; ready when the end has been passed on.
    fn poll<R, W>(
        &mut self,
        cx: &mut std::task::Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        loop {
            while self.written < self.buffer.len() {
                let rest = &self.buffer[self.written..];
                let n = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += n;
                self.moved += n as u64;
            }
            ready!(Pin::new(&mut *to).poll_flush(cx))?;
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_fill(cx, from))?;
        }
    }

    fn poll_fill<R>(
        &mut self,
        cx: &mut std::task::Context<'_>,
        from: &mut R,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
    {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.written = 0;
        buffer.resize(BUFFER, 0);
        let mut read = ReadBuf::new(&mut buffer);
        // Pending drops the buffer: an idle tunnel holds none.
        ready!(Pin::new(from).poll_read(cx, &mut read))?;
        let n = read.filled().len();
        buffer.truncate(n);
        self.ended = n == 0;
        self.buffer = buffer;
        Poll::Ready(Ok(()))
    }
}

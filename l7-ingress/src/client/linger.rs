//! The end of a client's connection: what it still sends is read and dropped for a while.
//!
//! A socket that is closed while bytes lie unread in it, or that more bytes reach, is reset; the reset takes
//! along what the client has not read yet of its answer (RFC 9112 §9.6).

use std::io::ErrorKind;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::watchdog::Watchdog;

/// How long a client may go on sending what is dropped.
const LINGER: Duration = Duration::from_secs(10);
/// How long it may keep silent before it is taken to have no more.
const SILENCE: Duration = Duration::from_secs(2);
/// What is read at a time.
const PIECE: usize = 16 * 1024;

/// A connection whose sending half is closed.
#[derive(Debug)]
pub(crate) struct Linger {
    began: Instant,
    heard: Instant,
    watchdog: Watchdog,
}

impl Linger {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            heard: now,
            watchdog: Watchdog::default(),
        }
    }

    /// Ready when `tcp` may be closed: the client has closed it or has had its time. One that is not
    /// known to be `sending` is waited for only if something has come from it already.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        tcp: &TcpStream,
        sending: bool,
    ) -> Poll<()> {
        let mut dropped = [0; PIECE];
        loop {
            match tcp.try_read(&mut dropped) {
                Ok(0) => return Poll::Ready(()),
                Ok(_) => self.heard = Instant::now(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !sending && self.heard == self.began {
                        return Poll::Ready(());
                    }
                }
                Err(_) => return Poll::Ready(()),
            }
            let deadline = (self.began + LINGER).min(self.heard + SILENCE);
            if self.watchdog.poll(cx, deadline).is_ready() {
                return Poll::Ready(());
            }
            // Also lets others have their turn.
            if ready!(tcp.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
        }
    }
}

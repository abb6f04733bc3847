//! A response that is sent no faster than it may be.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use l7_ingress_core::filter::Pace;
use tokio::time::{Instant, Sleep, sleep_until};

/// What has been sent, and what waits for its turn.
#[derive(Debug)]
pub(super) struct Paced {
    pace: Pace,
    sent: u64,
    /// When the first byte was asked for.
    started: Option<Instant>,
    turn: Option<Pin<Box<Sleep>>>,
    rest: Bytes,
}

impl Paced {
    pub(super) fn new(pace: Pace) -> Box<Self> {
        Box::new(Self {
            pace,
            sent: 0,
            started: None,
            turn: None,
            rest: Bytes::new(),
        })
    }

    /// Whether something waits here.
    pub(super) fn holds(&self) -> bool {
        !self.rest.is_empty()
    }

    /// How much waits here.
    pub(super) fn held(&self) -> u64 {
        self.rest.len() as u64
    }

    /// Ready when the next piece may be sent.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(turn) = &mut self.turn {
            ready!(turn.as_mut().poll(cx));
            self.turn = None;
        }
        Poll::Ready(())
    }

    /// The piece of `data` that may be sent now.
    pub(super) fn piece(&mut self, mut data: Bytes) -> Frame<Bytes> {
        let second = usize::try_from(self.pace.rate).unwrap_or(usize::MAX).max(1);
        let free = self.pace.after.saturating_sub(self.sent);
        let most = second.saturating_add(usize::try_from(free).unwrap_or(usize::MAX));
        if data.len() > most {
            self.rest = data.split_off(most);
        }
        let now = Instant::now();
        let started = *self.started.get_or_insert(now);
        self.sent += data.len() as u64;
        let due = started + self.pace.due(self.sent);
        if due > now {
            self.turn = Some(Box::pin(sleep_until(due)));
        }
        Frame::data(data)
    }

    /// What waits here.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }
}

//! A client's connection as hyper's HTTP/2 server reads and writes it: with a budget for frames.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use l7_ingress_core::frame_budget::FrameBudget;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::client::Linger;
use crate::stream::Stream;

/// A connection that ends, with GOAWAY, when its client floods it.
#[derive(Debug)]
pub(crate) struct BudgetedIo {
    stream: Stream,
    budget: FrameBudget,
    /// Once the budget is exhausted: what is read instead of what the client sends.
    poison: Option<&'static [u8]>,
    /// Once the sending half is closed.
    linger: Option<Box<Linger>>,
}

impl BudgetedIo {
    /// Counts frames after `preface` bytes.
    pub(crate) fn new(stream: Stream, preface: usize) -> Self {
        Self {
            stream,
            budget: FrameBudget::new(preface, Instant::now().into_std()),
            poison: None,
            linger: None,
        }
    }

    /// Counts what was read from `start` on; keeps what follows the end of the budget.
    fn count(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        if self.budget.is_low() {
            self.budget.refill(Instant::now().into_std());
        }
        if let Err(end) = self.budget.scan(&buf.filled()[start..]) {
            tracing::debug!("a client floods its HTTP/2 connection, or pushes");
            buf.set_filled(start + end);
            self.poison = Some(self.budget.poison());
            // Nothing at all would look like the end of the stream.
            self.give_poison(buf);
        }
    }

    fn give_poison(&mut self, buf: &mut ReadBuf<'_>) {
        if let Some(poison) = &mut self.poison {
            let (now, later) = poison.split_at(poison.len().min(buf.remaining()));
            buf.put_slice(now);
            *poison = later;
        }
    }

    fn sent(&mut self, result: &io::Result<usize>) {
        if let Ok(bytes) = result {
            self.budget.moved(*bytes);
        }
    }
}

impl AsyncRead for BudgetedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.poison.is_some() {
            this.give_poison(buf);
            return Poll::Ready(Ok(()));
        }
        let start = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.count(buf, start);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BudgetedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = ready!(Pin::new(&mut this.stream).poll_write(cx, buf));
        this.sent(&result);
        Poll::Ready(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs));
        this.sent(&result);
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let linger = this
            .linger
            .get_or_insert_with(|| Box::new(Linger::new(Instant::now())));
        // It may have sent much before it sees GOAWAY.
        linger.poll(cx, this.stream.tcp(), true).map(Ok)
    }
}

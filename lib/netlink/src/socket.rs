//! A blocking netlink socket: batches whose answers are told apart, and lists that are complete.
//!
//! The kernel works requests off within `send`, so that every answer is there when it returns; the
//! receive timeout is a fuse only. What an overrun or a short buffer has lost is noticed: a list is read
//! again, a request of a batch has the answer [`Answer::Lost`].

mod answer;
mod datagrams;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod faults;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

pub use answer::Answer;
pub(crate) use answer::{acknowledgement, offset};
pub(crate) use datagrams::{Datagrams, grow_receive_buffer};
#[cfg(test)]
pub(crate) use fake::{Fake, Fate, done};

use crate::error::Error;
use crate::wire::{self, Frame, Frames, Message};
use answer::ending;

/// Answers that fit into the receive buffer with room to spare: one takes under 1 KiB of it.
const IN_FLIGHT: usize = 256;
/// The kernel sends at most 32 KiB in a datagram, unless one object is larger.
const DATAGRAM: usize = 64 << 10;
/// How often a list is asked for that changes while it is read.
const LIST_TRIES: usize = 16;

/// The family of netlink that a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes, rules, neighbours.
    Route,
    /// nftables and conntrack.
    Netfilter,
    /// What registers its own name, as IPVS does.
    Generic,
}

/// A netlink socket in the namespace of the thread that opened it.
///
/// `doing` names what is asked, with the object, for errors.
#[derive(Debug)]
pub struct Socket {
    datagrams: Box<dyn Datagrams>,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one in this thread's namespace.
    pub fn open(protocol: Protocol) -> Result<Self, Error> {
        let datagrams = datagrams::open(protocol).map_err(Error::Open)?;
        Ok(Self::over(Box::new(datagrams)))
    }

    pub(crate) fn over(datagrams: Box<dyn Datagrams>) -> Self {
        Self {
            datagrams,
            sequence: 0,
            buffer: Vec::with_capacity(DATAGRAM),
        }
    }

    /// Sends all messages, many at a time, and returns one answer for each.
    ///
    /// The kernel goes on after one that it refuses.
    pub fn batch(&mut self, messages: Vec<Message>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter();
        loop {
            let chunk: Vec<_> = messages.by_ref().take(IN_FLIGHT).collect();
            if chunk.is_empty() {
                return answers;
            }
            answers.extend(self.chunk(chunk));
        }
    }

    fn chunk(&mut self, messages: Vec<Message>) -> Vec<Answer> {
        let mut answers = vec![Answer::Lost; messages.len()];
        let first = self.reserve(messages.len());
        let sequences = (0..).map(|index| first.wrapping_add(index));
        let mut bytes = Vec::with_capacity(messages.len() * 128);
        for ((message, answer), sequence) in messages.into_iter().zip(&mut answers).zip(sequences) {
            match message.finish(sequence, wire::ACK) {
                Some(message) => bytes.extend(message),
                None => *answer = Answer::TooLarge,
            }
        }
        if let Err(error) = self
            .send(&bytes)
            .and_then(|()| self.hear(first, &mut answers))
        {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            let lost = answers.iter_mut().filter(|answer| **answer == Answer::Lost);
            lost.for_each(|answer| *answer = Answer::Failed(errno));
        }
        answers
    }

    /// Gathers the answers to what was sent; all are there by now, but for those that were dropped.
    fn hear(&mut self, first: u32, answers: &mut [Answer]) -> io::Result<()> {
        let mut open = answers.iter().filter(|a| **a == Answer::Lost).count();
        while open > 0 && self.receive_now()? != Received::Nothing {
            for frame in Frames(&self.buffer) {
                let index = usize::try_from(frame.sequence.wrapping_sub(first)).ok();
                let slot = index.and_then(|index| answers.get_mut(index));
                if let (Some(slot @ Answer::Lost), Some(answer)) = (slot, acknowledgement(&frame)) {
                    *slot = answer;
                    open -= 1;
                }
            }
        }
        Ok(())
    }

    /// Sends one request that is answered by at most one message, and hands that to `read`.
    pub fn query<T>(
        &mut self,
        message: Message,
        doing: &dyn Fn() -> Box<str>,
        read: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let mut found = None;
        let whole = self.exchange(message, wire::ACK, doing, &mut |frame| {
            found = read(frame);
            found.is_some()
        })?;
        match (found, whole) {
            (None, false) => Err(Error::Unanswered { doing: doing() }),
            (found, _) => Ok(found),
        }
    }

    /// Everything of a kind: `read` returns `None` for a message that it cannot make sense of.
    ///
    /// A list that changed while it was read is read again.
    pub fn list<T>(
        &mut self,
        message: &Message,
        doing: &dyn Fn() -> Box<str>,
        read: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        self.list_some(message, doing, |frame| read(frame).map(Some))
    }

    /// The same of what `read` takes: it returns `Some(None)` for what is not asked for.
    pub fn list_some<T>(
        &mut self,
        message: &Message,
        doing: &dyn Fn() -> Box<str>,
        read: impl Fn(&Frame<'_>) -> Option<Option<T>>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..LIST_TRIES {
            let mut found = Vec::new();
            let whole = self.exchange(message.clone(), wire::DUMP, doing, &mut |frame| {
                let item = read(frame);
                let readable = item.is_some();
                found.extend(item.flatten());
                readable
            })?;
            if whole {
                return Ok(found);
            }
        }
        Err(Error::Torn {
            doing: doing(),
            tries: LIST_TRIES,
        })
    }

    /// One request and all that it is answered with. Returns whether that was all, and consistent.
    fn exchange(
        &mut self,
        message: Message,
        flags: u16,
        doing: &dyn Fn() -> Box<str>,
        each: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> Result<bool, Error> {
        let sequence = self.reserve(1);
        let Some(bytes) = message.finish(sequence, flags) else {
            return Err(Error::TooLarge { doing: doing() });
        };
        let failed = |source| Error::Socket {
            doing: doing(),
            source,
        };
        self.send(&bytes).map_err(failed)?;
        let (mut whole, mut readable) = (true, true);
        loop {
            match self.receive(0) {
                Ok(()) => {}
                // The rest still comes, and has to be read before the next request.
                Err(error) if is_loss(&error) => {
                    whole = false;
                    continue;
                }
                Err(error) => return Err(failed(error)),
            }
            let mut frames = Frames(&self.buffer);
            for frame in frames.by_ref().filter(|frame| frame.sequence == sequence) {
                whole &= frame.flags & wire::INTERRUPTED == 0;
                match ending(&frame) {
                    Some(Answer::Refused(refusal)) if refusal.errno == Errno::INTR => {
                        return Ok(false);
                    }
                    Some(Answer::Done) if !readable => {
                        return Err(Error::Malformed { doing: doing() });
                    }
                    Some(answer) => return answer.into_result(doing).map(|()| whole),
                    None => readable &= each(&frame),
                }
            }
            // What is left is no message, and may have been objects.
            readable &= frames.0.is_empty();
        }
    }

    /// Takes so many sequence numbers, and returns the first.
    pub(crate) fn reserve(&mut self, count: usize) -> u32 {
        let first = self.sequence.wrapping_add(1);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// Sends these bytes; they must fit into the send buffer.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.datagrams.send(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }

    /// Reads one datagram of the kernel's into the buffer.
    pub(crate) fn receive(&mut self, flags: i32) -> io::Result<()> {
        loop {
            self.buffer.clear();
            let (length, sender) = match self.datagrams.receive(&mut self.buffer, flags) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if sender != KERNEL {
                continue;
            }
            if length > self.buffer.len() {
                // The next one of that length fits.
                self.buffer.clear();
                self.buffer.reserve(length);
                return Err(Errno::MSGSIZE.into());
            }
            return Ok(());
        }
    }

    /// Reads one datagram if there is one, and says so.
    pub(crate) fn receive_now(&mut self) -> io::Result<Received> {
        match self.receive(MSG_DONTWAIT) {
            Ok(()) => Ok(Received::Datagram),
            Err(error) if is_loss(&error) => {
                self.buffer.clear();
                Ok(Received::Loss)
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::AGAIN) => {
                self.buffer.clear();
                Ok(Received::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until there is something to read, or this is over.
    pub(crate) fn wait(&self, patience: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(patience).ok();
        match poll(&mut [PollFd::new(self, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What was received last.
    pub(crate) fn received(&self) -> Frames<'_> {
        Frames(&self.buffer)
    }

    /// Listens to a group.
    pub(crate) fn join(&mut self, group: u32) -> io::Result<()> {
        self.datagrams.join(group)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.datagrams.as_fd()
    }
}

/// What there was to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A datagram; it is in the buffer.
    Datagram,
    /// Datagrams that were dropped or cut; there may be more to read.
    Loss,
    /// Nothing.
    Nothing,
}

/// Whether something was lost, but not the socket.
fn is_loss(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOBUFS | Errno::MSGSIZE)
    )
}

const KERNEL: u32 = 0;
/// Do not wait.
const MSG_DONTWAIT: i32 = 0x40;

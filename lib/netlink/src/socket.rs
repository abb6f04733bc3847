//! A blocking netlink socket: batches whose answers are told apart, and lists that are complete.
//!
//! The kernel works requests off within `send`, so that every answer is there when it returns; the
//! receive timeout is a fuse only.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::error::{Error, Refusal};
use crate::wire::{self, Attributes, Frame, Frames, Message};

/// Answers that fit into the receive buffer with room to spare: one takes under 1 KiB of it.
const IN_FLIGHT: usize = 256;
const RECEIVE_BUFFER: usize = 2 << 20;
/// The kernel sends at most 32 KiB in a datagram.
const DATAGRAM: usize = 64 << 10;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often a list is asked for that changes while it is read.
const LIST_TRIES: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;

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
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What became of one request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// Refused; the others are not affected.
    Refused(Refusal),
    /// Nothing was heard.
    Lost,
    /// It cannot be sent.
    TooLarge,
}

impl Answer {
    /// The answer as a result; `doing` names what was asked.
    pub fn into_result(self, doing: impl FnOnce() -> Box<str>) -> Result<(), Error> {
        match self {
            Self::Done => Ok(()),
            Self::Refused(refusal) => Err(Error::Refused {
                doing: doing(),
                refusal,
            }),
            Self::Lost => Err(Error::Unanswered { doing: doing() }),
            Self::TooLarge => Err(Error::TooLarge { doing: doing() }),
        }
    }
}

impl Socket {
    /// Opens one in this thread's namespace.
    pub fn open(protocol: Protocol) -> Result<Self, Error> {
        let number = match protocol {
            Protocol::Route => NETLINK_ROUTE,
            Protocol::Netfilter => NETLINK_NETFILTER,
            Protocol::Generic => NETLINK_GENERIC,
        };
        let open = || {
            let mut inner = netlink_sys::Socket::new(number)?;
            inner.bind_auto()?;
            // Answers repeat the header of a request, not the request; refusals bring words.
            inner.set_cap_ack(true)?;
            inner.set_ext_ack(true)?;
            if protocol == Protocol::Route {
                inner.set_netlink_get_strict_chk(true)?;
            }
            grow_receive_buffer(inner.as_fd(), RECEIVE_BUFFER)?;
            sockopt::set_socket_timeout(&inner, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
            Ok(inner)
        };
        Ok(Self {
            inner: open().map_err(Error::Open)?,
            sequence: 0,
            buffer: Vec::with_capacity(DATAGRAM),
        })
    }

    /// Sends all messages, many at a time, and returns one answer for each.
    ///
    /// The kernel goes on after one that it refuses.
    pub fn batch(&mut self, messages: Vec<Message>) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter();
        loop {
            let chunk: Vec<_> = messages.by_ref().take(IN_FLIGHT).collect();
            if chunk.is_empty() {
                return Ok(answers);
            }
            answers.extend(self.chunk(chunk)?);
        }
    }

    fn chunk(&mut self, messages: Vec<Message>) -> io::Result<Vec<Answer>> {
        let mut answers = vec![Answer::Lost; messages.len()];
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(messages.len() * 128);
        for (message, answer) in messages.into_iter().zip(&mut answers) {
            self.sequence = self.sequence.wrapping_add(1);
            match message.finish(self.sequence, wire::ACK) {
                Some(message) => bytes.extend(message),
                None => *answer = Answer::TooLarge,
            }
        }
        let mut open = answers.iter().filter(|a| **a == Answer::Lost).count();
        self.send(&bytes)?;
        while open > 0 {
            // All answers are there by now, but for those that an overrun has dropped.
            if let Err(error) = self.receive(MSG_DONTWAIT) {
                match Errno::from_io_error(&error) {
                    Some(Errno::NOBUFS) => continue,
                    Some(Errno::AGAIN) => break,
                    _ => return Err(error),
                }
            }
            for frame in Frames(&self.buffer) {
                let index = usize::try_from(frame.sequence.wrapping_sub(first)).ok();
                let slot = index.and_then(|index| answers.get_mut(index));
                if let (Some(slot @ Answer::Lost), Some(answer)) = (slot, acknowledgement(&frame)) {
                    *slot = answer;
                    open -= 1;
                }
            }
        }
        Ok(answers)
    }

    /// Sends one request that is answered by at most one message, and hands that to `read`.
    pub(crate) fn query<T>(
        &mut self,
        message: Message,
        doing: &dyn Fn() -> Box<str>,
        read: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let mut found = None;
        self.exchange(message, wire::ACK, doing, &mut |frame| {
            found = read(frame);
            found.is_some()
        })?;
        Ok(found)
    }

    /// Everything of a kind: `read` returns `None` for a message that it cannot make sense of.
    ///
    /// A list that changed while it was read is read again.
    pub(crate) fn list<T>(
        &mut self,
        message: &Message,
        doing: &dyn Fn() -> Box<str>,
        read: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        self.list_some(message, doing, |frame| read(frame).map(Some))
    }

    /// The same of what `read` takes: it returns `Some(None)` for what is not asked for.
    pub(crate) fn list_some<T>(
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
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
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
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                    whole = false;
                    continue;
                }
                Err(error) => return Err(failed(error)),
            }
            for frame in Frames(&self.buffer).filter(|frame| frame.sequence == sequence) {
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
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.inner.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads one datagram of the kernel's into the buffer.
    pub(crate) fn receive(&mut self, flags: i32) -> io::Result<()> {
        loop {
            self.buffer.clear();
            // The buffer has its room already: `BufMut` for `Vec` would offer no more than that.
            let (length, sender) = match self.inner.recv_from(&mut self.buffer, flags | MSG_TRUNC) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if sender.port_number() != KERNEL {
                continue;
            }
            if length > self.buffer.len() {
                return Err(Errno::MSGSIZE.into());
            }
            return Ok(());
        }
    }

    /// What was received last.
    pub(crate) fn received(&self) -> Frames<'_> {
        Frames(&self.buffer)
    }

    pub(crate) fn inner(&self) -> &netlink_sys::Socket {
        &self.inner
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// Beyond `rmem_max` where we may, else as far as it goes.
pub(crate) fn grow_receive_buffer(socket: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    sockopt::set_socket_recv_buffer_size_force(socket, size)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, size))
        .map_err(Into::into)
}

/// The end of an exchange, if this is one.
fn ending(frame: &Frame<'_>) -> Option<Answer> {
    match frame.kind {
        // It carries an error number as NLMSG_ERROR does, but repeats no header.
        NLMSG_DONE => Some(answer(frame.body, Attributes::after(frame.body, 4))),
        _ => acknowledgement(frame),
    }
}

/// What an acknowledgement says, if this is one.
pub(crate) fn acknowledgement(frame: &Frame<'_>) -> Option<Answer> {
    if frame.kind != NLMSG_ERROR {
        return None;
    }
    Some(answer(frame.body, remarks(frame)))
}

/// Where in the request lies what is amiss, if an acknowledgement says that.
pub(crate) fn offset(frame: &Frame<'_>) -> Option<u32> {
    remarks(frame)
        .get(NLMSGERR_ATTR_OFFS)
        .and_then(wire::read_u32)
}

/// What an acknowledgement says in attributes.
fn remarks<'a>(frame: &Frame<'a>) -> Attributes<'a> {
    if frame.flags & wire::ACK_ATTRIBUTES == 0 {
        return Attributes::default();
    }
    let repeated = match frame.flags & wire::CAPPED {
        0 => frame.body.get(4..).and_then(wire::read_u32).unwrap_or(0),
        _ => 16,
    };
    Attributes::after(frame.body, 4 + usize::try_from(repeated).unwrap_or(0))
}

fn answer(body: &[u8], attributes: Attributes<'_>) -> Answer {
    let number = wire::read_u32(body).unwrap_or(0).cast_signed();
    if number == 0 {
        return Answer::Done;
    }
    Answer::Refused(Refusal {
        errno: Errno::from_raw_os_error(number.wrapping_neg()),
        hint: attributes
            .get(NLMSGERR_ATTR_MSG)
            .map(|text| wire::read_text(text).into_boxed_str()),
    })
}

const KERNEL: u32 = 0;
/// Say how long it was, even if it was cut.
const MSG_TRUNC: i32 = 0x20;
/// Do not wait.
pub(crate) const MSG_DONTWAIT: i32 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<'a>(kind: u16, flags: u16, body: &'a [u8]) -> Frame<'a> {
        Frame {
            kind,
            flags,
            sequence: 1,
            body,
        }
    }

    #[test]
    fn an_acknowledgement_says_done_or_why_not() {
        let done = [[0; 4], 16_u32.to_ne_bytes(), [0; 4], [0; 4], [0; 4]].concat();
        assert_eq!(
            acknowledgement(&frame(NLMSG_ERROR, wire::CAPPED, &done)),
            Some(Answer::Done)
        );
        let mut refused = (-17_i32).to_ne_bytes().to_vec();
        refused.extend([0; 16]);
        refused.extend([8, 0, 1, 0]);
        refused.extend(b"why\0");
        let flags = wire::CAPPED | wire::ACK_ATTRIBUTES;
        let want = Answer::Refused(Refusal {
            errno: Errno::EXIST,
            hint: Some("why".into()),
        });
        assert_eq!(
            acknowledgement(&frame(NLMSG_ERROR, flags, &refused)),
            Some(want)
        );
        assert_eq!(acknowledgement(&frame(16, 0, &done)), None);
    }

    #[test]
    fn a_list_ends_with_its_error() {
        assert_eq!(ending(&frame(NLMSG_DONE, 0, &[0; 4])), Some(Answer::Done));
        let refused = (-95_i32).to_ne_bytes();
        assert!(matches!(
            ending(&frame(NLMSG_DONE, 0, &refused)),
            Some(Answer::Refused(refusal)) if refusal.errno == Errno::OPNOTSUPP
        ));
    }
}

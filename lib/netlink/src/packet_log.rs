//! Packets that rules of nftables log to a group (`Rule::log`), as the kernel copies them out.
//!
//! The queue is the socket's receive buffer. When more is logged than fits, the kernel drops copies and
//! says so once: the reader sees [`Logged::Overrun`]. Nothing waits for a reader.

mod header;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::conntrack::Tuple;
use crate::error::Error;
use crate::names::LinkIndex;
use crate::namespace::Namespace;
use crate::socket::{Protocol, Received, Socket, grow_receive_buffer};
use crate::wire::{self, Attributes, Frame, Message};

/// `NFNL_SUBSYS_ULOG`.
const SUBSYSTEM: u16 = 4 << 8;
const NFULNL_MSG_PACKET: u16 = SUBSYSTEM;
const NFULNL_MSG_CONFIG: u16 = SUBSYSTEM | 1;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_NLBUFSIZ: u16 = 3;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
const NFULA_MARK: u16 = 2;
const NFULA_IFINDEX_INDEV: u16 = 4;
const NFULA_IFINDEX_OUTDEV: u16 = 5;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_PREFIX: u16 = 10;
/// `struct nfgenmsg`.
const FIXED: usize = 4;

/// How much of each packet is copied: the headers of IPv6 with extensions, and ports.
const SNAP: u32 = 128;
/// How many bytes of copies the kernel gathers before it hands them over, or how long, in 1/100 s.
const GATHERED_BYTES: u32 = 32 << 10;
const GATHERED_WITHIN: u32 = 10;

/// A packet that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What the rule has headed it with.
    pub prefix: Box<str>,
    /// The link that it came in by.
    pub incoming: Option<LinkIndex>,
    /// The link that it was to leave by.
    pub outgoing: Option<LinkIndex>,
    /// Its mark.
    pub mark: u32,
    /// Its beginning, from the IP header on.
    pub head: Box<[u8]>,
}

impl Packet {
    fn read(frame: &Frame<'_>) -> Option<Self> {
        if frame.kind != NFULNL_MSG_PACKET {
            return None;
        }
        let attributes = Attributes::after(frame.body, FIXED);
        let number = |kind| attributes.get(kind).and_then(wire::read_be32);
        let prefix = attributes.get(NFULA_PREFIX).map(wire::read_text);
        Some(Self {
            prefix: prefix.unwrap_or_default().into_boxed_str(),
            incoming: number(NFULA_IFINDEX_INDEV).map(LinkIndex),
            outgoing: number(NFULA_IFINDEX_OUTDEV).map(LinkIndex),
            mark: number(NFULA_MARK).unwrap_or(0),
            head: attributes.get(NFULA_PAYLOAD).unwrap_or_default().into(),
        })
    }

    /// From whom to whom it was, if its headers can be read.
    pub fn tuple(&self) -> Option<Tuple> {
        header::tuple(&self.head)
    }
}

/// What was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    /// A packet.
    Packet(Packet),
    /// Packets that nobody will hear of.
    Overrun,
}

/// The listener of a group in one namespace; a group has one. `AsFd` says when there is something to
/// read.
#[derive(Debug)]
pub struct PacketLog {
    socket: Socket,
    ready: VecDeque<Packet>,
}

impl PacketLog {
    /// Listens in this thread's namespace. `buffer` is the length of the queue in bytes.
    pub fn open(group: u16, buffer: usize) -> Result<Self, Error> {
        let mut socket = Socket::open(Protocol::Netfilter)?;
        grow_receive_buffer(socket.as_fd(), buffer).map_err(Error::Open)?;
        let answers = socket.batch(vec![bind(group), configure(group)]);
        let doing = || format!("listening to log group {group}").into();
        for answer in answers {
            answer.into_result(doing)?;
        }
        let ready = VecDeque::new();
        Ok(Self { socket, ready })
    }

    /// Listens in another namespace.
    pub fn open_in(namespace: &Namespace, group: u16, buffer: usize) -> Result<Self, Error> {
        namespace.enter(|| Self::open(group, buffer))?
    }

    /// The next packet, if one is there already.
    pub fn try_next(&mut self) -> Result<Option<Logged>, Error> {
        while self.ready.is_empty() {
            match self.socket.receive_now().map_err(failed)? {
                Received::Datagram => {
                    let packets = self.socket.received();
                    self.ready.extend(packets.filter_map(|f| Packet::read(&f)));
                }
                Received::Loss => return Ok(Some(Logged::Overrun)),
                Received::Nothing => return Ok(None),
            }
        }
        Ok(self.ready.pop_front().map(Logged::Packet))
    }

    /// The next packet, waited for no longer than this.
    pub fn next_within(&mut self, patience: Duration) -> Result<Option<Logged>, Error> {
        if let Some(logged) = self.try_next()? {
            return Ok(Some(logged));
        }
        self.socket.wait(patience).map_err(failed)?;
        self.try_next()
    }
}

impl AsFd for PacketLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn failed(source: io::Error) -> Error {
    Error::Socket {
        doing: "listening for logged packets".into(),
        source,
    }
}

fn request(group: u16) -> Message {
    let mut message = Message::new(NFULNL_MSG_CONFIG, 0);
    let [high, low] = group.to_be_bytes();
    message.fixed(&[0, 0, high, low]);
    message
}

fn bind(group: u16) -> Message {
    let mut message = request(group);
    message.u8(NFULA_CFG_CMD, NFULNL_CFG_CMD_BIND);
    message
}

fn configure(group: u16) -> Message {
    let mut message = request(group);
    let [a, b, c, d] = SNAP.to_be_bytes();
    message.bytes(NFULA_CFG_MODE, &[a, b, c, d, NFULNL_COPY_PACKET, 0]);
    message.be32(NFULA_CFG_NLBUFSIZ, GATHERED_BYTES);
    message.be32(NFULA_CFG_TIMEOUT, GATHERED_WITHIN);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{Fake, Fate};

    fn told(number: u8) -> (Packet, Vec<u8>) {
        let mut message = Message::new(NFULNL_MSG_PACKET, 0);
        message.fixed(&[2, 0, 0, 4]);
        message.text(NFULA_PREFIX, "drop");
        message.be32(NFULA_IFINDEX_INDEV, number.into());
        message.bytes(NFULA_PAYLOAD, &[0x45, number]);
        let packet = Packet {
            prefix: "drop".into(),
            incoming: Some(LinkIndex(number.into())),
            outgoing: None,
            mark: 0,
            head: [0x45, number].into(),
        };
        (packet, message.finish(0, 0).unwrap())
    }

    #[test]
    fn what_was_missed_is_said_and_the_rest_comes() {
        let mut fake = Fake::new(0);
        // The kernel closes what it has gathered like a list.
        let gathered = [told(1).1, told(2).1, crate::socket::done()].concat();
        fake.tell(gathered, Fate::Comes);
        fake.tell(told(3).1, Fate::Dropped);
        fake.tell(told(4).1, Fate::Comes);
        let mut log = PacketLog {
            socket: Socket::over(Box::new(fake)),
            ready: VecDeque::new(),
        };
        let packet = |number| Some(Logged::Packet(told(number).0));
        let mut next = || log.try_next().unwrap();
        assert_eq!([next(), next()], [packet(1), packet(2)]);
        assert_eq!(next(), Some(Logged::Overrun));
        assert_eq!([next(), next()], [packet(4), None]);
    }
}

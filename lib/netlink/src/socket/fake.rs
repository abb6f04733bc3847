//! A kernel that answers requests and loses, cuts and refuses as it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;

use rustix::io::Errno;

use super::Datagrams;
use super::answer::{NLMSG_DONE, NLMSG_ERROR};
use crate::wire::{self, Frames};

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It comes.
    Comes,
    /// The queue is full (`ENOBUFS`).
    Dropped,
    /// The reader's buffer is shorter.
    Cut,
    /// What it lists has changed (`NLM_F_DUMP_INTR`).
    Interrupted,
    /// An answer to an earlier request comes before it.
    Late,
    /// Another process's comes before it.
    Foreign,
    /// A signal comes before it.
    Signal,
    /// It ends with what is no message.
    Broken,
}

/// The kernel's side of a socket.
#[derive(Debug)]
pub(crate) struct Fake {
    /// How many objects there are to list; the body of each is its number.
    pub(crate) objects: u32,
    /// What becomes of the datagrams of each list in turn; all come of what is not said.
    pub(crate) lists: VecDeque<Vec<Fate>>,
    /// The error that a list ends with, of each in turn.
    pub(crate) endings: VecDeque<Errno>,
    /// Requests that are refused, by sequence number.
    pub(crate) refused: BTreeMap<u32, Errno>,
    /// Requests whose answers are dropped.
    pub(crate) unheard: Vec<u32>,
    /// What sending fails with, of each in turn.
    pub(crate) unsent: VecDeque<Option<Errno>>,
    queue: VecDeque<Item>,
    /// Stands in where options are set.
    socket: UnixDatagram,
}

#[derive(Debug)]
enum Item {
    Datagram(Vec<u8>, u32),
    Cut(Vec<u8>),
    Fault(Errno),
}

impl Fake {
    pub(crate) fn new(objects: u32) -> Self {
        Self {
            objects,
            lists: VecDeque::new(),
            endings: VecDeque::new(),
            refused: BTreeMap::new(),
            unheard: Vec::new(),
            unsent: VecDeque::new(),
            queue: VecDeque::new(),
            socket: UnixDatagram::unbound().unwrap(),
        }
    }

    /// Something that the kernel tells unasked.
    pub(crate) fn tell(&mut self, bytes: Vec<u8>, fate: Fate) {
        match fate {
            Fate::Dropped => self.queue.push_back(Item::Fault(Errno::NOBUFS)),
            Fate::Cut => self.queue.push_back(Item::Cut(bytes)),
            fate => {
                let late = message(16, 0, u32::MAX, &u32::MAX.to_ne_bytes());
                match fate {
                    Fate::Late => self.queue.push_back(Item::Datagram(late, 0)),
                    Fate::Foreign => self.queue.push_back(Item::Datagram(bytes.clone(), 77)),
                    Fate::Signal => self.queue.push_back(Item::Fault(Errno::INTR)),
                    _ => {}
                }
                self.queue.push_back(Item::Datagram(bytes, 0));
            }
        }
    }

    fn list(&mut self, sequence: u32) {
        let mut fates = self.lists.pop_front().unwrap_or_default().into_iter();
        let numbers: Vec<_> = (0..self.objects).collect();
        for numbers in numbers.chunks(PER_DATAGRAM) {
            let fate = fates.next().unwrap_or(Fate::Comes);
            let flags = match fate {
                Fate::Interrupted => wire::INTERRUPTED,
                _ => 0,
            };
            let objects = numbers
                .iter()
                .flat_map(|number| message(16, flags, sequence, &number.to_ne_bytes()));
            let mut bytes: Vec<u8> = objects.collect();
            if fate == Fate::Broken {
                bytes.extend([3; 7]);
            }
            self.tell(bytes, fate);
        }
        let ending = self.endings.pop_front().map_or(0, Errno::raw_os_error);
        let done = message(
            NLMSG_DONE,
            0,
            sequence,
            &ending.wrapping_neg().to_ne_bytes(),
        );
        self.queue.push_back(Item::Datagram(done, 0));
    }

    fn answer(&mut self, sequence: u32) {
        if self.unheard.contains(&sequence) {
            self.queue.push_back(Item::Fault(Errno::NOBUFS));
            return;
        }
        let errno = self.refused.get(&sequence).copied();
        let number = errno.map_or(0, Errno::raw_os_error).wrapping_neg();
        let mut body = number.to_ne_bytes().to_vec();
        body.extend([0; 16]);
        let bytes = message(NLMSG_ERROR, wire::CAPPED, sequence, &body);
        self.queue.push_back(Item::Datagram(bytes, 0));
    }
}

/// Objects in a datagram of a list.
pub(crate) const PER_DATAGRAM: usize = 3;

/// A message as the kernel sends it.
pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// The end of what was gathered.
pub(crate) fn done() -> Vec<u8> {
    message(NLMSG_DONE, 0, 0, &[])
}

impl Datagrams for Fake {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(errno) = self.unsent.pop_front().flatten() {
            return Err(errno.into());
        }
        for frame in Frames(bytes) {
            match frame.flags & wire::DUMP {
                wire::DUMP => self.list(frame.sequence),
                _ if self.refused.contains_key(&frame.sequence) => self.answer(frame.sequence),
                _ if frame.flags & wire::ACK != 0 => self.answer(frame.sequence),
                _ => {}
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>, _flags: i32) -> io::Result<(usize, u32)> {
        match self.queue.pop_front() {
            Some(Item::Datagram(bytes, sender)) => {
                buffer.extend(&bytes);
                Ok((bytes.len(), sender))
            }
            Some(Item::Cut(bytes)) => {
                buffer.extend(&bytes[..bytes.len() / 2]);
                Ok((bytes.len(), 0))
            }
            Some(Item::Fault(errno)) => Err(errno.into()),
            None => Err(Errno::AGAIN.into()),
        }
    }

    fn join(&mut self, _group: u32) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Fake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

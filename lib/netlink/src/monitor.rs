//! Changes as the kernel tells of them.
//!
//! The queue is the socket's receive buffer. When the kernel has more to tell than fits, it drops
//! messages and says so once: the reader sees [`Event::Overrun`] and lists everything anew.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::address::{Address, RTM_DELADDR, RTM_NEWADDR};
use crate::error::Error;
use crate::link::{Link, RTM_DELLINK, RTM_NEWLINK};
use crate::namespace::Namespace;
use crate::neighbour::{AF_BRIDGE, ForwardingEntry, Neighbour, RTM_DELNEIGH, RTM_NEWNEIGH};
use crate::route::{RTM_DELROUTE, RTM_NEWROUTE, Route};
use crate::socket::{Protocol, Received, Socket, grow_receive_buffer};
use crate::wire::Frame;

/// What is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Links.
    Links,
    /// Addresses, IPv4 and IPv6.
    Addresses,
    /// Routes, IPv4 and IPv6.
    Routes,
    /// Neighbours and forwarding databases.
    Neighbours,
}

impl Topic {
    /// `RTNLGRP_*`.
    fn groups(self) -> &'static [u32] {
        match self {
            Self::Links => &[1],
            Self::Addresses => &[5, 9],
            Self::Routes => &[7, 11],
            Self::Neighbours => &[3],
        }
    }
}

/// Something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is new or changed.
    Link(Box<Link>),
    /// A link is gone.
    LinkGone(Box<Link>),
    /// An address is new or changed.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route is new or changed.
    Route(Box<Route>),
    /// A route is gone.
    RouteGone(Box<Route>),
    /// A neighbour is new or changed.
    Neighbour(Neighbour),
    /// A neighbour is gone.
    NeighbourGone(Neighbour),
    /// An entry of a forwarding database is new or changed.
    Forwarding(ForwardingEntry),
    /// An entry of a forwarding database is gone.
    ForwardingGone(ForwardingEntry),
    /// Changes were missed: what is known has to be listed anew.
    Overrun,
}

/// A stream of changes in one namespace. `AsFd` says when there is something to read.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    ready: std::collections::VecDeque<Event>,
}

impl Monitor {
    /// Tells of this thread's namespace. `buffer` is the length of the queue in bytes.
    pub fn open(topics: &[Topic], buffer: usize) -> Result<Self, Error> {
        let mut socket = Socket::open(Protocol::Route)?;
        grow_receive_buffer(socket.as_fd(), buffer).map_err(Error::Open)?;
        for group in topics.iter().flat_map(|topic| topic.groups()) {
            socket.join(*group).map_err(Error::Open)?;
        }
        let ready = std::collections::VecDeque::new();
        Ok(Self { socket, ready })
    }

    /// Tells of another namespace.
    pub fn open_in(namespace: &Namespace, topics: &[Topic], buffer: usize) -> Result<Self, Error> {
        namespace.enter(|| Self::open(topics, buffer))?
    }

    /// The next change, if one is there already.
    pub fn try_next(&mut self) -> Result<Option<Event>, Error> {
        while self.ready.is_empty() {
            match self.socket.receive_now().map_err(failed)? {
                Received::Datagram => self
                    .ready
                    .extend(self.socket.received().filter_map(|f| read(&f))),
                Received::Loss => return Ok(Some(Event::Overrun)),
                Received::Nothing => return Ok(None),
            }
        }
        Ok(self.ready.pop_front())
    }

    /// The next change, waited for no longer than this.
    pub fn next_within(&mut self, patience: Duration) -> Result<Option<Event>, Error> {
        if let Some(event) = self.try_next()? {
            return Ok(Some(event));
        }
        self.socket.wait(patience).map_err(failed)?;
        self.try_next()
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn failed(source: io::Error) -> Error {
    Error::Socket {
        doing: "listening for changes".into(),
        source,
    }
}

fn read(frame: &Frame<'_>) -> Option<Event> {
    let of_bridge = frame.body.first() == Some(&AF_BRIDGE);
    Some(match frame.kind {
        RTM_NEWLINK | RTM_DELLINK if Link::is_of_a_bridge(frame) => return None,
        RTM_NEWLINK => Event::Link(Box::new(Link::read(frame)?)),
        RTM_DELLINK => Event::LinkGone(Box::new(Link::read(frame)?)),
        RTM_NEWADDR => Event::Address(Address::read(frame)?),
        RTM_DELADDR => Event::AddressGone(Address::read(frame)?),
        RTM_NEWROUTE => Event::Route(Box::new(Route::read(frame)?)),
        RTM_DELROUTE => Event::RouteGone(Box::new(Route::read(frame)?)),
        RTM_NEWNEIGH if of_bridge => Event::Forwarding(ForwardingEntry::read(frame)?),
        RTM_DELNEIGH if of_bridge => Event::ForwardingGone(ForwardingEntry::read(frame)?),
        RTM_NEWNEIGH => Event::Neighbour(Neighbour::read(frame)?),
        RTM_DELNEIGH => Event::NeighbourGone(Neighbour::read(frame)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{Fake, Fate};

    #[test]
    fn what_was_missed_is_said_and_the_stream_goes_on() {
        let told = |prefix: u8| {
            let neighbour = Neighbour::permanent(
                crate::LinkIndex(7),
                [10, 1, 0, prefix].into(),
                crate::Mac([2; 6]),
            );
            let message = neighbour.encode(crate::Verb::Add);
            (neighbour, message.finish(0, 0).unwrap())
        };
        let mut fake = Fake::new(0);
        for (number, fate) in [
            (1, Fate::Comes),
            (2, Fate::Dropped),
            (3, Fate::Foreign),
            (4, Fate::Cut),
            (5, Fate::Signal),
        ] {
            fake.tell(told(number).1, fate);
        }
        let mut monitor = Monitor {
            socket: Socket::over(Box::new(fake)),
            ready: std::collections::VecDeque::new(),
        };
        let mut next = || monitor.try_next().unwrap();
        let event = |number| Some(Event::Neighbour(told(number).0));
        assert_eq!(next(), event(1));
        assert_eq!(next(), Some(Event::Overrun));
        assert_eq!(next(), event(3));
        assert_eq!(next(), Some(Event::Overrun));
        assert_eq!(next(), event(5));
        assert_eq!(next(), None);
    }
}

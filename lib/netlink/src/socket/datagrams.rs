//! Where a socket's datagrams go to and come from: a kernel, or in tests one that fails.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};
use rustix::net::sockopt;

use super::Protocol;

const RECEIVE_BUFFER: usize = 2 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A netlink socket at the layer of datagrams, which is where things go wrong.
pub(crate) trait Datagrams: fmt::Debug + Send + Sync + AsFd {
    /// Sends one, of any number of messages.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Puts as much of one as fits into the room of an empty buffer; says how long it is and whose.
    fn receive(&mut self, buffer: &mut Vec<u8>, flags: i32) -> io::Result<(usize, u32)>;

    /// Listens to a group.
    fn join(&mut self, group: u32) -> io::Result<()>;
}

/// This thread's namespace's.
pub(super) fn open(protocol: Protocol) -> io::Result<impl Datagrams> {
    let number = match protocol {
        Protocol::Route => NETLINK_ROUTE,
        Protocol::Netfilter => NETLINK_NETFILTER,
        Protocol::Generic => NETLINK_GENERIC,
    };
    let mut socket = netlink_sys::Socket::new(number)?;
    socket.bind_auto()?;
    // Answers repeat the header of a request, not the request; refusals bring words.
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    if protocol == Protocol::Route {
        socket.set_netlink_get_strict_chk(true)?;
    }
    grow_receive_buffer(socket.as_fd(), RECEIVE_BUFFER)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
    Ok(socket)
}

/// Beyond `rmem_max` where we may, else as far as it goes.
pub(crate) fn grow_receive_buffer(socket: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    sockopt::set_socket_recv_buffer_size_force(socket, size)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, size))
        .map_err(Into::into)
}

impl Datagrams for netlink_sys::Socket {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        Self::send(self, bytes, 0).map(drop)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>, flags: i32) -> io::Result<(usize, u32)> {
        // `BufMut` for `Vec` offers the room that is there already, no more.
        let (length, sender) = self.recv_from(buffer, flags | MSG_TRUNC)?;
        Ok((length, sender.port_number()))
    }

    fn join(&mut self, group: u32) -> io::Result<()> {
        self.add_membership(group)
    }
}

/// Say how long it was, even if it was cut.
const MSG_TRUNC: i32 = 0x20;

//! A UDP socket that knows which of the machine's addresses a datagram was sent to, so that it is answered from there:
//! a node has many addresses, and the kernel would choose by the way back.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Room for what the kernel says of a datagram.
const CONTROL: usize = 128;

/// The socket.
#[derive(Debug)]
pub(super) struct Datagrams(UdpSocket);

/// Who sent a datagram, and to which address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub(super) client: SocketAddr,
    local: Option<IpAddr>,
}

impl Datagrams {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        match socket.local_addr()? {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        UdpSocket::from_std(socket).map(Self)
    }

    /// Waits for a datagram.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
        self.0
            .async_io(Interest::READABLE, || receive(self.0.as_raw_fd(), buffer))
            .await
    }

    /// Sends a datagram back from where the client's was sent to.
    pub(super) fn try_send(&self, datagram: &[u8], ends: Ends) -> io::Result<()> {
        self.0.try_io(Interest::WRITABLE, || {
            let (fd, parts) = (self.0.as_raw_fd(), [IoSlice::new(datagram)]);
            let to = SockaddrStorage::from(ends.client);
            let (v4, v6);
            let from = match ends.local {
                Some(IpAddr::V4(local)) => {
                    v4 = packet_v4(local);
                    Some(ControlMessage::Ipv4PacketInfo(&v4))
                }
                Some(IpAddr::V6(local)) => {
                    v6 = packet_v6(local);
                    Some(ControlMessage::Ipv6PacketInfo(&v6))
                }
                None => None,
            };
            sendmsg(fd, &parts, from.as_slice(), MsgFlags::empty(), Some(&to))?;
            Ok(())
        })
    }
}

fn receive(fd: i32, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = [0; CONTROL];
    let message =
        recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::empty())?;
    let mut local = None;
    for said in message.cmsgs()? {
        match said {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                local = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
    let client = message.address.as_ref().and_then(address);
    let client = client.ok_or(io::ErrorKind::InvalidData)?;
    Ok((message.bytes, Ends { client, local }))
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4));
    let v6 = || storage.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6));
    v4.map(SocketAddr::V4).or_else(|| v6().map(SocketAddr::V6))
}

fn packet_v4(local: Ipv4Addr) -> in_pktinfo {
    in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: in_addr {
            s_addr: u32::from_ne_bytes(local.octets()),
        },
        ipi_addr: in_addr { s_addr: 0 },
    }
}

fn packet_v6(local: Ipv6Addr) -> in6_pktinfo {
    in6_pktinfo {
        ipi6_addr: in6_addr {
            s6_addr: local.octets(),
        },
        ipi6_ifindex: 0,
    }
}

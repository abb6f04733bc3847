//! Addresses of links.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::change::{Naming, Verb};
use crate::names::LinkIndex;
use crate::route::Scope;
use crate::wire::{self, Attributes, Frame, Message};

pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;

const IFA_F_NODAD: u32 = 0x2;
const IFA_F_DADFAILED: u32 = 0x8;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
/// `struct ifaddrmsg`.
const FIXED: usize = 8;

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Whose.
    pub dev: LinkIndex,
    /// The address, with the prefix that is on the link.
    pub net: IpNet,
    /// The other end's, on a link that has only one.
    pub peer: Option<IpAddr>,
    /// For whom it is good.
    pub scope: Scope,
    /// IPv6: used at once, nobody is asked whether it is taken.
    pub no_dad: bool,
    /// No route to its prefix is made.
    pub no_prefix_route: bool,
    /// Listed only: not yet usable, or found to be taken.
    pub tentative: bool,
}

impl Address {
    /// An address with the kernel's settings, but for duplicate detection, which there is none of.
    pub fn new(dev: LinkIndex, net: IpNet) -> Self {
        Self {
            dev,
            net,
            peer: None,
            scope: Scope::Universe,
            no_dad: net.addr().is_ipv6(),
            no_prefix_route: false,
            tentative: false,
        }
    }

    pub(crate) fn encode(&self, verb: Verb) -> Message {
        let mut message = verb.message(RTM_NEWADDR, RTM_DELADDR);
        let mut fixed = [0; FIXED];
        fixed[0] = family_of(self.net.addr());
        fixed[1] = self.net.prefix_len();
        fixed[3] = self.scope.number();
        fixed[4..].copy_from_slice(&self.dev.to_bytes());
        message.fixed(&fixed);
        message.address(IFA_LOCAL, self.net.addr());
        message.address(IFA_ADDRESS, self.peer.unwrap_or_else(|| self.net.addr()));
        if let (IpNet::V4(net), None) = (self.net, self.peer)
            && net.prefix_len() < 31
        {
            message.address(IFA_BROADCAST, net.broadcast().into());
        }
        let mut flags = 0;
        if self.no_dad {
            flags |= IFA_F_NODAD;
        }
        if self.no_prefix_route {
            flags |= IFA_F_NOPREFIXROUTE;
        }
        message.u32(IFA_FLAGS, flags);
        message
    }

    pub(crate) fn read(frame: &Frame<'_>) -> Option<Self> {
        let fixed = frame.body.first_chunk::<FIXED>()?;
        let attributes = Attributes::after(frame.body, FIXED);
        let shown = attributes.get(IFA_ADDRESS).and_then(wire::read_address);
        let local = attributes.get(IFA_LOCAL).and_then(wire::read_address);
        let address = local.or(shown)?;
        let flags = attributes.get(IFA_FLAGS).and_then(wire::read_u32);
        let flags = flags.unwrap_or_else(|| fixed[2].into());
        Some(Self {
            dev: LinkIndex(wire::read_u32(&fixed[4..])?),
            net: IpNet::new(address, fixed[1]).ok()?,
            peer: shown.filter(|shown| *shown != address),
            scope: Scope::from_number(fixed[3]),
            no_dad: flags & IFA_F_NODAD != 0,
            no_prefix_route: flags & IFA_F_NOPREFIXROUTE != 0,
            tentative: flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) != 0,
        })
    }

    pub(crate) fn describe(&self, names: Naming<'_>) -> String {
        format!("address {} dev {}", self.net, names(self.dev))
    }
}

pub(crate) fn encode_list() -> Message {
    let mut message = Message::new(RTM_GETADDR, 0);
    message.fixed(&[0; FIXED]);
    message
}

pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

pub(crate) fn family_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

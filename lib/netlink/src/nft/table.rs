//! Tables and chains of nftables, in bytes and back.

use std::fmt;
use std::sync::Arc;

use crate::wire::{self, Attributes, Frame, Message};

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// `struct nfgenmsg`.
pub(super) const FIXED: usize = 4;

/// What a table's packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// ARP.
    Arp = 3,
    /// What one link takes in or gives out.
    Netdev = 5,
    /// Frames that a bridge forwards.
    Bridge = 7,
    /// IPv6.
    Ip6 = 10,
}

impl Family {
    fn read(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Inet,
            2 => Self::Ip,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ip6,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Arp => "arp",
            Self::Netdev => "netdev",
            Self::Bridge => "bridge",
            Self::Ip6 => "ip6",
        }
    }
}

/// A request about nftables.
pub(super) fn request(kind: u16, flags: u16, family: u8) -> Message {
    let mut message = Message::new((NFNL_SUBSYS_NFTABLES << 8) | kind, flags);
    message.fixed(&[family, 0, 0, 0]);
    message
}

/// A table's family and name: where all else lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// Of its packets.
    pub family: Family,
    /// Its name.
    pub name: Arc<str>,
}

impl Table {
    /// The table of this name.
    pub fn new(family: Family, name: &str) -> Self {
        let name = name.into();
        Self { family, name }
    }

    pub(super) fn request(&self, kind: u16, flags: u16) -> Message {
        request(kind, flags, self.family as u8)
    }

    /// A request that begins with the table's name; it is the first attribute in every kind.
    pub(super) fn within(&self, kind: u16, flags: u16) -> Message {
        let mut message = self.request(kind, flags);
        message.text(NFTA_TABLE_NAME, &self.name);
        message
    }

    pub(super) fn read(frame: &Frame<'_>) -> Option<Self> {
        Some(Self {
            family: Family::read(*frame.body.first()?)?,
            name: name(attributes(frame), NFTA_TABLE_NAME)?,
        })
    }

    /// Whether an answer to a list speaks of this table: not every list can be narrowed down.
    pub(super) fn owns(&self, frame: &Frame<'_>) -> bool {
        frame.body.first() == Some(&(self.family as u8))
            && name(attributes(frame), NFTA_TABLE_NAME).as_ref() == Some(&self.name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family.name(), self.name)
    }
}

/// The attributes of an answer.
pub(super) fn attributes<'a>(frame: &Frame<'a>) -> Attributes<'a> {
    Attributes::after(frame.body, FIXED)
}

pub(super) fn name(attributes: Attributes<'_>, kind: u16) -> Option<Arc<str>> {
    attributes
        .get(kind)
        .map(|text| wire::read_text(text).into())
}

/// What a base chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Lets pass or not.
    Filter,
    /// Sees the first packet of a connection and rewrites the addresses of all.
    Nat,
    /// Has locally made packets routed anew where it changed them.
    Route,
}

/// Where a base chain sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// All that comes in.
    Prerouting,
    /// What is for this host.
    Input,
    /// What is for others.
    Forward,
    /// What this host sends.
    Output,
    /// All that goes out.
    Postrouting,
    /// What a link takes in, in a `netdev` table.
    Ingress(Arc<str>),
    /// What a link gives out, in a `netdev` table.
    Egress(Arc<str>),
}

impl Hook {
    fn number(&self) -> u32 {
        match self {
            Self::Prerouting | Self::Ingress(_) => 0,
            Self::Input | Self::Egress(_) => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }

    fn read(number: u32, device: Option<Arc<str>>) -> Option<Self> {
        Some(match (number, device) {
            (0, Some(device)) => Self::Ingress(device),
            (1, Some(device)) => Self::Egress(device),
            (0, None) => Self::Prerouting,
            (1, None) => Self::Input,
            (2, _) => Self::Forward,
            (3, _) => Self::Output,
            (4, _) => Self::Postrouting,
            _ => return None,
        })
    }
}

/// What makes a chain see packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// What it is for.
    pub kind: ChainKind,
    /// Where it sits.
    pub hook: Hook,
    /// Its place among those of the same hook; lower ones come first. `nft` calls −100 `dstnat`, 0
    /// `filter` and 100 `srcnat`.
    pub priority: i32,
    /// What becomes of packets that no rule decides about.
    pub accepts: bool,
}

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: Arc<str>,
    /// Where packets come from, unless from other chains alone.
    pub base: Option<Base>,
}

impl Chain {
    /// One that other chains jump to.
    pub fn new(name: &str) -> Self {
        let name = name.into();
        Self { name, base: None }
    }

    /// One that sees packets, and accepts what no rule decides about.
    pub fn base(name: &str, kind: ChainKind, hook: Hook, priority: i32) -> Self {
        let base = Base {
            kind,
            hook,
            priority,
            accepts: true,
        };
        Self {
            name: name.into(),
            base: Some(base),
        }
    }

    /// The same, dropping what no rule decides about.
    #[must_use]
    pub fn dropping(mut self) -> Self {
        if let Some(base) = &mut self.base {
            base.accepts = false;
        }
        self
    }

    pub(super) fn write(&self, message: &mut Message) {
        message.text(NFTA_CHAIN_NAME, &self.name);
        let Some(base) = &self.base else { return };
        message.nest(NFTA_CHAIN_HOOK, |message| {
            message.be32(NFTA_HOOK_HOOKNUM, base.hook.number());
            message.be32(NFTA_HOOK_PRIORITY, base.priority.cast_unsigned());
            if let Hook::Ingress(device) | Hook::Egress(device) = &base.hook {
                message.text(NFTA_HOOK_DEV, device);
            }
        });
        message.be32(NFTA_CHAIN_POLICY, base.accepts.into());
        let kind = match base.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
            ChainKind::Route => "route",
        };
        message.text(NFTA_CHAIN_TYPE, kind);
    }

    pub(super) fn read(frame: &Frame<'_>) -> Option<Self> {
        let attributes = attributes(frame);
        Some(Self {
            name: name(attributes, NFTA_CHAIN_NAME)?,
            base: read_base(attributes),
        })
    }
}

fn read_base(attributes: Attributes<'_>) -> Option<Base> {
    let hook = attributes.inside(NFTA_CHAIN_HOOK);
    let kind = match wire::read_text(attributes.get(NFTA_CHAIN_TYPE)?).as_str() {
        "nat" => ChainKind::Nat,
        "route" => ChainKind::Route,
        _ => ChainKind::Filter,
    };
    let number = wire::read_be32(hook.get(NFTA_HOOK_HOOKNUM)?)?;
    Some(Base {
        kind,
        hook: Hook::read(number, name(hook, NFTA_HOOK_DEV))?,
        priority: wire::read_be32(hook.get(NFTA_HOOK_PRIORITY)?)?.cast_signed(),
        accepts: attributes.get(NFTA_CHAIN_POLICY).and_then(wire::read_be32) != Some(0),
    })
}

/// Names the chain in a request about it.
pub(super) fn write_chain_name(message: &mut Message, name: &str) {
    message.text(NFTA_CHAIN_NAME, name);
}

/// Names the chain in a request about its rules; rules and chains number this differently.
pub(super) const NFTA_RULE_CHAIN: u16 = 2;

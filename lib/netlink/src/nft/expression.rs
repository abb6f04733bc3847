//! Expressions: what a rule is made of.

mod encode;
mod read;

pub(super) use encode::OBJECT_COUNTER;

use super::value::{Value, Verdict};

/// Where a rule keeps four bytes at a time; there are sixteen, and longer values take the next ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(pub u8);

impl Register {
    /// The first one.
    pub const FIRST: Self = Self(0);
}

/// What is known about a packet besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Meta {
    /// Its length.
    Length = 0,
    /// Its mark.
    Mark = 3,
    /// The number of the link that it came in by.
    Incoming = 4,
    /// The number of the link that it leaves by.
    Outgoing = 5,
    /// The name of the link that it came in by.
    IncomingName = 6,
    /// The name of the link that it leaves by.
    OutgoingName = 7,
    /// IPv4 or IPv6, as `NFPROTO_*`.
    Family = 15,
    /// The protocol above IP.
    Protocol = 16,
    /// To this host, to all or to others, as `PACKET_*`.
    PacketType = 19,
}

/// Which header an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Header {
    /// Ethernet.
    Link = 0,
    /// IP.
    Network = 1,
    /// TCP, UDP, SCTP, ICMP.
    Transport = 2,
}

/// How values compare, as numbers in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Comparison {
    /// They are the same.
    Equal = 0,
    /// They are not.
    NotEqual = 1,
    /// Less.
    Less = 2,
    /// Less, or the same.
    AtMost = 3,
    /// More.
    More = 4,
    /// More, or the same.
    AtLeast = 5,
}

/// What is known about a packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ct {
    /// How far it has come, as in [`CtState`]'s bits.
    State = 0,
    /// 0 from who began it, 1 back.
    Direction = 1,
    /// What was done with it, as in [`CtStatus`]'s bits.
    Status = 2,
    /// Its mark.
    Mark = 3,
    /// The protocol above IP.
    Protocol = 10,
    /// Source port; wants a direction.
    SourcePort = 11,
    /// Destination port; wants a direction.
    DestinationPort = 12,
    /// Its zone.
    Zone = 17,
    /// IPv4 source; wants a direction.
    Source4 = 19,
    /// IPv4 destination; wants a direction.
    Destination4 = 20,
    /// IPv6 source; wants a direction.
    Source6 = 21,
    /// IPv6 destination; wants a direction.
    Destination6 = 22,
}

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From who began it.
    Original = 0,
    /// Back.
    Reply = 1,
}

/// How far connections have come, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtState(pub u32);

impl CtState {
    /// Fits no connection.
    pub const INVALID: Self = Self(1);
    /// Both sides have spoken.
    pub const ESTABLISHED: Self = Self(2);
    /// Belongs to another connection, as an ICMP error does.
    pub const RELATED: Self = Self(4);
    /// The first packet.
    pub const NEW: Self = Self(8);
    /// Not tracked.
    pub const UNTRACKED: Self = Self(64);

    /// Either of them.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What was done with connections, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtStatus(pub u32);

impl CtStatus {
    /// Both sides have spoken.
    pub const SEEN_REPLY: Self = Self(0x2);
    /// Its source was rewritten.
    pub const SOURCE_NAT: Self = Self(0x10);
    /// Its destination was rewritten.
    pub const DESTINATION_NAT: Self = Self(0x20);
}

/// What is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum NatKind {
    /// The source.
    Source = 0,
    /// The destination.
    Destination = 1,
}

/// Whose addresses are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum NatFamily {
    /// IPv4.
    Ip = 2,
    /// IPv6.
    Ip6 = 10,
}

/// How a port is chosen that is rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortChoice {
    /// As it was, if free.
    #[default]
    Keep,
    /// By a hash (`NF_NAT_RANGE_PROTO_RANDOM`).
    Random,
    /// Without any order (`NF_NAT_RANGE_PROTO_RANDOM_FULLY`).
    FullyRandom,
}

/// What the routing tables are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FibResult {
    /// The number of the link.
    Link = 1,
    /// The name of the link.
    LinkName = 2,
    /// The kind of address, as `RTN_*`.
    AddressKind = 3,
}

/// What they are asked about, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibKey(pub u32);

impl FibKey {
    /// The source.
    pub const SOURCE: Self = Self(1);
    /// The destination.
    pub const DESTINATION: Self = Self(2);
    /// With the packet's mark.
    pub const MARK: Self = Self(4);
    /// On the link that it came in by.
    pub const INCOMING: Self = Self(8);
    /// On the link that it leaves by.
    pub const OUTGOING: Self = Self(16);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How many packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LimitOf {
    /// Packets.
    Packets = 0,
    /// Bytes.
    Bytes = 1,
}

/// No more than so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How much.
    pub rate: u64,
    /// In how many seconds.
    pub seconds: u64,
    /// How much at once. The kernel makes 5 packets of 0, and lists them.
    pub burst: u32,
    /// Of what.
    pub of: LimitOf,
    /// Match what is beyond it.
    pub over: bool,
}

/// What who sent a packet is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// TCP reset.
    Reset,
    /// An ICMP error of either family, as `NFT_REJECT_ICMPX_*`: 1 port, 2 host, 3 prohibited.
    Unreachable(u8),
}

/// One step of a rule. One that does not match ends the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads what is known about the packet.
    Meta {
        /// What.
        key: Meta,
        /// Where to.
        into: Register,
    },
    /// Sets what is known about the packet.
    SetMeta {
        /// What.
        key: Meta,
        /// Where from.
        from: Register,
    },
    /// Loads bytes of the packet.
    Payload {
        /// From which header on.
        header: Header,
        /// How far into it.
        offset: u32,
        /// How many.
        length: u32,
        /// Where to.
        into: Register,
    },
    /// Matches if a register compares so.
    Compare {
        /// Which.
        from: Register,
        /// How.
        how: Comparison,
        /// To what.
        value: Value,
    },
    /// Matches what lies between.
    Range {
        /// Which register.
        from: Register,
        /// Match what lies outside.
        not: bool,
        /// The first.
        first: Value,
        /// The last.
        last: Value,
    },
    /// Computes `from & mask ^ xor`.
    Bitwise {
        /// Of which register.
        from: Register,
        /// Where to.
        into: Register,
        /// What stays.
        mask: Value,
        /// What is turned over.
        xor: Value,
    },
    /// Loads what is known about the connection.
    Ct {
        /// What.
        key: Ct,
        /// Of which direction.
        direction: Option<Direction>,
        /// Where to.
        into: Register,
    },
    /// Sets what is known about the connection.
    SetCt {
        /// What.
        key: Ct,
        /// Where from.
        from: Register,
    },
    /// Matches what a set holds; of a map, loads what it leads to.
    Lookup {
        /// The set or map.
        set: Box<str>,
        /// Where the key begins.
        from: Register,
        /// Match what it does not hold.
        not: bool,
        /// What to do with what a map leads to.
        found: Found,
    },
    /// Loads a random number.
    Random {
        /// How many there are; 0 is the first.
        below: u32,
        /// Where to.
        into: Register,
    },
    /// Loads a value.
    Load {
        /// Which.
        value: Value,
        /// Where to.
        into: Register,
    },
    /// Decides.
    Verdict(Verdict),
    /// Rewrites the packet's and its connection's addresses.
    Nat {
        /// Which of them.
        kind: NatKind,
        /// Of which family.
        family: NatFamily,
        /// Where the address is.
        address: Option<Register>,
        /// Where the port is.
        port: Option<Register>,
        /// How a port is chosen.
        choice: PortChoice,
    },
    /// Rewrites the source to that of the link that the packet leaves by.
    Masquerade(PortChoice),
    /// Asks the routing tables.
    Fib {
        /// About what.
        key: FibKey,
        /// What.
        result: FibResult,
        /// Where to.
        into: Register,
    },
    /// Counts.
    Counter(Count),
    /// Counts in an object with a name.
    NamedCounter(Box<str>),
    /// Matches no more than so much.
    Limit(Limit),
    /// Sends a copy to a group of listeners.
    Log {
        /// Which group.
        group: u16,
        /// What it is headed with.
        prefix: Box<str>,
        /// How many bytes of the packet, 0 for all.
        length: u32,
    },
    /// Drops the packet and says so.
    Reject(Reject),
    /// Hands the packet to a program.
    Queue {
        /// The first queue.
        number: u16,
        /// How many of them.
        total: u16,
        /// Let pass what nobody waits for.
        bypass: bool,
    },
    /// Has the packet not tracked.
    NoTrack,
    /// Something else; it is listed and cannot be made.
    Other(Box<str>),
}

/// What becomes of what a lookup finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: being there is enough.
    Ignored,
    /// It is loaded.
    Loaded(Register),
    /// It is the verdict.
    Obeyed,
}

//! What keys and data of nftables are made of: typed fields, alone or one after the other.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::names::{LinkName, Mac};

/// What a field of a key or of data is. Its number is that of `nft`, which lists sets by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Type {
    /// IPv4 address.
    Ipv4 = 7,
    /// IPv6 address.
    Ipv6 = 8,
    /// Hardware address.
    Mac = 9,
    /// Protocol above IP, as in [`Protocol`].
    Protocol = 12,
    /// Port, as in [`Port`].
    Port = 13,
    /// Mark of a packet, as in [`Mark`].
    Mark = 19,
    /// Name of a link.
    LinkName = 41,
}

/// Six bits per field (`TYPE_BITS`).
const TYPE_BITS: u32 = 6;

impl Type {
    /// How many bytes it has.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Ipv4 | Self::Mark => 4,
            Self::Ipv6 | Self::LinkName => 16,
            Self::Mac => 6,
            Self::Protocol => 1,
            Self::Port => 2,
        }
    }

    fn read(number: u32) -> Option<Self> {
        Some(match number {
            7 => Self::Ipv4,
            8 => Self::Ipv6,
            9 => Self::Mac,
            12 => Self::Protocol,
            13 => Self::Port,
            19 => Self::Mark,
            41 => Self::LinkName,
            _ => return None,
        })
    }

    /// `nft`'s number for fields one after the other.
    pub(super) fn number(fields: &[Self]) -> u32 {
        fields
            .iter()
            .fold(0, |all, field| (all << TYPE_BITS) | *field as u32)
    }

    /// The fields of such a number, none where one is not known.
    pub(super) fn fields(mut number: u32) -> Vec<Self> {
        let mut fields = Vec::new();
        while number != 0 {
            let Some(field) = Self::read(number & ((1 << TYPE_BITS) - 1)) else {
                return Vec::new();
            };
            fields.insert(0, field);
            number >>= TYPE_BITS;
        }
        fields
    }

    /// How long a value of these fields is: in a concatenation each begins at a register.
    pub(super) fn total(fields: &[Self]) -> usize {
        match fields {
            [field] => field.length(),
            _ => fields.iter().map(|f| f.length().next_multiple_of(4)).sum(),
        }
    }
}

/// A protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    /// Whether it begins with two ports.
    pub(crate) fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

/// As in `udp`; of others the number.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMPV6 => f.write_str("icmpv6"),
            Self::SCTP => f.write_str("sctp"),
            Self(number) => write!(f, "protocol {number}"),
        }
    }
}

/// A port of TCP, UDP or SCTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub u16);

/// A mark of a packet or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u32);

/// Bytes as they lie in registers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Box<[u8]>);

impl Value {
    /// Bytes as they are.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// These fields one after the other, each at a register of its own.
    pub fn concat(fields: &[Self]) -> Self {
        let mut bytes = Vec::with_capacity(16);
        for field in fields {
            bytes.extend_from_slice(&field.0);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        Self(bytes.into())
    }

    /// Names of links that begin so; to compare a name with, not for sets.
    pub fn name_prefix(prefix: &str) -> Self {
        Self::from_bytes(prefix.as_bytes())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The address at this place, which a field of this type takes up.
    pub fn address(&self, offset: usize) -> Option<IpAddr> {
        let rest = self.0.get(offset..)?;
        crate::wire::read_address(rest).or_else(|| crate::wire::read_address(rest.get(..4)?))
    }

    /// The first and the last address of a network.
    pub fn ends(net: IpNet) -> (Self, Self) {
        (net.network().into(), net.broadcast().into())
    }

    /// The next one, unless this is the last of its length.
    pub(super) fn successor(&self) -> Option<Self> {
        let mut bytes = self.0.clone();
        for byte in bytes.iter_mut().rev() {
            let (next, overflow) = byte.overflowing_add(1);
            *byte = next;
            if !overflow {
                return Some(Self(bytes));
            }
        }
        None
    }

    /// The one before; of the first it is the last, as where a listed interval has no end.
    pub(super) fn predecessor(&self) -> Self {
        let mut bytes = self.0.clone();
        for byte in bytes.iter_mut().rev() {
            let (next, overflow) = byte.overflowing_sub(1);
            *byte = next;
            if !overflow {
                break;
            }
        }
        Self(bytes)
    }

    /// Its fields in words, as in `10.1.2.3 . 6 . 80`.
    pub(super) fn describe(&self, fields: &[Type]) -> String {
        let mut rest: &[u8] = &self.0;
        let mut words = Vec::new();
        for field in fields {
            let Some(bytes) = rest.get(..field.length()) else {
                break;
            };
            words.push(describe(*field, bytes));
            let length = field.length().next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        match words.is_empty() {
            true => format!("{:02x?}", self.0),
            false => words.join(" . "),
        }
    }
}

fn describe(field: Type, bytes: &[u8]) -> String {
    use crate::wire::{read_address, read_be16, read_text, read_u32};
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let words = match field {
        Type::Ipv4 | Type::Ipv6 => read_address(bytes).map(|address| address.to_string()),
        Type::Protocol => number(bytes.first().map(|byte| u32::from(*byte))),
        Type::Port => number(read_be16(bytes).map(u32::from)),
        Type::Mark => number(read_u32(bytes)),
        Type::LinkName => Some(read_text(bytes)),
        Type::Mac => <[u8; 6]>::try_from(bytes)
            .ok()
            .map(|mac| Mac(mac).to_string()),
    };
    words.unwrap_or_default()
}

impl From<Ipv4Addr> for Value {
    fn from(address: Ipv4Addr) -> Self {
        Self::from_bytes(&address.octets())
    }
}

impl From<Ipv6Addr> for Value {
    fn from(address: Ipv6Addr) -> Self {
        Self::from_bytes(&address.octets())
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl From<Protocol> for Value {
    fn from(protocol: Protocol) -> Self {
        Self::from_bytes(&[protocol.0])
    }
}

impl From<Port> for Value {
    fn from(port: Port) -> Self {
        Self::from_bytes(&port.0.to_be_bytes())
    }
}

impl From<Mark> for Value {
    fn from(mark: Mark) -> Self {
        Self::from_bytes(&mark.0.to_ne_bytes())
    }
}

impl From<Mac> for Value {
    fn from(mac: Mac) -> Self {
        Self::from_bytes(&mac.0)
    }
}

impl From<&LinkName> for Value {
    fn from(name: &LinkName) -> Self {
        let mut bytes = name.as_str().as_bytes().to_vec();
        bytes.resize(Type::LinkName.length(), 0);
        Self(bytes.into())
    }
}

impl<A: Into<Self>, B: Into<Self>> From<(A, B)> for Value {
    fn from((a, b): (A, B)) -> Self {
        Self::concat(&[a.into(), b.into()])
    }
}

impl<A: Into<Self>, B: Into<Self>, C: Into<Self>> From<(A, B, C)> for Value {
    fn from((a, b, c): (A, B, C)) -> Self {
        Self::concat(&[a.into(), b.into(), c.into()])
    }
}

impl<A, B, C, D> From<(A, B, C, D)> for Value
where
    A: Into<Self>,
    B: Into<Self>,
    C: Into<Self>,
    D: Into<Self>,
{
    fn from((a, b, c, d): (A, B, C, D)) -> Self {
        Self::concat(&[a.into(), b.into(), c.into(), d.into()])
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It passes this base chain.
    Accept,
    /// It is lost.
    Drop,
    /// The next rule sees it.
    Continue,
    /// The chain that jumped here goes on.
    Return,
    /// That chain sees it, then this one goes on.
    Jump(Box<str>),
    /// That chain sees it instead of this one.
    Goto(Box<str>),
}

const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

impl Verdict {
    /// As the data of an attribute.
    pub(super) fn write(&self, message: &mut crate::wire::Message) {
        let (code, chain) = match self {
            Self::Drop => (0, None),
            Self::Accept => (1, None),
            Self::Continue => (-1, None),
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4, Some(chain)),
            Self::Return => (-5_i32, None),
        };
        message.nest(NFTA_DATA_VERDICT, |message| {
            message.be32(NFTA_VERDICT_CODE, code.cast_unsigned());
            if let Some(chain) = chain {
                message.text(NFTA_VERDICT_CHAIN, chain);
            }
        });
    }

    pub(super) fn read(data: crate::wire::Attributes<'_>) -> Option<Self> {
        let verdict = data.inside(NFTA_DATA_VERDICT);
        let code = crate::wire::read_be32(verdict.get(NFTA_VERDICT_CODE)?)?;
        let chain = || {
            let name = verdict.get(NFTA_VERDICT_CHAIN)?;
            Some(crate::wire::read_text(name).into_boxed_str())
        };
        Some(match code.cast_signed() {
            0 => Self::Drop,
            1 => Self::Accept,
            -1 => Self::Continue,
            -3 => Self::Jump(chain()?),
            -4 => Self::Goto(chain()?),
            -5 => Self::Return,
            _ => return None,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl Value {
    /// As the data of an attribute.
    pub(super) fn write(&self, message: &mut crate::wire::Message) {
        message.bytes(NFTA_DATA_VALUE, &self.0);
    }

    pub(super) fn read(data: crate::wire::Attributes<'_>) -> Option<Self> {
        data.get(NFTA_DATA_VALUE).map(Self::from_bytes)
    }
}

//! Netlink messages as bytes: a writer of requests and a reader of attributes; opens no socket.
//!
//! All families share this layout (RFC 3549 §2.3.2; `linux/netlink.h`): a header, a fixed structure
//! of the family, then attributes, each padded to four bytes and possibly nested.
//!
//! The reader is lenient on purpose: an attribute that is unknown, or longer than it used to be, must
//! not hide the object it belongs to from a list.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer even when all went well.
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP`, to a `GET`: everything there is.
pub const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`, to a `NEW`.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`, to a `NEW`: refuse what exists.
pub const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`, to a `NEW`.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`, to a `NEW`.
pub const APPEND: u16 = 0x800;
/// `NLM_F_DUMP_INTR`: what is listed changed meanwhile.
pub(crate) const INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED`: an acknowledgement that repeats the request's header only.
pub(crate) const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: an acknowledgement that carries attributes.
pub(crate) const ACK_ATTRIBUTES: u16 = 0x200;

const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`: without the flags "nested" and "network byte order".
const TYPE_MASK: u16 = 0x3fff;

pub(crate) const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// One request, being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    bytes: Vec<u8>,
    /// An attribute was longer than its 16 bits of length can say.
    overlong: bool,
}

impl Message {
    /// A request of this kind; `REQUEST` is added to the flags.
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend([0; 4]);
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | REQUEST).to_ne_bytes());
        bytes.extend([0; 8]);
        Self {
            bytes,
            overlong: false,
        }
    }

    /// Bytes as they are: the family's fixed structure, or an array's elements.
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// An attribute with this value.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.nest_as(kind, |message| {
            message.bytes.extend_from_slice(value);
        })
    }

    /// An attribute that says something by being there.
    pub fn flag(&mut self, kind: u16) -> &mut Self {
        self.bytes(kind, &[])
    }

    /// One byte.
    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// 16 bits in the machine's order.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// 32 bits in the machine's order.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// 64 bits in the machine's order.
    pub fn u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// 16 bits in network order.
    pub fn be16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// 32 bits in network order.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// 64 bits in network order.
    pub fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Text, closed by a zero.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.nest_as(kind, |message| {
            message.bytes.extend_from_slice(value.as_bytes());
            message.bytes.push(0);
        })
    }

    /// An address, four bytes or sixteen.
    pub fn address(&mut self, kind: u16, value: IpAddr) -> &mut Self {
        match value {
            IpAddr::V4(value) => self.bytes(kind, &value.octets()),
            IpAddr::V6(value) => self.bytes(kind, &value.octets()),
        }
    }

    /// An attribute made of attributes.
    pub fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Self)) -> &mut Self {
        self.nest_as(kind | NESTED, write)
    }

    /// An attribute made of attributes for a reader that takes the flag "nested" amiss: rtnetlink
    /// before its strict times.
    pub(crate) fn nest_as(&mut self, kind: u16, write: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        write(self);
        self.close(start);
        self
    }

    /// Lays a 16-bit length at `start` and pads: the end of an attribute or of a `rtnexthop`.
    pub(crate) fn close(&mut self, start: usize) {
        let length = self.bytes.len().saturating_sub(start);
        match (u16::try_from(length), self.bytes.get_mut(start..)) {
            (Ok(length), Some([low, high, ..])) => [*low, *high] = length.to_ne_bytes(),
            _ => self.overlong = true,
        }
        self.pad();
    }

    /// How long it is so far.
    pub(crate) fn position(&self) -> usize {
        self.bytes.len()
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The message with its length, sequence number and further flags, unless it is too long.
    pub(crate) fn finish(mut self, sequence: u32, flags: u16) -> Option<Vec<u8>> {
        let length = u32::try_from(self.bytes.len()).ok()?;
        let Some([a, b, c, d, _, _, e, f, g, h, i, j, ..]) = self.bytes.get_mut(..HEADER) else {
            return None;
        };
        [*a, *b, *c, *d] = length.to_ne_bytes();
        [*e, *f] = (u16::from_ne_bytes([*e, *f]) | flags).to_ne_bytes();
        [*g, *h, *i, *j] = sequence.to_ne_bytes();
        (!self.overlong).then_some(self.bytes)
    }
}

/// One message as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is; the numbers are the family's.
    pub kind: u16,
    /// Flags of the header.
    pub flags: u16,
    /// Of the request that it answers.
    pub(crate) sequence: u32,
    /// After the header.
    pub body: &'a [u8],
}

/// The messages of one datagram.
#[derive(Clone, Debug)]
pub(crate) struct Frames<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let length = usize::try_from(read_u32(self.0)?).ok()?;
        let message = self.0.get(..length)?;
        let frame = Frame {
            kind: read_u16(message.get(4..)?)?,
            flags: read_u16(message.get(6..)?)?,
            sequence: read_u32(message.get(8..)?)?,
            body: message.get(HEADER..)?,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(frame)
    }
}

/// Attributes one after the other, as (kind without its flags, value).
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes that these bytes hold; what is cut off at the end is left out.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Those that follow a fixed structure of this size.
    pub fn after(body: &'a [u8], fixed: usize) -> Self {
        Self(body.get(fixed.next_multiple_of(4)..).unwrap_or_default())
    }

    /// The value of the last one of this kind: the kernel's own rule for repeated ones.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.filter(|(found, _)| *found == kind)
            .last()
            .map(|(_, value)| value)
    }

    /// The attributes in the one of this kind.
    pub fn inside(self, kind: u16) -> Self {
        Self(self.get(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(read_u16(self.0)?);
        let kind = read_u16(self.0.get(2..)?)? & TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The first byte.
pub fn read_u8(bytes: &[u8]) -> Option<u8> {
    bytes.first().copied()
}

/// The first 16 bits, in the machine's order.
pub fn read_u16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

/// The first 32 bits, in the machine's order.
pub fn read_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The first 64 bits, in the machine's order.
pub fn read_u64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// The first 16 bits, in network order.
pub fn read_be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The first 32 bits, in network order.
pub fn read_be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The first 64 bits, in network order.
pub fn read_be64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Text up to its zero; bytes that are no UTF-8 are replaced.
pub fn read_text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// An address of four bytes or of sixteen.
pub fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let mut message = Message::new(16, CREATE);
        message.fixed(&[7; 6]);
        message.text(3, "lo").nest(18, |message| {
            message.u8(1, 9).be16(2, 0x0102);
        });
        let want = [
            // Padding of the last attribute counts, as it does in libmnl.
            &52_u32.to_ne_bytes()[..],
            &16_u16.to_ne_bytes(),
            &(CREATE | REQUEST | ACK).to_ne_bytes(),
            &5_u32.to_ne_bytes(),
            &[0; 4],
            &[7, 7, 7, 7, 7, 7, 0, 0],
            &7_u16.to_ne_bytes(),
            &3_u16.to_ne_bytes(),
            b"lo\0\0",
            &20_u16.to_ne_bytes(),
            &(18 | NESTED).to_ne_bytes(),
            &5_u16.to_ne_bytes(),
            &1_u16.to_ne_bytes(),
            &[9, 0, 0, 0],
            &6_u16.to_ne_bytes(),
            &2_u16.to_ne_bytes(),
            &[1, 2, 0, 0],
        ]
        .concat();
        assert_eq!(message.finish(5, ACK), Some(want));
    }

    #[test]
    fn what_does_not_fit_into_an_attribute_is_not_sent() {
        let mut message = Message::new(1, 0);
        message.bytes(1, &[0; 65_532]);
        assert_eq!(message.finish(1, 0), None);
    }

    #[test]
    fn attributes_are_read_back() {
        let mut message = Message::new(1, 0);
        message.u32(1, 8).nest(2, |message| {
            message.text(1, "vxlan");
        });
        message.u32(1, 9);
        let bytes = message.finish(1, 0).unwrap();
        let frame = Frames(&bytes).next().unwrap();
        let attributes = Attributes::new(frame.body);
        assert_eq!(attributes.get(1).and_then(read_u32), Some(9));
        assert_eq!(attributes.inside(2).get(1).map(read_text).unwrap(), "vxlan");
        assert_eq!(attributes.get(3), None);
    }

    proptest! {
        #[test]
        fn readers_take_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for frame in Frames(&bytes) {
                prop_assert!(frame.body.len() <= bytes.len());
            }
            for (_, value) in Attributes::after(&bytes, 3) {
                prop_assert!(value.len() <= bytes.len());
            }
        }
    }
}

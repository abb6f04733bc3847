//! What is looked for in connection tracking.

use std::fmt;
use std::net::IpAddr;

use super::{
    CTA_FILTER, CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_MARK, CTA_MARK_MASK, CTA_PROTO_DST_PORT,
    CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO,
    CTA_TUPLE_REPLY, Entry, IPCTNL_MSG_CT_GET, Tuple,
};
use crate::address::{AF_INET, AF_INET6};
use crate::nft::Protocol;
use crate::wire::Message;

const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
// `CTA_FILTER_F_*`: which fields of a tuple count.
const IP_SRC: u32 = 1 << 0;
const IP_DST: u32 = 1 << 1;
const PROTO_NUM: u32 = 1 << 3;
const PROTO_SRC_PORT: u32 = 1 << 4;
const PROTO_DST_PORT: u32 = 1 << 5;

/// What one direction of a connection has to be; what is `None` may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Who sends.
    pub source: Option<IpAddr>,
    /// To whom.
    pub destination: Option<IpAddr>,
    /// From which port.
    pub source_port: Option<u16>,
    /// To which port.
    pub destination_port: Option<u16>,
}

/// What a connection has to be, in all of this; what is `None` may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The direction from who began it, before any rewriting.
    pub original: Ends,
    /// The direction back.
    pub reply: Ends,
    /// The protocol above IP.
    pub protocol: Option<Protocol>,
    /// A mark, and which bits of it count.
    pub mark: Option<(u32, u32)>,
}

impl Filter {
    /// Every connection.
    pub fn all() -> Self {
        Self::default()
    }

    /// What this address has begun.
    pub fn begun_by(address: IpAddr) -> Self {
        let source = Some(address);
        Self {
            original: Ends {
                source,
                ..Ends::default()
            },
            ..Self::default()
        }
    }

    /// What this address answers, whatever address was asked.
    pub fn answered_by(address: IpAddr) -> Self {
        let source = Some(address);
        Self {
            reply: Ends {
                source,
                ..Ends::default()
            },
            ..Self::default()
        }
    }

    /// Both: everything that this address takes part in.
    pub fn of(address: IpAddr) -> [Self; 2] {
        [Self::begun_by(address), Self::answered_by(address)]
    }

    /// What was begun to this port of any address; of one host's if `original.destination` is set.
    pub fn to_port(protocol: Protocol, port: u16) -> Self {
        Self {
            original: Ends {
                destination_port: Some(port),
                ..Ends::default()
            },
            protocol: Some(protocol),
            ..Self::default()
        }
    }

    /// Exactly this one.
    pub fn exactly(original: Tuple) -> Self {
        Self {
            original: Ends {
                source: Some(original.source),
                destination: Some(original.destination),
                source_port: Some(original.source_port),
                destination_port: Some(original.destination_port),
            },
            protocol: Some(original.protocol),
            ..Self::default()
        }
    }

    /// What has this mark, in these bits.
    pub fn marked(mark: u32, bits: u32) -> Self {
        Self {
            mark: Some((mark, bits)),
            ..Self::default()
        }
    }

    /// Whether this connection is meant.
    pub fn matches(&self, entry: &Entry) -> bool {
        let mark = self
            .mark
            .is_none_or(|(mark, bits)| (entry.mark ^ mark) & bits == 0);
        mark && same(self.protocol, entry.original.protocol)
            && self.original.match_tuple(&entry.original)
            && self.reply.match_tuple(&entry.reply)
    }

    /// The families that connections can be of; a list is of one each.
    pub(super) fn families(&self) -> &'static [u8] {
        let ends = [self.original, self.reply];
        let mut addresses = ends.iter().flat_map(|ends| [ends.source, ends.destination]);
        match addresses.find_map(|address| address) {
            Some(IpAddr::V4(_)) => &[AF_INET],
            Some(IpAddr::V6(_)) => &[AF_INET6],
            None => &[AF_INET, AF_INET6],
        }
    }

    /// The request for a list, as narrow as the kernel can make it.
    pub(super) fn encode(&self, family: u8) -> Message {
        let mut message = Message::new(IPCTNL_MSG_CT_GET, 0);
        message.fixed(&[family, 0, 0, 0]);
        if let Some((mark, bits)) = self.mark {
            // A bit of the mark that does not count would match nothing.
            message.be32(CTA_MARK, mark & bits);
            message.be32(CTA_MARK_MASK, bits);
        }
        let original = self.original.flags(family, self.protocol);
        let reply = self.reply.flags(family, None);
        for (kind, ends, flags, protocol) in [
            (CTA_TUPLE_ORIG, self.original, original, self.protocol),
            (CTA_TUPLE_REPLY, self.reply, reply, None),
        ] {
            if flags != 0 {
                message.nest(kind, |message| ends.write(message, flags, protocol));
            }
        }
        if original | reply != 0 {
            message.nest(CTA_FILTER, |message| {
                message.u32(CTA_FILTER_ORIG_FLAGS, original);
                message.u32(CTA_FILTER_REPLY_FLAGS, reply);
            });
        }
        message
    }
}

impl Ends {
    fn match_tuple(&self, tuple: &Tuple) -> bool {
        same(self.source, tuple.source)
            && same(self.destination, tuple.destination)
            && same(self.source_port, tuple.source_port)
            && same(self.destination_port, tuple.destination_port)
    }

    /// What the kernel can look at: IPv4 addresses, and ports of protocols that have some.
    ///
    /// Asked for an IPv6 address, it lists what has any other one (`ctnetlink_filter_match_tuple`
    /// takes the sign of `ipv6_addr_cmp` amiss; seen with 6.18): that we choose ourselves.
    fn flags(&self, family: u8, protocol: Option<Protocol>) -> u32 {
        let flag = |set: bool, flag| if set { flag } else { 0 };
        let listed = |address: Option<IpAddr>| {
            family == AF_INET && address.is_some_and(|address| address.is_ipv4())
        };
        let ported = protocol.is_some_and(Protocol::has_ports);
        flag(listed(self.source), IP_SRC)
            | flag(listed(self.destination), IP_DST)
            | flag(ported, PROTO_NUM)
            | flag(ported && self.source_port.is_some(), PROTO_SRC_PORT)
            | flag(ported && self.destination_port.is_some(), PROTO_DST_PORT)
    }

    fn write(&self, message: &mut Message, flags: u32, protocol: Option<Protocol>) {
        message.nest(CTA_TUPLE_IP, |message| {
            for (flag, address, kind) in [
                (IP_SRC, self.source, CTA_IP_V4_SRC),
                (IP_DST, self.destination, CTA_IP_V4_DST),
            ] {
                if let Some(address) = address.filter(|_| flags & flag != 0) {
                    message.address(kind, address);
                }
            }
        });
        let Some(protocol) = protocol.filter(|_| flags & PROTO_NUM != 0) else {
            return;
        };
        message.nest(CTA_TUPLE_PROTO, |message| {
            message.u8(CTA_PROTO_NUM, protocol.0);
            for (flag, port, kind) in [
                (PROTO_SRC_PORT, self.source_port, CTA_PROTO_SRC_PORT),
                (PROTO_DST_PORT, self.destination_port, CTA_PROTO_DST_PORT),
            ] {
                if let Some(port) = port.filter(|_| flags & flag != 0) {
                    message.be16(kind, port);
                }
            }
        });
    }
}

fn same<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

/// As in `udp, to port 53, back from 10.1.2.9`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.protocol.map(|protocol| protocol.to_string()));
        for (ends, who) in [(self.original, ""), (self.reply, "back ")] {
            words.extend(ends.source.map(|address| format!("{who}from {address}")));
            words.extend(
                ends.source_port
                    .map(|port| format!("{who}from port {port}")),
            );
            words.extend(ends.destination.map(|address| format!("{who}to {address}")));
            let port = ends.destination_port;
            words.extend(port.map(|port| format!("{who}to port {port}")));
        }
        let mark = self.mark;
        words.extend(mark.map(|(mark, bits)| format!("marked {mark:#x}/{bits:#x}")));
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frames;

    fn check(filter: Filter, family: u8, want: &[&[u8]]) {
        let bytes = filter.encode(family).finish(1, 0).unwrap();
        let frame = Frames(&bytes).next().unwrap();
        assert_eq!(frame.kind, 0x101);
        let head: &[u8] = &[family, 0, 0, 0];
        assert_eq!(frame.body, [&[head], want].concat().concat(), "{filter}");
    }

    #[test]
    fn a_list_is_asked_for_as_narrow_as_the_kernel_can_make_it() {
        check(Filter::all(), AF_INET6, &[]);
        let marks: &[&[u8]] = &[&[8, 0, 8, 0, 0, 0, 0, 7], &[8, 0, 21, 0, 0, 0, 0, 255]];
        check(Filter::marked(0x107, 255), AF_INET, marks);
        // No ports without a protocol: the kernel wants both.
        let mut port = Filter::to_port(Protocol::UDP, 53);
        port.protocol = None;
        check(port, AF_INET, &[]);
        let of_host = Filter::begun_by("fd00::7".parse().unwrap());
        check(of_host, AF_INET6, &[]);

        let mut dns = Filter::to_port(Protocol::UDP, 53);
        dns.original.destination = Some([10, 9, 0, 1].into());
        let want: &[&[u8]] = &[
            // CTA_TUPLE_ORIG, nested
            &[36, 0, 1, 0x80],
            // CTA_TUPLE_IP with CTA_IP_V4_DST
            &[12, 0, 1, 0x80, 8, 0, 2, 0, 10, 9, 0, 1],
            // CTA_TUPLE_PROTO with CTA_PROTO_NUM, CTA_PROTO_DST_PORT
            &[20, 0, 2, 0x80, 5, 0, 1, 0, 17, 0, 0, 0],
            &[6, 0, 3, 0, 0, 53, 0, 0],
            // CTA_FILTER with both words of flags
            &[20, 0, 25, 0x80, 8, 0, 1, 0],
            &(IP_DST | PROTO_NUM | PROTO_DST_PORT).to_ne_bytes(),
            &[8, 0, 2, 0, 0, 0, 0, 0],
        ];
        check(dns, AF_INET, want);
        assert_eq!(dns.to_string(), "udp, to 10.9.0.1, to port 53");
    }
}

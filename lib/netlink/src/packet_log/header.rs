//! The headers of a packet, as far as they say from whom to whom it goes.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::net::IpAddr;

use crate::conntrack::Tuple;
use crate::nft::Protocol;
use crate::wire::{read_address, read_be16, read_u8};

/// IPv6 header, without extensions.
const IPV6: usize = 40;
/// Extension headers that are looked behind; no sender needs more.
const EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

pub(super) fn tuple(packet: &[u8]) -> Option<Tuple> {
    match read_u8(packet)? >> 4 {
        4 => tuple4(packet),
        6 => tuple6(packet),
        _ => None,
    }
}

fn tuple4(packet: &[u8]) -> Option<Tuple> {
    let length = usize::from(read_u8(packet)? & 0xf).checked_mul(4)?;
    // 13 bits of offset: only the first fragment has ports.
    let first = read_be16(packet.get(6..)?)? & 0x1fff == 0;
    let ends = (packet.get(12..16)?, packet.get(16..20)?);
    let above = packet.get(length..).filter(|_| first);
    build(ends, read_u8(packet.get(9..)?)?, above)
}

fn tuple6(packet: &[u8]) -> Option<Tuple> {
    let ends = (packet.get(8..24)?, packet.get(24..40)?);
    let mut next = read_u8(packet.get(6..)?)?;
    let mut above = packet.get(IPV6..);
    for _ in 0..EXTENSIONS {
        let Some(header) = above.filter(|_| is_extension(next)) else {
            break;
        };
        let length = match next {
            FRAGMENT => 8,
            _ => usize::from(read_u8(header.get(1..)?)?)
                .checked_add(1)?
                .checked_mul(8)?,
        };
        let first = next != FRAGMENT || read_be16(header.get(2..)?)? >> 3 == 0;
        next = read_u8(header)?;
        above = header.get(length..).filter(|_| first);
    }
    build(ends, next, above)
}

fn is_extension(number: u8) -> bool {
    matches!(
        number,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS
    )
}

fn build((source, destination): (&[u8], &[u8]), number: u8, above: Option<&[u8]>) -> Option<Tuple> {
    let (source, destination): (IpAddr, IpAddr) =
        (read_address(source)?, read_address(destination)?);
    let protocol = Protocol(number);
    let above = above.filter(|_| protocol.has_ports());
    let port = |at: usize| above.and_then(|above| read_be16(above.get(at..)?));
    Some(Tuple {
        source,
        destination,
        protocol,
        source_port: port(0).unwrap_or(0),
        destination_port: port(2).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(packet: &[&[u8]], want: &str) {
        let tuple = tuple(&packet.concat()).map(|tuple| tuple.to_string());
        assert_eq!(tuple.as_deref().unwrap_or("nothing"), want, "{packet:?}");
    }

    #[test]
    fn ends_are_read_behind_options_and_extensions() {
        let ends = [10, 1, 0, 7, 10, 1, 2, 9];
        let ports = [0x14, 0xe9, 0, 53];
        let head = |first, offset, protocol| [first, 0, 0, 0, 0, 0, 0, offset, 64, protocol, 0, 0];
        let whole = "udp 10.1.0.7:5353 to 10.1.2.9:53";
        check(&[&head(0x45, 0, 17), &ends, &ports], whole);
        check(&[&head(0x46, 0, 17), &ends, &[1; 4], &ports], whole);
        let no_ports = "udp 10.1.0.7:0 to 10.1.2.9:0";
        check(&[&head(0x45, 1, 17), &ends, &ports], no_ports);
        check(&[&head(0x45, 0, 17), &ends], no_ports);
        check(
            &[&head(0x45, 0, 1), &ends, &ports],
            "icmp 10.1.0.7:0 to 10.1.2.9:0",
        );
        check(&[&head(0x55, 0, 17), &ends, &ports], "nothing");
        check(&[&head(0x45, 0, 17), &ends[..7]], "nothing");
    }

    #[test]
    fn ends_of_ipv6_are_read_behind_extensions() {
        let source = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let ports = [0x14, 0xe9, 0, 53];
        let head = |next| [0x60, 0, 0, 0, 0, 0, next, 64];
        let whole = "tcp [fd00::1]:5353 to [fd00::1]:53";
        check(&[&head(6), &source, &source, &ports], whole);
        // Hop-by-hop of 16 bytes, then destination options of 8.
        let options: &[u8] = &[
            60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,
        ];
        check(&[&head(0), &source, &source, options, &ports], whole);
        let fragment = |offset| [6, 0, 0, offset, 0, 0, 0, 0];
        check(&[&head(44), &source, &source, &fragment(1), &ports], whole);
        let later = "tcp [fd00::1]:0 to [fd00::1]:0";
        check(&[&head(44), &source, &source, &fragment(8), &ports], later);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), six: bool) {
            if let Some(first) = bytes.first_mut() {
                *first = (*first & 0xf) | if six { 0x60 } else { 0x40 };
            }
            let found = tuple(&bytes);
            prop_assert!(found.is_none() || bytes.len() >= 20);
        }
    }
}

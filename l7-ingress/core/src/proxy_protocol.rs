//! The PROXY protocol, versions 1 and 2: whom a load balancer in front of this one speaks for. TLVs are not
//! interpreted, but for the checksum.
//!
//! Specification: `doc/proxy-protocol.txt` of HAProxy, whose sections are named below.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use self::crc32c::crc32c;

mod crc32c;
#[cfg(test)]
mod tests;

/// The longest version 1 line (§2.1: "107 characters" with CRLF).
pub const MAX_V1: usize = 107;
/// The longest version 2 header taken (§2: what fits the smallest IPv4 segment).
pub const MAX_V2: usize = 536;

/// The twelve bytes that start version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const PREFIX: usize = SIGNATURE.len() + 4;
const TLV_CRC32C: u8 = 0x03;

/// The ends of the connection that the sender relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The bytes that it takes; the client's begin there.
    pub len: usize,
    /// `None` where the connection's own ends stand: LOCAL (health checks), UNKNOWN, UNSPEC, UNIX.
    pub endpoints: Option<Endpoints>,
}

/// Why there is no header. The sender is at fault, and the connection is to be closed: what it sends cannot be
/// told from a client that claims an address (§2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// So far it is one. Read on until there are `need` bytes at least; more than [`MAX_V2`] are never needed.
    #[error("the PROXY header is incomplete, {need} bytes are needed")]
    Incomplete {
        /// Counted from the first byte of the connection.
        need: usize,
    },
    /// Neither version's start.
    #[error("no PROXY header")]
    Missing,
    /// No CRLF within [`MAX_V1`] bytes, or more than [`MAX_V2`] announced.
    #[error("the PROXY header is too long")]
    TooLong,
    /// A version 1 line that is not `PROXY family source destination port port`.
    #[error("malformed PROXY line")]
    Line,
    /// A reserved version, command, family or transport (§2.2: to be rejected).
    #[error("unknown version, command, family or transport in the PROXY header")]
    Unknown,
    /// The length is too small for the addresses, or a TLV ends after it.
    #[error("PROXY header shorter than its content")]
    Truncated,
    /// The CRC32c differs (§2.2.3).
    #[error("wrong checksum of the PROXY header")]
    Checksum,
}

/// Reads the header that a connection begins with.
///
/// # Errors
/// See [`enum@Error`]; only [`Error::Incomplete`] can be mended, by more bytes.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    const LINE: &[u8] = b"PROXY ";
    if bytes.starts_with(SIGNATURE) {
        parse_v2(bytes)
    } else if bytes.starts_with(LINE) {
        parse_v1(bytes)
    } else if LINE.starts_with(bytes) {
        let need = "PROXY UNKNOWN\r\n".len();
        Err(Error::Incomplete { need })
    } else if SIGNATURE.starts_with(bytes) {
        Err(Error::Incomplete { need: PREFIX })
    } else {
        Err(Error::Missing)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, Error> {
    let line = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(end) = line.iter().position(|&byte| matches!(byte, b'\r' | b'\n')) else {
        return match bytes.len().checked_add(1) {
            Some(need) if bytes.len() < MAX_V1 => Err(Error::Incomplete { need }),
            _ => Err(Error::TooLong),
        };
    };
    let (line, rest) = line.split_at_checked(end).ok_or(Error::Line)?;
    match rest {
        [b'\r'] if end < MAX_V1.saturating_sub(1) => {
            let need = end.saturating_add(2);
            return Err(Error::Incomplete { need });
        }
        [b'\r'] => return Err(Error::TooLong),
        [b'\r', b'\n', ..] => {}
        _ => return Err(Error::Line),
    }
    let line = str::from_utf8(line).map_err(|_| Error::Line)?;
    Ok(Parsed {
        len: end.saturating_add(2),
        endpoints: line_endpoints(line)?,
    })
}

fn line_endpoints(line: &str) -> Result<Option<Endpoints>, Error> {
    let mut words = line.split(' ').skip(1);
    let is_family: fn(&IpAddr) -> bool = match words.next() {
        // §2.1: what follows is to be ignored.
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => IpAddr::is_ipv4,
        Some("TCP6") => IpAddr::is_ipv6,
        _ => return Err(Error::Line),
    };
    let mut address = || -> Result<IpAddr, Error> {
        let address = words.next().and_then(|word| word.parse().ok());
        address.filter(is_family).ok_or(Error::Line)
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port).ok_or(Error::Line);
    let (source_port, destination_port) = (port()?, port()?);
    match words.next() {
        Some(_) => Err(Error::Line),
        None => Ok(Some(Endpoints {
            source: (source, source_port).into(),
            destination: (destination, destination_port).into(),
        })),
    }
}

/// Digits alone, without leading zeros (§2.1).
fn port(word: &str) -> Option<u16> {
    let canonical = word == "0" || !word.starts_with(['0', '+']);
    word.parse().ok().filter(|_| canonical)
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, Error> {
    let Some((prefix, _)) = bytes.split_first_chunk::<PREFIX>() else {
        return Err(Error::Incomplete { need: PREFIX });
    };
    let [.., command, family, high, low] = *prefix;
    let len = PREFIX.saturating_add(u16::from_be_bytes([high, low]).into());
    if len > MAX_V2 {
        return Err(Error::TooLong);
    }
    let header = bytes.get(..len).ok_or(Error::Incomplete { need: len })?;
    let body = header.get(PREFIX..).unwrap_or_default();
    let endpoints = match (command, family) {
        // §2.2: a LOCAL header's family and content are to be discarded.
        (0x20, _) => None,
        (0x21, 0x00) => None,
        (0x21, 0x11 | 0x12) => {
            let (block, tlvs) = body.split_first_chunk::<12>().ok_or(Error::Truncated)?;
            check_tlvs(header, tlvs)?;
            Some(inet4(block))
        }
        (0x21, 0x21 | 0x22) => {
            let (block, tlvs) = body.split_first_chunk::<36>().ok_or(Error::Truncated)?;
            check_tlvs(header, tlvs)?;
            Some(inet6(block))
        }
        (0x21, 0x31 | 0x32) => {
            let (_, tlvs) = body.split_first_chunk::<216>().ok_or(Error::Truncated)?;
            check_tlvs(header, tlvs)?;
            None
        }
        _ => return Err(Error::Unknown),
    };
    Ok(Parsed { len, endpoints })
}

fn inet4(block: &[u8; 12]) -> Endpoints {
    let [s0, s1, s2, s3, d0, d1, d2, d3, ports @ ..] = *block;
    let [source_port, destination_port] = split_ports(ports);
    Endpoints {
        source: (Ipv4Addr::new(s0, s1, s2, s3), source_port).into(),
        destination: (Ipv4Addr::new(d0, d1, d2, d3), destination_port).into(),
    }
}

fn inet6(block: &[u8; 36]) -> Endpoints {
    let (addresses, ports) = block.split_at(32);
    let address = |half: &[u8]| Ipv6Addr::from(<[u8; 16]>::try_from(half).expect("half of 32"));
    let (source, destination) = addresses.split_at(16);
    let ports = ports.try_into().expect("36 less 32");
    let [source_port, destination_port] = split_ports(ports);
    Endpoints {
        source: (address(source), source_port).into(),
        destination: (address(destination), destination_port).into(),
    }
}

fn split_ports([s0, s1, d0, d1]: [u8; 4]) -> [u16; 2] {
    [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])]
}

/// Walks the TLVs and verifies the checksum if one is there (§2.2.3: over the header with the value zeroed).
fn check_tlvs(header: &[u8], mut tlvs: &[u8]) -> Result<(), Error> {
    while let Some((&[kind, high, low], rest)) = tlvs.split_first_chunk() {
        let len = u16::from_be_bytes([high, low]).into();
        let (value, after) = rest.split_at_checked(len).ok_or(Error::Truncated)?;
        if kind == TLV_CRC32C {
            let expect = u32::from_be_bytes(value.try_into().map_err(|_| Error::Checksum)?);
            let before = header.len().saturating_sub(rest.len());
            let before = header.get(..before).unwrap_or_default();
            if crc32c(&[before, &[0; 4], after]) != expect {
                return Err(Error::Checksum);
            }
        }
        tlvs = after;
    }
    if tlvs.is_empty() {
        Ok(())
    } else {
        Err(Error::Truncated)
    }
}

/// How to write a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line.
    V1,
    /// Binary.
    V2,
}

/// The header for a relayed connection; `None` says that it is the sender's own (UNKNOWN, LOCAL). Ends of two
/// families are both written as IPv6, the IPv4 one mapped.
#[must_use]
pub fn encode(version: Version, endpoints: Option<Endpoints>) -> Vec<u8> {
    match version {
        Version::V1 => encode_v1(endpoints).into_bytes(),
        Version::V2 => encode_v2(endpoints),
    }
}

fn encode_v1(endpoints: Option<Endpoints>) -> String {
    let Some(Endpoints {
        source,
        destination,
    }) = endpoints
    else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let (family, from, to) = match (source.ip(), destination.ip()) {
        (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) => ("TCP4", from, to),
        (from, to) => ("TCP6", mapped(from).into(), mapped(to).into()),
    };
    let (from_port, to_port) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n")
}

fn encode_v2(endpoints: Option<Endpoints>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some(Endpoints {
        source,
        destination,
    }) = endpoints
    else {
        header.extend([0x20, 0x00, 0, 0]);
        return header;
    };
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (source.ip(), destination.ip()) {
        header.extend([0x21, 0x11, 0, 12]);
        header.extend(from.octets());
        header.extend(to.octets());
    } else {
        header.extend([0x21, 0x21, 0, 36]);
        header.extend(mapped(source.ip()).octets());
        header.extend(mapped(destination.ip()).octets());
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

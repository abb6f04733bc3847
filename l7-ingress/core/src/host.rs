//! The host that a request names, in the one form that matching knows.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::net::Ipv6Addr;

use thiserror::Error;

#[cfg(test)]
mod tests;

/// Why a `Host`, an `:authority` or the authority of an absolute-form target is refused (400). The client is
/// at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// Nothing there, or only a port.
    #[error("the host is empty")]
    Empty,
    /// `user@host`: what follows `@` would be routed, what stands before it shown (RFC 9110 §4.2.4).
    #[error("the host carries userinfo")]
    Userinfo,
    /// Something other than letters, digits, `-`, `_` and `.`, which is all that DNS and Ingress hosts hold.
    #[error("the host holds a character that no host name has")]
    Character,
    /// `a..b`, `.a`, `a..`, or a label of more than 63 bytes (RFC 1035 §2.3.4).
    #[error("a label of the host is empty or longer than 63 bytes")]
    Label,
    /// More than 253 bytes without the trailing dot (RFC 1035 §2.3.4).
    #[error("the host is longer than 253 bytes")]
    TooLong,
    /// Not a number up to 65535.
    #[error("the port is not a number up to 65535")]
    Port,
    /// Brackets around something else than an IPv6 address; zones are refused, they mean nothing here.
    #[error("the brackets hold no IPv6 address")]
    Address,
}

/// The canonical form: lower case, without port and without the trailing dot; IPv6 addresses in brackets, as
/// RFC 5952 writes them. Borrows unless a letter has to be lowered or an address rewritten.
///
/// # Errors
/// For whatever RFC 3986 §3.2 or DNS would not call `host[:port]`.
pub fn canonical(host: &str) -> Result<Cow<'_, str>, HostError> {
    split(host).map(|(host, _)| host)
}

/// Whether an absolute-form target and the `Host` field name one authority. They must (RFC 9112 §3.2.2 has the
/// field replaced; a proxy in front of this one may have looked at the other, so they may not differ).
///
/// A missing port equals 80 and 443, because the scheme is not known here.
///
/// # Errors
/// For whatever [`canonical`] refuses in either.
pub fn same_authority(a: &str, b: &str) -> Result<bool, HostError> {
    let ((a, a_port), (b, b_port)) = (split(a)?, split(b)?);
    let same_port = match (a_port, b_port) {
        (Some(a), Some(b)) => a == b,
        (Some(port), None) | (None, Some(port)) => matches!(port, 80 | 443),
        (None, None) => true,
    };
    Ok(same_port && a == b)
}

/// The canonical form, and the port if one is written.
pub(crate) fn split(host: &str) -> Result<(Cow<'_, str>, Option<u16>), HostError> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(HostError::Address)?;
        let port = match port.strip_prefix(':') {
            Some(digits) => self::port(digits)?,
            None if port.is_empty() => None,
            None => return Err(self::port(port).err().unwrap_or(HostError::Port)),
        };
        return Ok((literal(host, address)?, port));
    }
    let (name, port) = match host.split_once(':') {
        Some((name, digits)) => (name, port(digits)?),
        None => (host, None),
    };
    Ok((self::name(name)?, port))
}

/// RFC 3986 §3.2.3 lets the digits be missing: `host:` has no port.
fn port(digits: &str) -> Result<Option<u16>, HostError> {
    if digits.contains('@') {
        return Err(HostError::Userinfo);
    }
    if digits.is_empty() {
        return Ok(None);
    }
    // `u16::from_str` takes a sign.
    if digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostError::Port);
    }
    digits.parse().map(Some).map_err(|_| HostError::Port)
}

fn literal<'a>(host: &'a str, address: &str) -> Result<Cow<'a, str>, HostError> {
    let parsed: Ipv6Addr = address.parse().map_err(|_| HostError::Address)?;
    let canonical = format!("[{parsed}]");
    Ok(match host.split_at_checked(canonical.len()) {
        Some((same, _)) if same == canonical => Cow::Borrowed(same),
        _ => Cow::Owned(canonical),
    })
}

fn name(name: &str) -> Result<Cow<'_, str>, HostError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let (mut label, mut upper) = (0_usize, false);
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label = label.saturating_add(1),
            b'A'..=b'Z' => {
                upper = true;
                label = label.saturating_add(1);
            }
            b'.' if (1..=63).contains(&label) => label = 0,
            b'.' => return Err(HostError::Label),
            b'@' => return Err(HostError::Userinfo),
            _ => return Err(HostError::Character),
        }
    }
    match label {
        0 if name.is_empty() => Err(HostError::Empty),
        1..=63 if name.len() > 253 => Err(HostError::TooLong),
        1..=63 if upper => Ok(Cow::Owned(name.to_ascii_lowercase())),
        1..=63 => Ok(Cow::Borrowed(name)),
        _ => Err(HostError::Label),
    }
}

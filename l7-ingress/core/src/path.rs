//! The path that matching sees: decoded once, without dot segments and doubled slashes, as nginx does it.
//!
//! The backend is still sent what the client wrote. What is decided on the path (routing, and whatever else is
//! ever decided on it) uses this form alone, so that no two decisions read one request differently.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;

use thiserror::Error;

#[cfg(test)]
mod tests;

/// Why a path is refused (400). The client is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// It does not start with `/`, and is not the `*` of OPTIONS.
    #[error("the path does not start with a slash")]
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a broken percent-encoding")]
    Encoding,
    /// `%00`: what reads it as the end of the path would see another one.
    #[error("the path holds a NUL")]
    Nul,
    /// More `..` than there are segments before it.
    #[error("the path climbs above the root")]
    AboveRoot,
}

/// The normal form of a request's path (without the query).
///
/// - Percent-encodings are decoded once, `%2F` to a slash that separates and `%2E` to a dot that counts (nginx).
/// - What does not decode to printable UTF-8 stays encoded with upper-case digits: `%25`, control characters, and
///   bytes that are not UTF-8. So two paths have one form only if they are the same bytes, and the form of the
///   form is itself.
/// - `.` and `..` are resolved and doubled slashes merged, both after decoding.
/// - `*`, the target of `OPTIONS *`, is matched as `/`.
///
/// Borrows when there is nothing to do.
///
/// # Errors
/// See [`PathError`].
pub fn normalise(path: &str) -> Result<Cow<'_, str>, PathError> {
    if path == "*" {
        return Ok(Cow::Borrowed("/"));
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let normal = encode(&resolve(&decode(path)?)?);
    Ok(if normal == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(normal)
    })
}

/// Whether there is nothing to do.
fn is_plain(path: &[u8]) -> bool {
    // Both folds go on after a hit, so that they are vectorised.
    let coded = |found, &byte: &u8| found | (byte == b'%') | byte.is_ascii_control();
    if path.iter().fold(false, coded) {
        return false;
    }
    let next = path.get(1..).unwrap_or_default();
    let suspect = path.iter().zip(next).fold(false, |found, (&a, &b)| {
        found | ((a == b'/') & ((b == b'/') | (b == b'.')))
    });
    // Most dots after a slash belong to names such as `.well-known`.
    let is_dots = |segment| segment == b"." || segment == b"..";
    !suspect
        || !path.windows(2).any(|pair| pair == b"//")
            && !path.split(|&byte| byte == b'/').any(is_dots)
}

fn decode(path: &str) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            high << 4 | low
        } else {
            byte
        };
        if byte == 0 {
            return Err(PathError::Nul);
        }
        decoded.push(byte);
    }
    Ok(decoded)
}

fn digit(byte: Option<u8>) -> Result<u8, PathError> {
    byte.and_then(|byte| char::from(byte).to_digit(16))
        .and_then(|digit| u8::try_from(digit).ok())
        .ok_or(PathError::Encoding)
}

/// Slashes are merged before `..` looks for its segment, so `/a//..` is `/` (RFC 3986 alone would say `/a/`).
fn resolve(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut resolved = Vec::with_capacity(path.len());
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" | b"." => {}
            b".." => {
                let parent = resolved.iter().rposition(|&byte| byte == b'/');
                resolved.truncate(parent.ok_or(PathError::AboveRoot)?);
            }
            name => {
                resolved.push(b'/');
                resolved.extend_from_slice(name);
                continue;
            }
        }
        if last {
            resolved.push(b'/');
        }
    }
    Ok(resolved)
}

fn encode(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for char in chunk.valid().chars() {
            match u8::try_from(char) {
                Ok(byte) if byte == b'%' || byte.is_ascii_control() => {
                    push_encoded(&mut encoded, byte);
                }
                _ => encoded.push(char),
            }
        }
        for &byte in chunk.invalid() {
            push_encoded(&mut encoded, byte);
        }
    }
    encoded
}

fn push_encoded(encoded: &mut String, byte: u8) {
    encoded.push('%');
    for digit in [byte >> 4, byte & 0xf] {
        let digit = char::from_digit(u32::from(digit), 16).expect("four bits are one digit");
        encoded.push(digit.to_ascii_uppercase());
    }
}

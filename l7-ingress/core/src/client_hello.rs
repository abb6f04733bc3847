//! What a TLS client asks for before anything is encrypted: the name of the server (RFC 6066 §3). It does no TLS: a
//! connection that is passed through is never ended here.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Bytes of a first flight that are looked at; what names no server within them names none.
pub const LONGEST: usize = 64 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// Of a record, and of a handshake message (RFC 8446 §5.1, §4).
const RECORD_HEAD: usize = 5;
const MESSAGE_HEAD: usize = 4;

/// What the bytes so far say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// More of them are needed.
    Partial,
    /// The client has said what it wants: this server, in lower case and without a trailing dot, or any.
    Complete(Option<Box<str>>),
    /// This is no TLS.
    Foreign,
}

/// Reads the first bytes of a connection, however they are cut into records and however these arrive. Every byte is
/// looked at once, so that a client that sends one at a time costs no more than another.
#[derive(Debug, Default)]
pub struct ClientHello {
    /// What the records so far hold of the message.
    message: Vec<u8>,
    /// How many bytes have been read.
    read: usize,
    /// How many of the record that is being read are still to come.
    left: usize,
}

impl ClientHello {
    /// `bytes` are all that have come so far, those of earlier calls included.
    pub fn read(&mut self, bytes: &[u8]) -> Hello {
        loop {
            match self.message() {
                Hello::Partial => {}
                known => return known,
            }
            let Some(new) = bytes.get(self.read..).filter(|new| !new.is_empty()) else {
                return match bytes.len() >= LONGEST {
                    true => Hello::Foreign,
                    false => Hello::Partial,
                };
            };
            if self.left > 0 {
                let piece = new.get(..self.left).unwrap_or(new);
                self.message.extend_from_slice(piece);
                self.read = self.read.saturating_add(piece.len());
                self.left = self.left.saturating_sub(piece.len());
                continue;
            }
            match record(new) {
                None => return Hello::Foreign,
                Some(None) => return Hello::Partial,
                Some(Some(length)) => {
                    self.read = self.read.saturating_add(RECORD_HEAD);
                    self.left = length;
                }
            }
        }
    }

    /// What the message says as far as it is there.
    fn message(&self) -> Hello {
        let mut message = Reader(&self.message);
        match message.number(1) {
            None => return Hello::Partial,
            Some(kind) if kind != usize::from(CLIENT_HELLO) => return Hello::Foreign,
            Some(_) => {}
        }
        let Some(length) = message.number(3) else {
            return Hello::Partial;
        };
        if length > LONGEST.saturating_sub(MESSAGE_HEAD) {
            return Hello::Foreign;
        }
        match message.take(length).map(server_name) {
            None => Hello::Partial,
            Some(None) => Hello::Foreign,
            Some(Some(name)) => Hello::Complete(name),
        }
    }
}

/// The length of a handshake record that begins here; the inner `None` asks for more bytes, the outer one says that it is
/// no such record.
fn record(bytes: &[u8]) -> Option<Option<usize>> {
    let mut bytes = Reader(bytes);
    match bytes.number(1) {
        Some(kind) if kind != usize::from(HANDSHAKE) => return None,
        _ => {}
    }
    match bytes.number(1) {
        Some(version) if version != 3 => return None,
        _ => {}
    }
    let (Some(_), Some(length)) = (bytes.number(1), bytes.number(2)) else {
        return Some(None);
    };
    // RFC 8446 §5.1: no handshake record is empty.
    (length > 0).then_some(Some(length))
}

/// `None` where the message breaks its own lengths.
fn server_name(body: &[u8]) -> Option<Option<Box<str>>> {
    let mut body = Reader(body);
    // Version and random.
    body.take(2 + 32)?;
    // Session, cipher suites, compression.
    for width in [1, 2, 1] {
        body.list(width)?;
    }
    if body.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(body.list(2)?);
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let value = extensions.list(2)?;
        if kind == usize::from(SERVER_NAME) {
            let mut names = Reader(Reader(value).list(2)?);
            let kind = names.number(1)?;
            let name = names.list(2)?;
            return (kind == usize::from(HOST_NAME)).then(|| canonical(name));
        }
    }
    Some(None)
}

fn canonical(name: &[u8]) -> Option<Box<str>> {
    let name = std::str::from_utf8(name).ok()?;
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty() && name.is_ascii()).then(|| name.to_ascii_lowercase().into())
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes, of which there are at most three.
    fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.take(width)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }

    /// Bytes after their number.
    fn list(&mut self, width: usize) -> Option<&'b [u8]> {
        let length = self.number(width)?;
        self.take(length)
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that indexes too far fails")]
mod tests;

//! HTTP/2 frames as a client should not send them.
#![expect(
    clippy::disallowed_methods,
    reason = "a reader ends with its connection"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::program::SOON;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Also the ACK of SETTINGS and PING.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields, literally and without the dynamic table.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value.as_bytes());
    }
    block
}

/// A length, as an integer with a prefix of seven bits, and the octets.
pub(crate) fn string(block: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text.len();
    if rest < 127 {
        block.push(u8::try_from(rest).unwrap());
    } else {
        block.push(127);
        rest -= 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap());
    }
    block.extend(text);
}

/// A whole GET.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    let block = fields(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", path),
    ]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// What the proxy sent on a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) status: BTreeMap<u32, String>,
    /// Bytes of DATA by stream.
    pub(crate) data: BTreeMap<u32, usize>,
    pub(crate) ended: BTreeMap<u32, bool>,
    pub(crate) reset: BTreeMap<u32, u32>,
    pub(crate) go_away: Option<u32>,
    pub(crate) closed: bool,
}

/// A connection whose answers are read all the time.
#[derive(Debug)]
pub(crate) struct Http2 {
    write: OwnedWriteHalf,
    received: watch::Receiver<Received>,
    reading: JoinHandle<()>,
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Http2 {
    /// Begins with `settings` beside the one that keeps answers readable without a table.
    pub(crate) async fn connect(to: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let tcp = TcpStream::connect(to).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (read, write) = tcp.into_split();
        let (report, received) = watch::channel(Received::default());
        let reading = tokio::task::spawn(read_all(read, report));
        let mut http2 = Self {
            write,
            received,
            reading,
        };
        let mut payload = Vec::new();
        for (name, value) in [(1, 0)].iter().chain(settings) {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        http2.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        http2.send(&frame(SETTINGS, 0, 0, &payload)).await;
        http2
    }

    /// Sends bytes; whether the proxy still takes them.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        timeout(SOON, self.write.write_all(bytes))
            .await
            .unwrap()
            .is_ok()
    }

    /// Waits until what was received is as wanted.
    pub(crate) async fn until(&mut self, wanted: impl FnMut(&Received) -> bool) -> Received {
        let waited = timeout(SOON, self.received.wait_for(wanted)).await;
        let seen = waited.map(|seen| seen.map(|seen| seen.clone()));
        match seen {
            Ok(Ok(seen)) => seen,
            _ => panic!("it did not come: {:?}", *self.received.borrow()),
        }
    }

    /// Whether anything was received that ends the connection.
    pub(crate) fn has_ended(&self) -> bool {
        let received = self.received.borrow();
        received.closed || received.go_away.is_some()
    }
}

async fn read_all(mut read: OwnedReadHalf, report: watch::Sender<Received>) {
    let mut head = [0; 9];
    while read.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if read.read_exact(&mut payload).await.is_err() {
            break;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        report.send_modify(|received| note(received, head[3], head[4], stream, &payload));
    }
    report.send_modify(|received| received.closed = true);
}

fn note(received: &mut Received, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let code = |at: usize| {
        payload
            .get(at..at + 4)
            .map(|b| u32::from_be_bytes(b.try_into().unwrap()))
    };
    match kind {
        HEADERS => {
            received
                .status
                .entry(stream)
                .or_insert_with(|| status(payload));
        }
        DATA => *received.data.entry(stream).or_default() += payload.len(),
        RST_STREAM => {
            received.reset.insert(stream, code(0).unwrap());
        }
        GOAWAY => {
            // The first says that no more is taken, a later one why.
            received.go_away = code(4);
        }
        _ => {}
    }
    if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
        received.ended.insert(stream, true);
    }
}

/// The status, which comes first: indexed, or a literal of three Huffman-coded digits.
fn status(block: &[u8]) -> String {
    // A table of no size is announced first.
    let block = block.strip_prefix(&[0x20]).unwrap_or(block);
    match block {
        [index @ 0x88..=0x8e, ..] => {
            let at = usize::from(*index - 0x88);
            ["200", "204", "206", "304", "400", "404", "500"][at].to_owned()
        }
        [_, length, rest @ ..] if length & 0x80 == 0 => {
            String::from_utf8_lossy(&rest[..usize::from(*length)]).into_owned()
        }
        [_, length, rest @ ..] => digits(&rest[..usize::from(length & 0x7f)]),
        _ => panic!("{block:?}"),
    }
}

/// Digits in HPACK's Huffman code: 0 to 2 have five bits, 3 to 9 six.
fn digits(coded: &[u8]) -> String {
    let bits = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let (mut text, mut word, mut length) = (String::new(), 0_u8, 0);
    for bit in bits {
        (word, length) = (word << 1 | bit, length + 1);
        let digit = match (length, word) {
            (5, 0..=2) => word,
            (6, 0b01_1001..=0b01_1111) => word - 0b01_1001 + 3,
            _ => continue,
        };
        text.push(char::from(b'0' + digit));
        (word, length) = (0, 0);
    }
    text
}

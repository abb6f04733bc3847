//! A client that sends whatever it is told to, and reads what comes.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::program::SOON;

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The values of a field.
    pub(crate) fn field(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1);
        let fields = lines.filter_map(|line| line.split_once(':'));
        fields
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

/// A connection to the proxy.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) tcp: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let tcp = TcpStream::connect(to).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let read = Vec::new();
        Self { tcp, read }
    }

    /// The status of a request that no backend gets: TRACE is for no reverse proxy.
    pub(crate) async fn nothing(to: SocketAddr) -> u16 {
        let mut wire = Self::connect(to).await;
        wire.send("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        wire.response().await.unwrap().status
    }

    /// Sends `bytes`; a peer that has hung up is no failure, its reasons are in its answer.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(SOON, self.tcp.write_all(bytes.as_ref())).await;
        let _hung_up = sent.unwrap();
    }

    /// Reads one response, to a request that was not HEAD; `None` when the connection ends instead.
    pub(crate) async fn response(&mut self) -> Option<Response> {
        loop {
            if let Some((response, used)) = parse(&self.read) {
                self.read.drain(..used);
                return Some(response);
            }
            let mut piece = vec![0; 16 * 1024];
            let read = timeout(SOON, self.tcp.read(&mut piece)).await.unwrap();
            match read {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.read.extend_from_slice(&piece[..n]),
            }
        }
    }

    /// Reads to the end, raw.
    pub(crate) async fn rest(mut self) -> (Vec<u8>, End) {
        let mut piece = vec![0; 64 * 1024];
        loop {
            match timeout(SOON, self.tcp.read(&mut piece)).await.unwrap() {
                Ok(0) => return (self.read, End::Closed),
                Ok(n) => self.read.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return (self.read, End::Reset);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// All responses up to the end of the connection.
    pub(crate) async fn responses(self) -> Vec<Response> {
        let (raw, _) = self.rest().await;
        let mut rest = &raw[..];
        let mut responses = Vec::new();
        while let Some((response, used)) = parse(rest) {
            responses.push(response);
            rest = &rest[used..];
        }
        assert_eq!(rest, b"", "{}", raw.escape_ascii());
        responses
    }
}

/// The first response in `bytes` and its length, if it is complete.
fn parse(bytes: &[u8]) -> Option<(Response, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.get(9..12).unwrap().parse().unwrap();
    let mut response = Response {
        status,
        head,
        body: Vec::new(),
    };
    if status < 200 {
        return Some((response, end));
    }
    if response.field("transfer-encoding") == ["chunked"] {
        let (body, used) = dechunk(&bytes[end..])?;
        response.body = body;
        return Some((response, end + used));
    }
    let length = match response.field("content-length")[..] {
        [] => 0,
        [length] => length.parse().unwrap(),
        _ => panic!("{response:?}"),
    };
    response.body = bytes.get(end..end + length)?.to_vec();
    Some((response, end + length))
}

fn dechunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = str::from_utf8(&bytes[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        at += line + 2;
        if size == 0 {
            let trailers = &bytes[at..];
            if trailers.starts_with(b"\r\n") {
                return Some((body, at + 2));
            }
            let end = trailers.windows(4).position(|four| four == b"\r\n\r\n")?;
            return Some((body, at + end + 4));
        }
        body.extend_from_slice(bytes.get(at..at + size)?);
        bytes.get(at + size..at + size + 2)?;
        at += size + 2;
    }
}

/// One GET on a connection of its own.
pub(crate) async fn get(to: SocketAddr, target: &str) -> Response {
    let mut wire = Wire::connect(to).await;
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ))
    .await;
    wire.response().await.unwrap()
}

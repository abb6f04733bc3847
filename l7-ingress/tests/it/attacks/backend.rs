//! Backends: one that writes down what it is sent, and ones that do as they are told.
#![expect(clippy::disallowed_methods, reason = "a backend ends with its handle")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A listener, and what is done with its connections. Both end with this value.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Backend {
    /// Serves every connection with `serve`, which is told the connection's number.
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), serve).await
    }

    /// The same on an address that was another backend's before.
    pub(crate) async fn start_on<F>(
        address: SocketAddr,
        serve: impl Fn(TcpStream, usize) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::task::spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                connections.spawn(serve(tcp, number));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, accepting }
    }

    /// Sends `bytes` in answer to every request, then closes unless `keep`.
    pub(crate) async fn saying(bytes: &'static [u8], keep: bool) -> Self {
        Self::start(move |mut tcp, _| async move {
            while read_request(&mut tcp)
                .await
                .is_some_and(|seen| seen.complete)
            {
                if tcp.write_all(bytes).await.is_err() || !keep {
                    break;
                }
            }
        })
        .await
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// All of it came.
    pub(crate) complete: bool,
}

impl Seen {
    /// The values of a field.
    pub(crate) fn field(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1);
        let fields = lines.filter_map(|line| line.split_once(": "));
        let named = fields.filter(|(field, _)| *field == name);
        named.map(|(_, value)| value).collect()
    }
}

/// What a backend was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Vec<Seen>>>);

impl Ledger {
    pub(crate) fn add(&self, seen: Seen) {
        self.0.lock().unwrap().push(seen);
    }

    /// Takes what was added so far.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Writes down every request and answers 200 with the request's target in `x-target`.
pub(crate) async fn recorder() -> (Backend, Ledger) {
    let ledger = Ledger::default();
    let seen = ledger.clone();
    let backend = Backend::start(move |tcp, _| record(tcp, seen.clone())).await;
    (backend, ledger)
}

/// Serves one connection of [`recorder`].
pub(crate) async fn record(mut tcp: TcpStream, ledger: Ledger) {
    while let Some(seen) = read_request(&mut tcp).await {
        let complete = seen.complete;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-target: {}\r\n\r\n",
            seen.target
        );
        ledger.add(seen);
        if !complete || tcp.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads one request, in the one form that a proxy may send it in; anything else fails the test.
/// `None` at the end of the connection.
pub(crate) async fn read_request(tcp: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    let head = canonical(&head);
    let mut words = head.split(' ');
    let mut seen = Seen {
        method: words.next().unwrap().to_owned(),
        target: words.next().unwrap().to_owned(),
        head,
        body: Vec::new(),
        complete: false,
    };
    let length = seen
        .field("content-length")
        .first()
        .map(|n| n.parse().unwrap());
    let chunked = !seen.field("transfer-encoding").is_empty();
    seen.complete = match length {
        Some(length) => read_exact(tcp, &mut seen.body, length).await,
        None if chunked => read_chunks(tcp, &mut seen.body).await,
        None => true,
    };
    Some(seen)
}

async fn read_exact(tcp: &mut TcpStream, body: &mut Vec<u8>, length: usize) -> bool {
    let start = body.len();
    body.resize(start + length, 0);
    tcp.read_exact(&mut body[start..]).await.is_ok()
}

/// Chunks without extensions; trailers are part of the body's record.
async fn read_chunks(tcp: &mut TcpStream, body: &mut Vec<u8>) -> bool {
    loop {
        let mut line = Vec::new();
        if !read_line(tcp, &mut line).await {
            return false;
        }
        let size = str::from_utf8(&line).unwrap().trim_end();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            while line != b"\r\n" {
                line.clear();
                if !read_line(tcp, &mut line).await {
                    return false;
                }
            }
            return true;
        }
        let mut end = Vec::new();
        if !read_exact(tcp, body, size).await || !read_exact(tcp, &mut end, 2).await {
            return false;
        }
        assert_eq!(end, b"\r\n");
    }
}

async fn read_line(tcp: &mut TcpStream, line: &mut Vec<u8>) -> bool {
    while !line.ends_with(b"\n") {
        match tcp.read_u8().await {
            Ok(byte) => line.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// Fails unless `head` can be read in one way only.
fn canonical(head: &[u8]) -> String {
    let text = str::from_utf8(head).unwrap();
    let mut lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
    let first: Vec<_> = lines.next().unwrap().split(' ').collect();
    assert!(
        first.len() == 3 && first[1].starts_with('/') && first[2] == "HTTP/1.1",
        "{text:?}"
    );
    let mut names = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{text:?}"));
        let token =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(token), "{text:?}");
        assert!(
            value.bytes().all(|byte| byte >= b' ' || byte == b'\t'),
            "{text:?}"
        );
        names.push(name);
        match name {
            "transfer-encoding" => assert_eq!(value, "chunked", "{text:?}"),
            "content-length" => assert!(value.bytes().all(|b| b.is_ascii_digit()), "{text:?}"),
            _ => {}
        }
    }
    let count = |name: &str| names.iter().filter(|one| **one == name).count();
    assert_eq!(count("host"), 1, "{text:?}");
    let framings = count("transfer-encoding") + count("content-length");
    assert!(framings <= 1, "{text:?}");
    text.to_owned()
}

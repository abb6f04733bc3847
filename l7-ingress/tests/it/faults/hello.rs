//! A ClientHello in pieces (F29): byte by byte, over many records, larger than a record, without a
//! name, with an encrypted part that means nothing. All of them are served.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ClientConfig;
use rustls::client::{EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::hpke::Hpke;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::{
    Authority, Backend, Connection, Proxy, annotate, class, describe, get, ingress, secret, served,
    soon, tls,
};

/// A client's socket that cuts the first bytes it is given.
struct Cut {
    tcp: TcpStream,
    /// Bytes of one record's content, if records are cut.
    record: Option<usize>,
    /// Bytes of one segment.
    segment: usize,
    /// What is still to be sent, cut.
    pending: Vec<u8>,
    /// Whether the first flight has been taken.
    began: bool,
}

impl Cut {
    async fn connect(proxy: &Proxy, record: Option<usize>, segment: usize) -> Self {
        let tcp = TcpStream::connect(proxy.https).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Self {
            tcp,
            record,
            segment,
            pending: Vec::new(),
            began: false,
        }
    }

    /// Sends what is pending, segment by segment.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let end = self.segment.min(self.pending.len());
            let sent = Pin::new(&mut self.tcp).poll_write(cx, &self.pending[..end]);
            let sent = ready!(sent)?;
            self.pending.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

/// The handshake records in `bytes`, with no more than `size` bytes of content each (RFC 8446 §5.1).
fn refragmented(bytes: &[u8], size: usize) -> Vec<u8> {
    let (mut cut, mut rest) = (Vec::new(), bytes);
    while let [kind, major, minor, high, low, content @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        assert_eq!(*kind, 22, "the first flight is a handshake");
        let (content, next) = content.split_at(length);
        for piece in content.chunks(size) {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            cut.extend([*kind, *major, *minor]);
            cut.extend(length);
            cut.extend(piece);
        }
        rest = next;
    }
    cut
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(cx))?;
        if !self.began {
            self.began = true;
            self.pending = match self.record {
                Some(size) => refragmented(bytes, size),
                None => bytes.to_vec(),
            };
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

async fn site() -> (Backend, Proxy) {
    let web = Backend::echo("web").await;
    let object = ingress("web", &["a.test Prefix / web"]);
    let mut objects = served("web", &[web.address]);
    objects.extend([
        class(),
        secret("tls", &Authority::issue(&["a.test"])),
        tls(object, &["a.test"], "tls"),
    ]);
    let flags = ["--default-ssl-certificate", "default/tls"];
    let proxy = Proxy::start(&objects, &flags).await;
    proxy.ready().await;
    (web, proxy)
}

/// The same with a backend under TLS, and `passed` passed through to it.
async fn site_of(passed: &str) -> (Backend, Proxy) {
    let pem = Authority::issue(&["a.test"]);
    let web = Backend::https(pem.server(&["http/1.1"]), |request| {
        describe("web".to_owned(), request)
    })
    .await;
    let key = |name| format!("nginx.ingress.kubernetes.io/{name}");
    let spoken = |object| annotate(object, &key("backend-protocol"), "HTTPS");
    let passing = ingress("passing", &[&format!("{passed} Prefix / web")]);
    let passing = annotate(passing, &key("ssl-passthrough"), "true");
    let mut objects = served("web", &[web.address]);
    objects.extend([
        class(),
        secret("tls", &pem),
        spoken(passing),
        spoken(ingress("web", &["a.test Prefix /web web"])),
        spoken(ingress("rest", &["* Prefix / web"])),
    ]);
    let flags = [
        "--default-ssl-certificate",
        "default/tls",
        "--enable-ssl-passthrough",
    ];
    let proxy = Proxy::start(&objects, &flags).await;
    proxy.ready().await;
    (web, proxy)
}

/// Shakes hands over `io` and asks for a page.
async fn served_over(io: Cut, config: ClientConfig, what: &str) {
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("a.test").unwrap();
    let session = soon(what, connector.connect(name, io)).await;
    let session = session.unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut client = Connection::http1(session).await;
    let answer = soon(what, client.send(get("https://a.test/web"))).await;
    assert_eq!(answer.unwrap().backend(), "web", "{what}");
}

const LARGE: &str = "of 17 KB";

/// A hello of more than 16 KiB: that many protocols are offered.
fn large() -> ClientConfig {
    let names: Vec<String> = (0..100).map(|n| format!("{n:0>170}")).collect();
    let mut offered: Vec<&str> = names.iter().map(String::as_str).collect();
    offered.push("http/1.1");
    Authority::client(rustls::ALL_VERSIONS, &offered)
}

fn nameless() -> ClientConfig {
    let mut config = Authority::client(rustls::ALL_VERSIONS, &[]);
    config.enable_sni = false;
    config
}

#[tokio::test]
async fn a_hello_may_come_in_any_pieces() {
    let (_web, proxy) = site().await;
    in_any_pieces(&proxy).await;
}

/// Here every hello is read twice: by who looks for its name, and by who ends its TLS.
#[tokio::test]
async fn it_may_so_beside_a_host_that_is_passed_through() {
    let (_web, proxy) = site_of("b.test").await;
    in_any_pieces(&proxy).await;
    assert_eq!(passed(&proxy), 0.0);
}

#[tokio::test]
async fn it_may_so_on_the_way_to_an_endpoint() {
    let (_web, proxy) = site_of("a.test").await;
    in_any_pieces(&proxy).await;
    // All but those without a name.
    assert_eq!(passed(&proxy), 19.0);
}

fn passed(proxy: &Proxy) -> f64 {
    let name = "penstock_l7_stream_sessions_total";
    proxy.metric(name, &[("protocol", "TLS")])
}

async fn in_any_pieces(proxy: &Proxy) {
    let plain = || Authority::client(rustls::ALL_VERSIONS, &["http/1.1"]);
    let old = || Authority::client(&[&rustls::version::TLS12], &["http/1.1"]);
    let configs: &[(&str, &dyn Fn() -> ClientConfig)] = &[
        ("with a post-quantum share", &plain),
        ("of TLS 1.2", &old),
        ("without a name", &nameless),
        (LARGE, &large),
    ];
    for (name, config) in configs {
        for (record, segment) in [
            (None, usize::MAX),
            (None, 1),
            (None, 500),
            (Some(1), usize::MAX),
            (Some(1), 1),
            (Some(3), 7),
            (Some(64), usize::MAX),
        ] {
            if *name == LARGE && record == Some(1) {
                continue;
            }
            let io = Cut::connect(proxy, record, segment).await;
            let what = format!("{name}, records of {record:?}, segments of {segment}");
            served_over(io, config(), &what).await;
        }
    }
}

/// 17 KB in records of one byte are more than 64 KiB: what is kept of a hello is bounded.
#[tokio::test]
async fn a_hello_that_is_mostly_record_headers_is_refused() {
    let (_web, proxy) = site().await;
    let io = Cut::connect(&proxy, Some(1), usize::MAX).await;
    let connector = TlsConnector::from(Arc::new(large()));
    let name = ServerName::try_from("a.test").unwrap();
    assert!(soon("an end", connector.connect(name, io)).await.is_err());
    assert_eq!(proxy.get("https://a.test/").await.backend(), "web");
}

#[tokio::test]
async fn an_encrypted_part_that_means_nothing_is_ignored() {
    let (_web, proxy) = site().await;
    let suite = aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128;
    let (key, _) = suite.generate_key_pair().unwrap();
    let mode = EchMode::Grease(EchGreaseConfig::new(suite, key));
    let config = Authority::client_greased(mode);
    let io = Cut::connect(&proxy, None, usize::MAX).await;
    served_over(io, config, "ECH GREASE").await;
}

/// Half a hello is waited for as long as a handshake may take, and holds nobody else up.
#[tokio::test]
async fn half_a_hello_is_not_waited_for_long() {
    let web = Backend::echo("web").await;
    let mut objects = served("web", &[web.address]);
    objects.extend([class(), ingress("web", &["a.test Prefix / web"])]);
    let proxy = Proxy::start(&objects, &["--handshake-timeout", "300ms"]).await;
    proxy.ready().await;
    let mut halves = Vec::new();
    for _ in 0..50 {
        let mut tcp = TcpStream::connect(proxy.https).await.unwrap();
        // The head of a hello of 512 bytes, and two of them.
        let half = [22, 3, 1, 2, 0, 1, 0];
        tokio::io::AsyncWriteExt::write_all(&mut tcp, &half)
            .await
            .unwrap();
        halves.push(tcp);
    }
    assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
    for mut half in halves {
        let mut rest = Vec::new();
        // An alert may come first, and a reset is as good an end.
        let _ = soon("the end", half.read_to_end(&mut rest)).await;
        assert!(rest.len() < 100);
    }
}

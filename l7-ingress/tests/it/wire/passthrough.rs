//! `ssl-passthrough` over the wire: whose TLS is ended by endpoints, and that nothing else changes.

use std::net::SocketAddr;

use http::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    Authority, Backend, Connection, Pem, Proxy, Raw, annotate, class, describe, eventually, get,
    ingress, secret, served, slice, soon, tls,
};

const PREFIX: &str = "nginx.ingress.kubernetes.io";
const FLAG: &str = "--enable-ssl-passthrough";

/// `pass.test` leads to `secure`, which ends TLS itself, but for `/plain`; `a.test` is ended here.
struct Site {
    secure: Backend,
    plain: Backend,
    /// The certificate of `secure`, and the one that is served here for both hosts.
    theirs: Pem,
    ours: Pem,
}

fn passing() -> Value {
    let object = ingress(
        "pass",
        &["pass.test Prefix / secure", "pass.test Prefix /plain plain"],
    );
    let object = annotate(object, &format!("{PREFIX}/ssl-passthrough"), "true");
    annotate(object, &format!("{PREFIX}/ssl-redirect"), "false")
}

impl Site {
    async fn new() -> Self {
        let theirs = Authority::issue(&["pass.test"]);
        let config = theirs.server(&["h2", "http/1.1"]);
        let echo = |request| describe("secure".to_owned(), request);
        Self {
            secure: Backend::https(config, echo).await,
            plain: Backend::echo("plain").await,
            theirs,
            ours: Authority::issue(&["a.test", "pass.test"]),
        }
    }

    fn objects(&self) -> Vec<Value> {
        let here = ingress("here", &["a.test Prefix / plain"]);
        [
            served("secure", &[self.secure.address]),
            served("plain", &[self.plain.address]),
            vec![
                class(),
                passing(),
                tls(here, &["a.test"], "tls"),
                secret("tls", &self.ours),
            ],
        ]
        .concat()
    }

    async fn start(&self, flags: &[&str]) -> Proxy {
        let default = ["--default-ssl-certificate", "default/tls"];
        Proxy::start(&self.objects(), &[&default, flags].concat()).await
    }
}

/// The certificate that a client who asks for `name` is shown.
async fn shown(proxy: &Proxy, name: &str) -> Vec<u8> {
    let session = proxy.tls(name, &["http/1.1"]).await;
    session.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn passed(proxy: &Proxy) -> f64 {
    let name = "penstock_l7_stream_sessions_total";
    proxy.metric(name, &[("protocol", "TLS")])
}

async fn ask(client: &mut Connection, url: &str) -> Value {
    let answer = soon(url, client.send(get(url))).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    answer.json()
}

#[tokio::test]
async fn endpoints_end_the_tls_of_hosts_that_ask_for_it() {
    let site = Site::new().await;
    let proxy = site.start(&[FLAG]).await;
    assert_eq!(shown(&proxy, "pass.test").await, site.theirs.der());
    assert_eq!(shown(&proxy, "PASS.test").await, site.theirs.der());
    assert_eq!(shown(&proxy, "a.test").await, site.ours.der());
    // Its paths and what else its Ingress says mean nothing to what nobody reads.
    let url = "https://pass.test/plain";
    for mut client in [proxy.connect(url).await, proxy.connect_http2(url).await] {
        let echoed = ask(&mut client, url).await;
        assert_eq!(echoed["pod"], "secure");
        assert_eq!(echoed["sni"], "pass.test");
        assert_eq!(echoed["headers"].get("x-forwarded-for"), None);
    }
    assert_eq!(passed(&proxy), 4.0);
    // In the clear it is as any other.
    let answer = proxy.get("http://pass.test/plain").await;
    assert_eq!(answer.json()["pod"], "plain");
    assert_eq!(proxy.get("https://a.test/").await.backend(), "plain");
    assert_eq!(passed(&proxy), 4.0);
}

#[tokio::test]
async fn whoever_names_nobody_is_served_here() {
    let site = Site::new().await;
    let proxy = site.start(&[FLAG]).await;
    let mut config = Authority::client(rustls::ALL_VERSIONS, &[]);
    config.enable_sni = false;
    let session = proxy.handshake("a.test", config).await.unwrap();
    let certificates = session.get_ref().1.peer_certificates().unwrap();
    assert_eq!(certificates[0].to_vec(), site.ours.der());
    let mut client = Connection::http1(session).await;
    assert_eq!(ask(&mut client, "https://a.test/").await["pod"], "plain");
    // So is who speaks no TLS at all.
    let mut raw = Raw::connect(proxy.https).await;
    raw.send("GET / HTTP/1.1\r\nHost: pass.test\r\n\r\n").await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 400 "));
    assert_eq!(passed(&proxy), 0.0);
}

/// Whoever looks for a name is no easier to hold up or to upset than the handshake that follows.
#[tokio::test]
async fn what_is_no_hello_is_closed() {
    let site = Site::new().await;
    let proxy = site.start(&[FLAG, "--handshake-timeout", "300ms"]).await;
    let hello = hello("pass.test");
    let half = &hello[..hello.len() / 2];
    let endless = [22, 3, 1, 0, 1, 0].repeat(20_000);
    let endless = [&[22, 3, 1, 0, 4, 1, 0, 0xff, 0][..], &endless].concat();
    for sent in [
        b"".as_slice(),
        half,
        &hello[..5],
        &[0xff; 4096],
        &[21, 3, 3, 0, 2, 1, 0],
        &[22, 3, 1, 255, 255, 1, 0, 255, 251],
        &[22, 3, 1, 0, 4, 1, 255, 255, 255],
        &[22, 3, 1, 0, 4, 1, 0, 0, 0],
        &[128, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16],
        &endless,
    ] {
        let mut raw = Raw::connect(proxy.https).await;
        raw.send(sent).await;
        assert!(raw.rest().await.len() < 100);
    }
    assert_eq!((passed(&proxy), site.secure.accepted()), (0.0, 0));
    assert_eq!(shown(&proxy, "pass.test").await, site.theirs.der());
}

#[tokio::test]
async fn without_the_flag_tls_is_ended_here() {
    let site = Site::new().await;
    let proxy = site.start(&[]).await;
    assert_eq!(shown(&proxy, "pass.test").await, site.ours.der());
    let labels = [("kind", "Ingress"), ("reason", "InvalidAnnotation")];
    eventually("the problem", async || {
        (proxy.metric("penstock_l7_problems", &labels) == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_change_is_for_new_connections_alone() {
    let site = Site::new().await;
    let proxy = site.start(&[FLAG]).await;
    let url = "https://pass.test/";
    let mut open = proxy.connect(url).await;
    ask(&mut open, url).await;
    // Other endpoints.
    let other = Backend::https(site.theirs.server(&["http/1.1"]), |request| {
        describe("other".to_owned(), request)
    })
    .await;
    proxy.apply(slice("secure", 0, other.address));
    eventually("the other endpoint", async || {
        let mut client = proxy.connect(url).await;
        (ask(&mut client, url).await["pod"] == "other").then_some(())
    })
    .await;
    assert_eq!(ask(&mut open, url).await["pod"], "secure");
    // No passing through.
    proxy.apply(annotate(
        passing(),
        &format!("{PREFIX}/ssl-passthrough"),
        "false",
    ));
    eventually("TLS ended here", async || {
        (shown(&proxy, "pass.test").await == site.ours.der()).then_some(())
    })
    .await;
    assert_eq!(ask(&mut open, url).await["pod"], "secure");
    // No host.
    proxy.delete(&crate::harness::ingress_id("pass"));
    proxy
        .until("http://pass.test/plain", |answer| answer.status == 404)
        .await;
    assert_eq!(ask(&mut open, url).await["pod"], "secure");
    // And back again.
    proxy.apply(passing());
    eventually("TLS ended there", async || {
        (shown(&proxy, "pass.test").await == site.theirs.der()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_an_endpoint_is_closed() {
    let site = Site::new().await;
    let mut objects = site.objects();
    let refusing = Backend::refusing().await;
    objects.extend(served("secure", &[refusing]));
    let proxy = Proxy::start(&objects, &[FLAG]).await;
    let config = Authority::client(rustls::ALL_VERSIONS, &[]);
    assert!(proxy.handshake("pass.test", config).await.is_err());
    eventually("a failure that counts", async || {
        let failures = proxy.metric("penstock_l7_stream_failures_total", &[]);
        (failures == 1.0).then_some(())
    })
    .await;
    assert_eq!(passed(&proxy), 1.0);
}

#[tokio::test]
async fn one_dead_endpoint_of_two_is_passed_by() {
    let site = Site::new().await;
    let mut objects = site.objects();
    let refusing = Backend::refusing().await;
    objects.extend(served("secure", &[refusing, site.secure.address]));
    let proxy = Proxy::start(&objects, &[FLAG]).await;
    for _ in 0..10 {
        assert_eq!(shown(&proxy, "pass.test").await, site.theirs.der());
    }
}

/// A backend that keeps what it is sent first.
async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The start of what rustls's client says to a server of this name.
fn hello(name: &str) -> Vec<u8> {
    let config = Authority::client(rustls::ALL_VERSIONS, &[]);
    let name = name.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn endpoints_are_told_of_the_client_where_that_is_asked_for() {
    let header = "PROXY TCP4 9.8.7.6 5.4.3.2 1234 443\r\n";
    for told in ["false", "true"] {
        let (listener, address) = listening().await;
        let object = annotate(
            passing(),
            "penstock.dev/ssl-passthrough-proxy-protocol",
            told,
        );
        let objects = [served("secure", &[address]), vec![class(), object]].concat();
        let proxy = Proxy::start(&objects, &[FLAG, "--use-proxy-protocol"]).await;
        let mut client = TcpStream::connect(proxy.https).await.unwrap();
        let hello = hello("pass.test");
        client.write_all(header.as_bytes()).await.unwrap();
        client.write_all(&hello).await.unwrap();
        let (mut endpoint, _) = soon("a connection", listener.accept()).await.unwrap();
        let expect = match told {
            "true" => [header.as_bytes(), &hello].concat(),
            _ => hello,
        };
        let mut got = vec![0; expect.len()];
        soon("the hello", endpoint.read_exact(&mut got))
            .await
            .unwrap();
        assert!(got == expect, "{told}");
    }
}

#[tokio::test]
async fn both_ends_may_end_and_the_rest_is_delivered() {
    let (listener, address) = listening().await;
    let objects = [served("secure", &[address]), vec![class(), passing()]].concat();
    let proxy = Proxy::start(&objects, &[FLAG]).await;
    let mut client = TcpStream::connect(proxy.https).await.unwrap();
    let hello = hello("pass.test");
    client.write_all(&hello).await.unwrap();
    client.write_all(b"early").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut endpoint, _) = soon("a connection", listener.accept()).await.unwrap();
    let mut got = Vec::new();
    soon("the end", endpoint.read_to_end(&mut got))
        .await
        .unwrap();
    assert!(got == [&hello[..], b"early"].concat());
    endpoint.write_all(b"late").await.unwrap();
    drop(endpoint);
    let mut rest = String::new();
    soon("the end", client.read_to_string(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, "late");
}

#[tokio::test]
async fn a_connection_goes_on_while_the_process_leaves() {
    let site = Site::new().await;
    let mut proxy = site.start(&[FLAG, "--drain-deadline", "25s"]).await;
    let url = "https://pass.test/";
    let mut client = proxy.connect(url).await;
    ask(&mut client, url).await;
    proxy.process.shutdown().request();
    eventually("no more connections", async || {
        TcpStream::connect(proxy.https).await.is_err().then_some(())
    })
    .await;
    ask(&mut client, url).await;
    drop(client);
    proxy.ended().await.unwrap();
    assert_eq!(proxy.metric("penstock_l7_drain_forced_total", &[]), 0.0);
}

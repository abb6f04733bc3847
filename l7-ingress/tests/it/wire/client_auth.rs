//! Client certificates while Secrets change, and sessions that are resumed.

use std::sync::{Arc, Mutex};

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, SupportedProtocolVersion};
use serde_json::{Value, json};
use tokio_rustls::client::TlsStream;

use crate::harness::{
    Authority, Backend, Ca, Connection, Flaws, Pem, Proxy, class, credentials, eventually, get,
    ingress, secret, served, tls,
};

fn guarded(name: &str, host: &str, secret: &str) -> Value {
    let mut object = tls(
        ingress(name, &[&format!("{host} Prefix / web")]),
        &[host],
        "server",
    );
    object["metadata"]["annotations"] =
        json!({ "nginx.ingress.kubernetes.io/auth-tls-secret": format!("default/{secret}") });
    object
}

/// Resumes what it has, whoever's it is.
#[derive(Debug, Default)]
struct AnySession(
    Mutex<(
        Option<Tls12ClientSessionValue>,
        Vec<Tls13ClientSessionValue>,
    )>,
);

impl ClientSessionStore for AnySession {
    fn set_kx_hint(&self, _server_name: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _server_name: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.lock().unwrap().0 = Some(value);
    }

    fn tls12_session(&self, _server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.lock().unwrap().0.clone()
    }

    fn remove_tls12_session(&self, _server_name: &ServerName<'static>) {
        self.0.lock().unwrap().0 = None;
    }

    fn insert_tls13_ticket(
        &self,
        _server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.0.lock().unwrap().1.push(value);
    }

    fn take_tls13_ticket(
        &self,
        _server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap().1.pop()
    }
}

fn client(pem: &Pem, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let chain = CertificateDer::pem_slice_iter(pem.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
    let mut config =
        Authority::client_showing(&[version], chain.map(Result::unwrap).collect(), key);
    config.resumption = Resumption::store(Arc::new(AnySession::default()));
    config
}

/// The status of a request for `host`, and how the handshake with `sni` was done.
async fn ask(proxy: &Proxy, config: &ClientConfig, sni: &str, host: &str) -> (u16, HandshakeKind) {
    let stream = proxy.handshake(sni, config.clone()).await.unwrap();
    let kind = kind(&stream);
    let mut connection = Connection::http1(stream).await;
    let answer = connection.send(get(&format!("https://{host}/"))).await;
    (answer.unwrap().status.as_u16(), kind)
}

fn kind<T>(stream: &TlsStream<T>) -> HandshakeKind {
    stream.get_ref().1.handshake_kind().unwrap()
}

struct Site {
    proxy: Proxy,
    alice: Pem,
    others: Ca,
    _backend: Backend,
}

/// `a.test` believes one authority, `b.test` another one; `open.test` asks nobody. `alice` is of the former.
async fn site() -> Site {
    let (ca, others) = (Ca::new("ca"), Ca::new("others"));
    let alice = ca.issue_with(
        &[],
        Flaws {
            name: "alice",
            ..Flaws::default()
        },
    );
    let backend = Backend::echo("web").await;
    let mut objects = served("web", &[backend.address]);
    let hosts = ["a.test", "b.test", "open.test"];
    objects.extend([
        class(),
        secret("server", &Authority::issue(&hosts)),
        credentials("clients", None, (&ca.certificate, "")),
        credentials("others", None, (&others.certificate, "")),
        guarded("a", "a.test", "clients"),
        guarded("b", "b.test", "others"),
        tls(
            ingress("open", &["open.test Prefix / web"]),
            &["open.test"],
            "server",
        ),
    ]);
    let proxy = Proxy::start(&objects, &[]).await;
    Site {
        proxy,
        alice,
        others,
        _backend: backend,
    }
}

#[tokio::test]
async fn a_session_that_is_resumed_is_worth_no_more_than_its_certificate() {
    let site = site().await;
    for version in [&TLS12, &TLS13] {
        let config = client(&site.alice, version);
        let ask = async |sni: &str, host: &str| ask(&site.proxy, &config, sni, host).await;
        assert_eq!(
            ask("a.test", "a.test").await,
            (200, HandshakeKind::Full),
            "{version:?}"
        );
        assert_eq!(
            ask("a.test", "a.test").await,
            (200, HandshakeKind::Resumed),
            "{version:?}"
        );
        // Whatever the client offers to resume, another host is another handshake and another judgement.
        let (status, kind) = ask("b.test", "b.test").await;
        assert_eq!((status, kind), (400, HandshakeKind::Full), "{version:?}");
        assert_eq!(ask("b.test", "a.test").await.0, 421, "{version:?}");
        let (status, kind) = ask("open.test", "open.test").await;
        assert_eq!((status, kind), (200, HandshakeKind::Full), "{version:?}");
        // Nobody was asked for a certificate there.
        assert_eq!(ask("open.test", "a.test").await.0, 421, "{version:?}");
        assert_eq!(ask("open.test", "open.test").await.0, 200, "{version:?}");
    }
}

#[tokio::test]
async fn another_secret_holds_at_once_on_old_connections_and_sessions_too() {
    let site = site().await;
    let config = client(&site.alice, &TLS13);
    let stream = site
        .proxy
        .handshake("a.test", config.clone())
        .await
        .unwrap();
    let mut kept = Connection::http1(stream).await;
    let url = "https://a.test/";
    assert_eq!(kept.send(get(url)).await.unwrap().status, 200);
    let believed = &site.others.certificate;
    site.proxy
        .apply(credentials("clients", None, (believed, "")));
    eventually("the new authorities", async || {
        let (status, _) = ask(&site.proxy, &config, "a.test", "a.test").await;
        (status == 400).then_some(())
    })
    .await;
    assert_eq!(kept.send(get(url)).await.unwrap().status, 400);
    let bob = site.others.issue_with(
        &[],
        Flaws {
            name: "bob",
            ..Flaws::default()
        },
    );
    let config = client(&bob, &TLS13);
    assert_eq!(ask(&site.proxy, &config, "a.test", "a.test").await.0, 200);
}

#[tokio::test]
async fn one_http2_connection_is_judged_for_each_request() {
    let site = site().await;
    let mut config = client(&site.alice, &TLS13);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = site.proxy.handshake("a.test", config).await.unwrap();
    let mut connection = Connection::http2(stream).await;
    for (host, expect) in [
        ("a.test", 200),
        ("b.test", 421),
        ("open.test", 200),
        ("a.test", 200),
    ] {
        let answer = connection.send(get(&format!("https://{host}/"))).await;
        assert_eq!(answer.unwrap().status, expect, "{host}");
    }
}

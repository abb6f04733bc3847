//! `proxy-ssl-*` over the wire: who is shown what, who is believed, and which connections are kept for whom.

use rustls::version::{TLS12, TLS13};
use serde_json::Value;

use crate::harness::{
    Answer, Backend, Ca, Flaws, Pem, Proxy, annotate, class, credentials, describe, eventually,
    get, hexadecimal, ingress, served, soon,
};

const PREFIX: &str = "nginx.ingress.kubernetes.io";
/// What endpoints of the Service `web` are called where nothing else is said.
const NAME: &str = "web.default.svc";

/// An Ingress, a path of `a.test` for itself, that speaks HTTPS to `web` with these annotations.
fn site(name: &str, annotations: &[(&str, &str)]) -> Value {
    let rule = format!("a.test Prefix /{name} web");
    let plain = annotate(
        ingress(name, &[&rule]),
        &format!("{PREFIX}/backend-protocol"),
        "HTTPS",
    );
    annotations.iter().fold(plain, |object, (key, value)| {
        annotate(object, &format!("{PREFIX}/{key}"), value)
    })
}

/// A backend that describes sessions, with this certificate, for clients of this authority.
async fn asking(clients: &Ca, own: &Pem) -> Backend {
    let config = clients.asking(own, rustls::ALL_VERSIONS);
    Backend::https(config, |request| describe("web".to_owned(), request)).await
}

async fn open(own: &Pem) -> Backend {
    Backend::https(own.server(&[]), |request| {
        describe("web".to_owned(), request)
    })
    .await
}

async fn start(backend: &Backend, objects: &[Value]) -> Proxy {
    let mut all = served("web", &[backend.address]);
    all.push(class());
    all.extend(objects.iter().cloned());
    Proxy::start(&all, &["--workers", "1"]).await
}

/// The certificate that the backend was shown.
fn shown(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["client"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_backend_is_shown_the_certificate_of_the_secret() {
    let (clients, servers) = (Ca::new("clients"), Ca::new("servers"));
    let own = clients.issue(&["proxy"]);
    for version in [&TLS12, &TLS13] {
        let config = clients.asking(&servers.issue(&[NAME]), &[version]);
        let backend = Backend::https(config, |request| describe("web".to_owned(), request)).await;
        let secret = ("proxy-ssl-secret", "default/mine");
        let objects = [
            credentials("mine", Some(&own), ("", "")),
            site("with", &[secret, ("proxy-ssl-server-name", "on")]),
            annotate(
                site("without", &[]),
                &format!("{PREFIX}/load-balance"),
                "ewma",
            ),
        ];
        let proxy = start(&backend, &objects).await;
        let answer = proxy.get("http://a.test/with").await;
        assert_eq!(shown(&answer), hexadecimal(&own.der()), "{version:?}");
        assert_eq!(answer.json()["sni"], NAME);
        // The other Ingress of the host shows the same.
        let answer = proxy.get("http://a.test/without").await;
        assert_eq!(shown(&answer), hexadecimal(&own.der()), "{version:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_a_backend_that_asks_for_one_is_not_reached() {
    let (clients, servers) = (Ca::new("clients"), Ca::new("servers"));
    let backend = asking(&clients, &servers.issue(&[NAME])).await;
    let stranger = Ca::new("strangers").issue(&["proxy"]);
    let objects = [
        credentials("mine", Some(&stranger), ("", "")),
        site("none", &[]),
        site("stranger", &[("proxy-ssl-secret", "default/mine")]),
        site("lost", &[("proxy-ssl-secret", "default/lost")]),
    ];
    let proxy = start(&backend, &objects).await;
    assert_eq!(proxy.get("http://a.test/none").await.status, 502);
    assert_eq!(proxy.get("http://a.test/stranger").await.status, 502);
    assert_eq!(proxy.get("http://a.test/lost").await.status, 503);
    assert_eq!(backend.requests(), 0);
}

/// What a backend with this certificate is worth to one who verifies with these annotations.
async fn verified(own: &Pem, trusted: (&str, &str), more: &[(&str, &str)]) -> u16 {
    let backend = open(own).await;
    let asked = [
        ("proxy-ssl-secret", "default/mine"),
        ("proxy-ssl-verify", "on"),
    ];
    let site = site("x", &[&asked[..], more].concat());
    let proxy = start(&backend, &[credentials("mine", None, trusted), site]).await;
    let status = proxy.get("http://a.test/x").await.status;
    assert_eq!(backend.requests(), usize::from(status == 200));
    status.as_u16()
}

#[tokio::test]
async fn a_certificate_is_believed_if_its_authority_name_and_time_are_right() {
    let (ca, other) = (Ca::new("servers"), Ca::new("others"));
    let trusted = (&*ca.certificate, "");
    let good = ca.issue(&[NAME]);
    assert_eq!(verified(&good, trusted, &[]).await, 200);
    let bundle = other.certificate.clone() + &ca.certificate;
    assert_eq!(verified(&good, (&bundle, ""), &[]).await, 200);
    assert_eq!(verified(&good, (&other.certificate, ""), &[]).await, 502);
    let expired = Flaws {
        expired: true,
        ..Flaws::default()
    };
    let expired = ca.issue_with(&[NAME], expired);
    assert_eq!(verified(&expired, trusted, &[]).await, 502);
    let named = ca.issue(&["b.test", "10.0.0.1"]);
    assert_eq!(verified(&named, trusted, &[]).await, 502);
    for (name, expect) in [
        ("b.test", 200),
        ("c.test", 502),
        ("10.0.0.1", 200),
        ("127.0.0.1", 502),
    ] {
        let name = [("proxy-ssl-name", name)];
        assert_eq!(verified(&named, trusted, &name).await, expect, "{name:?}");
    }
    let wild = ca.issue(&["*.default.svc"]);
    assert_eq!(verified(&wild, trusted, &[]).await, 200);
}

#[tokio::test]
async fn no_more_authorities_stand_between_than_allowed() {
    let root = Ca::new("root");
    let below = root.below("one");
    let deep = below.below("two");
    let trusted = (&*root.certificate, "");
    let depth = |depth: &'static str| [("proxy-ssl-verify-depth", depth)];
    let one = below.issue(&[NAME]);
    assert_eq!(verified(&one, trusted, &[]).await, 200);
    let two = deep.issue(&[NAME]);
    assert_eq!(verified(&two, trusted, &[]).await, 502);
    assert_eq!(verified(&two, trusted, &depth("2")).await, 200);
    assert_eq!(verified(&two, trusted, &depth("0")).await, 502);
}

#[tokio::test]
async fn a_certificate_that_was_revoked_is_not_believed() {
    let ca = Ca::new("servers");
    let list = ca.revoke(&[7]);
    for (serial, expect) in [(7, 502), (8, 200)] {
        let flaws = Flaws {
            serial,
            ..Flaws::default()
        };
        let own = ca.issue_with(&[NAME], flaws);
        assert_eq!(
            verified(&own, (&ca.certificate, &list), &[]).await,
            expect,
            "{serial}"
        );
    }
    // A list of another authority says nothing of this one's.
    let foreign = Ca::new("others").revoke(&[7]);
    assert_eq!(
        verified(&ca.issue(&[NAME]), (&ca.certificate, &foreign), &[]).await,
        502
    );
}

#[tokio::test]
async fn no_other_version_is_spoken_than_named() {
    let ca = Ca::new("any");
    let own = ca.issue(&[NAME]);
    for (named, spoken, expect) in [
        ("TLSv1.2", &TLS12, 200),
        ("TLSv1.2", &TLS13, 502),
        ("TLSv1.1 TLSv1.3", &TLS13, 200),
        ("TLSv1.3", &TLS12, 502),
    ] {
        let config = ca.asking(&own, &[spoken]);
        let backend = Backend::https(config, |request| describe("web".to_owned(), request)).await;
        let asked = [
            ("proxy-ssl-secret", "default/mine"),
            ("proxy-ssl-protocols", named),
        ];
        let objects = [credentials("mine", Some(&own), ("", "")), site("x", &asked)];
        let proxy = start(&backend, &objects).await;
        let answer = proxy.get("http://a.test/x").await;
        assert_eq!(answer.status, expect, "{named} {spoken:?}");
    }
}

#[tokio::test]
async fn suites_are_those_of_the_list() {
    let ca = Ca::new("any");
    let own = ca.issue(&[NAME]);
    let backend = asking(&ca, &own).await;
    for (list, expect) in [
        (
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
        (
            "HIGH:!CHACHA20:!AES256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ),
    ] {
        let asked = [
            ("proxy-ssl-secret", "default/mine"),
            ("proxy-ssl-protocols", "TLSv1.2"),
            ("proxy-ssl-ciphers", list),
        ];
        let objects = [credentials("mine", Some(&own), ("", "")), site("x", &asked)];
        let proxy = start(&backend, &objects).await;
        assert_eq!(proxy.get("http://a.test/x").await.json()["suite"], expect);
    }
}

#[tokio::test]
async fn two_identities_never_share_a_connection() {
    let clients = Ca::new("clients");
    let (first, second) = (clients.issue(&["first"]), clients.issue(&["second"]));
    let config = clients.asking(&clients.issue(&[NAME]), rustls::ALL_VERSIONS);
    let mut grpc = config.clone();
    grpc.alpn_protocols = vec![b"h2".to_vec()];
    for (protocol, config) in [("HTTPS", config), ("GRPCS", grpc)] {
        let backend = Backend::https(config, |request| describe("web".to_owned(), request)).await;
        let speaks = |site| annotate(site, &format!("{PREFIX}/backend-protocol"), protocol);
        let objects = [
            credentials("first", Some(&first), ("", "")),
            credentials("second", Some(&second), ("", "")),
            speaks(site("one", &[("proxy-ssl-secret", "default/first")])),
            speaks(site("two", &[("proxy-ssl-secret", "default/second")])),
        ];
        let proxy = start(&backend, &objects).await;
        let mut client = proxy.connect("http://a.test/").await;
        for _ in 0..5 {
            for (path, own) in [("one", &first), ("two", &second)] {
                let url = format!("http://a.test/{path}");
                let answer = soon(&url, client.send(get(&url))).await.unwrap();
                assert_eq!(shown(&answer), hexadecimal(&own.der()), "{protocol} {path}");
            }
        }
        assert_eq!(backend.accepted(), 2, "{protocol}: one connection for each");
    }
}

/// Sessions are resumed as whom they were begun, in either version.
#[tokio::test]
async fn two_identities_never_share_a_session() {
    let clients = Ca::new("clients");
    let (first, second) = (clients.issue(&["first"]), clients.issue(&["second"]));
    for version in [&TLS12, &TLS13] {
        let mut config = clients.asking(&clients.issue(&[NAME]), &[version]);
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        let backend = Backend::https(config, |request| describe("web".to_owned(), request)).await;
        let objects = [
            credentials("first", Some(&first), ("", "")),
            credentials("second", Some(&second), ("", "")),
            site("one", &[("proxy-ssl-secret", "default/first")]),
            site("two", &[("proxy-ssl-secret", "default/second")]),
        ];
        let mut all = served("web", &[backend.address]);
        all.push(class());
        all.extend(objects);
        let flags = ["--workers", "1", "--upstream-keepalive-connections", "0"];
        let proxy = Proxy::start(&all, &flags).await;
        for _ in 0..4 {
            for (path, own) in [("one", &first), ("two", &second)] {
                let answer = proxy.get(&format!("http://a.test/{path}")).await;
                assert_eq!(
                    shown(&answer),
                    hexadecimal(&own.der()),
                    "{version:?} {path}"
                );
            }
        }
        assert_eq!(backend.accepted(), 8, "{version:?}");
    }
}

/// What is trusted no more is not reached any more, though connections to it stand.
#[tokio::test]
async fn authorities_hold_for_the_next_request() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let backend = open(&old.issue(&[NAME])).await;
    let trusting = |ca: &Ca| credentials("mine", None, (&ca.certificate, ""));
    let asked = [
        ("proxy-ssl-secret", "default/mine"),
        ("proxy-ssl-verify", "on"),
    ];
    let proxy = start(&backend, &[trusting(&old), site("x", &asked)]).await;
    let url = "http://a.test/x";
    assert_eq!(proxy.get(url).await.status, 200);
    proxy.apply(trusting(&new));
    proxy.until(url, |answer| answer.status == 502).await;
    let bundle = old.certificate.clone() + &new.certificate;
    proxy.apply(credentials("mine", None, (&bundle, "")));
    proxy.until(url, |answer| answer.status == 200).await;
    let routes = proxy.admin("/debug/routes").await.json();
    let said = "without a certificate, verified as web.default.svc";
    assert_eq!(routes[0]["tls"], said);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_from_then_on_and_no_request_is_lost() {
    let clients = Ca::new("clients");
    let server = clients.issue(&[NAME]);
    let backend = asking(&clients, &server).await;
    let first = clients.issue(&["proxy"]);
    let mine = |pem: &Pem| credentials("mine", Some(pem), ("", ""));
    let objects = [
        mine(&first),
        site("x", &[("proxy-ssl-secret", "default/mine")]),
    ];
    let proxy = start(&backend, &objects).await;
    let mut client = proxy.connect("http://a.test/x").await;
    let ask = async |client: &mut crate::harness::Connection| {
        shown(
            &soon("an answer", client.send(get("http://a.test/x")))
                .await
                .unwrap(),
        )
    };
    assert_eq!(ask(&mut client).await, hexadecimal(&first.der()));
    for number in 0..3 {
        let next = clients.issue(&[&format!("proxy{number}")]);
        proxy.apply(mine(&next));
        // Every answer on the way is a good one.
        eventually("the new certificate", async || {
            (ask(&mut client).await == hexadecimal(&next.der())).then_some(())
        })
        .await;
    }
    // A connection for each, of which those of the past are closed.
    assert_eq!(backend.accepted(), 4);
    eventually("their end", async || (backend.ended() == 3).then_some(())).await;
    // The identity that nobody is given any more is not kept in use by an open connection.
    proxy.apply(credentials("mine", None, (&clients.certificate, "")));
    proxy
        .until("http://a.test/x", |answer| answer.status == 502)
        .await;
}

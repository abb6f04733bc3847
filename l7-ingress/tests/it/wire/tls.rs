//! Which certificate a handshake gets, and which protocols there are.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};

use crate::harness::{
    Authority, Backend, Pem, Proxy, Raw, class, eventually, get, ingress, secret, served, tls,
};

/// The certificate that a client gets, if it can verify it.
async fn presented(proxy: &Proxy, name: &str, config: rustls::ClientConfig) -> Option<Vec<u8>> {
    let session = proxy.handshake(name, config).await.ok()?;
    let certificates = session.get_ref().1.peer_certificates()?;
    Some(certificates[0].to_vec())
}

fn any() -> rustls::ClientConfig {
    Authority::client(rustls::ALL_VERSIONS, &[])
}

#[tokio::test]
async fn certificates_are_chosen_by_name() {
    let (exact, wild) = (
        Authority::issue(&["a.test"]),
        Authority::issue(&["*.b.test"]),
    );
    let rules = ["a.test Prefix / web", "*.b.test Prefix / web"];
    let object = tls(ingress("web", &rules), &["a.test"], "exact");
    let objects = [
        class(),
        secret("exact", &exact),
        secret("wild", &wild),
        tls(object, &["*.b.test"], "wild"),
    ];
    let proxy = Proxy::start(&objects, &[]).await;
    for (name, expect) in [
        ("a.test", Some(&exact)),
        ("A.test", Some(&exact)),
        ("c.b.test", Some(&wild)),
        // The default certificate: nobody's authority has signed it.
        ("d.c.b.test", None),
        ("b.test", None),
        ("other.example", None),
    ] {
        let got = presented(&proxy, name, any()).await;
        assert_eq!(got, expect.map(Pem::der), "{name}");
    }
}

#[tokio::test]
async fn the_default_certificate_is_a_setting() {
    let fallback = Authority::issue(&["other.example"]);
    let objects = [class(), secret("fallback", &fallback)];
    let flags = ["--default-ssl-certificate", "default/fallback"];
    let proxy = Proxy::start(&objects, &flags).await;
    let got = presented(&proxy, "other.example", any()).await;
    assert_eq!(got, Some(fallback.der()));
}

#[tokio::test]
async fn clients_get_a_key_that_they_can_verify_in_either_version() {
    let ecdsa = Authority::issue(&["a.test"]);
    let rsa = Authority::issue_with(&rcgen::PKCS_RSA_SHA256, &["a.test"]);
    let object = tls(ingress("web", &["a.test Prefix / web"]), &["a.test"], "rsa");
    let objects = [
        class(),
        secret("rsa", &rsa),
        secret("ecdsa", &ecdsa),
        tls(object, &["a.test"], "ecdsa"),
    ];
    let proxy = Proxy::start(&objects, &[]).await;
    for version in [&TLS12, &TLS13] {
        let got = presented(&proxy, "a.test", Authority::client(&[version], &[])).await;
        assert_eq!(got, Some(ecdsa.der()), "{version:?}");
    }
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|suite| format!("{:?}", suite.suite()).starts_with("TLS_ECDHE_RSA"));
    let config = Authority::client_with(Arc::new(provider), &[&TLS12], &[]);
    assert_eq!(presented(&proxy, "a.test", config).await, Some(rsa.der()));
}

#[tokio::test]
async fn protocols_are_negotiated() {
    let web = Backend::echo("web").await;
    let mut objects = served("web", &[web.address]);
    objects.extend([
        class(),
        secret("tls", &Authority::issue(&["a.test"])),
        tls(ingress("web", &["a.test Prefix / web"]), &["a.test"], "tls"),
    ]);
    let proxy = Proxy::start(&objects, &[]).await;
    for (offered, expect) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"][..], Some("http/1.1")),
        (&[][..], None),
    ] {
        let session = proxy.tls("a.test", offered).await;
        let chosen = session.get_ref().1.alpn_protocol();
        assert_eq!(chosen, expect.map(str::as_bytes), "{offered:?}");
    }
    let url = "https://a.test/x";
    let mut client = proxy.connect_http2(url).await;
    let answer = client.send(get(url)).await.unwrap();
    assert_eq!(answer.version, http::Version::HTTP_2);
    assert_eq!(answer.json()["host"], "a.test");
    assert_eq!(answer.json()["headers"]["x-forwarded-proto"][0], "https");
    assert_eq!(answer.json()["headers"]["x-forwarded-port"][0], "443");
    assert_eq!(proxy.get(url).await.version, http::Version::HTTP_11);
}

#[tokio::test]
async fn http_in_the_clear_on_the_tls_port_is_told_so() {
    let proxy = Proxy::start(&[class()], &[]).await;
    let mut client = Raw::connect(proxy.https).await;
    client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    let answer = client.rest().await;
    let expect = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
                  content-length: 52\r\n\r\nThe plain HTTP request was sent to the HTTPS port.\r\n";
    assert_eq!(answer, expect);
}

#[tokio::test]
async fn a_new_certificate_needs_no_new_connection() {
    let web = Backend::echo("web").await;
    let mut objects = served("web", &[web.address]);
    objects.extend([
        class(),
        secret("tls", &Authority::issue(&["a.test"])),
        tls(ingress("web", &["a.test Prefix / web"]), &["a.test"], "tls"),
    ]);
    let proxy = Proxy::start(&objects, &[]).await;
    let url = "https://a.test/";
    let mut client = proxy.connect(url).await;
    assert_eq!(client.send(get(url)).await.unwrap().backend(), "web");
    let newer = Authority::issue(&["a.test"]);
    proxy.apply(secret("tls", &newer));
    eventually("the newer certificate", async || {
        let got = presented(&proxy, "a.test", any()).await;
        (got == Some(newer.der())).then_some(())
    })
    .await;
    assert_eq!(client.send(get(url)).await.unwrap().backend(), "web");
}

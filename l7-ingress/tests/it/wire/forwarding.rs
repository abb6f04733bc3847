//! What a backend is told of the client.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::in_front_of;
use crate::harness::{Backend, Proxy, Raw, get};

/// Sends a GET with these fields and checks all the fields that the backend gets.
async fn check(proxy: &Proxy, sent: &[(&str, &str)], expect: &[(&str, &str)]) {
    let mut request = get("http://a.test/");
    for (name, value) in sent {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let got = proxy.send(request).await.json()["headers"].clone();
    let expect: BTreeMap<&str, [&str; 1]> = expect
        .iter()
        .map(|(name, value)| (*name, [*value]))
        .collect();
    assert_eq!(got, json!(expect), "{sent:?}");
}

/// The fields that every request has, of a client that is this.
fn told<'a>(ip: &'a str, port: &'a str, scheme: &'a str, id: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("host", "a.test"),
        ("x-request-id", id),
        ("x-real-ip", ip),
        ("x-forwarded-for", ip),
        ("x-forwarded-host", "a.test"),
        ("x-forwarded-port", port),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-scheme", scheme),
        ("x-scheme", scheme),
    ]
}

#[tokio::test]
async fn clients_are_not_believed() {
    let web = Backend::echo("web").await;
    let proxy = in_front_of(&[&web], &[]).await;
    let port = proxy.http.port().to_string();
    let mut expect = told("127.0.0.1", &port, "http", "me");
    check(&proxy, &[("x-request-id", "me")], &expect).await;
    expect.extend([
        ("x-original-forwarded-for", "192.0.2.1"),
        ("x-original-forwarded-host", "evil.test"),
        ("accept", "*/*"),
    ]);
    let sent = [
        ("x-request-id", "me"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "192.0.2.1"),
        ("x-scheme", "https"),
        ("accept", "*/*"),
    ];
    check(&proxy, &sent, &expect).await;
}

#[tokio::test]
async fn clients_are_believed_if_so_set() {
    let web = Backend::echo("web").await;
    let flags = ["--use-forwarded-headers", "--compute-full-forwarded-for"];
    let proxy = in_front_of(&[&web], &flags).await;
    let sent = [
        ("x-request-id", "me"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "b.test"),
        ("x-forwarded-port", "8443"),
        ("x-forwarded-proto", "https"),
    ];
    let mut request = get("http://a.test/");
    for (name, value) in sent {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let headers = proxy.send(request).await.json()["headers"].clone();
    for (name, value) in [
        ("x-real-ip", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1, 127.0.0.1"),
        ("x-forwarded-host", "b.test"),
        ("x-forwarded-port", "8443"),
        ("x-forwarded-proto", "https"),
        ("x-scheme", "https"),
    ] {
        assert_eq!(headers[name], json!([value]), "{name} of {headers}");
    }
}

#[tokio::test]
async fn fields_of_one_hop_stay_there() {
    let web = Backend::echo("web").await;
    let proxy = in_front_of(&[&web], &[]).await;
    let port = proxy.http.port().to_string();
    let mut expect = told("127.0.0.1", &port, "http", "me");
    expect.extend([("te", "trailers"), ("kept", "yes")]);
    let sent = [
        ("x-request-id", "me"),
        ("connection", "keep-alive, x-private, TE"),
        ("x-private", "secret"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers, gzip"),
        ("kept", "yes"),
    ];
    check(&proxy, &sent, &expect).await;
}

#[tokio::test]
async fn a_request_without_an_id_gets_one() {
    let web = Backend::echo("web").await;
    let proxy = in_front_of(&[&web], &[]).await;
    let headers = proxy.get("http://a.test/").await.json()["headers"].clone();
    let id = headers["x-request-id"][0].as_str().unwrap();
    assert_eq!(id.len(), 32);
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

#[tokio::test]
async fn fields_of_one_hop_do_not_come_back() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: x-private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\n\
                  server: theirs\r\nkept: yes\r\ncontent-length: 0\r\n\r\n";
    let backend = Backend::script(answer).await;
    let proxy = in_front_of(&[&backend], &[]).await;
    let answer = proxy.get("http://a.test/").await;
    for name in ["connection", "x-private", "keep-alive"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    assert_eq!(answer.header("kept"), "yes");
    assert_eq!(answer.header("server"), "theirs");
}

/// A PROXY header of version 2 for TCP over IPv4: 192.0.2.1:5555 to 198.51.100.1:443.
const VERSION_2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\x15\xb3\x01\xbb";

#[tokio::test]
async fn the_proxy_protocol_names_the_client() {
    let web = Backend::echo("web").await;
    let proxy = in_front_of(&[&web], &["--use-proxy-protocol"]).await;
    let version_1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 5555 443\r\n";
    for header in [version_1, VERSION_2] {
        let mut client = Raw::connect(proxy.http).await;
        client.send(header).await;
        client
            .send("GET / HTTP/1.1\r\nhost: a.test\r\nx-request-id: me\r\nconnection: close\r\n\r\n")
            .await;
        let answer = client.rest().await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let got: Value = serde_json::from_str(body).unwrap();
        let expect: BTreeMap<&str, [&str; 1]> = told("192.0.2.1", "443", "https", "me")
            .into_iter()
            .map(|(name, value)| (name, [value]))
            .collect();
        assert_eq!(got["headers"], json!(expect));
    }
    for header in ["", "PROXY TCP4 nonsense\r\n"] {
        let mut client = Raw::connect(proxy.http).await;
        client.send(header).await;
        client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
        assert_eq!(
            client.rest().await,
            "",
            "without a header there is no answer"
        );
    }
}

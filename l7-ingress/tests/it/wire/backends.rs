//! What is spoken to backends, and which of them is chosen.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, TE};
use serde_json::Value;

use super::site;
use crate::harness::{
    Authority, Backend, Proxy, annotate, call, class, describe, full, get, ingress, request,
    secret, served, soon, tls,
};

/// `a.test`, with a certificate, leads to this backend by this protocol.
fn speaking(protocol: &str, backend: &Backend) -> Vec<Value> {
    let mut objects = served("web", &[backend.address]);
    let object = ingress("web", &["a.test Prefix / web"]);
    let key = "nginx.ingress.kubernetes.io/backend-protocol";
    let object = annotate(object, key, protocol);
    objects.extend([
        class(),
        secret("tls", &Authority::issue(&["a.test"])),
        tls(object, &["a.test"], "tls"),
    ]);
    objects
}

/// A server that nobody could verify: its certificate is for another name, by an unknown authority.
fn unverifiable(protocols: &[&str]) -> rustls::ServerConfig {
    Authority::issue(&["another.test"]).server(protocols)
}

#[tokio::test]
async fn https_is_spoken_to_backends_that_nobody_could_verify() {
    let echo = |request| describe("web".to_owned(), request);
    let backend = Backend::https(unverifiable(&["h2", "http/1.1"]), echo).await;
    let proxy = Proxy::start(&speaking("HTTPS", &backend), &["--workers", "1"]).await;
    let url = "https://a.test/x?y=1";
    for mut client in [proxy.connect(url).await, proxy.connect_http2(url).await] {
        let answer = client.send(request("POST", url, full("body"))).await;
        let echoed = answer.unwrap().json();
        assert_eq!(echoed["proto"], "HTTP/1.1");
        assert_eq!(echoed["path"], "/x?y=1");
        assert_eq!(echoed["host"], "a.test");
        assert_eq!(echoed["body"], "body");
    }
    assert_eq!(backend.requests(), 2);
    assert_eq!(backend.accepted(), 1, "one session serves both");
}

#[tokio::test]
async fn a_backend_without_tls_gets_nothing_in_the_clear() {
    let backend = Backend::echo("web").await;
    for protocol in ["HTTPS", "GRPCS"] {
        let proxy = Proxy::start(&speaking(protocol, &backend), &[]).await;
        assert_eq!(proxy.get("https://a.test/").await.status, 502);
    }
    assert_eq!(backend.requests(), 0);
    assert!(backend.accepted() > 0);
}

#[tokio::test]
async fn grpc_is_spoken_with_and_without_tls() {
    for (protocol, backend) in [
        ("GRPC", Backend::grpc().await),
        ("GRPCS", Backend::https(unverifiable(&["h2"]), call).await),
    ] {
        let proxy = Proxy::start(&speaking(protocol, &backend), &["--workers", "1"]).await;
        let url = "https://a.test/echo.Echo/Echo";
        let mut client = proxy.connect_http2(url).await;
        for number in 0..10 {
            let mut sent = request("POST", url, full(number.to_string()));
            let headers = sent.headers_mut();
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            let answer = client.send(sent).await.unwrap();
            assert_eq!(answer.status, 200, "{protocol}: {answer:?}");
            assert_eq!(answer.body, number.to_string(), "{protocol}");
            assert_eq!(answer.trailers["grpc-status"], "0", "{protocol}");
        }
        assert_eq!(backend.requests(), 10, "{protocol}");
        assert_eq!(backend.accepted(), 1, "{protocol}: all share a connection");
    }
}

/// Long enough that nothing on a busy machine is as slow.
const SLOW: Duration = Duration::from_millis(200);

/// How many of 200 requests of eight clients go to the slow one of two endpoints.
async fn share_of_the_slow(flags: &[&str]) -> usize {
    let slow = Backend::http(async |request| {
        tokio::time::sleep(SLOW).await;
        describe("slow".to_owned(), request).await
    })
    .await;
    let fast = Backend::echo("fast").await;
    let flags = [&["--workers", "1"], flags].concat();
    let proxy = Proxy::start(&site(&[&slow, &fast]), &flags).await;
    let url = "http://a.test/";
    let clients = (0..8).map(|_| async {
        let mut client = proxy.connect(url).await;
        for _ in 0..25 {
            assert_eq!(client.send(get(url)).await.unwrap().status, 200);
        }
    });
    soon("200 requests", futures_util::future::join_all(clients)).await;
    assert_eq!(slow.requests() + fast.requests(), 200);
    slow.requests()
}

#[tokio::test]
async fn a_slow_endpoint_gets_less_where_latency_counts() {
    assert_eq!(share_of_the_slow(&[]).await, 100, "in turn");
    let share = share_of_the_slow(&["--load-balance", "ewma"]).await;
    println!("200 requests, {share} of them to the endpoint that takes {SLOW:?}");
    assert!((1..=20).contains(&share), "{share} of 200");
}

#[tokio::test]
async fn auto_http_follows_the_client() {
    let echo = |request| describe("web".to_owned(), request);
    let tls = Backend::https(unverifiable(&["http/1.1"]), echo).await;
    let plain = Backend::echo("web").await;
    for (backend, secure, clear) in [(&tls, 200, 502), (&plain, 502, 200)] {
        let key = "nginx.ingress.kubernetes.io/ssl-redirect";
        let objects = speaking("AUTO_HTTP", backend).into_iter();
        let objects: Vec<_> = objects
            .map(|object| annotate(object, key, "false"))
            .collect();
        let proxy = Proxy::start(&objects, &[]).await;
        assert_eq!(proxy.get("https://a.test/").await.status, secure);
        assert_eq!(proxy.get("http://a.test/").await.status, clear);
    }
}

#[tokio::test]
async fn the_address_of_a_service_may_stand_for_its_endpoints() {
    let (service, pod) = (Backend::echo("service").await, Backend::echo("pod").await);
    let key = "nginx.ingress.kubernetes.io/service-upstream";
    let mut objects = served("web", &[pod.address]);
    objects[0]["spec"] = serde_json::json!({
        "clusterIP": "127.0.0.1",
        "ports": [{ "name": "http", "port": service.address.port() }],
    });
    let with = annotate(ingress("via", &["via.test Prefix / web"]), key, "true");
    let without = ingress("direct", &["direct.test Prefix / web"]);
    objects.extend([class(), with, without]);
    let proxy = Proxy::start(&objects, &[]).await;
    assert_eq!(proxy.get("http://via.test/").await.backend(), "service");
    assert_eq!(proxy.get("http://direct.test/").await.backend(), "pod");
}

#[tokio::test]
async fn a_route_has_its_own_time_limits() {
    let silent = Backend::connections(async |_tcp| std::future::pending::<()>().await).await;
    let key = "nginx.ingress.kubernetes.io/proxy-read-timeout";
    let mut objects = served("web", &[silent.address]);
    let object = ingress("web", &["a.test Prefix / web"]);
    objects.extend([class(), annotate(object, key, "1")]);
    let proxy = Proxy::start(&objects, &["--proxy-read-timeout", "1h"]).await;
    assert_eq!(proxy.get("http://a.test/").await.status, 504);
}

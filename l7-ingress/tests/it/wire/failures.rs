//! Backends that are missing, refuse, are silent or break off.

use std::net::SocketAddr;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::in_front_of;
use crate::harness::{
    Backend, Lost, Proxy, Raw, class, empty, full, get, ingress, request, served, service,
};

#[tokio::test]
async fn services_without_endpoints() {
    let external = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "external", "namespace": "default" },
        "spec": {
            "type": "ExternalName", "externalName": "nowhere.invalid",
            "ports": [{ "name": "http", "port": 80 }],
        },
    });
    let rules = [
        "missing.test Prefix / missing",
        "empty.test Prefix / empty",
        "external.test Prefix / external",
    ];
    let objects = [class(), service("empty"), external, ingress("web", &rules)];
    let proxy = Proxy::start(&objects, &[]).await;
    for (url, status) in [
        ("http://missing.test/", 503),
        ("http://empty.test/", 503),
        ("http://external.test/", 502),
    ] {
        assert_eq!(proxy.get(url).await.status, status, "{url}");
    }
}

/// Site whose Service has these endpoints.
async fn site(endpoints: &[SocketAddr], flags: &[&str]) -> Proxy {
    let mut objects = served("web", endpoints);
    objects.extend([class(), ingress("web", &["a.test Prefix / web"])]);
    Proxy::start(&objects, flags).await
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let good = Backend::echo("good").await;
    let proxy = site(&[Backend::refusing().await, good.address], &[]).await;
    for number in 0..20 {
        let sent = request("POST", "http://a.test/", full(format!("{number}")));
        let answer = proxy.send(sent).await;
        assert_eq!(answer.backend(), "good");
        assert_eq!(answer.json()["body"], number.to_string());
    }
    assert_eq!(good.requests(), 20);
    assert!(proxy.metric("penstock_l7_retries_total", &[]) >= 1.0);
    assert!(proxy.metric("penstock_l7_upstream_connect_errors_total", &[]) >= 1.0);
}

#[tokio::test]
async fn nobody_listens() {
    let endpoints = [Backend::refusing().await, Backend::refusing().await];
    let proxy = site(&endpoints, &[]).await;
    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>penstock</center>\r\n</body>\r\n</html>\r\n";
    for _ in 0..3 {
        let answer = proxy.get("http://a.test/").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (502, page.as_bytes())
        );
        assert_eq!(answer.headers["server"], "penstock");
        assert_eq!(answer.headers["content-type"], "text/html");
        assert_eq!(answer.headers["content-length"], page.len().to_string());
        let mut others: Vec<_> = answer.headers.keys().map(|name| name.as_str()).collect();
        others.sort_unstable();
        assert_eq!(others, ["content-length", "content-type", "date", "server"]);
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_accept_is_504() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&address.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // The queue has room for one; whoever comes later gets no answer at all.
    let fillers: Vec<Socket> = (0..4)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            socket
        })
        .collect();
    let flags = ["--proxy-connect-timeout", "300ms"];
    let proxy = site(&[address.as_socket().unwrap()], &flags).await;
    assert_eq!(proxy.get("http://a.test/").await.status, 504);
    drop(fillers);
}

#[tokio::test]
async fn a_silent_endpoint_is_504_and_a_post_is_sent_once() {
    let silent = async |tcp| {
        let mut raw = Raw::new(tcp);
        raw.rest().await;
    };
    let first = Backend::connections(silent).await;
    let second = Backend::connections(silent).await;
    let flags = ["--proxy-read-timeout", "300ms"];
    let proxy = in_front_of(&[&first, &second], &flags).await;
    let answer = proxy
        .send(request("POST", "http://a.test/", full("x")))
        .await;
    assert_eq!(answer.status, 504);
    assert_eq!(first.accepted() + second.accepted(), 1);
    // A GET may be executed twice.
    assert_eq!(proxy.get("http://a.test/").await.status, 504);
    assert!(first.accepted() + second.accepted() > 1);
}

#[tokio::test]
async fn broken_answers_are_502() {
    for bytes in [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nbad name: x\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ] {
        let backend = Backend::script(bytes).await;
        let proxy = in_front_of(&[&backend], &[]).await;
        let sent = request("POST", "http://a.test/", empty());
        assert_eq!(proxy.send(sent).await.status, 502, "{bytes:?}");
        assert_eq!(backend.accepted(), 1, "a POST is not repeated: {bytes:?}");
    }
}

#[tokio::test]
async fn what_breaks_off_is_never_complete() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let backend = Backend::script(bytes).await;
        let proxy = in_front_of(&[&backend], &[]).await;
        let url = "http://a.test/";
        let mut clients = [proxy.connect(url).await, proxy.connect_http2(url).await];
        for client in &mut clients {
            let answer = client.send(get(url)).await;
            assert!(
                matches!(answer, Err(Lost::Sent(_))),
                "{bytes:?}: {answer:?}"
            );
        }
        assert_eq!(
            proxy.metric("penstock_l7_aborted_responses_total", &[]),
            2.0,
            "{bytes:?}"
        );
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_backend_closed_is_not_the_clients_problem() {
    // Says nothing of closing, and closes.
    let backend = Backend::script("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let proxy = in_front_of(&[&backend], &["--workers", "1"]).await;
    let mut client = proxy.connect("http://a.test/").await;
    for _ in 0..20 {
        let answer = client.send(get("http://a.test/")).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (200, &b"ok"[..])
        );
    }
}

//! HTTP/1 as bytes, and HTTP/2 with prior knowledge.

use super::in_front_of;
use crate::harness::{Backend, Proxy, Raw, full, get, request, trailing};

/// Sends bytes on one connection and returns all that comes back.
async fn exchange(proxy: &Proxy, bytes: &str) -> String {
    let mut client = Raw::connect(proxy.http).await;
    client.send(bytes).await;
    client.rest().await
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let web = Backend::echo("web").await;
    let proxy = in_front_of(&[&web], &[]).await;
    let bytes = "GET /1 HTTP/1.1\r\nhost: a.test\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a.test\r\n\
                 content-length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
    let answers = exchange(&proxy, bytes).await;
    let places = ["\"/1\"", "\"abc\"", "\"/3\""].map(|it| answers.find(it).unwrap());
    assert!(places.is_sorted(), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3);
}

#[tokio::test]
async fn chunks_and_trailers_go_both_ways() {
    let echo = Backend::echo("web").await;
    let proxy = in_front_of(&[&echo], &[]).await;
    let bytes = "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                 3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nx-sum: 7\r\n\r\n";
    let answer = exchange(&proxy, bytes).await;
    assert!(answer.contains(r#""body":"abcdefg""#), "{answer}");
    assert!(answer.contains(r#""trailers":1"#), "{answer}");

    let script = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                  5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n";
    let backend = Backend::script(script).await;
    let proxy = in_front_of(&[&backend], &[]).await;
    let bytes = "GET / HTTP/1.1\r\nhost: a.test\r\nte: trailers\r\nconnection: te, close\r\n\r\n";
    let answer = exchange(&proxy, bytes).await;
    assert!(
        answer.ends_with("5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n"),
        "{answer}"
    );
    // HTTP/2 needs no leave to send trailers.
    let mut client = proxy.connect_http2("http://a.test/").await;
    let answer = client.send(get("http://a.test/")).await.unwrap();
    assert_eq!(answer.body, "hello");
    assert_eq!(answer.trailers["x-sum"], "5");
}

#[tokio::test]
async fn http2_trailers_reach_an_http1_backend() {
    let echo = Backend::echo("web").await;
    let proxy = in_front_of(&[&echo], &[]).await;
    let mut client = proxy.connect_http2("http://a.test/").await;
    let body = trailing(&["abc", "def"], &[("x-sum", "6")]);
    let answer = client
        .send(request("POST", "http://a.test/", body))
        .await
        .unwrap();
    assert_eq!(answer.version, http::Version::HTTP_2);
    assert_eq!(answer.json()["body"], "abcdef");
    assert_eq!(answer.json()["trailers"], 1);
    assert_eq!(answer.json()["proto"], "HTTP/1.1");
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it() {
    let echo = Backend::echo("web").await;
    let proxy = in_front_of(&[&echo], &[]).await;
    let mut client = Raw::connect(proxy.http).await;
    client
        .send(
            "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\
             connection: close\r\n\r\n",
        )
        .await;
    let interim = client.until("\r\n\r\n").await;
    assert!(
        interim.starts_with("HTTP/1.1 100 Continue\r\n"),
        "{interim}"
    );
    client.send("body").await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains(r#""body":"body""#), "{answer}");
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    for (method, script) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: \"x\"\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ),
    ] {
        let backend = Backend::script(script).await;
        let proxy = in_front_of(&[&backend], &[]).await;
        let last = script.trim_end().rsplit("HTTP/1.1 ").next().unwrap();
        let status: u16 = last[..3].parse().unwrap();
        let url = "http://a.test/";
        let mut clients = [proxy.connect(url).await, proxy.connect_http2(url).await];
        for client in &mut clients {
            for _ in 0..2 {
                let sent = request(method, url, full(""));
                let answer = client.send(sent).await.unwrap();
                assert_eq!(answer.status, status, "{script:?}");
                assert_eq!(answer.body, "", "{script:?}");
            }
        }
        if method == "HEAD" {
            let answer = clients[0]
                .send(request("HEAD", url, full("")))
                .await
                .unwrap();
            assert_eq!(answer.header("content-length"), "1234");
        }
    }
}

#[tokio::test]
async fn http_1_0_clients_get_no_chunks() {
    let script = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let backend = Backend::script(script).await;
    let proxy = in_front_of(&[&backend], &[]).await;
    let answer = exchange(&proxy, "GET / HTTP/1.0\r\nhost: a.test\r\n\r\n").await;
    assert!(answer.contains(" 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    let lower = answer.to_ascii_lowercase();
    assert!(!lower.contains("transfer-encoding"), "{answer}");
}

#[tokio::test]
async fn a_backend_that_closes_ends_the_body() {
    let backend = Backend::script("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    let proxy = in_front_of(&[&backend], &[]).await;
    assert_eq!(proxy.get("http://a.test/").await.body, "until the end");
}

#[tokio::test]
async fn connections_to_backends_are_kept() {
    let echo = Backend::echo("web").await;
    let proxy = in_front_of(&[&echo], &[]).await;
    let mut client = proxy.connect("http://a.test/").await;
    for number in 0..10 {
        let sent = request("POST", "http://a.test/", full(format!("{number}")));
        let answer = client.send(sent).await.unwrap();
        assert_eq!(answer.json()["body"], number.to_string());
    }
    assert_eq!((echo.requests(), echo.accepted()), (10, 1));
}

#[tokio::test]
async fn requests_that_can_be_read_in_two_ways_are_refused() {
    let echo = Backend::echo("web").await;
    let proxy = in_front_of(&[&echo], &[]).await;
    for bytes in [
        "GET / HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "GET http://b.test/ HTTP/1.1\r\nhost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a.test\r\n folded: x\r\n\r\n",
    ] {
        let answer = exchange(&proxy, &format!("{bytes}GET /smuggled HTTP/1.1\r\n\r\n")).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{bytes:?}: {answer}"
        );
    }
    assert_eq!(echo.requests(), 0);
}

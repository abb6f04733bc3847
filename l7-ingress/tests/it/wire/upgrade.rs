//! Upgrades: to WebSocket, to anything, and refused ones.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::{in_front_of, site};
use crate::harness::{Authority, Backend, Proxy, Raw, ingress, secret, tls};

/// Switches to a protocol that returns everything in upper case.
async fn shouting() -> Backend {
    Backend::connections(async |tcp| {
        let mut raw = Raw::new(tcp);
        let head = raw.until("\r\n\r\n").await;
        assert!(head.contains("upgrade: shout\r\n"), "{head}");
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nHI!\n";
        raw.send(switch).await;
        loop {
            let line = raw.until("\n").await;
            if line.is_empty() {
                return;
            }
            raw.send(line.to_uppercase()).await;
        }
    })
    .await
}

const HEAD: &str =
    "GET / HTTP/1.1\r\nhost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: shout\r\n\r\n";

#[tokio::test]
async fn any_protocol_can_be_switched_to() {
    let backend = shouting().await;
    let proxy = in_front_of(&[&backend], &[]).await;
    let mut client = Raw::connect(proxy.http).await;
    // The first line does not wait for the answer.
    client.send(format!("{HEAD}early\n")).await;
    let head = client.until("\r\n\r\n").await.to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 101 switching protocols\r\n"),
        "{head}"
    );
    assert!(head.contains("upgrade: shout\r\n"), "{head}");
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert_eq!(client.until("\n").await, "HI!\n");
    assert_eq!(client.until("\n").await, "EARLY\n");
    client.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(client.until("\n").await, "GET / HTTP/1.1\r\n");
    assert_eq!(proxy.metric("penstock_l7_tunnels", &[]), 1.0);
    client.close().await;
    assert_eq!(client.rest().await, "");
    crate::harness::eventually("no tunnel", async || {
        (proxy.metric("penstock_l7_tunnels", &[]) == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_upgrade_leaves_http() {
    let echo = Backend::echo("web").await;
    let proxy = in_front_of(&[&echo], &[]).await;
    let mut client = Raw::connect(proxy.http).await;
    let next = "GET /next HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
    client.send(format!("{HEAD}{next}")).await;
    let answers = client.rest().await;
    assert_eq!(
        answers.matches("HTTP/1.1 200 OK\r\n").count(),
        2,
        "{answers}"
    );
    assert!(answers.contains("\"/next\""), "{answers}");
    assert_eq!(echo.requests(), 2);
}

#[tokio::test]
async fn websockets_go_through_tls() {
    let backend = Backend::websocket().await;
    let mut objects = site(&[&backend]);
    objects.pop();
    let object = ingress("web", &["a.test Prefix / web"]);
    objects.push(tls(object, &["a.test"], "tls"));
    objects.push(secret("tls", &Authority::issue(&["a.test"])));
    let proxy = Proxy::start(&objects, &[]).await;
    let session = proxy.tls("a.test", &["http/1.1"]).await;
    let (mut socket, _) = tokio_tungstenite::client_async("wss://a.test/", session)
        .await
        .unwrap();
    for size in [0, 1, 125, 126, 65_536, 1 << 20] {
        let message = Message::binary(vec![7_u8; size]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test]
async fn an_idle_tunnel_ends_and_a_busy_one_does_not() {
    let backend = shouting().await;
    let proxy = in_front_of(&[&backend], &["--proxy-read-timeout", "400ms"]).await;
    let mut client = Raw::connect(proxy.http).await;
    client.send(HEAD).await;
    client.until("HI!\n").await;
    let begin = std::time::Instant::now();
    while begin.elapsed().as_millis() < 1000 {
        client.send("x\n").await;
        assert_eq!(client.until("\n").await, "X\n");
    }
    assert_eq!(client.rest().await, "");
}

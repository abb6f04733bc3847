//! IPv6, towards clients and towards backends.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use super::site;
use crate::harness::{Backend, Connection, Proxy, Request, class, get, ingress, secret, tls};

/// A backend on the IPv6 loopback address; `None` where the machine is without.
async fn echo() -> Option<Backend> {
    let listener = TcpListener::bind("[::1]:0").await.ok()?;
    Some(Backend::echo_on(listener, "six"))
}

const SKIPPED: &str = "skipped: this machine has no IPv6";

#[tokio::test]
async fn clients_and_endpoints_have_ipv6_addresses() {
    let Some(backend) = echo().await else {
        println!("{SKIPPED}");
        return;
    };
    let mut objects = site(&[&backend]);
    objects.push(ingress("any", &["* Prefix / web"]));
    let object = ingress("secure", &["b.test Prefix / web"]);
    objects.push(tls(object, &["b.test"], "tls"));
    objects.push(secret(
        "tls",
        &crate::harness::Authority::issue(&["b.test"]),
    ));
    let flags = ["--http", "[::1]:0", "--https", "[::1]:0"];
    let proxy = Proxy::start(&objects, &flags).await;
    assert!(proxy.http.is_ipv6() && proxy.https.is_ipv6());
    let literal = format!("http://{}/", proxy.http);
    for url in ["http://a.test/", "https://b.test/", &literal] {
        let echoed = proxy.get(url).await.json();
        assert_eq!(echoed["pod"], "six", "{url}");
        assert_eq!(echoed["headers"]["x-forwarded-for"][0], "::1", "{url}");
        assert_eq!(echoed["headers"]["x-real-ip"][0], "::1", "{url}");
    }
    let host = proxy.get(&literal).await.json()["host"].clone();
    assert_eq!(host, proxy.http.to_string());
}

#[tokio::test]
async fn endpoints_of_both_families_share_a_service() {
    let Some(six) = echo().await else {
        println!("{SKIPPED}");
        return;
    };
    let four = Backend::echo("four").await;
    let proxy = Proxy::start(&site(&[&six, &four]), &["--workers", "1"]).await;
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..4 {
        reached.insert(proxy.get("http://a.test/").await.backend());
    }
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), ["four", "six"]);
}

/// A socket for both families: a client of IPv4 is known by its own address.
#[tokio::test]
async fn clients_of_ipv4_are_not_written_as_ipv6() {
    if echo().await.is_none() {
        println!("{SKIPPED}");
        return;
    }
    let web = Backend::echo("web").await;
    let mut objects = site(&[&web]);
    objects.push(class());
    let proxy = Proxy::start(&objects, &["--http", "[::]:0"]).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.http.port()));
    let tcp = TcpStream::connect(address).await.unwrap();
    let sent: Request = get("http://a.test/");
    let answer = Connection::http1(tcp).await.send(sent).await.unwrap();
    let headers = &answer.json()["headers"];
    assert_eq!(headers["x-forwarded-for"][0], "127.0.0.1");
    assert_eq!(headers["x-real-ip"][0], "127.0.0.1");
}

/// The two addresses that are the default stand beside each other.
#[tokio::test]
async fn all_addresses_of_both_families_share_a_port() {
    if echo().await.is_none() {
        println!("{SKIPPED}");
        return;
    }
    let web = Backend::echo("web").await;
    // A port that both can have: that of the first, which goes before the others come.
    let port = Backend::refusing().await.port();
    let (four, six) = (format!("0.0.0.0:{port}"), format!("[::]:{port}"));
    let proxy = Proxy::start(&site(&[&web]), &["--http", &four, "--http", &six]).await;
    for address in ["127.0.0.1", "[::1]"] {
        let tcp = TcpStream::connect(format!("{address}:{port}"))
            .await
            .unwrap();
        let answer = Connection::http1(tcp)
            .await
            .send(get("http://a.test/"))
            .await;
        assert_eq!(answer.unwrap().backend(), "web", "{address}");
    }
    drop(proxy);
}

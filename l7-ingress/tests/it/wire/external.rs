//! Services that are names: who resolves them, for how long an answer holds, and what it may say.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Backend, Names, Proxy, class, eventually, ingress, slice};

/// A Service that is another name for `host`.
fn external(host: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "type": "ExternalName", "externalName": host,
            "ports": [{ "name": "http", "port": port }],
        },
    })
}

/// A proxy that asks this server and leads `a.test` to `host`.
async fn in_front_of(names: &Names, host: &str, port: u16) -> Proxy {
    let objects = [
        class(),
        external(host, port),
        ingress("web", &["a.test Prefix / web"]),
    ];
    let resolver = names.address.to_string();
    let proxy = Proxy::start(&objects, &["--resolver", &resolver]).await;
    proxy.ready().await;
    proxy
}

/// Waits until these are the endpoints.
async fn leads_to(proxy: &Proxy, addresses: &[&str]) {
    eventually(&format!("{addresses:?}"), async || {
        let routes = proxy.admin("/debug/routes").await.json();
        (routes[0]["endpoints"] == json!(addresses)).then_some(())
    })
    .await;
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// A backend on an address of this machine that is not loopback, which names may not lead to. What
/// is sent there does not leave the machine. `None` where there is no such address.
async fn on_own_address() -> Option<Backend> {
    let route = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the kernel is asked which address it would use.
    route.connect("192.0.2.1:9").ok()?;
    let own = route.local_addr().unwrap().ip();
    let listener = TcpListener::bind((own, 0)).await.unwrap();
    Some(Backend::echo_on(listener, "external"))
}

#[tokio::test]
async fn a_name_that_stops_resolving_keeps_its_last_addresses() {
    let names = Names::start().await;
    let Some(backend) = on_own_address().await else {
        println!("skipped: this machine has no address but loopback");
        return;
    };
    let (host, port) = ("shop.test", backend.address.port());
    names.says(host, 1, &[backend.address.ip()]).await;
    let proxy = in_front_of(&names, host, port).await;
    let answer = proxy.until("http://a.test/", |answer| answer.status == 200);
    assert_eq!(answer.await.backend(), "external");

    names.fails(host);
    let before = names.asked(host).len();
    eventually("asked in vain", async || {
        (names.asked(host).len() > before).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(proxy.get("http://a.test/").await.backend(), "external");
    }
    names.says(host, 1, &[ip("198.51.100.7")]).await;
    leads_to(&proxy, &[&format!("198.51.100.7:{port}")]).await;
}

#[tokio::test]
async fn an_answer_holds_for_its_ttl() {
    const TTL: u32 = 2;
    let names = Names::start().await;
    let host = "shop.test";
    let first = [ip("198.51.100.7"), ip("2001:db8::7"), ip("198.51.100.6")];
    names.says(host, TTL, &first).await;
    let proxy = in_front_of(&names, host, 80).await;
    let sorted = ["198.51.100.6:80", "198.51.100.7:80", "[2001:db8::7]:80"];
    leads_to(&proxy, &sorted).await;
    names.says(host, TTL, &[ip("198.51.100.8")]).await;
    leads_to(&proxy, &["198.51.100.8:80"]).await;
    let asked = names.asked(host);
    let rests: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(!rests.is_empty());
    // Resolvers count in whole seconds.
    let least = Duration::from_secs(u64::from(TTL) - 1);
    assert!(rests.iter().all(|rest| *rest >= least), "{rests:?}");
}

#[tokio::test]
async fn another_name_is_resolved_at_once() {
    let names = Names::start().await;
    names.says("old.test", 300, &[ip("198.51.100.7")]).await;
    names.says("new.test", 300, &[ip("198.51.100.8")]).await;
    let proxy = in_front_of(&names, "old.test", 80).await;
    leads_to(&proxy, &["198.51.100.7:80"]).await;
    proxy.apply(external("new.test", 80));
    leads_to(&proxy, &["198.51.100.8:80"]).await;
    proxy.apply(external("new.test", 81));
    leads_to(&proxy, &["198.51.100.8:81"]).await;
    // One whose server is silent holds nobody up.
    proxy.apply(external("silent.test", 80));
    leads_to(&proxy, &[]).await;
    assert_eq!(proxy.get("http://a.test/").await.status, 502);
    proxy.apply(external("old.test", 80));
    leads_to(&proxy, &["198.51.100.7:80"]).await;
}

#[tokio::test]
async fn an_answer_that_comes_too_late_changes_nothing() {
    let names = Names::start().await;
    let proxy = in_front_of(&names, "late.test", 80).await;
    eventually("asked", async || {
        (!names.asked("late.test").is_empty()).then_some(())
    })
    .await;
    let pod = Backend::echo("pod").await;
    let mut service = external("", 80);
    service["spec"] = json!({ "type": "ClusterIP", "ports": [{ "name": "http", "port": 80 }] });
    proxy.apply(slice("web", 0, pod.address));
    proxy.apply(service);
    let endpoint = pod.address.to_string();
    leads_to(&proxy, &[&endpoint]).await;
    // Another Service of that name shows when the answer has come.
    let mut other = external("late.test", 80);
    other["metadata"]["name"] = "other".into();
    proxy.apply(other);
    proxy.apply(ingress("other", &["b.test Prefix / other"]));
    names.says("late.test", 300, &[ip("198.51.100.7")]).await;
    eventually("the answer", async || {
        let routes = proxy.admin("/debug/routes").await.json();
        (routes[1]["endpoints"] == json!(["198.51.100.7:80"])).then_some(())
    })
    .await;
    leads_to(&proxy, &[&endpoint]).await;
    assert_eq!(proxy.get("http://a.test/").await.backend(), "pod");
}

#[tokio::test]
async fn a_name_cannot_lead_to_the_proxy_itself() {
    let names = Names::start().await;
    let inside = Backend::echo("inside").await;
    let host = "rebound.test";
    names.says(host, 300, &[ip("127.0.0.1"), ip("::1")]).await;
    let proxy = in_front_of(&names, host, inside.address.port()).await;
    eventually("asked", async || {
        (!names.asked(host).is_empty()).then_some(())
    })
    .await;
    // Another Service's name, resolved later, shows that this answer was looked at.
    names.says("next.test", 300, &[ip("198.51.100.7")]).await;
    assert_eq!(proxy.get("http://a.test/").await.status, 502);
    proxy.apply(external("next.test", 80));
    leads_to(&proxy, &["198.51.100.7:80"]).await;
    assert_eq!(inside.accepted(), 0);
}

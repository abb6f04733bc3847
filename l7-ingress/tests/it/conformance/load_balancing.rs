//! `load_balancing.feature`

use std::collections::BTreeSet;

use super::PUBLISH;
use crate::harness::{Backend, Proxy, class, eventually, ingress, served, slice};

#[tokio::test]
async fn load_balancing() {
    let mut pods = vec![Backend::echo("pod-0").await];
    let mut objects = served("echo", &[pods[0].address]);
    objects.extend([class(), ingress("lb", &["load-balancing Prefix / echo"])]);
    let proxy = Proxy::start(&objects, PUBLISH).await;
    assert_eq!(proxy.get("http://load-balancing/").await.backend(), "pod-0");

    for number in 1..10 {
        let pod = Backend::echo(&format!("pod-{number}")).await;
        proxy.apply(slice("echo", number, pod.address));
        pods.push(pod);
    }
    eventually("ten endpoints", async || {
        let routes = proxy.admin("/debug/routes").await.json();
        let endpoints = routes[0]["endpoints"].as_array().unwrap().len();
        (endpoints == 10).then_some(())
    })
    .await;
    let mut reached = BTreeSet::new();
    for _ in 0..100 {
        reached.insert(proxy.get("http://load-balancing/").await.backend());
    }
    assert_eq!(reached.len(), 10, "{reached:?}");
}

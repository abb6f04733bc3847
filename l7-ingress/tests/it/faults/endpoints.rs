//! Endpoints that come, go and move between slices under load: no request fails, and none is sent to
//! an endpoint after it was left out.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use serde_json::{Value, json};

use crate::harness::{Backend, Proxy, class, eventually, get, ingress, service, slice, soon};

const PODS: usize = 12;
const CHANGES: usize = 200;
const CLIENTS: usize = 16;

/// The `number`th slice of `web` with these endpoints. Each has a port of its own, and a slice has one
/// set of ports: so the address varies, and the port does not.
fn slice_of(number: usize, pods: &[(SocketAddr, Value)]) -> Option<Value> {
    let (first, _) = pods.first()?;
    let mut object = slice("web", number, *first);
    let endpoints: Vec<_> = pods
        .iter()
        .map(|(pod, conditions)| {
            json!({ "addresses": [pod.ip().to_string()], "conditions": conditions })
        })
        .collect();
    object["endpoints"] = endpoints.into();
    Some(object)
}

/// Pods that share a port, as pods do, on addresses of their own.
async fn pods() -> Vec<Backend> {
    loop {
        let port = Backend::refusing().await.port();
        let mut pods = Vec::new();
        for number in 1..=PODS {
            let address = format!("127.0.1.{number}:{port}");
            // Somebody may have taken the port meanwhile: then another one.
            match tokio::net::TcpListener::bind(&address).await {
                Ok(listener) => pods.push(Backend::echo_on(listener, &address)),
                Err(_) => break,
            }
        }
        if pods.len() == PODS {
            return pods;
        }
    }
}

/// A generator of choices that are the same in every run.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        // Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        let high = usize::try_from(self.0 >> 33).unwrap();
        high % bound
    }
}

/// Publishes the endpoints in a new order over a new number of slices; returns those that are used.
fn publish(proxy: &Proxy, pods: &[Backend], choices: &mut Choices) -> BTreeSet<String> {
    let mut slices: Vec<Vec<(SocketAddr, Value)>> = vec![Vec::new(); 3];
    let mut ready = BTreeSet::new();
    let always = choices.below(PODS);
    for (number, pod) in pods.iter().enumerate() {
        let conditions = match choices.below(4) {
            _ if number == always => json!({ "ready": true }),
            0 => continue,
            1 => json!({ "ready": false, "serving": true, "terminating": true }),
            2 => json!({ "ready": false }),
            _ => json!({ "ready": true }),
        };
        if conditions["ready"] == true {
            ready.insert(pod.address.to_string());
        }
        let entry = (pod.address, conditions);
        // Some are in two slices while they move.
        let (one, other) = (choices.below(3), choices.below(3));
        slices[one].push(entry.clone());
        if one != other {
            slices[other].push(entry);
        }
    }
    // The one that gives an endpoint away is written last, as the slice controller does.
    let (with, without): (Vec<_>, Vec<_>) = slices
        .iter()
        .enumerate()
        .partition(|(_, pods)| pods.iter().any(|(pod, _)| *pod == pods_of(always, pods)));
    for (number, pods) in with.into_iter().chain(without) {
        match slice_of(number, pods) {
            Some(object) => proxy.apply(object),
            None => drop(
                proxy
                    .api
                    .delete(&crate::harness::slice_id("web", number))
                    .unwrap(),
            ),
        }
    }
    ready
}

fn pods_of(always: usize, pods: &[(SocketAddr, Value)]) -> SocketAddr {
    let octet = u8::try_from(always + 1).unwrap();
    SocketAddr::from(([127, 0, 1, octet], pods[0].0.port()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_of_endpoints_is_not_noticed() {
    let pods = pods().await;
    let mut objects = vec![
        class(),
        service("web"),
        ingress("web", &["a.test Prefix / web"]),
    ];
    objects.push(slice("web", 0, pods[0].address));
    let proxy = Arc::new(Proxy::start(&objects, &[]).await);
    proxy.ready().await;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (proxy, stop, asked) = (Arc::clone(&proxy), Arc::clone(&stop), Arc::clone(&asked));
            tokio::task::spawn(async move {
                let mut client = proxy.connect("http://a.test/").await;
                while !stop.load(Relaxed) {
                    let answer = client.send(get("http://a.test/")).await.unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    asked.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let mut choices = Choices(1);
    for number in 0..CHANGES {
        let ready = publish(&proxy, &pods, &mut choices);
        if number % 10 == 0 {
            eventually(&format!("{ready:?}"), async || {
                let routes = proxy.admin("/debug/routes").await.json();
                let listed = routes[0]["endpoints"].as_array().unwrap().iter();
                let listed: BTreeSet<_> = listed
                    .map(|endpoint| endpoint.as_str().unwrap().to_owned())
                    .collect();
                (listed == ready).then_some(())
            })
            .await;
            for _ in 0..10 {
                let reached = proxy.get("http://a.test/").await.backend();
                assert!(ready.contains(&reached), "{reached} is not in {ready:?}");
            }
        }
    }
    stop.store(true, Relaxed);
    for client in clients {
        soon("a client's end", client).await.unwrap();
    }
    let asked = asked.load(Relaxed);
    println!("{asked} requests through {CHANGES} changes of {PODS} endpoints: 0 failed");
    assert!(asked >= CHANGES, "{asked}");
}

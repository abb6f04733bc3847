//! Requests and sessions that stay with their endpoint while endpoints come and go, on every replica.

use std::collections::{BTreeMap, BTreeSet};

use http::header::{COOKIE, SET_COOKIE};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::harness::{
    Answer, Backend, Proxy, annotate, class, eventually, get, ingress, served, slice, slice_id,
};

const PREFIX: &str = "nginx.ingress.kubernetes.io";
const PODS: usize = 5;
const KEYS: usize = 120;

/// `a.test` leads to these endpoints, with these annotations.
fn objects(pods: &[Backend], annotations: &[(&str, &str)]) -> Vec<Value> {
    let addresses: Vec<_> = pods.iter().map(|pod| pod.address).collect();
    let mut objects = served("web", &addresses);
    let plain = ingress("web", &["a.test Prefix / web"]);
    let annotated = annotations.iter().fold(plain, |ingress, (name, value)| {
        annotate(ingress, &format!("{PREFIX}/{name}"), value)
    });
    objects.extend([class(), annotated]);
    objects
}

async fn pods() -> Vec<Backend> {
    let mut pods = Vec::new();
    for number in 0..PODS {
        pods.push(Backend::echo(&number.to_string()).await);
    }
    pods
}

/// Which endpoint each key leads to.
async fn owners(proxy: &Proxy) -> BTreeMap<usize, String> {
    let mut client = proxy.connect("http://a.test/").await;
    let mut owners = BTreeMap::new();
    for key in 0..KEYS {
        let answer = client.send(get(&format!("http://a.test/?key={key}"))).await;
        owners.insert(key, answer.unwrap().backend());
    }
    owners
}

fn of<'o>(owners: &'o BTreeMap<usize, String>, pod: &str) -> BTreeSet<&'o usize> {
    let own = owners.iter().filter(|(_, owner)| *owner == pod);
    own.map(|(key, _)| key).collect()
}

#[tokio::test]
async fn hashed_requests_move_only_from_an_endpoint_that_goes_and_come_back_with_it() {
    let pods = pods().await;
    let objects = objects(&pods, &[("upstream-hash-by", "$arg_key")]);
    let (proxy, replica) = (
        Proxy::start(&objects, &[]).await,
        Proxy::start(&objects, &[]).await,
    );
    let before = owners(&proxy).await;
    assert_eq!(before, owners(&replica).await, "replicas agree");
    for number in 0..PODS {
        let share = of(&before, &number.to_string()).len();
        // 24 would be fair; six standard deviations.
        assert!((1..=51).contains(&share), "{number} has {share}");
    }
    let gone = before[&0].clone();
    let place: usize = gone.parse().unwrap();
    proxy.delete(&slice_id("web", place));
    proxy
        .until("http://a.test/?key=0", |answer| answer.backend() != gone)
        .await;
    let without = owners(&proxy).await;
    let moved: BTreeSet<_> = (0..KEYS)
        .filter(|key| before[key] != without[key])
        .collect();
    assert_eq!(moved.iter().collect::<BTreeSet<_>>(), of(&before, &gone));
    let takers: BTreeSet<_> = moved.iter().map(|key| &without[key]).collect();
    assert!(takers.len() > 1, "they are shared out: {takers:?}");

    proxy.apply(slice("web", place, pods[place].address));
    proxy
        .until("http://a.test/?key=0", |answer| answer.backend() == gone)
        .await;
    assert_eq!(owners(&proxy).await, before);
}

#[tokio::test]
async fn a_key_has_a_subset_of_the_endpoints() {
    let pods = pods().await;
    let annotations = [
        ("upstream-hash-by", "$arg_key"),
        ("upstream-hash-by-subset", "true"),
        ("upstream-hash-by-subset-size", "2"),
    ];
    let proxy = Proxy::start(&objects(&pods, &annotations), &[]).await;
    let mut subsets = BTreeSet::new();
    for key in 0..10 {
        let mut seen = BTreeSet::new();
        for _ in 0..40 {
            let url = format!("http://a.test/?key={key}");
            seen.insert(proxy.get(&url).await.backend());
        }
        assert_eq!(seen.len(), 2, "key {key}: {seen:?}");
        subsets.insert(seen);
    }
    assert!(subsets.len() > 1, "all keys have the same two endpoints");
}

/// A client that has, or has not yet, got a cookie.
#[derive(Default)]
struct Session {
    cookie: Option<String>,
}

impl Session {
    async fn get(&mut self, proxy: &Proxy) -> String {
        let mut request = get("http://a.test/");
        if let Some(cookie) = &self.cookie {
            request
                .headers_mut()
                .insert(COOKIE, cookie.parse().unwrap());
        }
        let answer = proxy.send(request).await;
        if let Some(set) = cookie_of(&answer) {
            self.cookie = Some(set);
        }
        answer.backend()
    }
}

fn cookie_of(answer: &Answer) -> Option<String> {
    let set = answer.headers.get(SET_COOKIE)?.to_str().unwrap();
    Some(set.split_once(';').unwrap().0.to_owned())
}

async fn start(proxy: &Proxy, count: usize) -> Vec<(Session, String)> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let mut session = Session::default();
        let pod = session.get(proxy).await;
        assert!(session.cookie.is_some());
        sessions.push((session, pod));
    }
    sessions
}

#[tokio::test]
async fn sessions_stay_on_every_replica_and_after_a_restart() {
    let pods = pods().await;
    for mode in ["balanced", "persistent"] {
        let annotations = [("affinity", "cookie"), ("affinity-mode", mode)];
        let objects = objects(&pods, &annotations);
        let first = Proxy::start(&objects, &[]).await;
        let mut sessions = start(&first, 30).await;
        let used: BTreeSet<_> = sessions.iter().map(|(_, pod)| pod.clone()).collect();
        assert!(used.len() > 1, "{mode}: all sessions are on {used:?}");
        drop(first);
        // Nothing that the first one knew is left.
        let second = Proxy::start(&objects, &[]).await;
        for (session, pod) in &mut sessions {
            let cookie = session.cookie.clone();
            for _ in 0..3 {
                assert_eq!(session.get(&second).await, *pod, "{mode}");
            }
            assert_eq!(session.cookie, cookie, "{mode}: it has its cookie");
        }
    }
}

#[tokio::test]
async fn new_endpoints_get_sessions_only_in_mode_balanced() {
    let pods = pods().await;
    for mode in ["balanced", "persistent"] {
        let annotations = [("affinity", "cookie"), ("affinity-mode", mode)];
        let proxy = Proxy::start(&objects(&pods[..3], &annotations), &[]).await;
        let mut sessions = start(&proxy, 60).await;
        let newcomer = &pods[3];
        proxy.apply(slice("web", 3, newcomer.address));
        eventually("the new endpoint", async || {
            (Session::default().get(&proxy).await == "3").then_some(())
        })
        .await;
        let mut moved = 0;
        for (session, was) in &mut sessions {
            let is = session.get(&proxy).await;
            if is != *was {
                assert_eq!(is, "3", "{mode}: from {was}");
                moved += 1;
            }
        }
        match mode {
            "persistent" => assert_eq!(moved, 0),
            // A quarter would be fair.
            _ => assert!((1..=40).contains(&moved), "{moved} of 60 moved"),
        }
    }
}

#[tokio::test]
async fn sessions_of_an_endpoint_that_goes_are_shared_out() {
    let pods = pods().await;
    for mode in ["balanced", "persistent"] {
        let annotations = [("affinity", "cookie"), ("affinity-mode", mode)];
        let proxy = Proxy::start(&objects(&pods, &annotations), &[]).await;
        let mut sessions = start(&proxy, 40).await;
        let gone = sessions[0].1.clone();
        proxy.delete(&slice_id("web", gone.parse().unwrap()));
        let (probe, _) = &mut sessions[0];
        let cookie = probe.cookie.clone();
        eventually("the endpoint's end", async || {
            let mut probe = Session {
                cookie: cookie.clone(),
            };
            (probe.get(&proxy).await != gone).then_some(())
        })
        .await;
        for (session, was) in &mut sessions {
            let first = session.get(&proxy).await;
            assert_ne!(first, gone, "{mode}");
            assert!(*was == gone || first == *was, "{mode}: moved from {was}");
            assert_eq!(session.get(&proxy).await, first, "{mode}: it stays");
        }
    }
}

#[tokio::test]
async fn a_session_leaves_an_endpoint_that_fails_for_good_only_if_asked_to() {
    for (change, mode) in [
        ("true", "balanced"),
        ("true", "persistent"),
        ("false", "balanced"),
        ("false", "persistent"),
    ] {
        let mut pods = pods().await;
        let annotations = [
            ("affinity", "cookie"),
            ("affinity-mode", mode),
            ("session-cookie-change-on-failure", change),
        ];
        let proxy = Proxy::start(
            &objects(&pods, &annotations),
            &["--upstream-keepalive-connections", "0"],
        )
        .await;
        let mut session = Session::default();
        let failing: usize = session.get(&proxy).await.parse().unwrap();
        let before = session.cookie.clone();
        let address = pods[failing].address;
        drop(pods.remove(failing));
        eventually("a refusal", async || {
            TcpStream::connect(address).await.err()
        })
        .await;
        let instead = session.get(&proxy).await;
        assert_ne!(instead, failing.to_string());
        assert_eq!(
            session.cookie != before,
            change == "true",
            "{mode} {change}"
        );
        let next = session.get(&proxy).await;
        assert_ne!(next, failing.to_string());
        assert!(change == "false" || next == instead, "{mode}: it stays");
    }
}

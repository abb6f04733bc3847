//! The API is away, slow, forgetful or repeats itself (F20): traffic goes on, nothing is forgotten,
//! and what changed meanwhile is caught up with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use apiserver::{ApiServer, Effect, Fault, Verb};
use http::StatusCode;

use crate::harness::{
    Backend, Proxy, class, eventually, get, ingress, ingress_id, served, slice, slice_id, soon,
};

/// What befalls the API, for all verbs of all kinds unless it says otherwise.
fn ailments() -> Vec<(&'static str, Vec<Fault>)> {
    let all = |effect| Fault {
        verb: None,
        resource: None,
        times: None,
        effect,
    };
    let on = |verb, effect| Fault {
        verb: Some(verb),
        ..all(effect)
    };
    let refuse = |code, retry_after| Effect::Refuse { code, retry_after };
    vec![
        ("it is down", vec![all(Effect::Close)]),
        (
            "it answers 500",
            vec![all(refuse(StatusCode::INTERNAL_SERVER_ERROR, None))],
        ),
        (
            "it answers 429",
            vec![all(refuse(StatusCode::TOO_MANY_REQUESTS, Some(1)))],
        ),
        (
            "nobody is authorised",
            vec![all(refuse(StatusCode::UNAUTHORIZED, None))],
        ),
        (
            "watches are gone and lists fail",
            vec![
                on(Verb::Watch, refuse(StatusCode::GONE, None)),
                on(Verb::List, refuse(StatusCode::SERVICE_UNAVAILABLE, None)),
            ],
        ),
        (
            "watches are gone, lists are slow",
            vec![
                on(Verb::Watch, refuse(StatusCode::GONE, None)),
                on(Verb::List, Effect::Delay(Duration::from_millis(300))),
            ],
        ),
        (
            "it is slow",
            vec![all(Effect::Delay(Duration::from_millis(500)))],
        ),
        (
            "watches repeat what is old",
            vec![
                on(Verb::Watch, Effect::Replay(50)),
                on(Verb::Watch, Effect::Duplicate),
            ],
        ),
        (
            "watches break after each event",
            vec![on(Verb::Watch, Effect::BreakAfter(1))],
        ),
    ]
}

/// Clients of `a.test` that fail the test with anything but the answer of `web`.
struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    fn start(proxy: &Arc<Proxy>) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |_| {
            let (proxy, stop) = (Arc::clone(proxy), Arc::clone(&stop));
            let answered = Arc::clone(&answered);
            tokio::task::spawn(async move {
                let mut client = proxy.connect("http://a.test/").await;
                while !stop.load(Relaxed) {
                    let answer = client.send(get("http://a.test/")).await.unwrap();
                    assert_eq!(answer.backend(), "web");
                    answered.fetch_add(1, Relaxed);
                    // A connection carries a bounded number of requests.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        };
        Self {
            clients: (0..4).map(client).collect(),
            stop,
            answered,
        }
    }

    async fn pass(&self, requests: usize) {
        let goal = self.answered.load(Relaxed) + requests;
        eventually("answers", async || {
            assert!(self.clients.iter().all(|client| !client.is_finished()));
            (self.answered.load(Relaxed) >= goal).then_some(())
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            soon("a client's end", client).await.unwrap();
        }
    }
}

/// Changes an Ingress, replaces an endpoint, and has another Ingress come and go.
fn change(proxy: &Proxy, next: &Backend) {
    proxy.apply(ingress("brief", &["brief.test Prefix / next"]));
    proxy.delete(&ingress_id("brief"));
    proxy.delete(&slice_id("next", 0));
    proxy.apply(slice("next", 1, next.address));
    proxy.apply(ingress("b", &["changed.test Prefix / next"]));
}

async fn befallen(name: &str, faults: Vec<Fault>) {
    let (web, next) = (Backend::echo("web").await, Backend::echo("next").await);
    let mut objects = served("web", &[web.address]);
    objects.extend(served("next", &[next.address]));
    objects.extend([
        class(),
        ingress("web", &["a.test Prefix / web"]),
        ingress("b", &["b.test Prefix / next"]),
    ]);
    let proxy = Arc::new(Proxy::start(&objects, &["--workers", "1"]).await);
    proxy.ready().await;
    let traffic = Traffic::start(&proxy);
    for fault in faults {
        proxy.api.faults().inject(fault);
    }
    proxy.api.faults().drop_watches();
    eventually(name, async || {
        let restarts = proxy.metric("penstock_watch_restarts_total", &[]);
        (restarts >= 5.0).then_some(())
    })
    .await;
    change(&proxy, &next);
    // The versions that watches are at are no longer known: everything has to be listed again.
    proxy.api.compact();
    traffic.pass(200).await;
    assert_eq!(proxy.admin("/readyz").await.status, 200, "{name}");
    proxy.api.faults().clear();
    let answer = proxy.until("http://changed.test/", |answer| answer.status == 200);
    assert_eq!(answer.await.backend(), "next", "{name}");
    for gone in ["http://b.test/", "http://brief.test/"] {
        assert_eq!(proxy.get(gone).await.status, 404, "{name}: {gone}");
    }
    traffic.end().await;
}

#[tokio::test]
async fn traffic_goes_on_whatever_the_api_does() {
    let all = ailments()
        .into_iter()
        .map(|(name, faults)| befallen(name, faults));
    futures_util::future::join_all(all).await;
}

/// An API that comes back empty, or with a part of what it held, is believed only once it has listed
/// everything; a proxy that starts then is not ready before.
#[tokio::test]
async fn a_start_while_the_api_is_slow_waits_for_all_of_it() {
    let web = Backend::echo("web").await;
    let api = ApiServer::new();
    let mut objects = served("web", &[web.address]);
    objects.extend([class(), ingress("web", &["a.test Prefix / web"])]);
    for object in objects {
        api.apply("test", object).unwrap();
    }
    for resource in ["services", "secrets", "endpointslices"] {
        api.faults().inject(Fault {
            verb: Some(Verb::List),
            resource: Some(resource.to_owned()),
            times: Some(2),
            effect: Effect::Refuse {
                code: StatusCode::SERVICE_UNAVAILABLE,
                retry_after: None,
            },
        });
    }
    let proxy = Proxy::with_api(api, &[]).await;
    // The first answer that there is comes from a whole table.
    assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
    assert_eq!(proxy.api.faults().pending(), 0);
    proxy.ready().await;
}

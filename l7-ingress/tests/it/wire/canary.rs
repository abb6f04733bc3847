//! Canaries over several requests: shares, sessions, metrics.

use http::header::{COOKIE, SET_COOKIE};
use serde_json::Value;

use crate::harness::{
    Answer, Backend, Proxy, annotate, class, eventually, get, ingress, ingress_id, served,
};

const PREFIX: &str = "nginx.ingress.kubernetes.io";

type Annotations<'a> = &'a [(&'a str, &'a str)];

fn annotated(name: &str, service: &str, annotations: Annotations<'_>) -> Value {
    let plain = ingress(name, &[&format!("a.test Prefix / {service}")]);
    annotations.iter().fold(plain, |ingress, (name, value)| {
        annotate(ingress, &format!("{PREFIX}/{name}"), value)
    })
}

struct World {
    proxy: Proxy,
    _backends: [Backend; 4],
}

/// Two endpoints for the main Ingress, `main`, and two for its canary, `canary`.
async fn world(main: Annotations<'_>, canary: Annotations<'_>) -> World {
    let backends = [
        Backend::echo("main").await,
        Backend::echo("main").await,
        Backend::echo("canary").await,
        Backend::echo("canary").await,
    ];
    let [a, b, c, d] = backends.each_ref().map(|backend| backend.address);
    let mut objects = vec![class()];
    objects.extend(served("main", &[a, b]));
    objects.extend(served("canary", &[c, d]));
    objects.push(annotated("main", "main", main));
    objects.push(annotated("canary", "canary", canary));
    World {
        proxy: Proxy::start(&objects, &[]).await,
        _backends: backends,
    }
}

impl World {
    async fn get(&self, fields: &[(&'static str, &str)]) -> Answer {
        let mut request = get("http://a.test/");
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        self.proxy.send(request).await
    }
}

fn cookie(answer: &Answer) -> Option<String> {
    let set = answer.headers.get(SET_COOKIE)?.to_str().unwrap();
    Some(set.split_once(';').unwrap().0.to_owned())
}

#[tokio::test]
async fn a_canary_takes_its_share_of_requests() {
    const REQUESTS: u32 = 2000;
    let world = world(&[], &[("canary", "true"), ("canary-weight", "30")]).await;
    let mut client = world.proxy.connect("http://a.test/").await;
    let mut taken = 0;
    for _ in 0..REQUESTS {
        let answer = client.send(get("http://a.test/")).await.unwrap();
        taken += u32::from(answer.backend() == "canary");
    }
    // 600 would be fair; more than five standard deviations of a binomial distribution: 20.5.
    assert!((490..=710).contains(&taken), "{taken} of {REQUESTS}");
    let count = |canary| {
        let labels = [("ingress", "main"), ("service", "main"), ("canary", canary)];
        world
            .proxy
            .metric("nginx_ingress_controller_requests", &labels)
    };
    let wanted = (f64::from(taken), f64::from(REQUESTS - taken));
    eventually("all requests are counted", async || {
        ((count("default-canary-http"), count("")) == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_stays_with_the_canary_or_away_from_it() {
    let rules = [
        ("canary", "true"),
        ("canary-by-header", "x-canary"),
        ("canary-weight", "50"),
    ];
    for mode in ["balanced", "persistent"] {
        let affinity = [("affinity", "cookie"), ("affinity-mode", mode)];
        let world = world(&affinity, &rules).await;
        for (field, backend, other) in [("always", "canary", "never"), ("never", "main", "always")]
        {
            let first = world.get(&[("x-canary", field)]).await;
            assert_eq!(first.backend(), backend);
            let session = cookie(&first).expect("a session begins");
            for _ in 0..20 {
                let answer = world.get(&[(COOKIE.as_str(), &session)]).await;
                assert_eq!(answer.backend(), backend, "{mode}");
                assert_eq!(cookie(&answer), None, "{mode}: it has its cookie");
                // The session comes before the rules.
                let answer = world
                    .get(&[(COOKIE.as_str(), &session), ("x-canary", other)])
                    .await;
                assert_eq!(answer.backend(), backend, "{mode}");
            }
        }
        // A session of a canary that is gone is one of the main backend.
        let session = cookie(&world.get(&[("x-canary", "always")]).await).unwrap();
        world.proxy.delete(&ingress_id("canary"));
        world
            .proxy
            .until("http://a.test/", |answer| answer.backend() == "main")
            .await;
        eventually("no canary", async || {
            let answer = world.get(&[("x-canary", "always")]).await;
            (answer.backend() == "main").then_some(())
        })
        .await;
        let answer = world.get(&[(COOKIE.as_str(), &session)]).await;
        assert_eq!(answer.backend(), "main");
    }
}

#[tokio::test]
async fn the_canary_of_a_legacy_session_is_chosen_anew_for_each_request() {
    let rules = [
        ("canary", "true"),
        ("canary-by-header", "x-canary"),
        ("canary-weight", "50"),
        ("affinity-canary-behavior", "legacy"),
    ];
    let world = world(&[("affinity", "cookie")], &rules).await;
    let first = world.get(&[("x-canary", "always")]).await;
    assert_eq!((&*first.backend(), cookie(&first)), ("canary", None));
    let mut seen = std::collections::BTreeSet::new();
    // Both come but once in 2^39.
    for _ in 0..40 {
        seen.insert(world.get(&[]).await.backend());
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    let session = cookie(&world.get(&[("x-canary", "never")]).await).expect("the main one's");
    let answer = world
        .get(&[(COOKIE.as_str(), &session), ("x-canary", "always")])
        .await;
    assert_eq!(answer.backend(), "canary");
}

#[tokio::test]
async fn the_admin_port_shows_the_canary_of_a_route() {
    let world = world(&[], &[("canary", "true"), ("canary-weight", "7")]).await;
    world.proxy.ready().await;
    let routes = world.proxy.admin("/debug/routes").await.json();
    let canary = &routes[0]["canary"];
    assert_eq!(canary["ingress"], "default/canary", "{routes}");
    assert_eq!(canary["service"], "default/canary");
    assert_eq!(
        (&canary["weight"], &canary["weight_total"]),
        (&7.into(), &100.into())
    );
    assert_eq!(canary["endpoints"].as_array().unwrap().len(), 2);
}

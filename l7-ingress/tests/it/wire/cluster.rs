//! What the cluster does to traffic, and what it hears back.

use apiserver::{ApiServer, Effect, Fault, Verb};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use super::{in_front_of, site};
use crate::harness::{
    Authority, Backend, Proxy, annotate, eventually, get, ingress, secret, served, tls,
};

/// Waits for an Event with this reason about an object of this name.
async fn event(proxy: &Proxy, name: &str, reason: &str) -> Event {
    let events: Api<Event> = Api::all(proxy.api.client("default"));
    let what = format!("the Event {reason} about {name}");
    eventually(&what, async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        all.items.into_iter().find(|event| {
            event.involved_object.name.as_deref() == Some(name)
                && event.reason.as_deref() == Some(reason)
        })
    })
    .await
}

#[tokio::test]
async fn a_malformed_ingress_keeps_its_last_good_version() {
    let (web, next) = (Backend::echo("web").await, Backend::echo("next").await);
    let proxy = in_front_of(&[&web], &[]).await;
    for object in served("next", &[next.address]) {
        proxy.apply(object);
    }
    assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
    let changed = ingress("web", &["a.test Prefix / next"]);
    let key = "nginx.ingress.kubernetes.io/ssl-redirect";
    proxy.apply(annotate(changed.clone(), key, "perhaps"));
    let event = event(&proxy, "web", "InvalidAnnotation").await;
    assert!(event.message.unwrap().contains("ssl-redirect"));
    let problem = [("kind", "Ingress"), ("reason", "InvalidAnnotation")];
    assert_eq!(proxy.metric("penstock_l7_problems", &problem), 1.0);
    // Others go on changing.
    proxy.apply(ingress("other", &["b.test Prefix / next"]));
    proxy
        .until("http://b.test/", |answer| answer.status == 200)
        .await;
    assert_eq!(proxy.get("http://a.test/").await.backend(), "web");

    proxy.apply(annotate(changed, key, "true"));
    let is_next = |answer: &crate::harness::Answer| answer.json()["pod"] == "next";
    proxy.until("http://a.test/", is_next).await;
    eventually("no problem", async || {
        (proxy.metric("penstock_l7_problems", &problem) == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_broken_secret_keeps_its_last_good_certificate() {
    let web = Backend::echo("web").await;
    let mut objects = site(&[&web]);
    objects.pop();
    let object = ingress("web", &["a.test Prefix / web"]);
    let mut good = Authority::issue(&["a.test"]);
    objects.extend([tls(object, &["a.test"], "tls"), secret("tls", &good)]);
    let proxy = Proxy::start(&objects, &[]).await;
    assert_eq!(proxy.get("https://a.test/").await.backend(), "web");

    good.certificate = "-----BEGIN CERTIFICATE-----\nnonsense\n".to_owned();
    proxy.apply(secret("tls", &good));
    event(&proxy, "tls", "InvalidCertificate").await;
    let problem = [("reason", "InvalidCertificate")];
    assert!(proxy.metric("penstock_l7_problems", &problem) >= 1.0);
    assert_eq!(proxy.get("https://a.test/").await.backend(), "web");
}

#[tokio::test]
async fn traffic_goes_on_while_the_api_is_away() {
    let (web, next) = (Backend::echo("web").await, Backend::echo("next").await);
    let mut objects = site(&[&web]);
    objects.extend(served("next", &[next.address]));
    let proxy = Proxy::start(&objects, &[]).await;
    proxy.ready().await;
    let away = Fault {
        verb: None,
        resource: None,
        times: None,
        effect: Effect::Close,
    };
    proxy.api.faults().inject(away);
    proxy.api.faults().drop_watches();
    let mut client = proxy.connect("http://a.test/").await;
    eventually("watches are being restarted", async || {
        let answer = client.send(get("http://a.test/")).await.unwrap();
        assert_eq!(answer.backend(), "web");
        let restarts = proxy.metric("penstock_watch_restarts_total", &[]);
        (restarts >= 5.0).then_some(())
    })
    .await;
    assert_eq!(proxy.admin("/readyz").await.status, 200);
    // Missed while it is away, seen when it is back.
    proxy.apply(ingress("web", &["a.test Prefix / next"]));
    proxy.api.faults().clear();
    let is_next = |answer: &crate::harness::Answer| answer.json()["pod"] == "next";
    proxy.until("http://a.test/", is_next).await;
}

#[tokio::test]
async fn nobody_is_served_before_every_kind_is_known() {
    let web = Backend::echo("web").await;
    let api = ApiServer::new();
    for object in site(&[&web]) {
        api.apply("test", object).unwrap();
    }
    api.faults().inject(Fault {
        verb: Some(Verb::List),
        resource: Some("endpointslices".to_owned()),
        times: None,
        effect: Effect::Close,
    });
    let proxy = Proxy::with_api(api, &[]).await;
    eventually("a failed list", async || {
        let restarts = [("kind", "EndpointSlice")];
        (proxy.metric("penstock_watch_restarts_total", &restarts) >= 1.0).then_some(())
    })
    .await;
    assert_eq!(proxy.admin("/readyz").await.status, 503);
    assert_eq!(proxy.admin("/healthz").await.status, 200);
    let mut client = proxy.connect("http://a.test/").await;
    let (answer, ()) = tokio::join!(client.send(get("http://a.test/")), async {
        proxy.api.faults().clear();
        proxy.ready().await;
    });
    assert_eq!(answer.unwrap().backend(), "web", "it waited in the queue");
}

#[tokio::test]
async fn requests_are_counted_as_ingress_nginx_counts_them() {
    let web = Backend::echo("web").await;
    let proxy = in_front_of(&[&web], &[]).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("http://a.test/x").await.status, 200);
    }
    assert_eq!(proxy.get("http://b.test/").await.status, 404);
    let labels = [
        ("namespace", "default"),
        ("ingress", "web"),
        ("service", "web"),
        ("host", "a.test"),
        ("path", "/"),
        ("method", "GET"),
        ("status", "200"),
        ("controller_class", "nginx"),
        ("controller_namespace", "default"),
    ];
    eventually("three requests", async || {
        let count = proxy.metric("nginx_ingress_controller_requests", &labels);
        (count == 3.0).then_some(())
    })
    .await;
    assert_eq!(
        proxy.metric("penstock_l7_unmatched_requests_total", &[]),
        1.0
    );
    let scraped = proxy.admin("/metrics").await;
    let text = String::from_utf8_lossy(&scraped.body).into_owned();
    for name in [
        "nginx_ingress_controller_requests{",
        "nginx_ingress_controller_request_duration_seconds_bucket{",
        "nginx_ingress_controller_response_duration_seconds_bucket{",
        "nginx_ingress_controller_header_duration_seconds_bucket{",
        "nginx_ingress_controller_connect_duration_seconds_bucket{",
        "nginx_ingress_controller_request_size_bucket{",
        "nginx_ingress_controller_response_size_bucket{",
        "nginx_ingress_controller_nginx_process_connections{",
        "nginx_ingress_controller_nginx_process_requests_total{",
        "nginx_ingress_controller_success{",
        "nginx_ingress_controller_config_last_reload_successful{",
        "nginx_ingress_controller_config_hash{",
        "process_resident_memory_bytes",
    ] {
        assert!(
            text.contains(&format!("\n{name}")),
            "{name} is missing in {text}"
        );
    }
}

//! Clients notice nothing while objects change.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use crate::harness::{
    Authority, Pem, annotate, eventually, ingress, ingress_id, secret, service, slice, slice_id,
};
use crate::load::{Load, Tally, calls, certificate, plain, secure};

const CHANGES: usize = 500;
/// Requests that are answered between two changes, at least.
const REQUESTS_BETWEEN: usize = 5;
/// How often it is waited until a change is in effect.
const LOOK_EVERY: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_and_no_connection_closed_by_changes() {
    let mut load = Load::start(&[]).await;
    let mut newest = certificate();
    let begin = Instant::now();
    for number in 0..CHANGES {
        change(&load, number, &mut newest);
        load.more(REQUESTS_BETWEEN).await;
        if number % LOOK_EVERY == 0 {
            let url = format!("http://other-{number}.test/");
            load.proxy.until(&url, |answer| answer.status == 200).await;
        }
    }
    has_certificate(&load, &newest).await;
    let elapsed = begin.elapsed();
    load.stop();
    let tally = Tally::sum(vec![load.http().await, load.tunnels().await]);
    println!(
        "{} requests of 200 clients, {} at least of each, through {CHANGES} changes in {elapsed:?}: \
         {} lost, {} connections closed",
        tally.done,
        tally.least,
        tally.lost.len(),
        tally.closed
    );
    assert!(tally.done >= CHANGES * REQUESTS_BETWEEN);
    assert!(tally.least >= 1, "every client has seen changes");
    assert!(tally.lost.is_empty(), "{:?}", tally.lost);
    assert_eq!(tally.closed, 0);
}

/// Makes the `number`th change.
fn change(load: &Load, number: usize, newest: &mut Pem) {
    let proxy = &load.proxy;
    let round = number / 10;
    let other = |of: usize| format!("other-{of}");
    let toggled = |on: &'static str, off| if round.is_multiple_of(2) { on } else { off };
    match number % 10 {
        0 => {
            let rule = format!("other-{number}.test Prefix / web");
            proxy.apply(ingress(&other(number), &[&rule]));
        }
        1 => {
            let rule = format!("other-{}.test Exact /changed web", number - 1);
            let object = ingress(&other(number - 1), &["keep.test Prefix / web", &rule]);
            // The last of each fifty has just been looked at.
            if !(number - 1).is_multiple_of(LOOK_EVERY) {
                proxy.apply(object);
            }
        }
        2 => proxy.delete(&slice_id("web", round % 3)),
        3 => proxy.apply(slice("web", round % 3, load.web[round % 3].address)),
        4 => {
            *newest = certificate();
            proxy.apply(secret("tls", newest));
        }
        5 => {
            let key = "nginx.ingress.kubernetes.io/ssl-redirect";
            let mut object = annotate(secure(), key, toggled("false", "true"));
            let path = json!({
                "path": format!("/extra-{round}"), "pathType": "Prefix",
                "backend": { "service": { "name": "web", "port": { "number": 80 } } },
            });
            let paths = object["spec"]["rules"][0]["http"]["paths"].as_array_mut();
            paths.unwrap().push(path);
            proxy.apply(object);
            proxy.apply(annotate(calls(), key, toggled("true", "0")));
        }
        6 => not_ready(load, round % 3, load.grpc[round % 3].address),
        7 => proxy.apply(slice("grpc", round % 3, load.grpc[round % 3].address)),
        8 => {
            let mut object = service(toggled("web", "grpc"));
            let ports = json!([
                { "name": "http", "port": 80 },
                { "name": format!("more-{round}"), "port": 1000 + round },
            ]);
            object["spec"]["ports"] = ports;
            proxy.apply(object);
            proxy.apply(slice("ws", 3, load.websocket[round % 3].address));
        }
        _ => {
            proxy.delete(&slice_id("ws", 3));
            proxy.delete(&ingress_id(&other(number - 9)));
            proxy.apply(annotate(plain(), "example.test/round", &round.to_string()));
        }
    }
}

/// The endpoint terminates: it finishes what it has and is to get nothing more.
fn not_ready(load: &Load, number: usize, endpoint: SocketAddr) {
    let mut object = slice("grpc", number, endpoint);
    let conditions = json!({ "ready": false, "serving": true, "terminating": true });
    object["endpoints"][0]["conditions"] = conditions;
    load.proxy.apply(object);
}

/// New handshakes get the newest certificate.
async fn has_certificate(load: &Load, newest: &Pem) {
    let want = newest.der();
    eventually("the newest certificate", async || {
        let config = Authority::client(rustls::ALL_VERSIONS, &["h2"]);
        let session = load.proxy.handshake("h2.test", config).await.unwrap();
        let got = &session.get_ref().1.peer_certificates().unwrap()[0];
        (got.as_ref() == want).then_some(())
    })
    .await;
}

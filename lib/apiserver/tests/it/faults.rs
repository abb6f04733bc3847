//! Misbehaviour on demand.

use std::time::Duration;

use apiserver::{ApiServer, Effect, Fault, Verb};
use http::StatusCode;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::http::{Watch, call};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn filled() -> ApiServer {
    let server = ApiServer::new();
    for name in ["a", "b"] {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"}});
        server.apply("test", map).unwrap();
    }
    server
}

fn watch_fault(effect: Effect) -> Fault {
    Fault {
        verb: Some(Verb::Watch),
        resource: Some("configmaps".into()),
        times: Some(1),
        effect,
    }
}

#[tokio::test]
async fn requests_are_refused_as_often_as_told() {
    let server = filled();
    server
        .faults()
        .refuse(Verb::List, "configmaps", 2, StatusCode::GONE);
    server.faults().inject(Fault {
        verb: Some(Verb::Get),
        resource: None,
        times: Some(1),
        effect: Effect::Refuse {
            code: StatusCode::TOO_MANY_REQUESTS,
            retry_after: Some(3),
        },
    });
    assert_eq!(server.faults().pending(), 3);
    for code in [410, 410, 200] {
        assert_eq!(
            call(&server, &format!("GET {MAPS}"), &Value::Null)
                .await
                .code,
            code
        );
    }
    let limited = call(&server, &format!("GET {MAPS}/a"), &Value::Null).await;
    assert_eq!(limited.code, 429);
    assert_eq!(limited.headers["retry-after"], "3");
    assert_eq!(limited.json["details"]["retryAfterSeconds"], 3);
    assert_eq!(server.faults().pending(), 0);
    assert_eq!(
        call(&server, &format!("GET {MAPS}/a"), &Value::Null)
            .await
            .code,
        200
    );
}

#[tokio::test]
async fn connections_close() {
    let server = filled();
    server.faults().inject(Fault {
        verb: None,
        resource: None,
        times: None,
        effect: Effect::Close,
    });
    let request = || {
        http::Request::get(MAPS)
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap()
    };
    server.service().oneshot(request()).await.unwrap_err();
    server.faults().clear();
    server.service().oneshot(request()).await.unwrap();
}

#[tokio::test]
async fn answers_come_late() {
    let server = filled();
    let delay = Duration::from_millis(50);
    server.faults().inject(Fault {
        verb: None,
        resource: None,
        times: Some(1),
        effect: Effect::Delay(delay),
    });
    let start = tokio::time::Instant::now();
    call(&server, &format!("GET {MAPS}"), &Value::Null).await;
    assert!(start.elapsed() >= delay);
}

#[tokio::test]
async fn watches_break_or_end() {
    let server = filled();
    let request = format!("{MAPS}?watch=true");
    for broken in [true, false] {
        let mut watch = Watch::open(&server, &request).await;
        assert_eq!(watch.summary().await, "ADDED a");
        assert_eq!(watch.summary().await, "ADDED b");
        match broken {
            true => server.faults().drop_watches(),
            false => server.faults().end_watches(),
        }
        assert_eq!(watch.next().await.is_some_and(|it| it.is_err()), broken);
        assert!(watch.next().await.is_none());
    }
    server.faults().inject(watch_fault(Effect::BreakAfter(1)));
    let mut watch = Watch::open(&server, &request).await;
    assert_eq!(watch.summary().await, "ADDED a");
    assert!(watch.next().await.unwrap().is_err());
}

#[tokio::test]
async fn watches_repeat_themselves() {
    let server = filled();
    server.faults().inject(watch_fault(Effect::Duplicate));
    let mut watch = Watch::open(&server, &format!("{MAPS}?watch=true")).await;
    for expect in ["ADDED a", "ADDED a", "ADDED b", "ADDED b"] {
        assert_eq!(watch.summary().await, expect);
    }
    server.faults().inject(watch_fault(Effect::Replay(2)));
    let mut watch = Watch::open(&server, &format!("{MAPS}?watch=true&resourceVersion=7")).await;
    for expect in ["ADDED a", "ADDED b"] {
        assert_eq!(watch.summary().await, expect);
    }
}

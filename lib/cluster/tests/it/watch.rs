//! Watches: exact differences whatever happens to the API.

use std::collections::BTreeMap;
use std::time::Duration;

use apiserver::{Effect, Fault, Verb};
use cluster::{Change, Cluster, Malformed};
use futures_util::StreamExt as _;
use http::StatusCode;

use crate::rig::{
    config_map, config_map_id, embedded, eventually, metric, name, next, process, set,
    until_synced, values,
};
use crate::script::{Script, events, failure, list};

#[tokio::test]
async fn what_exists_is_reported_once_and_then_what_changes() {
    let (api, _process, cluster) = embedded().await;
    api.apply("test", config_map("a", "1")).unwrap();
    api.apply("test", config_map("b", "1")).unwrap();
    let mut changes = values(&cluster);
    assert_eq!(
        until_synced(&mut changes).await,
        [set("a", "1"), set("b", "1"), Change::Synced]
    );
    api.apply("test", config_map("b", "2")).unwrap();
    assert_eq!(next(&mut changes).await, set("b", "2"));
    api.delete(&config_map_id("a")).unwrap();
    assert_eq!(next(&mut changes).await, Change::Removed(name("a")));
    api.apply("test", config_map("c", "1")).unwrap();
    assert_eq!(next(&mut changes).await, set("c", "1"));
}

/// While the API refuses watches and forgets its history, things change; then it is asked again.
#[tokio::test]
async fn a_list_after_410_becomes_exact_differences() {
    let (api, process, cluster) = embedded().await;
    for (object, value) in [("a", "1"), ("b", "1"), ("c", "1")] {
        api.apply("test", config_map(object, value)).unwrap();
    }
    let mut changes = values(&cluster);
    until_synced(&mut changes).await;
    api.faults().inject(Fault {
        verb: Some(Verb::Watch),
        resource: None,
        times: None,
        effect: Effect::Refuse {
            code: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: None,
        },
    });
    api.faults().drop_watches();
    api.delete(&config_map_id("a")).unwrap();
    api.apply("test", config_map("b", "2")).unwrap();
    api.apply("test", config_map("d", "1")).unwrap();
    api.compact();
    api.faults().clear();

    let mut got = BTreeMap::new();
    while got.len() < 3 {
        let change = next(&mut changes).await;
        let (Change::Set(object, _) | Change::Removed(object)) = &change else {
            panic!("not expected: {change:?}");
        };
        assert_eq!(got.insert(object.clone(), change), None, "told twice");
    }
    let want = [Change::Removed(name("a")), set("b", "2"), set("d", "1")];
    assert_eq!(got.into_values().collect::<Vec<_>>(), want);
    // `c`, which did not change, is not among them, nor does it come later.
    api.apply("test", config_map("e", "1")).unwrap();
    assert_eq!(next(&mut changes).await, set("e", "1"));
    assert!(metric(&process, "penstock_watch_restarts_total") >= 1);
}

#[tokio::test]
async fn an_outage_forgets_nothing_and_what_was_missed_is_told() {
    let (api, process, cluster) = embedded().await;
    api.apply("test", config_map("a", "1")).unwrap();
    let mut changes = values(&cluster);
    until_synced(&mut changes).await;
    let faults = api.faults();
    let fault = Fault {
        verb: None,
        resource: None,
        times: None,
        effect: Effect::Close,
    };
    faults.inject(fault);
    faults.drop_watches();
    api.apply("test", config_map("a", "2")).unwrap();
    let mut change = Box::pin(next(&mut changes));
    // Several tries fail, and no change comes of it, least of all a removal.
    let failed = eventually("the watch is tried again", async || {
        (metric(&process, "penstock_watch_restarts_total") >= 3).then_some(())
    });
    tokio::select! {
        change = &mut change => assert_eq!(change, set("a", "2"), "it was sent before the cut"),
        () = failed => {
            faults.clear();
            assert_eq!(change.await, set("a", "2"));
        }
    }
}

#[tokio::test]
async fn events_that_come_again_are_not_told_again() {
    let (api, _process, cluster) = embedded().await;
    let always = |effect| Fault {
        verb: Some(Verb::Watch),
        resource: None,
        times: None,
        effect,
    };
    api.faults().inject(always(Effect::Duplicate));
    let mut changes = values(&cluster);
    until_synced(&mut changes).await;
    for value in ["1", "2"] {
        api.apply("test", config_map("a", value)).unwrap();
        assert_eq!(next(&mut changes).await, set("a", value));
    }
    // The next watch begins with what was sent before.
    api.faults().clear();
    api.faults().inject(always(Effect::Replay(2)));
    api.faults().end_watches();
    api.apply("test", config_map("b", "1")).unwrap();
    assert_eq!(next(&mut changes).await, set("b", "1"));
}

#[tokio::test]
async fn a_malformed_object_hides_no_other() {
    let good = r#"{"metadata":{"name":"good","namespace":"default","uid":"1","resourceVersion":"3"},"data":{"value":"1"}}"#;
    let bad = r#"{"metadata":{"name":"bad","namespace":"default","uid":"2","resourceVersion":"4"},"data":{"value":7}}"#;
    let nameless = r#"{"metadata":7}"#;
    let worse = format!(
        r#"{{"type":"MODIFIED","object":{}}}"#,
        good.replace("\"3\"", "\"8\"").replace("\"1\"}}", "[]}}")
    );
    // The order of the members is not for a client to rely on.
    let better = format!(
        r#"{{"object":{},"type":"MODIFIED"}}"#,
        bad.replace("\"4\"", "\"9\"").replace(":7}", ":\"2\"}")
    );
    let script = Script::new(&[
        list(7, "", &[bad, nameless, good]),
        events(&[&worse, &better]),
    ]);
    let process = process().await;
    let cluster = Cluster::with_client(script.client(), &process).unwrap();
    let mut changes = values(&cluster);
    let malformed = |object: &str, message: &str| {
        let malformed = Malformed {
            field: "data.value".to_owned(),
            message: message.to_owned(),
        };
        Change::Malformed(name(object), malformed)
    };
    assert_eq!(
        until_synced(&mut changes).await,
        [
            malformed("bad", "invalid type: integer `7`, expected a string"),
            set("good", "1"),
            Change::Synced
        ]
    );
    let sequence = "invalid type: sequence, expected a string";
    assert_eq!(next(&mut changes).await, malformed("good", sequence));
    assert_eq!(next(&mut changes).await, set("bad", "2"));
}

#[tokio::test(start_paused = true)]
async fn an_expired_page_or_version_begins_the_list_anew() {
    let object = |name: &str| {
        format!(r#"{{"metadata":{{"name":"{name}","namespace":"default","resourceVersion":"1"}}}}"#)
    };
    let (a, b) = (object("a"), object("b"));
    let script = Script::new(&[
        list(5, "more", &[&a, &b]),
        failure(410),
        list(6, "", &[&b]),
        failure(410),
        list(9, "", &[&b]),
    ]);
    let process = process().await;
    let cluster = Cluster::with_client(script.client(), &process).unwrap();
    let mut changes = values(&cluster);
    assert_eq!(
        until_synced(&mut changes).await,
        [
            set("a", ""),
            set("b", ""),
            Change::Removed(name("a")),
            Change::Synced
        ]
    );
    let more = tokio::time::timeout(Duration::from_secs(10), changes.next());
    assert!(more.await.is_err(), "nothing more has changed");
    let asked = script.asked();
    let kinds: Vec<&str> = asked
        .iter()
        .map(|uri| match uri {
            uri if uri.contains("resourceVersion=6") => "watch from 6",
            uri if uri.contains("resourceVersion=9") => "watch from 9",
            uri if uri.contains("continue=more") => "next page",
            _ => "list",
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "list",
            "next page",
            "list",
            "watch from 6",
            "list",
            "watch from 9"
        ]
    );
}

/// A server that fails at once, in whatever way, is asked some times a minute and not thousands.
#[tokio::test(start_paused = true)]
async fn no_server_makes_a_watch_spin() {
    let first = list(5, "", &[]);
    let broken = r#"{"type":"ADDED","object":{"metadata""#;
    let gone = r#"{"type":"ERROR","object":{"code":410}}"#;
    for (what, answers, status, body) in [
        ("refused", vec![], 500, ""),
        ("gone", vec![], 410, ""),
        ("no JSON", vec![], 200, "<html>"),
        ("watches refused", vec![first.clone()], 503, ""),
        ("watches end", vec![first.clone()], 200, ""),
        ("watches break", vec![first.clone()], 200, broken),
        ("watches expire", vec![first], 200, gone),
    ] {
        let process = process().await;
        let script = Script::new(&answers).then_always(status, body);
        let cluster = Cluster::with_client(script.client(), &process).unwrap();
        let mut changes = values(&cluster);
        let minutes = Duration::from_secs(300);
        let _synced =
            tokio::time::timeout(minutes, async { while changes.next().await.is_some() {} }).await;
        let asked = script.asked().len();
        assert!((5..60).contains(&asked), "{what}: asked {asked} times");
    }
}

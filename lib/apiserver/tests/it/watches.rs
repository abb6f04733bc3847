//! Watches: what is sent, in which order, and how they end.

use std::time::Duration;

use apiserver::{ApiServer, Options};
use serde_json::{Value, json};

use crate::http::{Watch, call, check, row};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn put(server: &ApiServer, name: &str, label: &str) -> String {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {"l": label}}});
    server.apply("test", map).unwrap();
    let id = apiserver::ObjectId {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: name.into(),
    };
    server.get(&id).unwrap().unwrap()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn delete(server: &ApiServer, name: &str) {
    call(server, &format!("DELETE {MAPS}/{name}"), &Value::Null).await;
}

#[tokio::test]
async fn without_a_version_the_state_comes_first() {
    let server = ApiServer::new();
    put(&server, "a", "1");
    for query in ["?watch=true", "?watch=1&resourceVersion=0"] {
        let mut watch = Watch::open(&server, &format!("{MAPS}{query}")).await;
        assert_eq!(watch.summary().await, "ADDED a");
    }
    let mut watch = Watch::open(&server, &format!("{MAPS}?watch=true")).await;
    assert_eq!(watch.summary().await, "ADDED a");
    put(&server, "a", "2");
    assert_eq!(watch.summary().await, "MODIFIED a");
    put(&server, "b", "1");
    assert_eq!(watch.summary().await, "ADDED b");
    delete(&server, "a").await;
    let event = watch.next().await.unwrap().unwrap();
    assert_eq!(event["type"], "DELETED");
    // The version of a deletion is its own, so that a watch can go on from it.
    assert_eq!(event["object"]["metadata"]["resourceVersion"], "9");
    assert_eq!(event["object"]["metadata"]["labels"]["l"], "2");
}

#[tokio::test]
async fn a_watch_goes_on_where_the_list_ended() {
    let server = ApiServer::new();
    let version = put(&server, "a", "1");
    put(&server, "b", "1");
    put(&server, "a", "2");
    let mut watch = Watch::open(
        &server,
        &format!("{MAPS}?watch=true&resourceVersion={version}"),
    )
    .await;
    assert_eq!(watch.summary().await, "ADDED b");
    assert_eq!(watch.summary().await, "MODIFIED a");
}

#[tokio::test]
async fn a_selection_has_an_inside_and_an_outside() {
    // api-concepts: an object that leaves the selection is DELETED, one that enters is ADDED.
    let server = ApiServer::new();
    put(&server, "a", "1");
    put(&server, "b", "2");
    let mut watch = Watch::open(&server, &format!("{MAPS}?watch=true&labelSelector=l%3D1")).await;
    let mut one = Watch::open(&server, &format!("{MAPS}/b?watch=true")).await;
    assert_eq!(watch.summary().await, "ADDED a");
    assert_eq!(one.summary().await, "ADDED b");
    put(&server, "a", "2");
    assert_eq!(watch.summary().await, "DELETED a");
    put(&server, "b", "1");
    assert_eq!(watch.summary().await, "ADDED b");
    assert_eq!(one.summary().await, "MODIFIED b");
    let elsewhere = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "other", "labels": {"l": "1"}}});
    server.apply("test", elsewhere).unwrap();
    delete(&server, "b").await;
    assert_eq!(watch.summary().await, "DELETED b");
    assert_eq!(one.summary().await, "DELETED b");
}

#[tokio::test]
async fn bookmarks_and_the_end_of_time() {
    let interval = Duration::from_millis(300);
    let server = ApiServer::with_options(Options {
        bookmark_interval: interval,
        ..Options::default()
    });
    put(&server, "a", "1");
    let query = "?watch=true&allowWatchBookmarks=true&timeoutSeconds=1";
    let mut watch = Watch::open(&server, &format!("{MAPS}{query}")).await;
    assert_eq!(watch.summary().await, "ADDED a");
    // Another kind moves the version on.
    let other = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    server.apply("test", other).unwrap();
    let mut bookmarks = Vec::new();
    while let Some(event) = watch.next().await {
        bookmarks.push(event.unwrap());
    }
    // Some on the way, and one at the end.
    assert!(bookmarks.len() >= 2, "{bookmarks:?}");
    for bookmark in bookmarks {
        assert_eq!(bookmark["type"], "BOOKMARK");
        assert_eq!(bookmark["object"]["kind"], "ConfigMap");
        assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], "7");
    }
}

#[tokio::test]
async fn a_streaming_list_says_when_it_is_complete() {
    // api-concepts, "Streaming lists".
    let server = ApiServer::new();
    put(&server, "a", "1");
    let query = "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true";
    let matching = "&resourceVersionMatch=NotOlderThan&resourceVersion=";
    let mut watch = Watch::open(&server, &format!("{MAPS}{query}{matching}")).await;
    assert_eq!(watch.summary().await, "ADDED a");
    let end = watch.next().await.unwrap().unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(
        end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(end["object"]["metadata"]["resourceVersion"], "6");
    put(&server, "b", "1");
    assert_eq!(watch.summary().await, "ADDED b");
    check(
        &server,
        vec![
            row(
                "sendInitialEvents needs NotOlderThan",
                &format!("GET {MAPS}{query}"),
                Value::Null,
                422,
                &[],
            ),
            row(
                "a match needs sendInitialEvents",
                &format!("GET {MAPS}?watch=true{matching}0"),
                Value::Null,
                422,
                &[],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_forgotten_is_gone() {
    // api-concepts, "410 Gone responses": the event of a watch that starts too early.
    let options = Options {
        history: 3,
        ..Options::default()
    };
    let server = ApiServer::with_options(options);
    let version = put(&server, "a", "1");
    let request = format!("{MAPS}?watch=true&resourceVersion={version}");
    let mut slow = Watch::open(&server, &request).await;
    for label in ["2", "3", "4"] {
        put(&server, "a", label);
    }
    let mut watch = Watch::open(&server, &request).await;
    assert_eq!(watch.summary().await, "MODIFIED a");
    put(&server, "a", "5");
    // Four changes, of which three are kept: both a new watch and a slow one are told.
    let mut late = Watch::open(&server, &request).await;
    for watch in [&mut late, &mut slow] {
        let event = watch.next().await.unwrap().unwrap();
        assert_eq!(event["type"], "ERROR");
        assert_eq!(event["object"]["kind"], "Status");
        assert_eq!(event["object"]["code"], 410);
        assert_eq!(event["object"]["reason"], "Expired");
        assert!(watch.next().await.is_none());
    }
}

#[tokio::test]
async fn compaction_spares_watches_that_run() {
    let server = ApiServer::new();
    let version = put(&server, "a", "1");
    let request = format!("{MAPS}?watch=true&resourceVersion={version}");
    let mut running = Watch::open(&server, &request).await;
    put(&server, "b", "1");
    server.compact();
    assert_eq!(running.summary().await, "ADDED b");
    let mut late = Watch::open(&server, &request).await;
    assert_eq!(late.summary().await, "ERROR ");
}

#[tokio::test]
async fn tables_can_be_watched() {
    let server = ApiServer::new();
    put(&server, "a", "1");
    let accept = "accept:application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut watch = Watch::open(&server, &format!("{MAPS}?watch=true {accept}")).await;
    let event = watch.next().await.unwrap().unwrap();
    assert_eq!(event["object"]["kind"], "Table");
    assert_eq!(event["object"]["rows"][0]["cells"][0], "a");
}

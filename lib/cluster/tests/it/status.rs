//! Status is written once per change.

use std::collections::BTreeMap;
use std::sync::Arc;

use apiserver::{ApiServer, ObjectId, Verb};
use cluster::{Cluster, Selection, StatusReport, StatusWriter};
use futures_util::StreamExt as _;
use http::StatusCode;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use crate::rig::{embedded, eventually, name};

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "web", "namespace": "default" },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
    })
}

fn status(ip: &str) -> Value {
    json!({ "loadBalancer": { "ingress": [{ "ip": ip }] } })
}

fn object(api: &ApiServer) -> Value {
    api.get(&ObjectId::of(&service()).unwrap())
        .unwrap()
        .unwrap()
}

fn report(writer: &StatusWriter, seen: Value, want: Value) {
    let report = StatusReport {
        seen: Arc::new(seen),
        want: Arc::new(want),
    };
    writer.report(BTreeMap::from([(name("web"), report)]));
}

async fn is(api: &ApiServer, ip: &str) {
    eventually("the status is written", async || {
        (object(api)["status"]["loadBalancer"]["ingress"][0]["ip"] == ip).then_some(())
    })
    .await;
}

/// How often the object has changed since it was made.
async fn versions(cluster: &Cluster) -> impl AsyncFnMut() -> usize {
    let mut changes = cluster.watch(Selection::all(), |_: Service| ());
    changes.next().await;
    async move || {
        let mut count = 0;
        let quiet = std::time::Duration::from_millis(300);
        while tokio::time::timeout(quiet, changes.next()).await.is_ok() {
            count += 1;
        }
        count
    }
}

#[tokio::test]
async fn a_status_is_written_once_until_it_is_seen_to_differ() {
    let (api, _process, cluster) = embedded().await;
    api.apply("test", service()).unwrap();
    let mut changes = versions(&cluster).await;
    let synced = 1;
    let writer = cluster.status_writer::<Service>();
    report(&writer, Value::Null, status("10.0.0.1"));
    is(&api, "10.0.0.1").await;
    // Others change; the watch has not yet told what was written.
    report(&writer, Value::Null, status("10.0.0.1"));
    assert_eq!(changes().await, synced + 1);
    // It says so already.
    report(&writer, status("10.0.0.1"), status("10.0.0.1"));
    assert_eq!(changes().await, 0);
    // Somebody else wrote it.
    report(&writer, status("10.9.9.9"), status("10.0.0.2"));
    is(&api, "10.0.0.2").await;
    assert_eq!(changes().await, 1);
    assert_eq!(object(&api)["spec"]["type"], "LoadBalancer");
}

#[tokio::test]
async fn a_write_that_fails_is_tried_again() {
    let (api, _process, cluster) = embedded().await;
    api.apply("test", service()).unwrap();
    let refused = StatusCode::INTERNAL_SERVER_ERROR;
    api.faults().refuse(Verb::Patch, "services", 2, refused);
    let writer = cluster.status_writer::<Service>();
    report(&writer, Value::Null, status("10.0.0.1"));
    is(&api, "10.0.0.1").await;
    assert_eq!(api.faults().pending(), 0, "both refusals were used up");
}

#[tokio::test]
async fn an_object_that_is_gone_is_not_tried_again() {
    let (api, _process, cluster) = embedded().await;
    api.apply("test", service()).unwrap();
    let writer = cluster.status_writer::<Service>();
    let report = |ip: &str| StatusReport {
        seen: Arc::default(),
        want: Arc::new(status(ip)),
    };
    let both = BTreeMap::from([
        (name("gone"), report("10.0.0.1")),
        (name("web"), report("10.0.0.1")),
    ]);
    writer.report(both);
    is(&api, "10.0.0.1").await;
}

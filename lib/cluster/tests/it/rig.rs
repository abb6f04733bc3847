//! A process with an embedded API, and the objects that tests put into it.

use std::net::SocketAddr;
use std::time::Duration;

use apiserver::{ApiServer, ObjectId};
use cluster::{Change, Changes, Cluster, Flags, Selection};
use daemon::Process;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use model::ObjectName;
use serde_json::{Value, json};

/// Long enough for any machine; a test that gets there has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn process() -> Process {
    let flags = daemon::Flags {
        admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..daemon::Flags::default()
    };
    Process::start("test-cluster", &flags).await.unwrap()
}

/// A process whose cluster is an embedded API.
pub(crate) async fn embedded() -> (ApiServer, Process, Cluster) {
    let process = process().await;
    let api = ApiServer::new();
    let cluster = Cluster::with_client(api.client("default"), &process).unwrap();
    (api, process, cluster)
}

/// A process whose cluster is a folder.
pub(crate) async fn of_folder(folder: &std::path::Path) -> (Process, Cluster) {
    let process = process().await;
    let cluster = Cluster::connect(&Flags::manifests(folder), &process)
        .await
        .unwrap();
    (process, cluster)
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": { "value": value },
    })
}

pub(crate) fn config_map_id(name: &str) -> ObjectId {
    ObjectId::of(&config_map(name, "")).unwrap()
}

pub(crate) fn name(name: &str) -> ObjectName {
    ObjectName::new("default", name)
}

/// The values of the ConfigMaps in `default`.
pub(crate) fn values(cluster: &Cluster) -> Changes<String> {
    let selection = Selection::namespace(Some("default"));
    cluster.watch(selection, |object: ConfigMap| {
        let mut data = object.data.unwrap_or_default();
        data.remove("value").unwrap_or_default()
    })
}

pub(crate) async fn next<T>(changes: &mut Changes<T>) -> Change<T> {
    let next = tokio::time::timeout(PATIENCE, changes.next()).await;
    next.expect("a change comes").expect("there is no end")
}

/// Changes up to and with `Synced`.
pub(crate) async fn until_synced<T: PartialEq>(changes: &mut Changes<T>) -> Vec<Change<T>> {
    let mut got = Vec::new();
    while got.last() != Some(&Change::Synced) {
        got.push(next(changes).await);
    }
    got
}

pub(crate) fn set(object: &str, value: &str) -> Change<String> {
    Change::Set(name(object), value.to_owned())
}

/// Asks until the answer is what is wanted.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    asked.await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A metric of the process, summed over its labels.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are small whole numbers"
)]
pub(crate) fn metric(process: &Process, name: &str) -> usize {
    let families = process.registry().gather();
    let family = families.iter().find(|family| family.name() == name);
    let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
    let value =
        |it: &prometheus::proto::Metric| it.get_counter().get_value() + it.get_gauge().get_value();
    metrics.iter().map(value).sum::<f64>() as usize
}

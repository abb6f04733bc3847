//! A real `kube::Client` talks to the API without a network.

use std::time::Duration;

use apiserver::{ApiServer, Applied, ObjectId};
use futures_util::{StreamExt, TryStreamExt, future};
use k8s_openapi::api::{core::v1::ConfigMap, networking::v1::Ingress};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, reflector, watcher},
};
use serde_json::{Value, json};

pub(crate) fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {"name": name}, "data": {"key": value},
    }))
    .unwrap()
}

fn ingress(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "namespace": "web"},
        "spec": {"rules": [{"host": host, "http": {"paths": [{
            "path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "s", "port": {"number": 80}}},
        }]}}]},
    })
}

#[tokio::test]
async fn an_object_lives_through_its_life() {
    let api: Api<ConfigMap> = Api::default_namespaced(ApiServer::new().client("default"));
    let created = api
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    assert!(created.metadata.uid.is_some());
    let mut replaced = created.clone();
    replaced.data = config_map("a", "2").data;
    let replaced = api
        .replace("a", &PostParams::default(), &replaced)
        .await
        .unwrap();
    assert_ne!(
        created.metadata.resource_version,
        replaced.metadata.resource_version
    );
    let stale = api
        .replace("a", &PostParams::default(), &created)
        .await
        .unwrap_err();
    assert!(matches!(stale, kube::Error::Api(status) if status.code == 409));
    let patch = Patch::Merge(json!({"data": {"other": "3"}}));
    let patched = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(patched.data.unwrap().len(), 2);
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_reflector_follows_lists_and_streams() {
    for streaming in [false, true] {
        let server = ApiServer::new();
        server.apply("folder", ingress("a", "a.example")).unwrap();
        let api: Api<Ingress> = Api::all(server.client("default"));
        let config = match streaming {
            true => watcher::Config::default().streaming_lists(),
            false => watcher::Config::default(),
        };
        let (reader, writer) = reflector::store();
        let mut events = Box::pin(
            watcher(api, config)
                .default_backoff()
                .reflect(writer)
                .applied_objects(),
        );
        let first = events.try_next().await.unwrap().unwrap();
        assert_eq!(first.metadata.name.as_deref(), Some("a"));
        assert_eq!(
            server.apply("folder", ingress("b", "b.example")).unwrap(),
            Applied::Created
        );
        assert_eq!(
            events
                .try_next()
                .await
                .unwrap()
                .unwrap()
                .metadata
                .name
                .as_deref(),
            Some("b")
        );
        assert_eq!(
            server.apply("folder", ingress("b", "c.example")).unwrap(),
            Applied::Changed
        );
        assert_eq!(
            events
                .try_next()
                .await
                .unwrap()
                .unwrap()
                .metadata
                .generation,
            Some(2)
        );
        assert_eq!(
            server.apply("folder", ingress("b", "c.example")).unwrap(),
            Applied::Unchanged
        );
        let id = ObjectId::of(&ingress("a", "")).unwrap();
        assert!(server.delete(&id).unwrap());
        assert!(!server.delete(&id).unwrap());
        let gone = async {
            while reader.len() != 1 {
                let _ = tokio::time::timeout(Duration::from_millis(10), events.next()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone)
            .await
            .unwrap();
        future::ready(()).await;
    }
}

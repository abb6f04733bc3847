//! A real `kube::Client` talks to the API without a network.

use std::time::Duration;

use apiserver::{ApiServer, Applied, ObjectId};
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Event},
    networking::v1::Ingress,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        events::{Event as Notice, EventType, Recorder},
        reflector, watcher,
    },
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
        for (host, applied, generation) in [
            ("b.example", Applied::Created, 1),
            ("c.example", Applied::Changed, 2),
        ] {
            let object = ingress("b", host);
            assert_eq!(server.apply("folder", object.clone()).unwrap(), applied);
            let seen = events.try_next().await.unwrap().unwrap().metadata;
            assert_eq!(seen.name.as_deref(), Some("b"));
            assert_eq!(seen.generation, Some(generation));
            let again = server.apply("folder", object).unwrap();
            assert_eq!(again, Applied::Unchanged);
        }
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
    }
}

#[tokio::test]
async fn events_are_recorded_and_counted() {
    let server = ApiServer::new();
    server.apply("folder", ingress("a", "a.example")).unwrap();
    let client = server.client("default");
    let about = Api::<Ingress>::namespaced(client.clone(), "web")
        .get("a")
        .await
        .unwrap();
    let recorder = Recorder::new(client.clone(), "penstock".into());
    for _ in 0..2 {
        let notice = Notice {
            type_: EventType::Warning,
            reason: "Refused".into(),
            note: Some("no such service".into()),
            action: "Compile".into(),
            secondary: None,
        };
        recorder
            .publish(&notice, &about.object_ref(&()))
            .await
            .unwrap();
    }
    let selected = ListParams::default().fields("involvedObject.name=a,type=Warning");
    let events = Api::<Event>::namespaced(client, "web")
        .list(&selected)
        .await
        .unwrap()
        .items;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].message.as_deref(), Some("no such service"));
    assert_eq!(events[0].series.as_ref().and_then(|it| it.count), Some(2));
}

#[tokio::test]
async fn a_lease_has_one_holder() {
    let api: Api<Lease> = Api::default_namespaced(ApiServer::new().client("default"));
    let lease = |holder: &str| {
        Patch::Apply(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "leader"},
            "spec": {"holderIdentity": holder, "renewTime": "2026-01-02T03:04:05.000006Z"},
        }))
    };
    let params = |manager: &str| PatchParams::apply(manager);
    api.patch("leader", &params("a"), &lease("a"))
        .await
        .unwrap();
    let refused = api
        .patch("leader", &params("b"), &lease("b"))
        .await
        .unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 409));
    let held = api
        .patch("leader", &params("b").force(), &lease("b"))
        .await
        .unwrap();
    assert_eq!(held.spec.unwrap().holder_identity.as_deref(), Some("b"));
    let refused = api
        .patch("leader", &params("a"), &lease("a"))
        .await
        .unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 409));
}

#[tokio::test]
async fn metadata_can_be_followed_alone() {
    let server = ApiServer::new();
    server.apply("folder", ingress("a", "a.example")).unwrap();
    let api = Api::<PartialObjectMeta<Ingress>>::all(server.client("default"));
    let mut events = Box::pin(watcher(api, watcher::Config::default()).applied_objects());
    let first = events.try_next().await.unwrap().unwrap();
    assert_eq!(first.metadata.name.as_deref(), Some("a"));
    server.apply("folder", ingress("b", "b.example")).unwrap();
    let second = events.try_next().await.unwrap().unwrap();
    assert_eq!(second.metadata.name.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_reflector_survives_a_server_that_misbehaves() {
    let server = ApiServer::new();
    server.apply("folder", ingress("a", "a.example")).unwrap();
    let api: Api<Ingress> = Api::all(server.client("default"));
    let (reader, writer) = reflector::store();
    let events = watcher(api, watcher::Config::default()).reflect(writer);
    let mut events = Box::pin(events);
    let reached = async |events: &mut std::pin::Pin<Box<_>>, wanted: usize| {
        let reach = async {
            while reader.len() != wanted {
                // A fault is an item of the stream as well.
                let _ = StreamExt::next(events).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reach)
            .await
            .unwrap();
    };
    reached(&mut events, 1).await;
    server.faults().drop_watches();
    server.apply("folder", ingress("b", "b.example")).unwrap();
    reached(&mut events, 2).await;
    server.faults().drop_watches();
    server.compact();
    server.apply("folder", ingress("c", "c.example")).unwrap();
    server.compact();
    server.faults().refuse(
        apiserver::Verb::List,
        "ingresses",
        1,
        http::StatusCode::TOO_MANY_REQUESTS,
    );
    reached(&mut events, 3).await;
}

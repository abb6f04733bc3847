//! Who writes the addresses into the status of Ingresses, and how often.

use apiserver::{ApiServer, Effect, Fault, Verb};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Proxy, class, eventually, ingress, ingress_id, service};

/// How many writes are counted at most.
const COUNTED: u32 = 1000;

/// An API that holds these objects and counts the patches of Ingresses.
fn counting(objects: &[Value]) -> ApiServer {
    let api = ApiServer::new();
    for object in objects {
        api.apply("test", object.clone()).unwrap();
    }
    api.faults().inject(Fault {
        verb: Some(Verb::Patch),
        resource: Some("ingresses".to_owned()),
        times: Some(COUNTED),
        // No fault at all, but counted as one.
        effect: Effect::Delay(std::time::Duration::ZERO),
    });
    api
}

fn writes(api: &ApiServer) -> u32 {
    COUNTED - api.faults().pending()
}

fn addresses(api: &ApiServer, name: &str) -> Value {
    let object = api.get(&ingress_id(name)).unwrap().unwrap();
    object["status"]["loadBalancer"]["ingress"].clone()
}

/// Waits until these Ingresses say that they are reached there.
async fn say(api: &ApiServer, names: &[&str], expect: &Value) {
    eventually(&expect.to_string(), async || {
        let all = names.iter().all(|name| addresses(api, name) == *expect);
        all.then_some(())
    })
    .await;
}

/// Shows that changes which are none of the status cause no writes: one that does has the last word.
async fn unrelated(proxy: &Proxy, expect: &Value) {
    let before = writes(&proxy.api);
    proxy.apply(ingress("a", &["a.test Prefix /changed web"]));
    proxy.apply(service("other"));
    proxy.apply(ingress("marker", &["m.test Prefix / web"]));
    say(&proxy.api, &["a", "marker"], expect).await;
    assert_eq!(writes(&proxy.api), before + 1, "the new one alone");
    proxy.delete(&ingress_id("marker"));
}

/// Three Ingresses, the last of which is another controller's.
fn objects() -> Vec<Value> {
    let mut foreign = ingress("foreign", &["c.test Prefix / web"]);
    foreign["spec"]["ingressClassName"] = "foreign".into();
    let mut other = class();
    other["metadata"] = json!({ "name": "foreign" });
    other["spec"]["controller"] = "example.test/other".into();
    vec![
        class(),
        other,
        service("web"),
        ingress("a", &["a.test Prefix / web"]),
        ingress("b", &["b.test Prefix / web"]),
        foreign,
    ]
}

/// Writes addresses into an object's status, as another program does.
async fn write<K>(api: &ApiServer, name: &str, entries: Value)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let objects: Api<K> = Api::namespaced(api.client("default"), "default");
    let patch = json!({ "status": { "loadBalancer": { "ingress": entries } } });
    objects
        .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_addresses_of_a_service_are_published_once_per_change() {
    let mut objects = objects();
    let mut published = service("lb");
    published["spec"]["type"] = "LoadBalancer".into();
    objects.push(published);
    let api = counting(&objects);
    write::<Service>(&api, "lb", json!([{ "ip": "192.0.2.1" }])).await;
    let proxy = Proxy::with_api(api, &["--publish-service", "default/lb"]).await;
    let first = json!([{ "ip": "192.0.2.1" }]);
    say(&proxy.api, &["a", "b"], &first).await;
    assert_eq!(writes(&proxy.api), 2);
    unrelated(&proxy, &first).await;

    let entries = json!([{ "hostname": "lb.test" }, { "ip": "192.0.2.2" }]);
    write::<Service>(&proxy.api, "lb", entries).await;
    let second = json!([{ "ip": "192.0.2.2" }, { "hostname": "lb.test" }]);
    say(&proxy.api, &["a", "b"], &second).await;
    unrelated(&proxy, &second).await;
    assert_eq!(writes(&proxy.api), 6);
    assert_eq!(addresses(&proxy.api, "foreign"), Value::Null);
}

#[tokio::test]
async fn what_others_write_over_it_is_put_right() {
    let flags = ["--publish-status-address", "192.0.2.1,lb.test"];
    let proxy = Proxy::with_api(counting(&objects()), &flags).await;
    let expect = json!([{ "ip": "192.0.2.1" }, { "hostname": "lb.test" }]);
    say(&proxy.api, &["a", "b"], &expect).await;
    write::<Ingress>(&proxy.api, "a", json!([{ "ip": "203.0.113.9" }])).await;
    say(&proxy.api, &["a"], &expect).await;
    unrelated(&proxy, &expect).await;
    // Two to begin with, that of the other one, ours over it, the marker's.
    assert_eq!(writes(&proxy.api), 5);
}

#[tokio::test]
async fn of_two_replicas_one_writes_and_the_other_takes_over() {
    let api = counting(&objects());
    // Real replicas publish the same address; here it says who wrote it.
    let flags = |address| ["--publish-status-address", address];
    let first = Proxy::with_api(api.clone(), &flags("192.0.2.1")).await;
    let by_first = json!([{ "ip": "192.0.2.1" }]);
    say(&api, &["a", "b"], &by_first).await;
    let mut second = Proxy::with_api(api.clone(), &flags("192.0.2.2")).await;
    second.ready().await;
    let leads = |proxy: &Proxy| proxy.metric("penstock_leader", &[]);
    assert_eq!((leads(&first), leads(&second)), (1.0, 0.0));
    unrelated(&first, &by_first).await;
    assert_eq!(writes(&api), 3, "the second writes nothing");

    first.process.shutdown().request();
    let by_second = json!([{ "ip": "192.0.2.2" }]);
    say(&api, &["a", "b"], &by_second).await;
    assert_eq!(writes(&api), 5);
    assert_eq!((leads(&first), leads(&second)), (0.0, 1.0));
    second.process.shutdown().request();
    second.ended().await.unwrap();
    say(&api, &["a", "b"], &by_second).await;
}

//! The controller's ConfigMap, changed while requests are served.

use serde_json::{Value, json};

use super::site;
use crate::harness::{Backend, Proxy, eventually, full, get, request};

const FLAGS: &[&str] = &["--configmap", "default/controller"];

fn configmap(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": { "name": name, "namespace": "default" },
    })
}

#[tokio::test]
async fn a_change_is_served_on_connections_that_stand() {
    let backend = Backend::echo("one").await;
    let mut objects = site(&[&backend]);
    objects.push(configmap("controller", &json!({ "proxy-body-size": "4" })));
    let proxy = Proxy::start(&objects, FLAGS).await;
    proxy.ready().await;
    let url = "http://a.test/";
    let mut connection = proxy.connect(url).await;
    let five = || request("POST", url, full("12345".to_owned()));
    assert_eq!(connection.send(five()).await.unwrap().status, 413);

    let named = json!({ "proxy-body-size": "5", "add-headers": "default/added" });
    proxy.apply(configmap("controller", &named));
    proxy.apply(configmap("added", &json!({ "X-Added": "one" })));
    let mut connection = proxy.connect(url).await;
    eventually("the new settings", async || {
        let answer = connection.send(get(url)).await.unwrap();
        (answer.headers.get("x-added")? == "one").then_some(())
    })
    .await;
    assert_eq!(connection.send(five()).await.unwrap().status, 200);
    proxy.apply(configmap("added", &json!({ "X-Added": "two" })));
    eventually("the ConfigMap that is named", async || {
        let answer = connection.send(get(url)).await.unwrap();
        (answer.headers.get("x-added")? == "two").then_some(())
    })
    .await;

    proxy.apply(configmap(
        "controller",
        &json!({ "proxy-body-size": "all" }),
    ));
    eventually("what holds without it", async || {
        let answer = connection.send(get(url)).await.unwrap();
        answer.headers.get("x-added").is_none().then_some(())
    })
    .await;
    let labels = [("kind", "ConfigMap"), ("reason", "InvalidValue")];
    eventually("a problem", async || {
        (proxy.metric("penstock_l7_problems", &labels) == 1.0).then_some(())
    })
    .await;
}

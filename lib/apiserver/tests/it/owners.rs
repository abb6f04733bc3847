//! Server-side apply and `managedFields`.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

use apiserver::{ApiServer, Applied};
use serde_json::{Value, json};

use crate::http::{Answer, call, check, row};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";

async fn apply(server: &ApiServer, path: &str, manager: &str, body: Value) -> Answer {
    let request =
        format!("PATCH {path}&fieldManager={manager} content-type:application/apply-patch+yaml");
    call(server, &request, &body).await
}

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    let one = |it: &Value| {
        format!(
            "{} {}",
            it["manager"].as_str().unwrap(),
            it["operation"].as_str().unwrap()
        )
    };
    entries.into_iter().flatten().map(one).collect()
}

#[tokio::test]
async fn fields_have_owners() {
    let server = ApiServer::new();
    let path = format!("{MAPS}/m?");
    let data = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data});

    let made = apply(&server, &path, "one", data(json!({"a": "1", "b": "1"}))).await;
    assert_eq!(made.code, 201, "{}", made.json);
    let entry = &made.json["metadata"]["managedFields"][0];
    assert_eq!(entry["fieldsV1"], json!({"f:data": {"f:a": {}, "f:b": {}}}));
    assert_eq!(
        (&entry["manager"], &entry["operation"]),
        (&json!("one"), &json!("Apply"))
    );

    let again = apply(&server, &path, "one", data(json!({"a": "1", "b": "1"}))).await;
    assert_eq!(again.code, 200);
    assert_eq!(
        again.json, made.json,
        "an apply that changes nothing writes nothing"
    );

    let conflict = apply(&server, &path, "two", data(json!({"a": "2"}))).await;
    assert_eq!(
        (conflict.code, &conflict.json["reason"]),
        (409, &json!("Conflict"))
    );
    assert_eq!(
        conflict.json["details"]["causes"],
        json!([{
            "reason": "FieldManagerConflict", "message": "conflict with \"one\" using v1", "field": ".data.a",
        }])
    );

    let shared = apply(&server, &path, "two", data(json!({"a": "1", "c": "2"}))).await;
    assert_eq!(shared.code, 200, "the same value is shared");
    let left = apply(&server, &path, "one", data(json!({"b": "1"}))).await;
    assert_eq!(
        left.json["data"],
        json!({"a": "1", "b": "1", "c": "2"}),
        "two still states a"
    );
    let left = apply(&server, &path, "two", data(json!({"c": "2"}))).await;
    assert_eq!(
        left.json["data"],
        json!({"b": "1", "c": "2"}),
        "nobody states a"
    );

    let forced = apply(
        &server,
        &format!("{path}force=true"),
        "two",
        data(json!({"b": "2"})),
    )
    .await;
    assert_eq!(forced.json["data"], json!({"b": "2"}));
    assert_eq!(managers(&forced.json), ["two Apply"]);
}

#[tokio::test]
async fn plain_writes_take_fields_over() {
    let server = ApiServer::new();
    let path = format!("{MAPS}/m?");
    apply(
        &server,
        &path,
        "one",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1", "b": "1"}}),
    )
    .await;
    let request =
        format!("PATCH {MAPS}/m?fieldManager=editor content-type:application/merge-patch+json");
    let patched = call(&server, &request, &json!({"data": {"a": "2"}}))
        .await
        .json;
    assert_eq!(managers(&patched), ["one Apply", "editor Update"]);
    assert_eq!(
        patched["metadata"]["managedFields"][1]["fieldsV1"],
        json!({"f:data": {"f:a": {}}})
    );
    let conflict = apply(
        &server,
        &path,
        "one",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}),
    )
    .await;
    assert_eq!(conflict.code, 409);
    // Without a name the client's program is the manager.
    let request = format!("PUT {MAPS}/m user-agent:tool/1.0");
    let put = call(
        &server,
        &request,
        &json!({"metadata": {"name": "m"}, "data": {"z": "1"}}),
    )
    .await
    .json;
    assert_eq!(managers(&put), ["tool Update"]);
    assert_eq!(
        put["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:data": {"f:z": {}}})
    );
}

#[tokio::test]
async fn keyed_lists_merge() {
    let server = ApiServer::new();
    let path = format!("{SERVICES}/s?");
    let ports =
        |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": ports}});
    let made = apply(
        &server,
        &path,
        "one",
        ports(json!([{"name": "a", "port": 80}])),
    )
    .await;
    assert_eq!(made.code, 201, "{}", made.json);
    let fields = &made.json["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(
        *fields,
        json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}}}})
    );
    let both = apply(
        &server,
        &path,
        "two",
        ports(json!([{"name": "b", "port": 81}])),
    )
    .await;
    assert_eq!(both.json["spec"]["ports"].as_array().unwrap().len(), 2);
    let one = apply(&server, &path, "one", ports(json!([]))).await;
    assert_eq!(one.json["spec"]["ports"].as_array().unwrap().len(), 1);
    assert_eq!(one.json["spec"]["ports"][0]["name"], "b");
}

#[tokio::test]
async fn what_an_apply_must_not_do() {
    let server = ApiServer::new();
    let kind = "content-type:application/apply-patch+yaml";
    let ingress = "/apis/networking.k8s.io/v1/namespaces/default/ingresses/i";
    let spec = json!({"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}});
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": spec,
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    check(
        &server,
        vec![
            row(
                "a manager is required",
                &format!("PATCH {MAPS}/m {kind}"),
                json!({"apiVersion": "v1", "kind": "ConfigMap"}),
                422,
                &[("/details/causes/0/field", json!("fieldManager"))],
            ),
            row(
                "managedFields must be nil",
                &format!("PATCH {MAPS}/m?fieldManager=a {kind}"),
                json!({"metadata": {"managedFields": []}}),
                400,
                &[],
            ),
            row(
                "a new object has no version",
                &format!("PATCH {MAPS}/m?fieldManager=a {kind}"),
                json!({"metadata": {"resourceVersion": "1"}}),
                409,
                &[],
            ),
            row(
                "the status is not applied with the spec",
                &format!("PATCH {ingress}?fieldManager=a {kind}"),
                object.clone(),
                201,
                &[("/status", Value::Null)],
            ),
            row(
                "nor the spec with the status",
                &format!("PATCH {ingress}/status?fieldManager=b {kind}"),
                object,
                200,
                &[
                    ("/status/loadBalancer/ingress/0/ip", json!("192.0.2.1")),
                    ("/metadata/managedFields/1/subresource", json!("status")),
                    (
                        "/metadata/managedFields/1/fieldsV1",
                        json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}}),
                    ),
                ],
            ),
            row(
                "a part must decode",
                &format!("PATCH {ingress}?fieldManager=a {kind}"),
                json!({"spec": {"rules": 1}}),
                422,
                &[("/details/causes/0/field", json!("spec.rules"))],
            ),
            row(
                "the status of nothing is 404",
                &format!("PATCH {ingress}x/status?fieldManager=b {kind}"),
                json!({}),
                404,
                &[],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn manifests_and_others_share_an_object() {
    let server = ApiServer::new();
    let node = |labels: Value| {
        json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n", "labels": labels}, "spec": {"podCIDR": "10.1.0.0/24"}})
    };
    let path = "/api/v1/nodes/n";
    let annotate =
        format!("PATCH {path}?fieldManager=agent content-type:application/merge-patch+json");

    assert_eq!(
        server
            .apply("folder", node(json!({"a": "1", "b": "1"})))
            .unwrap(),
        Applied::Created
    );
    let alone = call(&server, &format!("GET {path}"), &Value::Null)
        .await
        .json;
    assert_eq!(
        alone["metadata"]["managedFields"],
        Value::Null,
        "implied while it is alone"
    );
    assert_eq!(
        server.apply("folder", node(json!({"a": "1"}))).unwrap(),
        Applied::Changed
    );

    let annotated = call(
        &server,
        &annotate,
        &json!({"metadata": {"annotations": {"x": "1"}}}),
    )
    .await
    .json;
    assert_eq!(managers(&annotated), ["folder Apply", "agent Update"]);
    assert_eq!(
        server.apply("folder", node(json!({"a": "1"}))).unwrap(),
        Applied::Unchanged
    );
    assert_eq!(
        server.apply("folder", node(json!({"c": "1"}))).unwrap(),
        Applied::Changed
    );
    let shared = call(&server, &format!("GET {path}"), &Value::Null)
        .await
        .json;
    assert_eq!(shared["metadata"]["labels"], json!({"c": "1"}));
    assert_eq!(
        shared["metadata"]["annotations"],
        json!({"x": "1"}),
        "what others wrote stays"
    );

    let conflict = apply(
        &server,
        &format!("{path}?"),
        "third",
        json!({"metadata": {"labels": {"c": "2"}}}),
    )
    .await;
    assert_eq!(conflict.code, 409, "the folder owns what it states");
}

#[tokio::test]
async fn a_status_writer_leaves_the_manifest_in_charge() {
    let server = ApiServer::new();
    let ingress = |class: &str| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "i", "namespace": "default"},
        "spec": {"ingressClassName": class, "defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}})
    };
    server.apply("folder", ingress("a")).unwrap();
    let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses/i";
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let request = format!(
        "PATCH {path}/status content-type:application/merge-patch+json user-agent:penstock"
    );
    let written = call(&server, &request, &status).await.json;
    assert_eq!(managers(&written), ["penstock Update"]);
    assert_eq!(
        server.apply("folder", ingress("a")).unwrap(),
        Applied::Unchanged
    );
    assert_eq!(
        server.apply("folder", ingress("b")).unwrap(),
        Applied::Changed
    );
    check(
        &server,
        vec![row(
            "",
            &format!("GET {path}"),
            Value::Null,
            200,
            &[
                ("/status/loadBalancer/ingress/0/ip", json!("192.0.2.1")),
                ("/spec/ingressClassName", json!("b")),
                ("/metadata/generation", json!(2)),
            ],
        )],
    )
    .await;
}

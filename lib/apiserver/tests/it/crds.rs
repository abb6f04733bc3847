//! Custom resources.

use apiserver::ApiServer;
use serde_json::{Value, json};

use crate::http::{Watch, check, row};

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ipaddresspools.metallb.io"},
        "spec": {
            "group": "metallb.io", "scope": "Namespaced",
            "names": {"plural": "ipaddresspools", "singular": "ipaddresspool", "kind": "IPAddressPool"},
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Addresses", "type": "string", "jsonPath": ".spec.addresses"},
                    {"name": "Auto Assign", "type": "boolean", "jsonPath": ".spec.autoAssign"},
                ],
                "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": {"type": "object", "required": ["addresses"], "properties": {
                        "addresses": {"type": "array", "items": {"type": "string"}},
                        "autoAssign": {"type": "boolean", "default": true},
                        "mode": {"type": "string", "enum": ["a", "b"]},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        "priority": {"type": "integer", "minimum": 0, "maximum": 10},
                    }},
                    "status": {"type": "object", "properties": {"assigned": {"type": "integer"}}},
                }}},
            }, {
                "name": "v1", "served": true, "storage": false,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

#[tokio::test]
async fn a_definition_makes_a_type() {
    // tasks/extend-kubernetes/custom-resources/custom-resource-definitions
    let server = ApiServer::new();
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let pools = "/apis/metallb.io/v1beta1/namespaces/metallb/ipaddresspools";
    let pool = |spec: Value| json!({"metadata": {"name": "p"}, "spec": spec});
    let table = "accept:application/json;as=Table;v=v1;g=meta.k8s.io";
    check(&server, vec![
        row("unknown before", &format!("GET {pools}"), Value::Null, 404, &[]),
        row("a definition is established at once", &format!("POST {crds}"), definition(), 201, &[
            ("/status/conditions/1/type", json!("Established")),
            ("/status/conditions/1/status", json!("True")),
            ("/status/storedVersions", json!(["v1beta1"]))]),
        row("stable versions are preferred", "GET /apis/metallb.io", Value::Null, 200,
            &[("/preferredVersion/version", json!("v1"))]),
        row("create: defaults and pruning", &format!("POST {pools}"),
            pool(json!({"addresses": ["192.0.2.0/24"], "typo": 1, "free": {"any": 1}})), 201, &[
                ("/spec", json!({"addresses": ["192.0.2.0/24"], "autoAssign": true, "free": {"any": 1}})),
                ("/metadata/generation", json!(1))]),
        row("required", &format!("POST {pools}"), pool(json!({})), 422,
            &[("/details/causes/0/field", json!("spec.addresses"))]),
        row("types", &format!("POST {pools}"), pool(json!({"addresses": [1]})), 422,
            &[("/details/causes/0/field", json!("spec.addresses[0]"))]),
        row("enum", &format!("POST {pools}"), pool(json!({"addresses": [], "mode": "c"})), 422,
            &[("/details/causes/0/reason", json!("FieldValueNotSupported"))]),
        row("bounds", &format!("POST {pools}"), pool(json!({"addresses": [], "priority": 11})), 422,
            &[("/details/causes/0/field", json!("spec.priority"))]),
        row("its own columns", &format!("GET {pools} {table}"), Value::Null, 200,
            &[("/rows/0/cells", json!(["p", "[\"192.0.2.0/24\"]", true]))]),
        row("PUT needs a version", &format!("PUT {pools}/p"), pool(json!({"addresses": []})), 422, &[]),
        row("the status is apart", &format!("PATCH {pools}/p/status content-type:application/merge-patch+json"),
            json!({"status": {"assigned": 3}, "metadata": {"labels": {"a": "b"}}}), 200,
            &[("/status/assigned", json!(3)), ("/metadata/labels", Value::Null)]),
        row("another version shows the same object",
            "GET /apis/metallb.io/v1/namespaces/metallb/ipaddresspools/p", Value::Null, 200,
            &[("/apiVersion", json!("metallb.io/v1")), ("/status/assigned", json!(3))]),
        row("strategic merge patch is not for custom types",
            &format!("PATCH {pools}/p content-type:application/strategic-merge-patch+json"), json!({}), 415, &[]),
        row("OpenAPI", "GET /openapi/v3/apis/metallb.io/v1beta1", Value::Null, 200, &[
            ("/components/schemas/io.metallb.v1beta1.IPAddressPool/properties/spec/properties/mode/type",
             json!("string"))]),
    ]).await;
    let mut watch = Watch::open(&server, &format!("{pools}?watch=true")).await;
    assert_eq!(watch.summary().await, "ADDED p");
    check(
        &server,
        vec![
            row(
                "the definition takes its objects with it",
                &format!("DELETE {crds}/ipaddresspools.metallb.io"),
                Value::Null,
                200,
                &[],
            ),
            row(
                "unknown again",
                &format!("GET {pools}"),
                Value::Null,
                404,
                &[],
            ),
        ],
    )
    .await;
    assert_eq!(watch.summary().await, "DELETED p");
}

#[tokio::test]
async fn a_definition_must_fit_its_name() {
    let server = ApiServer::new();
    let mut wrong = definition();
    wrong["metadata"]["name"] = "pools.metallb.io".into();
    wrong["spec"]["versions"][1]["storage"] = true.into();
    wrong["spec"]["versions"][1]
        .as_object_mut()
        .unwrap()
        .remove("schema");
    let status = server.apply("test", wrong).unwrap_err();
    let fields: Vec<String> = status
        .details
        .unwrap()
        .causes
        .into_iter()
        .map(|cause| cause.field)
        .collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "spec.versions",
            "spec.versions[1].schema.openAPIV3Schema"
        ]
    );
}

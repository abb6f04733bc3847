//! Objects that are refused, and the fields that the refusals name.

use apiserver::ApiServer;
use serde_json::{Value, json};

use crate::http::call;

const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";

fn ingress(path: Value) -> Value {
    json!({"metadata": {"name": "i"}, "spec": {"rules": [{"host": "a.example", "http": {"paths": [path]}}]}})
}

fn with(pointer: &str, value: Value) -> Value {
    let mut object = ingress(json!({
        "path": "/a", "pathType": "Prefix",
        "backend": {"service": {"name": "s", "port": {"number": 80}}},
    }));
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(members), Value::Null) => drop(members.remove(key)),
        (parent, value) => parent[key] = value,
    }
    object
}

async fn refused(path: &str, object: &Value) -> Vec<String> {
    let answer = call(&ApiServer::new(), &format!("POST {path}"), object).await;
    if answer.code == 201 {
        return Vec::new();
    }
    assert_eq!(answer.code, 422, "{object} {}", answer.json);
    assert_eq!(answer.json["reason"], "Invalid");
    let causes = answer.json["details"]["causes"].as_array().unwrap();
    causes
        .iter()
        .map(|it| it["field"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn ingresses() {
    let path = "/spec/rules/0/http/paths/0";
    let at = |field: &str| format!("spec.rules[0].http.paths[0].{field}");
    let port = format!("{path}/backend/service/port");
    for (pointer, value, field) in [
        (format!("{path}/path"), json!("/a"), String::new()),
        (format!("{path}/pathType"), Value::Null, at("pathType")),
        (format!("{path}/pathType"), json!("Regex"), at("pathType")),
        (format!("{path}/path"), json!("a"), at("path")),
        (format!("{path}/path"), json!("/a//b"), at("path")),
        (format!("{path}/path"), json!("/a/../b"), at("path")),
        (format!("{path}/path"), json!(7), at("path")),
        (format!("{path}/backend"), json!({}), at("backend")),
        (
            format!("{path}/backend/resource"),
            json!({"kind": "K", "name": "n"}),
            at("backend"),
        ),
        (
            format!("{path}/backend/service/name"),
            json!(""),
            at("backend.service.name"),
        ),
        (port.clone(), json!({}), at("backend.service.port")),
        (
            port.clone(),
            json!({"number": 80, "name": "http"}),
            at("backend.service.port"),
        ),
        (
            port.clone(),
            json!({"number": 65536}),
            at("backend.service.port.number"),
        ),
        (
            port.clone(),
            json!({"number": "80"}),
            at("backend.service.port.number"),
        ),
        (
            port,
            json!({"name": "Http!"}),
            at("backend.service.port.name"),
        ),
        (
            "/spec/rules/0/host".into(),
            json!("192.0.2.1"),
            "spec.rules[0].host".into(),
        ),
        (
            "/spec/rules/0/host".into(),
            json!("*.*.example"),
            "spec.rules[0].host".into(),
        ),
        (
            "/spec/rules/0/host".into(),
            json!("*.example"),
            String::new(),
        ),
        (
            "/spec/rules/0/host".into(),
            json!("A.example"),
            "spec.rules[0].host".into(),
        ),
        (
            "/spec/rules/0/http".into(),
            json!({"paths": []}),
            "spec.rules[0].http.paths".into(),
        ),
        ("/spec/rules".into(), json!([]), "spec".into()),
        ("/spec/rules".into(), json!({}), "spec.rules".into()),
        (
            "/spec/tls".into(),
            json!([{"hosts": ["a_b"]}]),
            "spec.tls[0].hosts[0]".into(),
        ),
        ("/metadata/name".into(), json!("A"), "metadata.name".into()),
        (
            "/metadata/labels".into(),
            json!({"a": "-"}),
            "metadata.labels".into(),
        ),
        (
            "/metadata/labels".into(),
            json!({"a": 1}),
            "metadata.labels[a]".into(),
        ),
        (
            "/metadata/annotations".into(),
            json!({"a b": "c"}),
            "metadata.annotations".into(),
        ),
    ] {
        let object = with(&pointer, value);
        let expect: &[String] = if field.is_empty() { &[] } else { &[field] };
        assert_eq!(refused(INGRESSES, &object).await, expect, "{object}");
    }
}

#[tokio::test]
async fn other_types() {
    let core = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let named = |mut object: Value| {
        object["metadata"] = json!({"name": "a"});
        object
    };
    let port = |port: Value| json!({"spec": {"ports": [port]}});
    for (path, object, fields) in [
        (
            core("services"),
            port(json!({"port": 0})),
            vec!["spec.ports[0].port", "spec.ports[0].targetPort"],
        ),
        (
            core("services"),
            port(json!({"port": 80, "targetPort": 65536})),
            vec!["spec.ports[0].targetPort"],
        ),
        (
            core("services"),
            port(json!({"port": 80, "targetPort": "no_name"})),
            vec!["spec.ports[0].targetPort"],
        ),
        (
            core("services"),
            port(json!({"port": 80, "protocol": "HTTP"})),
            vec!["spec.ports[0].protocol"],
        ),
        (
            core("services"),
            port(json!({})),
            vec!["spec.ports[0].port"],
        ),
        (
            core("services"),
            json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}}),
            vec!["spec.ports[0].name", "spec.ports[1].name"],
        ),
        (core("services"), json!({"spec": {}}), vec!["spec.ports"]),
        (
            core("services"),
            json!({"spec": {"clusterIP": "None"}}),
            vec![],
        ),
        (
            core("services"),
            json!({"spec": {"type": "ExternalName"}}),
            vec!["spec.externalName"],
        ),
        (
            core("services"),
            json!({"spec": {"type": "Other", "ports": [{"port": 1}]}}),
            vec!["spec.type"],
        ),
        (
            core("secrets"),
            json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}),
            vec!["data[tls.key]"],
        ),
        (
            core("secrets"),
            json!({"data": {"a": "not base64"}}),
            vec!["data[a]"],
        ),
        (
            core("secrets"),
            json!({"data": {"a/b": ""}}),
            vec!["data[a/b]"],
        ),
        (
            core("pods"),
            json!({"spec": {"containers": []}}),
            vec!["spec.containers"],
        ),
        (
            slices.into(),
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}]}),
            vec!["endpoints[0].addresses[0]"],
        ),
        (
            slices.into(),
            json!({"addressType": "IPv4", "endpoints": [{"addresses": []}]}),
            vec!["endpoints[0].addresses"],
        ),
        (
            slices.into(),
            json!({"addressType": "IPv4", "ports": [{"port": 70000}]}),
            vec!["ports[0].port"],
        ),
        (slices.into(), json!({"endpoints": []}), vec!["addressType"]),
        (
            "/apis/networking.k8s.io/v1/ingressclasses".into(),
            json!({"spec": {"controller": "x"}}),
            vec!["spec.controller"],
        ),
        (
            "/apis/coordination.k8s.io/v1/namespaces/default/leases".into(),
            json!({"spec": {"renewTime": "yesterday"}}),
            vec!["spec.renewTime"],
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies".into(),
            json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "192.0.2.1"}}]}]}}),
            vec!["spec.ingress[0].from[0].ipBlock.cidr"],
        ),
    ] {
        assert_eq!(
            refused(&path, &named(object.clone())).await,
            fields,
            "{object}"
        );
    }
}

#[tokio::test]
async fn unknown_fields() {
    // api-concepts, "Field validation".
    let server = ApiServer::new();
    let mut object = with("/spec/rules/0/hots", json!("a"));
    object["specs"] = json!({});
    let strict = call(
        &server,
        &format!("POST {INGRESSES}?fieldValidation=Strict"),
        &object,
    )
    .await;
    assert_eq!(strict.code, 400);
    let message = strict.json["message"].as_str().unwrap();
    assert!(
        message.contains("strict decoding error: unknown field \"spec.rules[0].hots\""),
        "{message}"
    );
    assert!(message.contains("unknown field \"specs\""), "{message}");

    let warned = call(
        &server,
        &format!("POST {INGRESSES}?fieldValidation=Warn"),
        &object,
    )
    .await;
    assert_eq!(warned.code, 201);
    let warnings: Vec<_> = warned.headers.get_all("warning").iter().collect();
    assert_eq!(
        warnings[0],
        r#"299 - "unknown field \"spec.rules[0].hots\"""#
    );
    assert_eq!(warned.json["specs"], Value::Null);

    let request = format!("PUT {INGRESSES}/i?fieldValidation=Ignore");
    let ignored = call(&server, &request, &object).await;
    assert_eq!(ignored.code, 200);
    assert!(ignored.headers.get("warning").is_none());
    let other = call(
        &server,
        &format!("POST {INGRESSES}?fieldValidation=Maybe"),
        &object,
    )
    .await;
    assert_eq!(other.code, 400);
}

#[tokio::test]
async fn a_manifest_is_checked_strictly() {
    let server = ApiServer::new();
    let mut object = with("/spec/rules/0/hots", json!("a"));
    object["apiVersion"] = "networking.k8s.io/v1".into();
    object["kind"] = "Ingress".into();
    let status = server.apply("folder", object).unwrap_err();
    assert_eq!(
        status.details.unwrap().causes[0].field,
        "spec.rules[0].hots"
    );
    let status = server
        .apply("folder", json!({"apiVersion": "x/v1", "kind": "Y"}))
        .unwrap_err();
    assert_eq!((status.code, &*status.reason), (404, "NotFound"));
    for nonsense in [json!(null), json!([]), json!("x"), json!({})] {
        server.apply("folder", nonsense).unwrap_err();
    }
}

#[tokio::test]
async fn a_body_may_be_yaml_and_must_not_be_huge() {
    let options = apiserver::Options {
        body_size: 1000,
        ..apiserver::Options::default()
    };
    let server = ApiServer::with_options(options);
    let long = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(1000)}});
    let answer = call(&server, "POST /api/v1/namespaces/default/configmaps", &long).await;
    assert_eq!(
        (answer.code, &answer.json["reason"]),
        (413, &json!("RequestEntityTooLarge"))
    );

    let request = http::Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/yaml")
        .body(http_body_util::Full::<bytes::Bytes>::from(
            "metadata:\n  name: a\ndata: {k: v}\n",
        ))
        .unwrap();
    let response = tower::ServiceExt::oneshot(server.service(), request)
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
}

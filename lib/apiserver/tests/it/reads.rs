//! Get and list: selectors, pages, versions, tables.

use apiserver::{ApiServer, Options};
use serde_json::{Value, json};

use crate::http::{call, check, row};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn filled() -> ApiServer {
    // A clock that stands still keeps ages the same.
    let options = Options {
        clock: || jiff::Timestamp::UNIX_EPOCH,
        ..Options::default()
    };
    let server = ApiServer::with_options(options);
    for (name, tier) in [("a", "web"), ("b", "web"), ("c", "db"), ("d", "")] {
        let labels = if tier.is_empty() {
            json!({})
        } else {
            json!({"tier": tier})
        };
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default", "labels": labels}});
        server.apply("test", map).unwrap();
    }
    server
}

async fn names(server: &ApiServer, query: &str) -> Vec<String> {
    let answer = call(server, &format!("GET {MAPS}{query}"), &Value::Null).await;
    assert_eq!(answer.code, 200, "{query} {}", answer.json);
    let items = answer.json["items"].as_array().unwrap();
    items
        .iter()
        .map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn selectors() {
    let server = filled();
    for (query, expect) in [
        ("", "a b c d"),
        ("?labelSelector=tier%3Dweb", "a b"),
        ("?labelSelector=tier%20in%20(web,db)", "a b c"),
        ("?labelSelector=tier!%3Dweb", "c d"),
        ("?labelSelector=!tier", "d"),
        ("?fieldSelector=metadata.name%3Db", "b"),
        (
            "?fieldSelector=metadata.name!%3Db&labelSelector=tier",
            "a c",
        ),
        ("?fieldSelector=metadata.namespace%3Dother", ""),
    ] {
        assert_eq!(names(&server, query).await.join(" "), expect, "{query}");
    }
    check(
        &server,
        vec![
            row(
                "field-selectors: unsupported fields are 400",
                &format!("GET {MAPS}?fieldSelector=data.k%3D1"),
                Value::Null,
                400,
                &[],
            ),
            row(
                "a label selector that does not parse is 400",
                &format!("GET {MAPS}?labelSelector=a%3D%3D%3Db"),
                Value::Null,
                400,
                &[],
            ),
            row(
                "all namespaces",
                "GET /api/v1/configmaps?labelSelector=tier%3Ddb",
                Value::Null,
                200,
                &[
                    ("/kind", json!("ConfigMapList")),
                    ("/items/0/metadata/name", json!("c")),
                ],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn pages_show_the_state_of_the_first() {
    // api-concepts, "Retrieving large results sets in chunks".
    let server = filled();
    let first = call(&server, &format!("GET {MAPS}?limit=2"), &Value::Null)
        .await
        .json;
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let version = first["metadata"]["resourceVersion"].clone();
    call(&server, &format!("DELETE {MAPS}/c"), &Value::Null).await;
    call(
        &server,
        &format!("POST {MAPS}"),
        &json!({"metadata": {"name": "bb"}}),
    )
    .await;
    let patch = format!("PATCH {MAPS}/d content-type:application/merge-patch+json");
    call(&server, &patch, &json!({"data": {"new": "1"}})).await;

    let request = format!("GET {MAPS}?limit=2&continue={token}");
    let second = call(&server, &request, &Value::Null).await.json;
    assert_eq!(second["metadata"]["resourceVersion"], version);
    assert_eq!(second["items"][0]["metadata"]["name"], "c");
    assert_eq!(second["items"][1]["metadata"]["name"], "d");
    assert_eq!(second["items"][1]["data"], Value::Null);
    assert_eq!(second["metadata"]["continue"], Value::Null);
    assert_eq!(names(&server, "").await, ["a", "b", "bb", "d"]);

    server.compact();
    check(
        &server,
        vec![
            row(
                "an expired token is 410 Expired",
                &request,
                Value::Null,
                410,
                &[("/reason", json!("Expired"))],
            ),
            row(
                "a token that is none is 400",
                &format!("GET {MAPS}?continue=x"),
                Value::Null,
                400,
                &[],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn versions() {
    // api-concepts, "Resource versions": the table of get and list semantics.
    let server = filled();
    let list = call(&server, &format!("GET {MAPS}"), &Value::Null)
        .await
        .json;
    let now = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    call(&server, &format!("DELETE {MAPS}/a"), &Value::Null).await;
    let get = |query: String| format!("GET {MAPS}?{query}");
    let first = ("/items/0/metadata/name", json!("b"));
    let old = ("/items/0/metadata/name", json!("a"));
    check(
        &server,
        vec![
            row(
                "unset: most recent",
                &get(String::new()),
                Value::Null,
                200,
                std::slice::from_ref(&first),
            ),
            row(
                "0: any",
                &get("resourceVersion=0".into()),
                Value::Null,
                200,
                std::slice::from_ref(&first),
            ),
            row(
                "not older than",
                &get(format!("resourceVersion={now}")),
                Value::Null,
                200,
                std::slice::from_ref(&first),
            ),
            row(
                "NotOlderThan",
                &get(format!(
                    "resourceVersion={now}&resourceVersionMatch=NotOlderThan"
                )),
                Value::Null,
                200,
                std::slice::from_ref(&first),
            ),
            row(
                "Exact",
                &get(format!("resourceVersion={now}&resourceVersionMatch=Exact")),
                Value::Null,
                200,
                &[old.clone(), ("/metadata/resourceVersion", json!(now))],
            ),
            row(
                "limit and a version: exact",
                &get(format!("resourceVersion={now}&limit=1")),
                Value::Null,
                200,
                &[old],
            ),
            row(
                "a version to come is 504",
                &get("resourceVersion=1000".into()),
                Value::Null,
                504,
                &[
                    ("/reason", json!("Timeout")),
                    ("/details/causes/0/reason", json!("ResourceVersionTooLarge")),
                ],
            ),
            row(
                "not a version is 400",
                &get("resourceVersion=x".into()),
                Value::Null,
                400,
                &[],
            ),
            row(
                "Exact 0 is invalid",
                &get("resourceVersion=0&resourceVersionMatch=Exact".into()),
                Value::Null,
                422,
                &[],
            ),
            row(
                "a match without a version is invalid",
                &get("resourceVersionMatch=Exact".into()),
                Value::Null,
                422,
                &[],
            ),
            row(
                "an unknown match is invalid",
                &get("resourceVersion=1&resourceVersionMatch=x".into()),
                Value::Null,
                422,
                &[],
            ),
            row(
                "sendInitialEvents is for watches",
                &get("sendInitialEvents=true".into()),
                Value::Null,
                422,
                &[],
            ),
        ],
    )
    .await;
    server.compact();
    let request = get(format!("resourceVersion={now}&resourceVersionMatch=Exact"));
    check(
        &server,
        vec![row(
            "too old is 410",
            &request,
            Value::Null,
            410,
            &[("/code", json!(410))],
        )],
    )
    .await;
}

#[tokio::test]
async fn tables_and_metadata() {
    let server = filled();
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "i", "namespace": "default"},
        "spec": {"ingressClassName": "c", "tls": [{}], "rules": [{"host": "a.example"}, {"host": "b.example"}]}});
    server.apply("test", ingress).unwrap();
    let table = "accept:application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let partial = "accept:application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    check(
        &server,
        vec![
            row(
                "api-concepts: Table",
                &format!("GET /apis/networking.k8s.io/v1/ingresses {table}"),
                Value::Null,
                200,
                &[
                    ("/kind", json!("Table")),
                    ("/columnDefinitions/1/name", json!("Class")),
                    (
                        "/rows/0/cells",
                        json!(["i", "c", "a.example,b.example", "", "80, 443", "0s"]),
                    ),
                    ("/rows/0/object/kind", json!("PartialObjectMetadata")),
                ],
            ),
            row(
                "Table of one, without the object",
                &format!("GET {MAPS}/a?includeObject=None {table}"),
                Value::Null,
                200,
                &[
                    ("/rows/0/cells", json!(["a", 0, "0s"])),
                    ("/rows/0/object", Value::Null),
                ],
            ),
            row(
                "api-concepts: metadata only",
                &format!("GET {MAPS} {partial}"),
                Value::Null,
                200,
                &[
                    ("/kind", json!("PartialObjectMetadataList")),
                    ("/apiVersion", json!("meta.k8s.io/v1")),
                    ("/items/0/kind", json!("PartialObjectMetadata")),
                    ("/items/0/metadata/name", json!("a")),
                ],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn discovery() {
    let server = ApiServer::new();
    let aggregated = "accept:application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    check(&server, vec![
        row("version", "GET /version", Value::Null, 200, &[("/major", json!("1"))]),
        row("api", "GET /api", Value::Null, 200, &[("/versions", json!(["v1"]))]),
        row("groups", "GET /apis", Value::Null, 200, &[("/groups/0/name", json!("apiextensions.k8s.io"))]),
        row("group", "GET /apis/networking.k8s.io", Value::Null, 200, &[
            ("/preferredVersion/groupVersion", json!("networking.k8s.io/v1"))]),
        row("resources", "GET /apis/networking.k8s.io/v1", Value::Null, 200, &[
            ("/resources/0/name", json!("ingresses")), ("/resources/1/name", json!("ingresses/status"))]),
        row("aggregated", &format!("GET /apis {aggregated}"), Value::Null, 200, &[
            ("/kind", json!("APIGroupDiscoveryList"))]),
        row("openapi", "GET /openapi/v3/apis/networking.k8s.io/v1", Value::Null, 200, &[
            ("/components/schemas/io.k8s.api.networking.v1.Ingress/x-kubernetes-group-version-kind/0/kind",
             json!("Ingress"))]),
        row("no such group", "GET /apis/none.example", Value::Null, 404, &[]),
        row("no such version", "GET /apis/networking.k8s.io/v9", Value::Null, 404, &[]),
        row("only GET", "POST /version", Value::Null, 405, &[]),
    ]).await;
    for probe in ["/healthz", "/readyz", "/livez"] {
        assert_eq!(
            call(&server, &format!("GET {probe}"), &Value::Null)
                .await
                .code,
            200
        );
    }
}

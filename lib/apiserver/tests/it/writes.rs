//! Create, update, patch and delete, row by row against the API's documentation.
//!
//! Rows cite pages below <https://kubernetes.io/docs/reference/>.

use apiserver::ApiServer;
use serde_json::{Value, json};

use crate::http::{call, check, row};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";

fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": value}})
}

#[tokio::test]
async fn creating() {
    let server = ApiServer::new();
    check(&server, vec![
        row("api-concepts: POST creates, 201", &format!("POST {MAPS}"), map("a", "1"), 201, &[
            ("/metadata/namespace", json!("default")),
            ("/metadata/resourceVersion", json!("6")),
            ("/data/k", json!("1")),
        ]),
        row("a second one is 409 AlreadyExists", &format!("POST {MAPS}"), map("a", "2"), 409, &[
            ("/kind", json!("Status")),
            ("/reason", json!("AlreadyExists")),
            ("/details/name", json!("a")),
            ("/details/kind", json!("configmaps")),
            ("/message", json!("configmaps \"a\" already exists")),
        ]),
        row("object-names: a name is needed", &format!("POST {MAPS}"), json!({}), 422, &[
            ("/details/causes/0/field", json!("metadata.name")),
        ]),
        row("the namespace of body and path agree", &format!("POST {MAPS}"),
            json!({"metadata": {"name": "b", "namespace": "other"}}), 400, &[]),
        row("kind and path agree", &format!("POST {MAPS}"),
            json!({"kind": "Pod", "metadata": {"name": "b"}}), 400, &[("/reason", json!("BadRequest"))]),
        row("api-concepts: dryRun=All stores nothing", &format!("POST {MAPS}?dryRun=All"),
            map("dry", "1"), 201, &[("/metadata/name", json!("dry"))]),
        row("api-concepts: dryRun=All stores nothing", &format!("GET {MAPS}/dry"), Value::Null, 404, &[
            ("/reason", json!("NotFound")),
            ("/message", json!("configmaps \"dry\" not found")),
        ]),
        row("another dryRun is refused", &format!("POST {MAPS}?dryRun=Some"), map("b", "1"), 400, &[]),
        row("POST is for collections", &format!("POST {MAPS}/a"), map("a", "1"), 405, &[
            ("/reason", json!("MethodNotAllowed")),
        ]),
        row("a namespace is needed to create", "POST /api/v1/configmaps", map("b", "1"), 405, &[]),
        row("an unknown resource is 404", "GET /api/v1/namespaces/default/gadgets", Value::Null, 404, &[]),
        row("another media type is 415",
            &format!("POST {MAPS} content-type:application/vnd.kubernetes.unknown"), map("b", "1"), 415,
            &[("/reason", json!("UnsupportedMediaType"))]),
        row("an unacceptable answer is 406", &format!("GET {MAPS} accept:text/html"), Value::Null, 406,
            &[("/reason", json!("NotAcceptable"))]),
        row("Ingress: what has a status starts without",
            "POST /apis/networking.k8s.io/v1/namespaces/new/ingresses",
            json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 1}}}},
                   "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}),
            201, &[("/status", Value::Null), ("/metadata/generation", json!(1))]),
        row("here, a namespace comes with its first object", "GET /api/v1/namespaces/new", Value::Null, 200,
            &[("/status/phase", json!("Active"))]),
    ]).await;
}

#[tokio::test]
async fn generated_names() {
    let server = ApiServer::new();
    let body = json!({"metadata": {"generateName": "job-"}});
    let mut names = Vec::new();
    for _ in 0..3 {
        let answer = call(&server, &format!("POST {MAPS}"), &body).await;
        assert_eq!(answer.code, 201);
        let name = answer.json["metadata"]["name"].as_str().unwrap().to_owned();
        // api-concepts: five random characters.
        assert!(name.starts_with("job-") && name.len() == 9, "{name}");
        assert!(!names.contains(&name));
        names.push(name);
    }
}

#[tokio::test]
async fn replacing() {
    let server = ApiServer::new();
    call(&server, &format!("POST {MAPS}"), &map("a", "1")).await;
    let at = |version: &str, value: &str| {
        let mut map = map("a", value);
        map["metadata"]["resourceVersion"] = version.into();
        map
    };
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    check(&server, vec![
        row("api-concepts: PUT at the current version", &format!("PUT {MAPS}/a"), at("6", "2"), 200,
            &[("/metadata/resourceVersion", json!("7"))]),
        row("PUT at an older one is 409 Conflict", &format!("PUT {MAPS}/a"), at("6", "3"), 409, &[
            ("/reason", json!("Conflict")),
            ("/message", json!("Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
                please apply your changes to the latest version and try again")),
        ]),
        row("PUT without a version is unconditional", &format!("PUT {MAPS}/a"), map("a", "4"), 200, &[
            ("/data/k", json!("4")), ("/metadata/resourceVersion", json!("8"))]),
        row("PUT of what is there changes nothing", &format!("PUT {MAPS}/a"), map("a", "4"), 200, &[
            ("/metadata/resourceVersion", json!("8"))]),
        row("PUT to no object is 404", &format!("PUT {MAPS}/none"), map("none", "1"), 404, &[]),
        row("the name in the body is that of the path", &format!("PUT {MAPS}/a"), map("b", "1"), 400, &[]),
        row("another uid is another object", &format!("PUT {MAPS}/a"),
            json!({"metadata": {"name": "a", "uid": "x"}}), 409, &[]),
        row("Lease: PUT creates", &format!("PUT {lease}"), json!({"spec": {"holderIdentity": "a"}}), 201, &[
            ("/metadata/name", json!("l"))]),
        row("Lease: PUT needs a version", &format!("PUT {lease}"), json!({"spec": {"holderIdentity": "b"}}), 422, &[
            ("/details/causes/0/field", json!("metadata.resourceVersion"))]),
        row("the creation time stays", &format!("PUT {MAPS}/a"),
            json!({"metadata": {"name": "a", "creationTimestamp": "2020-01-01T00:00:00Z"}}), 422,
            &[("/details/causes/0/field", json!("metadata.creationTimestamp"))]),
    ]).await;
}

fn ingress(name: &str) -> Value {
    json!({"metadata": {"name": name},
        "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}})
}

#[tokio::test]
async fn the_status_and_the_rest_are_apart() {
    let server = ApiServer::new();
    let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    let mut both = ingress("i");
    both["spec"]["ingressClassName"] = "c".into();
    both["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    let merge = "content-type:application/merge-patch+json";
    check(&server, vec![
        row("create", &format!("POST {path}"), ingress("i"), 201, &[]),
        row("api-conventions: PUT ignores the status", &format!("PUT {path}/i"), both.clone(), 200, &[
            ("/status", Value::Null), ("/spec/ingressClassName", json!("c")), ("/metadata/generation", json!(2))]),
        row("PUT of /status ignores the spec", &format!("PUT {path}/i/status"),
            json!({"metadata": {"name": "i"}, "spec": {}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}}),
            200, &[("/spec/ingressClassName", json!("c")),
                   ("/status/loadBalancer/ingress/0/ip", json!("192.0.2.2")),
                   ("/metadata/generation", json!(2))]),
        row("PATCH of /status ignores the spec", &format!("PATCH {path}/i/status {merge}"),
            json!({"spec": {"ingressClassName": "x"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.3"}]}}}),
            200, &[("/spec/ingressClassName", json!("c")), ("/status/loadBalancer/ingress/0/ip", json!("192.0.2.3"))]),
        row("PATCH ignores the status", &format!("PATCH {path}/i {merge}"),
            json!({"status": null, "metadata": {"labels": {"a": "b"}}}), 200, &[
                ("/status/loadBalancer/ingress/0/ip", json!("192.0.2.3")), ("/metadata/generation", json!(2))]),
        row("GET of /status is the object", &format!("GET {path}/i/status"), Value::Null, 200,
            &[("/spec/ingressClassName", json!("c"))]),
        row("what has no status has no /status", &format!("GET {MAPS}/a/status"), Value::Null, 404, &[]),
    ]).await;
}

#[tokio::test]
async fn patching() {
    let server = ApiServer::new();
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [
        {"name": "a", "port": 80}, {"name": "b", "port": 81}]}});
    let patch = |kind: &str| format!("PATCH {SERVICES}/s content-type:application/{kind}");
    check(
        &server,
        vec![
            row(
                "Service: defaults",
                &format!("POST {SERVICES}"),
                service,
                201,
                &[
                    ("/spec/type", json!("ClusterIP")),
                    ("/spec/ports/0/targetPort", json!(80)),
                    ("/spec/ports/0/protocol", json!("TCP")),
                ],
            ),
            row(
                "RFC 7386: lists are replaced",
                &patch("merge-patch+json"),
                json!({"spec": {"ports": [{"name": "b", "port": 81}]}}),
                200,
                &[("/spec/ports/1", Value::Null)],
            ),
            row(
                "strategic: ports merge by `port`",
                &patch("strategic-merge-patch+json"),
                json!({"spec": {"ports": [{"name": "a", "port": 80}, {"port": 81, "name": "c"}]}}),
                200,
                &[
                    ("/spec/ports/0/name", json!("c")),
                    ("/spec/ports/1/name", json!("a")),
                ],
            ),
            row(
                "strategic: $patch: delete",
                &patch("strategic-merge-patch+json"),
                json!({"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}),
                200,
                &[("/spec/ports/1", Value::Null)],
            ),
            row(
                "RFC 6902: test and replace",
                &patch("json-patch+json"),
                json!([{"op": "test", "path": "/spec/ports/0/name", "value": "c"},
                   {"op": "replace", "path": "/spec/ports/0/name", "value": "d"}]),
                200,
                &[("/spec/ports/0/name", json!("d"))],
            ),
            row(
                "RFC 6902: a test that fails changes nothing",
                &patch("json-patch+json"),
                json!([{"op": "replace", "path": "/spec/ports/0/name", "value": "e"},
                   {"op": "test", "path": "/spec/type", "value": "x"}]),
                422,
                &[("/reason", json!("Invalid"))],
            ),
            row(
                "unchanged",
                &format!("GET {SERVICES}/s"),
                Value::Null,
                200,
                &[("/spec/ports/0/name", json!("d"))],
            ),
            row(
                "what is no patch is 400",
                &patch("json-patch+json"),
                json!({}),
                400,
                &[],
            ),
            row("an unknown format is 415", &patch("x"), json!({}), 415, &[]),
            row(
                "a patch can state the version that it is for",
                &patch("merge-patch+json"),
                json!({"metadata": {"resourceVersion": "1"}}),
                409,
                &[("/reason", json!("Conflict"))],
            ),
            row(
                "a patch cannot rename",
                &patch("merge-patch+json"),
                json!({"metadata": {"name": "t"}}),
                400,
                &[],
            ),
            row(
                "the result is validated",
                &patch("merge-patch+json"),
                json!({"spec": {"ports": null}}),
                422,
                &[("/details/causes/0/field", json!("spec.ports"))],
            ),
            row(
                "null removes a label",
                &patch("merge-patch+json"),
                json!({"metadata": {"labels": {"a": "b", "c": null}}}),
                200,
                &[("/metadata/labels", json!({"a": "b"}))],
            ),
            row(
                "PATCH of no object is 404",
                &format!("PATCH {SERVICES}/t content-type:application/merge-patch+json"),
                json!({}),
                404,
                &[],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn patches_are_bounded() {
    let options = apiserver::Options {
        body_size: 2000,
        ..apiserver::Options::default()
    };
    let server = ApiServer::with_options(options);
    call(
        &server,
        &format!("POST {MAPS}"),
        &map("a", &"x".repeat(1000)),
    )
    .await;
    let double = json!([
        {"op": "copy", "from": "/data/k", "path": "/data/l"},
        {"op": "copy", "from": "/data/k", "path": "/data/m"},
    ]);
    let merge = "content-type:application/merge-patch+json";
    let json = "content-type:application/json-patch+json";
    check(
        &server,
        vec![
            row(
                "an object has a largest size",
                &format!("PATCH {MAPS}/a {json}"),
                double,
                413,
                &[("/reason", json!("RequestEntityTooLarge"))],
            ),
            row(
                "whatever it grows by",
                &format!("PATCH {MAPS}/a {merge}"),
                json!({"data": {"n": "y".repeat(1500)}}),
                413,
                &[],
            ),
            row(
                "unchanged",
                &format!("GET {MAPS}/a"),
                Value::Null,
                200,
                &[("/data/l", Value::Null)],
            ),
        ],
    )
    .await;
    let mut bomb =
        vec![json!({"op": "add", "path": "/data", "value": {"a": {"a": "aaaaaaaaaaaaaaaa"}}})];
    bomb.extend(
        (0..40).map(|at| json!({"op": "copy", "from": "/data", "path": format!("/data/a{at}")})),
    );
    let server = ApiServer::new();
    call(&server, &format!("POST {MAPS}"), &map("a", "1")).await;
    check(
        &server,
        vec![row(
            "copies of copies end",
            &format!("PATCH {MAPS}/a {json}"),
            json!(bomb),
            413,
            &[],
        )],
    )
    .await;
}

#[tokio::test]
async fn deleting() {
    let server = ApiServer::new();
    let held =
        json!({"metadata": {"name": "held", "finalizers": ["example.com/a", "example.com/b"]}});
    let merge = "content-type:application/merge-patch+json";
    check(
        &server,
        vec![
            row("create", &format!("POST {MAPS}"), map("a", "1"), 201, &[]),
            row(
                "preconditions.resourceVersion must hold",
                &format!("DELETE {MAPS}/a"),
                json!({"preconditions": {"resourceVersion": "1"}}),
                409,
                &[("/reason", json!("Conflict"))],
            ),
            row(
                "preconditions.uid must hold",
                &format!("DELETE {MAPS}/a"),
                json!({"preconditions": {"uid": "x"}}),
                409,
                &[],
            ),
            row(
                "dryRun in the body",
                &format!("DELETE {MAPS}/a"),
                json!({"dryRun": ["All"]}),
                200,
                &[],
            ),
            row(
                "DELETE answers a Status",
                &format!("DELETE {MAPS}/a?propagationPolicy=Background&gracePeriodSeconds=0"),
                Value::Null,
                200,
                &[
                    ("/kind", json!("Status")),
                    ("/status", json!("Success")),
                    ("/details/name", json!("a")),
                ],
            ),
            row(
                "DELETE of nothing is 404",
                &format!("DELETE {MAPS}/a"),
                Value::Null,
                404,
                &[],
            ),
            row(
                "create with finalizers",
                &format!("POST {MAPS}"),
                held,
                201,
                &[],
            ),
            row(
                "finalizers hold the object",
                &format!("DELETE {MAPS}/held"),
                Value::Null,
                200,
                &[
                    ("/kind", json!("ConfigMap")),
                    ("/metadata/deletionGracePeriodSeconds", json!(0)),
                ],
            ),
            row(
                "no finalizer is added now",
                &format!("PATCH {MAPS}/held {merge}"),
                json!({"metadata": {"finalizers": ["example.com/a", "example.com/c"]}}),
                422,
                &[("/details/causes/0/field", json!("metadata.finalizers"))],
            ),
            row(
                "one is done",
                &format!("PATCH {MAPS}/held {merge}"),
                json!({"metadata": {"finalizers": ["example.com/b"]}}),
                200,
                &[],
            ),
            row(
                "it is still there",
                &format!("GET {MAPS}/held"),
                Value::Null,
                200,
                &[],
            ),
            row(
                "the last one is done",
                &format!("PATCH {MAPS}/held {merge}"),
                json!({"metadata": {"finalizers": null}}),
                200,
                &[],
            ),
            row(
                "it is gone",
                &format!("GET {MAPS}/held"),
                Value::Null,
                404,
                &[],
            ),
            row(
                "create",
                &format!("POST {MAPS}"),
                json!({"metadata": {"name": "x", "labels": {"l": "1"}}}),
                201,
                &[],
            ),
            row(
                "create",
                &format!("POST {MAPS}"),
                json!({"metadata": {"name": "y", "labels": {"l": "2"}}}),
                201,
                &[],
            ),
            row(
                "a collection is deleted by selector",
                &format!("DELETE {MAPS}?labelSelector=l%3D1"),
                Value::Null,
                200,
                &[
                    ("/items/0/metadata/name", json!("x")),
                    ("/items/1", Value::Null),
                ],
            ),
            row(
                "the others stay",
                &format!("GET {MAPS}"),
                Value::Null,
                200,
                &[
                    ("/items/0/metadata/name", json!("y")),
                    ("/items/1", Value::Null),
                ],
            ),
            row(
                "a namespace takes its objects with it",
                "DELETE /api/v1/namespaces/default",
                Value::Null,
                200,
                &[],
            ),
            row(
                "they are gone",
                &format!("GET {MAPS}/y"),
                Value::Null,
                404,
                &[],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn secrets_and_events_have_two_faces() {
    let server = ApiServer::new();
    let secrets = "/api/v1/namespaces/default/secrets";
    let old = "/api/v1/namespaces/default/events";
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    check(&server, vec![
        row("Secret: stringData is written as data", &format!("POST {secrets}"),
            json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}}), 201,
            &[("/data/a", json!("Yg==")), ("/stringData", Value::Null), ("/type", json!("Opaque"))]),
        row("Secret: the type stays", &format!("PUT {secrets}/s"),
            json!({"metadata": {"name": "s"}, "type": "x/y"}), 422, &[("/details/causes/0/field", json!("type"))]),
        row("events.k8s.io: create", &format!("POST {new}"),
            json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
                   "note": "n", "reason": "R", "type": "Normal", "action": "A", "eventTime": "2026-01-02T03:04:05.000006Z",
                   "reportingController": "c", "reportingInstance": "i"}), 201,
            &[("/apiVersion", json!("events.k8s.io/v1")), ("/note", json!("n"))]),
        row("v1: the same event", &format!("GET {old}/e"), Value::Null, 200, &[
            ("/apiVersion", json!("v1")), ("/message", json!("n")),
            ("/involvedObject/name", json!("p")), ("/reportingComponent", json!("c"))]),
        row("v1: field selectors", &format!("GET {old}?fieldSelector=involvedObject.name%3Dp,reason%3DR"), Value::Null, 200,
            &[("/items/0/metadata/name", json!("e"))]),
        row("v1: patched", &format!("PATCH {old}/e content-type:application/merge-patch+json"),
            json!({"count": 2}), 200, &[("/count", json!(2))]),
        row("events.k8s.io: sees the patch", &format!("GET {new}/e"), Value::Null, 200, &[
            ("/deprecatedCount", json!(2)), ("/regarding/name", json!("p"))]),
    ]).await;
}

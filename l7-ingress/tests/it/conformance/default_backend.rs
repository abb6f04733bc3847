//! `default_backend.feature`

use http::header::USER_AGENT;
use serde_json::json;

use super::World;
use crate::harness::{empty, ingress, request};

#[tokio::test]
async fn default_backend() {
    let mut object = ingress("default", &[]);
    let backend = json!({ "service": { "name": "echo", "port": { "name": "http" } } });
    object["spec"] = json!({ "defaultBackend": backend });
    let world = World::start(&["echo"], object).await;
    world.status_is_written("default").await;
    for (method, host, path) in [
        ("GET", "my-host", "/"),
        ("GET", "my-host", "/sub-path"),
        ("POST", "some-host", "/"),
        ("PUT", "", "/resource"),
        ("DELETE", "some-host", "/resource"),
        ("PATCH", "my-host", "/resource"),
    ] {
        let what = format!("{method} {host:?} {path}");
        let at = world.proxy.http;
        let mut sent = request(method, &format!("http://{at}{path}"), empty());
        let agent = http::HeaderValue::from_static("conformance");
        sent.headers_mut().insert(USER_AGENT, agent.clone());
        if !host.is_empty() {
            sent.headers_mut().insert("host", host.parse().unwrap());
        }
        let answer = world.proxy.send(sent).await;
        let echoed = answer.json();
        assert_eq!(answer.backend(), "echo", "{what}");
        assert_eq!(answer.version, http::Version::HTTP_11, "{what}");
        assert_eq!(echoed["proto"], "HTTP/1.1", "{what}");
        assert_eq!(echoed["method"], method, "{what}");
        assert_eq!(echoed["path"], path, "{what}");
        assert_eq!(
            echoed["headers"]["user-agent"],
            json!([agent.to_str().unwrap()])
        );
        for name in ["content-length", "content-type", "date", "server"] {
            assert!(!answer.header(name).is_empty(), "{what}: {name}");
        }
    }
}

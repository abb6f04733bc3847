//! The scenarios of the ingress controller conformance suite, a module for each feature file, as its
//! client sees them: it follows redirects by itself and verifies certificates.

mod default_backend;
mod host_rules;
mod ingress_class;
mod load_balancing;
mod path_rules;

use serde_json::json;

use crate::harness::{Answer, Backend, Proxy, Request, class, empty, request, served};

/// The publish address of the tests' status.
const ADDRESS: &str = "192.0.2.7";
const PUBLISH: &[&str] = &["--publish-status-address", ADDRESS];

/// A proxy, and an echo backend for each Service.
struct World {
    proxy: Proxy,
    _backends: Vec<Backend>,
}

impl World {
    async fn start(services: &[&str], ingress: serde_json::Value) -> Self {
        let mut objects = vec![class(), ingress];
        let mut backends = Vec::new();
        for service in services {
            let backend = Backend::echo(service).await;
            objects.extend(served(service, &[backend.address]));
            backends.push(backend);
        }
        let proxy = Proxy::start(&objects, PUBLISH).await;
        Self {
            proxy,
            _backends: backends,
        }
    }

    /// Checks that a GET is answered by this Service, or with this status.
    async fn check(&self, url: &str, expect: &str) {
        let answer = follow(&self.proxy, || request("GET", url, empty())).await;
        if let Ok(status) = expect.parse::<u16>() {
            assert_eq!(answer.status, status, "{url}");
            return;
        }
        assert_eq!(answer.backend(), expect, "{url}");
        let host = url.split('/').nth(2).unwrap();
        let echoed = answer.json();
        assert_eq!(echoed["host"], host, "{url}");
        assert_eq!(echoed["proto"], "HTTP/1.1", "{url}");
        for name in ["content-length", "content-type", "date", "server"] {
            assert!(!answer.header(name).is_empty(), "{url}: {name}");
        }
    }

    /// Waits until the Ingress has its address.
    async fn status_is_written(&self, ingress: &str) {
        let id = crate::harness::ingress_id(ingress);
        crate::harness::eventually("an address", async || {
            let object = self.proxy.api.get(&id).unwrap().unwrap();
            let address = &object["status"]["loadBalancer"]["ingress"];
            (*address == json!([{ "ip": ADDRESS }])).then_some(())
        })
        .await;
    }
}

/// Sends a request and goes where redirects lead, without the query, as the suite's client does.
async fn follow(proxy: &Proxy, make: impl Fn() -> Request) -> Answer {
    let mut answer = proxy.send(make()).await;
    while [301, 302, 303, 307, 308].contains(&answer.status.as_u16()) {
        let location: http::Uri = answer.header("location").parse().unwrap();
        let authority = location.authority().unwrap().as_str();
        let url = format!(
            "{}://{authority}{}",
            location.scheme().unwrap(),
            location.path()
        );
        let mut request = make();
        *request.uri_mut() = url.parse().unwrap();
        answer = proxy.send(request).await;
    }
    answer
}

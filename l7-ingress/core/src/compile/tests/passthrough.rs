//! Whose TLS is ended by endpoints.

use model::Kind;

use super::world::{CLASS, World, get, rule, service};
use crate::{Query, Settings, explain};

const ON: &str = "nginx.ingress.kubernetes.io/ssl-passthrough: \"true\"";

/// An Ingress of `NAMESPACE/NAME` with these annotations and paths.
fn ingress(name: &str, annotations: &str, host: &str, paths: &[&str]) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    let rule = rule(host, paths);
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: {namespace}, annotations: {{{annotations}}}}}
spec: {{ingressClassName: nginx, {rule}}}
---
"
    )
}

fn world(allowed: bool, ingresses: &[String]) -> World {
    let settings = Settings {
        ssl_passthrough: allowed,
        ..Settings::default()
    };
    let services = ["web", "api"].map(service).concat();
    World::with(
        settings,
        &format!("{CLASS}---{services}{}", ingresses.concat()),
    )
}

impl World {
    /// The Service that the TLS of a name is passed through to.
    fn passed(&self, name: &str) -> Option<String> {
        let found = self.table.passthrough(name)?;
        assert!(self.table.has_passthroughs());
        let sent = if found.writes_proxy { " PROXY" } else { "" };
        Some(format!("{}{sent}", found.backend.service.name))
    }
}

const FIELD: &str = "metadata.annotations[ssl-passthrough]: InvalidAnnotation";

#[test]
fn the_root_path_says_where() {
    for (paths, expect) in [
        (&["Prefix / web", "Prefix /api api"][..], Some("web")),
        (&["Exact / api", "Prefix / web"], Some("web")),
        (&["Exact / api"], Some("api")),
        (&["Prefix /api api"], None),
    ] {
        let world = world(true, &[ingress("shop/one", ON, "a.test", paths)]);
        assert_eq!(world.passed("a.test").as_deref(), expect, "{paths:?}");
        assert_eq!(world.passed("b.test"), None);
        let said = format!("Ingress shop/one: {FIELD}");
        let said: Vec<&str> = expect.is_none().then_some(&*said).into_iter().collect();
        world.check_problems(&said);
    }
}

#[test]
fn without_the_flag_it_is_ended_here() {
    let world = world(
        false,
        &[ingress("shop/one", ON, "a.test", &["Prefix / web"])],
    );
    assert!(!world.table.has_passthroughs());
    let key = "metadata.annotations[nginx.ingress.kubernetes.io/ssl-passthrough]";
    world.check_problems(&[&format!("Ingress shop/one: {key}: InvalidAnnotation")]);
}

#[test]
fn wildcards_are_passed_and_others_are_not() {
    let aliased = format!("{ON}, nginx.ingress.kubernetes.io/server-alias: other.test");
    let world = world(
        true,
        &[
            ingress("shop/wild", ON, "*.a.test", &["Prefix / web"]),
            ingress("shop/own", "", "b.a.test", &["Prefix / api"]),
            ingress("shop/any", ON, "", &["Prefix / web"]),
            ingress("shop/alias", &aliased, "c.test", &["Prefix / api"]),
        ],
    );
    assert_eq!(world.passed("x.a.test").as_deref(), Some("web"));
    assert_eq!(world.passed("c.test").as_deref(), Some("api"));
    for name in ["b.a.test", "a.test", "y.x.a.test", "other.test", "d.test"] {
        assert_eq!(world.passed(name), None, "{name}");
    }
    world.check_problems(&[&format!("Ingress shop/any: {FIELD}")]);
}

#[test]
fn one_ingress_of_the_root_paths_namespace_is_enough() {
    let root = ingress("shop/root", "", "a.test", &["Prefix / web"]);
    let beside = |namespace: &str| {
        let name = format!("{namespace}/beside");
        ingress(&name, ON, "a.test", &["Prefix /api api"])
    };
    let mut world = world(true, &[root, beside("else")]);
    assert_eq!(world.passed("a.test"), None);
    let service =
        "Ingress else/beside: spec.rules[0].http.paths[0].backend.service.name: ServiceNotFound";
    world.check_problems(&[&format!("Ingress else/beside: {FIELD}"), service]);
    world.delete(Kind::Ingress, "else/beside");
    world.apply(&beside("shop"));
    assert_eq!(world.passed("a.test").as_deref(), Some("web"));
    world.check_problems(&[]);
    world.apply(&beside("shop").replace("\"true\"", "\"false\""));
    assert_eq!(world.passed("a.test"), None);
    assert!(!world.table.has_passthroughs());
}

#[test]
fn endpoints_may_be_sent_a_proxy_header() {
    let told = "penstock.dev/ssl-passthrough-proxy-protocol: \"true\"";
    let both = format!("{ON}, {told}");
    let one = ingress("shop/one", &both, "a.test", &["Prefix / web"]);
    let two = ingress("shop/two", told, "b.test", &["Prefix / web"]);
    let world = world(true, &[one, two]);
    assert_eq!(world.passed("a.test").as_deref(), Some("web PROXY"));
    let key = "metadata.annotations[penstock.dev/ssl-passthrough-proxy-protocol]";
    world.check_problems(&[&format!("Ingress shop/two: {key}: InvalidAnnotation")]);
}

#[test]
fn what_is_counted_goes_with_its_host() {
    let one = ingress("shop/one", ON, "a.test", &["Prefix / web"]);
    let mut world = world(true, &[one]);
    assert!(world.table.has_passthroughs());
    let old = std::sync::Arc::clone(&world.table);
    world.delete(Kind::Ingress, "shop/one");
    assert!(!world.table.has_passthroughs());
    assert_eq!(world.passed("a.test"), None);
    assert!(old.passthrough("a.test").is_some());
}

#[test]
fn it_is_explained() {
    let one = ingress("shop/one", ON, "a.test", &["Prefix / web"]);
    let world = world(true, &[one]);
    let explained = |https| {
        let head = &get("/x");
        let query = Query {
            https,
            host: "a.test",
            head,
            sni: None,
        };
        explain(&world.compiler, &query).to_string()
    };
    let expect = "
host         a.test: chosen
host         *.test: nobody has rules for it
host         (any): nobody has rules for it
backend      Service shop/web:http, HTTP/1.1, endpoints: 1 ready, 0 draining, 0 down (10.0.0.1:8080)
answer       whatever an endpoint of Service shop/web:http says, which ends TLS itself (ssl-passthrough)";
    assert_eq!(explained(true).trim(), expect.trim());
    assert!(explained(false).contains("path         Prefix /"));
}

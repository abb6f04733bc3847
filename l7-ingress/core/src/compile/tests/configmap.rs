//! What the controller's ConfigMap changes, and when.

use http::StatusCode;
use model::{Kind, Protocol};

use super::world::{World, ingress, object, rule, service};
use crate::Settings;

fn settings() -> Settings {
    Settings {
        configmap: Some(object("ops/controller")),
        tcp_services: Some(object("ops/tcp")),
        watch_without_class: true,
        ..Settings::default()
    }
}

fn configmap(name: &str, data: &str) -> String {
    format!(
        "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: ops}}\ndata: {{{data}}}\n---\n"
    )
}

const CLASS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
";

fn world(data: &str) -> World {
    let site = ingress("web", 1, &rule("a.h", &["Prefix / web"]));
    let yaml = [
        CLASS,
        &site,
        &service("web"),
        &configmap("tcp", ""),
        &configmap("controller", data),
    ]
    .concat();
    World::with(settings(), &yaml)
}

fn annotated(annotation: &str) -> String {
    let site = ingress("web", 1, &rule("a.h", &["Prefix / web"]));
    let annotation =
        format!("annotations: {{nginx.ingress.kubernetes.io/{annotation}}}, name: web");
    site.replacen("name: web", &annotation, 1)
}

#[test]
fn a_change_reaches_ingresses_that_stand_and_goes_with_the_key() {
    let mut world = world("");
    world.check(&[("http://a.h/", "web")]);
    world.apply(&configmap(
        "controller",
        "force-ssl-redirect: 'true', http-redirect-code: '307'",
    ));
    world.check(&[("http://a.h/", "307"), ("https://a.h/", "web")]);
    world.apply(&configmap("controller", "force-ssl-redirect: 'true'"));
    world.check(&[("http://a.h/", "308")]);
    world.apply(&annotated("force-ssl-redirect: 'false'"));
    world.check(&[("http://a.h/", "web")]);
    world.apply(&annotated("ssl-redirect: 'true'"));
    world.check(&[("http://a.h/", "308")]);
    world.delete(Kind::ConfigMap, "ops/controller");
    world.check(&[("http://a.h/", "web")]);
    world.check_problems(&["ConfigMap ops/controller: data: ConfigMapNotFound"]);
}

#[test]
fn what_holds_for_all_changes_without_a_route_being_compiled() {
    let mut world = world("keep-alive: '7'");
    let route = |world: &World| std::sync::Arc::clone(world.table.find("a.h", "/").unwrap());
    let first = route(&world);
    assert_eq!(world.table.global().client.keep_alive.as_secs(), 7);
    let outcome = world.apply(&configmap("controller", "keep-alive: '8'"));
    assert!(outcome.table.is_some());
    assert_eq!(world.table.global().client.keep_alive.as_secs(), 8);
    assert!(std::sync::Arc::ptr_eq(&first, &route(&world)));
    let same = world.apply(&configmap(
        "controller",
        "keep-alive: '8', use-gzip: 'false'",
    ));
    assert!(same.table.is_none());
}

#[test]
fn a_bad_value_is_said_and_the_others_are_honoured() {
    let world = world(
        "ssl-redirect: maybe, limit-req-status-code: '429', main-snippet: x, nonsense: x, lua-shared-dicts: z",
    );
    world.check_problems(&[
        "ConfigMap ops/controller: data[main-snippet]: UnsupportedKey",
        "ConfigMap ops/controller: data[nonsense]: UnknownKey",
        "ConfigMap ops/controller: data[ssl-redirect]: InvalidValue",
    ]);
    let status = world.compiler.settings.limit_status[0];
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let useless: Vec<_> = world.compiler.useless_keys().collect();
    assert_eq!(useless.len(), 1);
    assert_eq!(useless[0].1, "lua-shared-dicts");
}

#[test]
fn what_is_forbidden_at_first_is_not_served_and_later_keeps_its_last_good_version() {
    let forbids = "annotation-value-word-blocklist: evil";
    let mut early = world(forbids);
    early.apply(&annotated("permanent-redirect: 'https://evil.test/'"));
    early.check(&[("http://a.h/", "web")]);
    early.apply(&configmap("controller", ""));
    let redirect = |world: &World| {
        world
            .table
            .find("a.h", "/")
            .unwrap()
            .policy
            .redirect
            .is_some()
    };
    assert!(redirect(&early), "it is let in when nothing forbids it");
    early.apply(&configmap("controller", forbids));
    assert!(
        redirect(&early),
        "the last good version goes on being served"
    );
    early.check_problems(&[
        "Ingress shop/web: metadata.annotations[nginx.ingress.kubernetes.io/permanent-redirect]: ForbiddenAnnotation",
    ]);
}

#[test]
fn custom_headers_follow_their_configmap() {
    let mut world = world("global-allowed-response-headers: X-A");
    world.apply(&annotated("custom-headers: ops/fields"));
    let policy =
        |world: &World| std::sync::Arc::clone(&world.table.find("a.h", "/").unwrap().policy);
    assert!(policy(&world).denied, "the ConfigMap is not there");
    world.apply(&configmap("fields", "X-A: one"));
    let fields = policy(&world).custom_headers.clone().unwrap();
    assert!(!policy(&world).denied && fields[0].1 == "one");
    world.apply(&configmap("fields", "X-B: two"));
    assert!(policy(&world).denied, "the field is not allowed");
    world.apply(&configmap(
        "controller",
        "global-allowed-response-headers: 'X-A,X-B'",
    ));
    assert!(!policy(&world).denied);
}

#[test]
fn ports_follow_their_configmap_and_their_service() {
    let mut world = world("");
    let config = "'9000': 'shop/web:http', '9001': 'shop/other:80', '9002': nothing";
    world.apply(&configmap("tcp", config));
    let endpoints = |world: &World, port| {
        let stream = world.table.stream((Protocol::Tcp, port))?;
        Some(stream.backend.endpoints().addresses.len())
    };
    assert_eq!(endpoints(&world, 9000), Some(1));
    assert_eq!(endpoints(&world, 9001), Some(0));
    assert_eq!(endpoints(&world, 9002), None);
    world.check_problems(&[
        "ConfigMap ops/tcp: data[9001]: ServiceNotFound",
        "ConfigMap ops/tcp: data[9002]: InvalidValue",
    ]);
    world.apply(&service("other"));
    assert_eq!(endpoints(&world, 9001), Some(1));
    world.check_problems(&["ConfigMap ops/tcp: data[9002]: InvalidValue"]);
    world.apply(&configmap("tcp", "'9001': 'shop/other:80'"));
    assert_eq!(endpoints(&world, 9000), None);
    world.check_problems(&[]);
}

//! The scenarios of the ingress controller conformance suite, as tables.

use super::world::{World, ingress, now, rule, service, tls_secret};
use crate::{Change, Compiler};

fn services(names: &[&str]) -> String {
    names.iter().map(|name| service(name)).collect()
}

#[test]
fn default_backend() {
    let spec = "defaultBackend: {service: {name: echo, port: {name: http}}}";
    let world = World::new(&[service("echo"), ingress("default", 1, spec)].concat());
    world.check(&[
        ("http://my-host/", "echo"),
        ("http://my-host/sub-path", "echo"),
        ("http://some-host/", "echo"),
        ("http:///resource", "echo"),
        ("http://some-host/resource", "echo"),
        ("http://my-host/resource", "echo"),
    ]);
    world.check_problems(&[]);
}

/// foo.bar.com with TLS, and `*.foo.com`.
fn host_rules() -> World {
    let tls = "tls: [{hosts: [foo.bar.com], secretName: tls}]";
    let rules = "rules: [
        {host: \"*.foo.com\", http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: wildcard-foo-com, port: {number: 80}}}}]}},
        {host: foo.bar.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: foo-bar-com, port: {name: http}}}}]}}]";
    let mut world = World::new(
        &[
            services(&["wildcard-foo-com", "foo-bar-com"]),
            ingress("host-rules", 1, &format!("{tls}, {rules}")),
        ]
        .concat(),
    );
    world.compiler.apply(tls_secret("tls", &["foo.bar.com"]));
    world.compile();
    world
}

#[test]
fn host_rules_choose_by_host_and_certificates_by_name() {
    let world = host_rules();
    assert_eq!(world.secrets(Some("foo.bar.com")), ["tls"]);
    world.check(&[
        ("https://foo.bar.com/", "foo-bar-com"),
        ("http://foo.bar.com/", "308"),
        ("http://subdomain.bar.com/", "404"),
        ("http://bar.foo.com/", "wildcard-foo-com"),
        ("http://baz.bar.foo.com/", "404"),
        ("http://foo.com/", "404"),
    ]);
    world.check_problems(&[]);
}

#[test]
fn an_ingress_of_an_unknown_class_is_not_ours() {
    let spec = rule("foo.com", &["Prefix / echo"]);
    let foreign = ingress("other", 1, &spec).replace("nginx", "some-invalid-class-name");
    let world = World::new(&[service("echo"), foreign].concat());
    assert_eq!(world.compiler.owned_ingresses().count(), 0);
    world.check(&[("http://foo.com/", "404")]);
}

#[test]
fn every_pod_of_a_service_gets_requests() {
    let pods: Vec<String> = (1..=10)
        .map(|pod| format!("{{addresses: [10.0.0.{pod}]}}"))
        .collect();
    let scaled = service("echo").replace("{addresses: [10.0.0.1]}", &pods.join(", "));
    let spec = rule("load-balancing", &["Prefix / echo"]);
    let world = World::new(&[scaled, ingress("lb", 1, &spec)].concat());
    let route = world.table.find("load-balancing", "/").unwrap();
    assert_eq!(route.backend.endpoints().addresses.len(), 10);
}

#[test]
fn path_rules() {
    let all = |names: &[&str], host: &str, paths: &[&str]| {
        World::new(&[services(names), ingress("paths", 1, &rule(host, paths))].concat())
    };
    let exact = all(&["foo"], "exact", &["Exact /foo foo"]);
    exact.check(&[
        ("http://exact/foo", "foo"),
        ("http://exact/foo/", "404"),
        ("http://exact/FOO", "404"),
        ("http://exact/bar", "404"),
    ]);
    let prefix = all(
        &["foo", "bbb", "aaa"],
        "prefix",
        &["Prefix /foo foo", "Prefix /aaa/bbb bbb", "Prefix /aaa aaa"],
    );
    prefix.check(&[
        ("http://prefix/foo", "foo"),
        ("http://prefix/foo/", "foo"),
        ("http://prefix/FOO", "404"),
        ("http://prefix/aaa/bbb", "bbb"),
        ("http://prefix/aaa/bbb/ccc", "bbb"),
        ("http://prefix/aaa/ccc", "aaa"),
        ("http://prefix/aaaccc", "404"),
        ("http://prefix/foo/", "foo"),
    ]);
    let mixed = all(
        &["prefix", "exact"],
        "mixed",
        &["Prefix /foo prefix", "Exact /foo exact"],
    );
    mixed.check(&[("http://mixed/foo", "exact")]);
    let slash = all(
        &["bbb", "foo"],
        "slash",
        &["Prefix /aaa/bbb/ bbb", "Exact /foo/ foo"],
    );
    slash.check(&[
        ("http://slash/aaa/bbb", "bbb"),
        ("http://slash/aaa/bbb/", "bbb"),
        ("http://slash/foo", "404"),
    ]);
    for world in [exact, prefix, mixed, slash] {
        world.check_problems(&[]);
    }
}

#[test]
fn a_compiler_without_objects_publishes_a_table_that_answers_404() {
    let mut compiler = Compiler::new(
        crate::Settings::default(),
        super::world::default_certificate(),
    );
    let table = compiler.compile().table.unwrap();
    assert!(table.find("foo.com", "/").is_none());
    assert_eq!(table.certificates(None).len(), 1);
    assert_eq!(compiler.problems(now()).count(), 0);
    assert!(compiler.compile().table.is_none());
    compiler.apply(Change::Service(super::world::object("a/b"), None));
    assert!(compiler.compile().table.is_none());
}

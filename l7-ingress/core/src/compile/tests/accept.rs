//! What makes an Ingress refused, and what then goes on serving.

use model::{Kind, ObjectRef, Problem, Severity};

use super::world::{World, ingress, object, rule, service};
use crate::Change;

const GOOD: &str = "rules: [{host: h, http: {paths: [{path: /a, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}}], tls: [{hosts: [h], secretName: s}]";

/// A change of the good Ingress, and the field and reason that it is refused for.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    (
        "host: h,",
        "host: \"h_i.com\",",
        "spec.rules[0].host",
        "InvalidHost",
    ),
    (
        "host: h,",
        "host: \"foo.*.com\",",
        "spec.rules[0].host",
        "InvalidHost",
    ),
    (
        "host: h,",
        "host: \"*\",",
        "spec.rules[0].host",
        "InvalidHost",
    ),
    (
        "host: h,",
        "host: \"*.*.com\",",
        "spec.rules[0].host",
        "InvalidHost",
    ),
    (
        "host: h,",
        "host: \"10.0.0.1\",",
        "spec.rules[0].host",
        "InvalidHost",
    ),
    (
        "host: h,",
        "host: \"h:80\",",
        "spec.rules[0].host",
        "InvalidHost",
    ),
    (
        "host: h,",
        "host: \"h\\r\\nx: y\",",
        "spec.rules[0].host",
        "InvalidHost",
    ),
    (
        "path: /a",
        "path: a",
        "spec.rules[0].http.paths[0].path",
        "InvalidPath",
    ),
    (
        "path: /a",
        "path: \"\"",
        "spec.rules[0].http.paths[0].path",
        "InvalidPath",
    ),
    (
        "path: /a",
        "path: /a//b",
        "spec.rules[0].http.paths[0].path",
        "InvalidPath",
    ),
    (
        "path: /a",
        "path: /a/../b",
        "spec.rules[0].http.paths[0].path",
        "InvalidPath",
    ),
    (
        "path: /a",
        "path: /a%2Fb",
        "spec.rules[0].http.paths[0].path",
        "InvalidPath",
    ),
    (
        "path: /a",
        "path: \"/a\\nb\"",
        "spec.rules[0].http.paths[0].path",
        "InvalidPath",
    ),
    (
        "pathType: Prefix",
        "pathType: \"\"",
        "spec.rules[0].http.paths[0].pathType",
        "InvalidPathType",
    ),
    (
        "pathType: Prefix",
        "pathType: Regex",
        "spec.rules[0].http.paths[0].pathType",
        "InvalidPathType",
    ),
    (
        "name: web",
        "name: \"web;x\"",
        "spec.rules[0].http.paths[0].backend.service.name",
        "InvalidBackend",
    ),
    (
        "name: web",
        "name: \"\"",
        "spec.rules[0].http.paths[0].backend.service.name",
        "InvalidBackend",
    ),
    (
        "{name: http}",
        "{number: 65536}",
        "spec.rules[0].http.paths[0].backend.service.port.number",
        "InvalidPort",
    ),
    (
        "{name: http}",
        "{number: -1}",
        "spec.rules[0].http.paths[0].backend.service.port.number",
        "InvalidPort",
    ),
    (
        "{name: http}",
        "{}",
        "spec.rules[0].http.paths[0].backend.service.port",
        "InvalidPort",
    ),
    (
        "{name: http}",
        "{name: a, number: 1}",
        "spec.rules[0].http.paths[0].backend.service.port",
        "InvalidPort",
    ),
    (
        "backend: {service: {name: web, port: {name: http}}}",
        "backend: {}",
        "spec.rules[0].http.paths[0].backend",
        "InvalidBackend",
    ),
    (
        "hosts: [h]",
        "hosts: [\"-h\"]",
        "spec.tls[0].hosts[0]",
        "InvalidHost",
    ),
    (
        "secretName: s",
        "secretName: ../s",
        "spec.tls[0].secretName",
        "InvalidSecretName",
    ),
];

#[test]
fn a_refused_version_leaves_the_last_good_one_serving() {
    let good = ingress("a", 1, GOOD);
    let other = ingress("b", 2, &rule("other", &["Prefix / web"]));
    for (from, to, field, reason) in REFUSED {
        let mut world = World::new(&[service("web"), good.clone(), other.clone()].concat());
        assert!(GOOD.contains(from), "{from:?}");
        let bad = ingress("a", 1, &GOOD.replacen(from, to, 1));
        world.apply(&bad);
        world.check(&[("https://h/a", "web"), ("http://other/", "web")]);
        let problem = format!("Ingress shop/a: {field}: {reason}");
        assert_eq!(world.problems()[0], problem, "{to}");
        assert_eq!(world.compiler.owned_ingresses().count(), 2);
        world.apply(&good);
        world.check_problems(&["Ingress shop/a: spec.tls[0].secretName: SecretNotFound"]);

        let mut fresh = World::new(&[service("web"), bad.clone(), other.clone()].concat());
        fresh.check(&[("https://h/a", "404"), ("http://other/", "web")]);
        fresh.check_problems(&[&problem]);
        assert_eq!(fresh.compiler.owned_ingresses().count(), 1);
        fresh.delete(Kind::Ingress, "shop/a");
        fresh.check_problems(&[]);
    }
}

#[test]
fn every_field_at_fault_is_named() {
    let bad = GOOD
        .replace("path: /a", "path: a")
        .replace("{name: http}", "{}");
    let world = World::new(&ingress("a", 1, &bad));
    world.check_problems(&[
        "Ingress shop/a: spec.rules[0].http.paths[0].backend.service.port: InvalidPort",
        "Ingress shop/a: spec.rules[0].http.paths[0].path: InvalidPath",
    ]);
    let empty = World::new(&ingress("a", 1, "rules: []"));
    empty.check_problems(&["Ingress shop/a: spec: InvalidSpec"]);
    let pathless = World::new(&ingress("a", 1, "rules: [{host: h, http: {paths: []}}]"));
    pathless.check_problems(&["Ingress shop/a: spec.rules[0].http.paths: InvalidPath"]);
}

#[test]
fn annotations_are_read_as_ingress_nginx_reads_them() {
    let annotated = |annotation: &str, value: &str| {
        let annotations = format!("annotations: {{{annotation}: {value:?}}}, creationTimestamp");
        ingress("a", 1, GOOD).replace("creationTimestamp", &annotations)
    };
    const NGINX: &str = "nginx.ingress.kubernetes.io";
    for (name, value, reason, refused) in [
        ("ssl-redirect", "yes", "InvalidAnnotation", true),
        ("ssl-redirect", "", "InvalidAnnotation", true),
        ("force-ssl-redirect", "tRUE", "InvalidAnnotation", true),
        ("backend-protocol", "FCGI", "UnsupportedAnnotation", true),
        ("backend-protocol", "HTTP2", "InvalidAnnotation", false),
        ("rewrite-target", "/$x", "InvalidAnnotation", true),
        ("auth-url", "http://a;b/", "InvalidAnnotation", true),
        ("auth-url", "http://a..b/", "InvalidAnnotation", false),
        (
            "whitelist-source-range",
            "10.0.0.0/33",
            "InvalidAnnotation",
            false,
        ),
    ] {
        let text = annotated(&format!("{NGINX}/{name}"), value);
        let world = World::new(&[service("web"), text].concat());
        let field = format!("metadata.annotations[{NGINX}/{name}]");
        assert_eq!(
            world.problems()[0],
            format!("Ingress shop/a: {field}: {reason}")
        );
        assert_eq!(
            world.compiler.owned_ingresses().count(),
            usize::from(!refused)
        );
    }
    for unknown in [
        "other.io/ssl-redirect",
        "other.ingress.kubernetes.io/rewrite-target",
    ] {
        let world = World::new(&[service("web"), annotated(unknown, "junk")].concat());
        assert_eq!(world.compiler.owned_ingresses().count(), 1, "{unknown}");
    }
}

#[test]
fn an_unreadable_object_keeps_its_last_good_version() {
    let mut world = World::new(
        &[
            service("web"),
            ingress("a", 1, &rule("h", &["Prefix / web"])),
        ]
        .concat(),
    );
    let reference = ObjectRef::new(Kind::Ingress, object("shop/a"));
    let problem = Problem {
        object: reference.clone(),
        field: "spec.rules".to_owned(),
        reason: "Malformed",
        message: "not a list".to_owned(),
        severity: Severity::Error,
    };
    world.compiler.apply(Change::Malformed(reference, problem));
    let outcome = world.compile();
    assert!(outcome.problems_changed && outcome.table.is_none());
    world.check(&[("http://h/", "web")]);
    world.check_problems(&["Ingress shop/a: spec.rules: Malformed"]);
    world.delete(Kind::Ingress, "shop/a");
    world.check_problems(&[]);
}

#[test]
fn hosts_are_read_without_regard_to_case() {
    let world = World::new(
        &[
            service("web"),
            ingress("a", 1, &rule("*.Foo.COM", &["Prefix / web"])),
        ]
        .concat(),
    );
    world.check(&[("http://x.foo.com/", "web")]);
    world.check_problems(&[]);
}

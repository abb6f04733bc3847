//! Which route answers: hosts, paths, default backends, conflicts.

use model::Kind;

use super::world::{World, ingress, object, rule, service};
use crate::{DefaultBackend, Settings};

const CLASS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
";

fn services() -> String {
    ["web", "api", "old", "rest"].map(service).concat()
}

#[test]
fn the_most_specific_host_answers_alone() {
    let world = World::new(
        &[
            services(),
            ingress("a", 1, &rule("", &["Prefix / rest"])),
            ingress("b", 2, &rule("*.foo.com", &["Prefix / web"])),
            ingress("c", 3, &rule("API.foo.com", &["Prefix /v1 api"])),
        ]
        .concat(),
    );
    world.check(&[
        ("http://api.foo.com/v1", "api"),
        // A host that is there does not fall through to a less specific one.
        ("http://api.foo.com/v2", "404"),
        ("http://x.foo.com/v1", "web"),
        ("http://x.y.foo.com/v1", "rest"),
        ("http://foo.com/", "rest"),
        ("http://.foo.com/", "rest"),
        ("http:///", "rest"),
        ("http://*.foo.com/", "web"),
    ]);
    world.check_problems(&[]);
}

#[test]
fn paths_match_by_element_longest_first_exact_before_prefix() {
    let paths = [
        "Prefix / rest",
        "Prefix /a web",
        "Prefix /a/b/c api",
        "Exact /a/b old",
        "ImplementationSpecific /a/b/ api",
        "Exact /x/ old",
        "Prefix /x web",
        "Prefix /deep/er api",
    ];
    let world = World::new(&[services(), ingress("a", 1, &rule("h", &paths))].concat());
    world.check(&[
        ("http://h/", "rest"),
        ("http://h/ab", "rest"),
        ("http://h/a", "web"),
        ("http://h/a/", "web"),
        ("http://h/a/bc", "web"),
        ("http://h/a/b", "old"),
        ("http://h/a/b/", "api"),
        ("http://h/a/b/d", "api"),
        ("http://h/a/b/c", "api"),
        ("http://h/a/b/cd", "api"),
        ("http://h/A", "rest"),
        ("http://h/x", "web"),
        ("http://h/x/", "old"),
        ("http://h/x/y", "web"),
        ("http://h/deep", "rest"),
        ("http://h/deep/e", "rest"),
        ("http://h/deep/er/", "api"),
    ]);
}

#[test]
fn prefixes_that_differ_by_a_slash_each_answer_their_own() {
    let paths = ["Prefix /a web", "Prefix /a/ api"];
    let world = World::new(&[services(), ingress("a", 1, &rule("h", &paths))].concat());
    world.check(&[
        ("http://h/a", "web"),
        ("http://h/a/", "api"),
        ("http://h/a/b", "api"),
    ]);
    world.check_problems(&[]);
}

#[test]
fn many_ingresses_share_a_host_and_the_oldest_wins_a_conflict() {
    let young = ingress("young", 9, &rule("h", &["Prefix /a web", "Prefix /b web"]));
    let old = ingress("old", 1, &rule("h", &["Prefix /a old", "Exact /b old"]));
    for order in [[&young, &old], [&old, &young]] {
        let text = [services(), order[0].clone(), order[1].clone()].concat();
        let mut world = World::new(&text);
        world.check(&[
            ("http://h/a", "old"),
            ("http://h/b", "old"),
            ("http://h/b/c", "web"),
        ]);
        world.check_problems(&["Ingress shop/young: spec.rules[0].http.paths[0]: Conflict"]);
        world.delete(Kind::Ingress, "shop/old");
        world.check(&[("http://h/a", "web")]);
        world.check_problems(&[]);
    }
}

#[test]
fn of_two_ingresses_of_one_second_the_name_that_sorts_last_wins() {
    let world = World::new(
        &[
            services(),
            ingress("a", 1, &rule("h", &["Prefix / web"])),
            ingress("b", 1, &rule("h", &["Prefix / api"])),
        ]
        .concat(),
    );
    world.check(&[("http://h/", "api")]);
    world.check_problems(&["Ingress shop/a: spec.rules[0].http.paths[0]: Conflict"]);
}

#[test]
fn a_path_written_twice_in_one_ingress_is_served_once() {
    let paths = ["Prefix /a web", "Prefix /a api"];
    let world = World::new(&[services(), ingress("a", 1, &rule("h", &paths))].concat());
    world.check(&[("http://h/a", "web")]);
    world.check_problems(&["Ingress shop/a: spec.rules[0].http.paths[1]: Conflict"]);
}

const DEFAULT: &str = "defaultBackend: {service: {name: rest, port: {number: 80}}}";

#[test]
fn a_default_backend_answers_the_rest_of_its_hosts_and_unknown_ones() {
    let spec = format!("{DEFAULT}, {}", rule("h", &["Prefix /a web"]));
    let world = World::new(
        &[
            services(),
            ingress("a", 1, &spec),
            ingress("b", 2, &rule("other", &["Prefix /a web"])),
        ]
        .concat(),
    );
    world.check(&[
        ("http://h/a", "web"),
        ("http://h/b", "rest"),
        ("http://unknown/", "rest"),
        // Its host is there, and its Ingress has no default backend.
        ("http://other/b", "404"),
    ]);
    let route = world.table.find("h", "/b").unwrap();
    assert_eq!(&*route.field, "spec.defaultBackend");
}

#[test]
fn the_oldest_without_rules_answers_what_no_host_matches() {
    let with_rules = format!("{DEFAULT}, {}", rule("h", &["Prefix /a web"]));
    let bare = |service: &str| DEFAULT.replace("rest", service);
    let mut world = World::new(
        &[
            services(),
            ingress("a", 1, &with_rules),
            ingress("b", 2, &bare("web")),
            ingress("c", 3, &bare("api")),
        ]
        .concat(),
    );
    world.check(&[("http://unknown/", "web"), ("http://h/b", "rest")]);
    world.check_problems(&["Ingress shop/c: spec.defaultBackend: Conflict"]);
    world.delete(Kind::Ingress, "shop/b");
    world.check(&[("http://unknown/", "api")]);
    world.check_problems(&[]);
    world.delete(Kind::Ingress, "shop/c");
    world.check(&[("http://unknown/", "rest")]);
    world.delete(Kind::Ingress, "shop/a");
    world.check(&[("http://unknown/", "404")]);
}

#[test]
fn hostless_rules_come_before_the_default_backend() {
    let spec = format!("{DEFAULT}, {}", rule("", &["Prefix /a web"]));
    let world = World::new(&[services(), ingress("a", 1, &spec)].concat());
    world.check(&[("http://x/a", "web"), ("http://x/b", "rest")]);
    let root = rule("", &["Prefix / web"]);
    let world = World::new(&[services(), ingress("a", 1, &format!("{DEFAULT}, {root}"))].concat());
    world.check(&[("http://x/b", "web")]);
}

#[test]
fn the_controllers_default_backend_answers_everything_else() {
    let settings = |text: &str| Settings {
        default_backend: DefaultBackend::parse(text),
        ..Settings::default()
    };
    let objects = [
        CLASS.to_owned(),
        services(),
        ingress("a", 1, &rule("h", &["Prefix /a web"])),
    ]
    .concat();
    let mut world = World::with(settings("shop/rest"), &objects);
    world.check(&[
        ("http://h/a", "web"),
        ("http://h/b", "rest"),
        ("http://x/", "rest"),
    ]);
    world.check_problems(&[]);
    world.delete(Kind::Service, "shop/rest");
    world.check(&[("http://h/b", "503"), ("http://x/", "503")]);
    world.check_problems(&["Service shop/rest: spec: DefaultBackendNotFound"]);
    world.apply(&service("rest"));
    world.check(&[("http://h/b", "rest"), ("http://x/", "rest")]);
    let world = World::with(settings("shop/rest:other"), &objects);
    world.check(&[("http://h/b", "503")]);
}

#[test]
fn a_rule_without_paths_gives_its_host_to_the_default_backend() {
    let spec = format!("{DEFAULT}, rules: [{{host: h}}]");
    let world = World::new(
        &[
            services(),
            ingress("a", 1, &spec),
            ingress("b", 2, &rule("", &["Prefix / web"])),
        ]
        .concat(),
    );
    world.check(&[("http://h/x", "rest"), ("http://i/x", "web")]);
}

#[test]
fn a_resource_backend_is_left_out() {
    let paths = "{path: /a, pathType: Prefix, backend: {resource: {kind: Bucket, name: b}}}";
    let spec = format!("rules: [{{host: h, http: {{paths: [{paths}]}}}}]");
    let world = World::new(&[services(), ingress("a", 1, &spec)].concat());
    world.check(&[("http://h/a", "404")]);
    let field = "spec.rules[0].http.paths[0].backend.resource";
    world.check_problems(&[&format!("Ingress shop/a: {field}: UnsupportedBackend")]);
}

#[test]
fn routes_are_listed_by_host_in_the_order_in_which_they_are_tried() {
    let paths = ["Prefix / rest", "Prefix /a web", "Exact /a api"];
    let world = World::new(
        &[
            services(),
            ingress("a", 1, &rule("b.com", &paths)),
            ingress(
                "b",
                1,
                &rule("*.b.com", &["Prefix /x/y web", "Prefix /zz web"]),
            ),
            ingress("c", 1, &rule("", &["Prefix / web"])),
        ]
        .concat(),
    );
    let routes = world.table.routes();
    let lines: Vec<String> = routes
        .map(|route| format!("{} {} {}", route.host, route.path_type, route.path))
        .collect();
    let want = [
        " Prefix /",
        "*.b.com Prefix /x/y",
        "*.b.com Prefix /zz",
        "b.com Exact /a",
        "b.com Prefix /a",
        "b.com Prefix /",
    ];
    assert_eq!(lines, want);
    assert_eq!(world.table.host_count(), 3);
}

#[test]
fn redirects_follow_the_annotations_of_each_ingress() {
    let annotate = |name: &str, age, annotations: &str, spec: &str| {
        let added = format!("annotations: {{{annotations}}}, creationTimestamp");
        ingress(name, age, spec).replace("creationTimestamp", &added)
    };
    let tls =
        |host: &str, path: &str| format!("{}, tls: [{{hosts: [{host}]}}]", rule(host, &[path]));
    let off = "nginx.ingress.kubernetes.io/ssl-redirect: \"false\"";
    let force = "nginx.ingress.kubernetes.io/force-ssl-redirect: \"T\"";
    let both =
        "nginx.ingress.kubernetes.io/ssl-redirect: \"false\", penstock.dev/ssl-redirect: \"1\"";
    let world = World::new(
        &[
            services(),
            annotate("a", 1, off, &tls("h", "Prefix /a web")),
            ingress("b", 2, &rule("h", &["Prefix /b web"])),
            annotate("c", 3, force, &rule("i", &["Prefix / web"])),
            annotate("d", 4, both, &tls("j", "Prefix / web")),
            ingress("e", 5, &rule("k", &["Prefix / web"])),
        ]
        .concat(),
    );
    world.check(&[
        ("http://h/a", "web"),
        ("http://h/b", "308"),
        ("http://i/", "308"),
        ("https://i/", "web"),
        ("http://j/", "308"),
        ("http://k/", "web"),
    ]);
    world.check_problems(&[]);
}

#[test]
fn an_unchanged_object_changes_nothing() {
    let text = [services(), ingress("a", 1, &rule("h", &["Prefix / web"]))].concat();
    let mut world = World::new(&text);
    let before = world.table.find("h", "/").unwrap().backend.id;
    let outcome = world.apply(&text);
    assert!(outcome.table.is_none() && !outcome.problems_changed && !outcome.externals_changed);
    // A path that moves keeps its backend, and so the proxy's connections.
    world.apply(&ingress("a", 1, &rule("i", &["Prefix /new web"])));
    assert_eq!(world.table.find("i", "/new").unwrap().backend.id, before);
    assert!(world.table.find("h", "/").is_none());
    world.delete(Kind::Ingress, "shop/a");
    world.apply(&ingress("a", 1, &rule("i", &["Prefix / web"])));
    let after = world.table.find("i", "/").unwrap();
    assert_ne!(after.backend.id, before, "nothing led to it in between");
    assert_eq!(after.ingress, object("shop/a"));
}

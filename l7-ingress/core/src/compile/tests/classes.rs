//! Whose Ingress it is.

use model::Kind;

use super::world::{World, service};
use crate::Settings;

fn class(name: &str, controller: &str, default: bool) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: {name}, annotations: {{ingressclass.kubernetes.io/is-default-class: \"{default}\"}}}}
spec: {{controller: {controller}}}
---
"
    )
}

/// An Ingress with a class by name, by annotation, both or none.
fn ingress(name: &str, annotation: &str) -> String {
    let name = match name {
        "" => String::new(),
        name => format!("ingressClassName: {name}, "),
    };
    let annotation = match annotation {
        "" => String::new(),
        value => format!(", annotations: {{kubernetes.io/ingress.class: {value}}}"),
    };
    let backend = "backend: {service: {name: web, port: {number: 80}}}";
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: a, namespace: shop{annotation}}}
spec: {{{name}rules: [{{host: h, http: {{paths: [{{path: /, pathType: Prefix, {backend}}}]}}}}]}}
---
"
    )
}

#[track_caller]
fn check(settings: Settings, classes: &str, name: &str, annotation: &str, ours: bool) {
    let objects = [classes, &service("web"), &ingress(name, annotation)].concat();
    let world = World::with(settings.clone(), &objects);
    let want = if ours { "web" } else { "404" };
    world.check(&[("http://h/", want)]);
    assert_eq!(world.compiler.owned_ingresses().count(), usize::from(ours));
    // The class may come last.
    let mut late = World::with(
        settings,
        &[&service("web"), &*ingress(name, annotation)].concat(),
    );
    late.apply(classes);
    late.check(&[("http://h/", want)]);
}

#[test]
fn an_ingress_is_ours_by_name_else_by_annotation_else_by_default() {
    let nginx = class("nginx", "k8s.io/ingress-nginx", false);
    let own = class("own", "penstock.dev/ingress", false);
    let other = class("other", "example.org/other", true);
    let default = class("nginx", "k8s.io/ingress-nginx", true);
    let plain = Settings::default;
    check(plain(), &nginx, "nginx", "", true);
    check(plain(), &own, "own", "", true);
    check(plain(), &other, "other", "", false);
    check(plain(), "", "nginx", "", false);
    check(plain(), &nginx, "", "nginx", true);
    check(plain(), "", "", "nginx", true);
    check(plain(), &nginx, "", "other", false);
    check(plain(), &nginx, "", "\"\"", true);
    check(
        plain(),
        &[nginx.clone(), other.clone()].concat(),
        "other",
        "nginx",
        false,
    );
    check(plain(), &nginx, "nginx", "other", true);
    check(plain(), &nginx, "", "", false);
    check(plain(), &other, "", "", false);
    check(plain(), &default, "", "", true);
    check(plain(), &default, "", "other", false);
}

#[test]
fn settings_widen_and_narrow_what_is_ours() {
    let odd = class("nginx", "example.org/other", false);
    let by_name = || Settings {
        ingress_class_by_name: true,
        ..Settings::default()
    };
    check(Settings::default(), &odd, "nginx", "", false);
    check(by_name(), &odd, "nginx", "", true);
    check(by_name(), "", "nginx", "", false);
    let without = || Settings {
        watch_without_class: true,
        ..Settings::default()
    };
    check(without(), "", "", "", true);
    check(without(), "", "", "other", false);
    check(without(), &odd, "nginx", "", false);
    let elsewhere = Settings {
        watch_namespaces: ["other".into()].into(),
        ..without()
    };
    check(elsewhere, "", "", "", false);
    let here = Settings {
        watch_namespaces: ["shop".into()].into(),
        ..without()
    };
    check(here, "", "", "", true);
    let unannotated = Settings {
        ingress_class: None,
        ..Settings::default()
    };
    check(unannotated, "", "", "nginx", false);
}

#[test]
fn an_ingress_follows_its_class() {
    let nginx = class("nginx", "k8s.io/ingress-nginx", false);
    let mut world = World::with(
        Settings::default(),
        &[&nginx, &service("web"), &*ingress("nginx", "")].concat(),
    );
    world.check(&[("http://h/", "web")]);
    world.delete(Kind::IngressClass, "nginx");
    world.check(&[("http://h/", "404")]);
    world.apply(&nginx);
    world.check(&[("http://h/", "web")]);
    world.apply(&class("nginx", "example.org/other", false));
    world.check(&[("http://h/", "404")]);
    world.apply(&ingress("", "nginx"));
    world.check(&[("http://h/", "web")]);
    world.apply(&ingress("", "other"));
    world.check(&[("http://h/", "404")]);
    world.check_problems(&[]);
}

#[test]
fn a_class_named_twice_is_decided_by_the_field() {
    let nginx = class("nginx", "k8s.io/ingress-nginx", false);
    let world = World::with(
        Settings::default(),
        &[&nginx, &service("web"), &*ingress("nginx", "other")].concat(),
    );
    world.check_problems(&[
        "Ingress shop/a: metadata.annotations[kubernetes.io/ingress.class]: IgnoredAnnotation",
    ]);
}

//! Services, their ports, protocols and endpoints.

use model::Kind;

use super::world::{World, ingress, rule, service};
use crate::{BackendProtocol, Resolution};

fn backend(port: &str) -> String {
    format!(
        "rules: [{{host: h, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{{port}}}}}}}}}]}}}}]"
    )
}

fn external(name: &str, ports: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{type: ExternalName, externalName: \"{name}\", ports: [{ports}]}}
---
"
    )
}

#[test]
fn ports_are_found_by_number_by_name_and_by_target() {
    for (port, want) in [
        ("name: http", "web"),
        ("number: 80", "web"),
        ("number: 8080", "web"),
        ("name: other", "503"),
        ("number: 81", "503"),
    ] {
        let world = World::new(&[service("web"), ingress("a", 1, &backend(port))].concat());
        world.check(&[("http://h/", want)]);
        let field = "spec.rules[0].http.paths[0].backend.service.port";
        let problem = format!("Ingress shop/a: {field}: ServicePortNotFound");
        let problems: &[&str] = if want == "503" { &[&problem] } else { &[] };
        world.check_problems(problems);
    }
}

#[test]
fn a_udp_port_of_the_same_number_is_not_meant() {
    let ports = "{name: quic, port: 80, protocol: UDP, targetPort: 9}, {name: http, port: 80";
    let both = service("web").replacen("{name: http, port: 80", ports, 1);
    let world = World::new(&[both, ingress("a", 1, &backend("number: 80"))].concat());
    world.check(&[("http://h/", "web")]);
}

#[test]
fn a_service_may_come_and_go() {
    let mut world = World::new(&ingress("a", 1, &backend("number: 80")));
    world.check(&[("http://h/", "503")]);
    let field = "spec.rules[0].http.paths[0].backend.service.name";
    let problem = format!("Ingress shop/a: {field}: ServiceNotFound");
    world.check_problems(&[&problem]);
    let outcome = world.apply(&service("web"));
    assert!(outcome.problems_changed);
    world.check(&[("http://h/", "web")]);
    world.check_problems(&[]);
    world.delete(Kind::Service, "shop/web");
    world.check(&[("http://h/", "503")]);
    world.check_problems(&[&problem]);
}

#[test]
fn endpoints_change_without_a_new_table() {
    let mut world = World::new(&[service("web"), ingress("a", 1, &backend("number: 80"))].concat());
    let route = world.table.find("h", "/").unwrap();
    let backend = std::sync::Arc::clone(&route.backend);
    let slice = |name: &str, addresses: &str| {
        format!(
            "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [{addresses}]}}]
"
        )
    };
    let addresses = || {
        let endpoints = backend.endpoints();
        let addresses = endpoints.addresses.iter();
        addresses.map(ToString::to_string).collect::<Vec<_>>()
    };
    let outcome = world.apply(&slice("web-2", "\"fd00::1\""));
    assert!(outcome.table.is_none());
    assert_eq!(addresses(), ["10.0.0.1:8080", "[fd00::1]:8080"]);
    world.delete(Kind::EndpointSlice, "shop/web-1");
    assert_eq!(addresses(), ["[fd00::1]:8080"]);
    // A slice that moves to another Service leaves this one.
    world.apply(&slice("web-2", "10.0.0.9").replace("service-name: web", "service-name: x"));
    assert!(addresses().is_empty());
    world.check(&[("http://h/", "503")]);
}

#[test]
fn external_names_are_left_to_dns() {
    for (service, port, want) in [
        (
            external("Example.org.", ""),
            "number: 443",
            "dns example.org:443",
        ),
        (
            external("a", "{port: 80, targetPort: 81}"),
            "number: 80",
            "dns a:81",
        ),
        (
            external("a", "{name: http, port: 80}"),
            "name: http",
            "dns a:80",
        ),
        (external("a", ""), "name: http", "503"),
        (external("localhost", ""), "number: 80", "503"),
        (external("x.localhost", ""), "number: 80", "503"),
        (external("169.254.169.254", ""), "number: 80", "503"),
        (external("127.1.2.3", ""), "number: 80", "503"),
        (external("::1", ""), "number: 80", "503"),
        (external("::ffff:127.0.0.1", ""), "number: 80", "503"),
        (external("0.0.0.0", ""), "number: 80", "503"),
        (external("", ""), "number: 80", "503"),
        (external("10.0.0.7", ""), "number: 80", "dns 10.0.0.7:80"),
    ] {
        let world = World::new(&[service, ingress("a", 1, &backend(port))].concat());
        world.check(&[("http://h/", want)]);
        assert_eq!(world.problems().is_empty(), want != "503");
        assert_eq!(
            world.compiler.externals().count(),
            usize::from(want != "503")
        );
    }
}

#[test]
fn what_dns_found_stays_until_the_name_changes() {
    let text = [external("a", ""), ingress("a", 1, &backend("number: 80"))].concat();
    let mut world = World::new(&text);
    let backend = world.compiler.externals().next().unwrap().clone();
    let mut found = backend.endpoints().as_ref().clone();
    found.addresses = Box::new(["192.0.2.1:80".parse().unwrap()]);
    backend.publish(found);
    world.apply(&external("a", "{port: 9}"));
    assert_eq!(backend.endpoints().addresses.len(), 1);
    let outcome = world.apply(&external("b", ""));
    assert!(outcome.externals_changed);
    let endpoints = backend.endpoints();
    assert!(endpoints.addresses.is_empty());
    assert!(matches!(&endpoints.resolution, Resolution::Dns { host, .. } if **host == *"b"));
    let outcome = world.delete(Kind::Ingress, "shop/a");
    assert!(outcome.externals_changed);
    assert_eq!(world.compiler.externals().count(), 0);
}

#[test]
fn the_protocol_comes_from_the_annotation_else_from_the_service() {
    use BackendProtocol::{H2Tls, H2c, Http, Https};
    for (annotation, app_protocol, want) in [
        ("", "", Http),
        ("", "kubernetes.io/h2c", H2c),
        ("", "grpc", H2c),
        ("", "kubernetes.io/ws", Http),
        ("", "kubernetes.io/wss", Https),
        ("", "HTTPS", Https),
        ("", "example.org/own", Http),
        ("HTTP", "grpc", Http),
        ("https", "", Https),
        ("GRPC", "", H2c),
        (" grpcs ", "", H2Tls),
    ] {
        let annotations = match annotation {
            "" => String::new(),
            value => {
                format!(
                    "annotations: {{nginx.ingress.kubernetes.io/backend-protocol: \"{value}\"}}, "
                )
            }
        };
        let ingress = ingress("a", 1, &rule("h", &["Prefix / web"])).replace(
            "creationTimestamp",
            &format!("{annotations}creationTimestamp"),
        );
        let service = match app_protocol {
            "" => service("web"),
            value => {
                service("web").replacen("port: 80", &format!("appProtocol: {value}, port: 80"), 1)
            }
        };
        let world = World::new(&[service, ingress].concat());
        let route = world.table.find("h", "/").unwrap();
        assert_eq!(
            route.backend.manner.protocol, want,
            "{annotation:?} {app_protocol:?}"
        );
        world.check_problems(&[]);
    }
}

//! Explanations, word for word.

use super::world::{World, get, ingress, rule, service, tls_secret};
use crate::{Query, explain};

fn world() -> World {
    let tls = "tls: [{hosts: [shop.example.com], secretName: shop-tls}]";
    let paths = [
        "Prefix /api api",
        "Prefix /api/v1 v1",
        "Exact /apiary bees",
        "Exact /API loud",
    ];
    let spec = format!("{}, {tls}", rule("shop.example.com", &paths));
    let mut world = World::new(
        &[
            ["api", "v1", "bees", "loud"].map(service).concat(),
            ingress("shop", 1, &spec),
            ingress(
                "late",
                2,
                &rule("shop.example.com", &["Prefix /api/v1 bees"]),
            ),
            ingress("wild", 3, &rule("*.example.com", &["Prefix / gone"])),
            ingress("foreign", 4, &rule("shop.example.com", &["Prefix / x"]))
                .replace("nginx", "other"),
            ingress("broken", 5, &rule("shop.example.com", &["Prefix x x"])),
        ]
        .concat(),
    );
    world
        .compiler
        .apply(tls_secret("shop-tls", &["shop.example.com"]));
    world.compile();
    world
}

#[track_caller]
fn check(url: &str, want: &str) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let query = Query {
        https: scheme == "https",
        host,
        head: &get(path),
        sni: None,
    };
    let got = explain(&world().compiler, &query).to_string();
    assert_eq!(got.trim(), want.trim(), "\n{got}\n");
}

#[test]
fn an_answer_from_a_service() {
    check(
        "https://Shop.Example.com:443/api/v1/x?q=1",
        "
certificate  shop.example.com: Secret shop/shop-tls by shop.example.com
host         shop.example.com: chosen
host         *.example.com: not asked, a more specific host has rules
host         (any): nobody has rules for it
path         Prefix /api/v1 (Ingress shop/shop spec.rules[0].http.paths[1]): chosen
path         Exact /apiary (Ingress shop/shop spec.rules[0].http.paths[2]): no match
path         Exact /API (Ingress shop/shop spec.rules[0].http.paths[3]): no match
path         Prefix /api (Ingress shop/shop spec.rules[0].http.paths[0]): matches, but comes after the chosen one
path         Prefix / (the controller's default backend, as Ingress shop/shop sets it): matches, but comes after the chosen one
conflict     Ingress shop/late spec.rules[0].http.paths[0]: wants the same path, and is younger or stands later
not served   Ingress shop/broken: spec.rules[0].http.paths[0].path \"x\" does not begin with `/`; this Ingress is not served
not served   Ingress shop/foreign: its IngressClass does not exist
backend      Service shop/v1:http, HTTP/1.1, endpoints: 1 ready, 0 draining, 0 down (10.0.0.1:8080)
answer       from Service shop/v1:http
",
    );
}

#[test]
fn a_redirect() {
    check(
        "http://shop.example.com/apiary/",
        "
host         shop.example.com: chosen
host         *.example.com: not asked, a more specific host has rules
host         (any): nobody has rules for it
path         Prefix /api/v1 (Ingress shop/shop spec.rules[0].http.paths[1]): no match
path         Exact /apiary (Ingress shop/shop spec.rules[0].http.paths[2]): no match, the trailing slash differs
path         Exact /API (Ingress shop/shop spec.rules[0].http.paths[3]): no match
path         Prefix /api (Ingress shop/shop spec.rules[0].http.paths[0]): no match, Prefix means whole elements
path         Prefix / (the controller's default backend, as Ingress shop/shop sets it): chosen
not served   Ingress shop/broken: spec.rules[0].http.paths[0].path \"x\" does not begin with `/`; this Ingress is not served
not served   Ingress shop/foreign: its IngressClass does not exist
answer       308: redirect to HTTPS, https://shop.example.com/apiary
",
    );
}

#[test]
fn a_service_that_is_not_there() {
    check(
        "https://other.example.com/",
        "
certificate  other.example.com: the default certificate, no other is good for it
host         other.example.com: nobody has rules for it
host         *.example.com: chosen
host         (any): nobody has rules for it
path         Prefix / (Ingress shop/wild spec.rules[0].http.paths[0]): chosen
backend      Service shop/gone:http, HTTP/1.1, no endpoints
answer       503: the Service or its port does not exist or is refused
",
    );
}

#[test]
fn a_server_that_is_asked() {
    let spec = rule("h", &["Prefix / api"]);
    let own = ingress("a", 1, &spec).replace(
        "creationTimestamp",
        "annotations: {penstock.dev/auth-url: 'https://auth.test:8443/$request_method'}, creationTimestamp",
    );
    let world = World::new(&[service("api"), own].concat());
    let query = Query {
        https: false,
        host: "h",
        head: &get("/"),
        sni: None,
    };
    let got = explain(&world.compiler, &query).to_string();
    let line = "filter       GET https://auth.test:8443/GET: asked who may come in, and taken to let it in";
    assert!(got.lines().any(|own| own == line), "{got}");
}

#[test]
fn a_trace() {
    let spec = rule("h", &["Prefix / api"]);
    let wish = "annotations: {penstock.dev/enable-opentelemetry: 'true'}, creationTimestamp";
    let own = ingress("a", 1, &spec).replace("creationTimestamp", wish);
    let world = World::new(&[service("api"), own].concat());
    let query = Query {
        https: false,
        host: "h",
        head: &get("/"),
        sni: None,
    };
    let got = explain(&world.compiler, &query).to_string();
    let line = "trace        the client's, or a new one";
    assert!(got.lines().any(|own| own == line), "{got}");
}

#[test]
fn nothing_at_all() {
    check(
        "http://example.org/",
        "
host         example.org: nobody has rules for it
host         *.org: nobody has rules for it
host         (any): nobody has rules for it
answer       404: no rule matches, and there is no default backend
",
    );
    check(
        "http://a..b/",
        "answer       400: a label of the host is empty or longer than 63 bytes",
    );
    check(
        "http://a.b/%zz",
        "answer       400: the path holds a broken percent-encoding",
    );
}

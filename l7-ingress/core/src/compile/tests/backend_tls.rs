//! How TLS is spoken to endpoints: whose certificate is shown, and what is one and the same.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core_v1;
use model::Kind;
use rustls_pki_types::ServerName;

use super::world::{CLASS, World, object, pem, rule, secret, service};
use crate::backend_tls::TlsId;
use crate::{BackendTls, Change, SecretData, Settings};

const PREFIX: &str = "nginx.ingress.kubernetes.io";

/// An Ingress of `host` whose annotations are as `name: value`.
fn asking(name: &str, age: u32, host: &str, path: &str, annotations: &[(&str, &str)]) -> String {
    let (namespace, name) = name.split_once('/').unwrap_or(("shop", name));
    let annotations: Vec<_> = annotations
        .iter()
        .map(|(key, value)| format!("{PREFIX}/{key}: {value:?}"))
        .collect();
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  namespace: {namespace}
  creationTimestamp: \"1970-01-01T00:00:{age:02}Z\"
  annotations: {{{}}}
spec: {{ingressClassName: nginx, {}}}
---
",
        annotations.join(", "),
        rule(host, &[path])
    )
}

fn with(name: &str, age: u32, path: &str, more: &[(&str, &str)]) -> String {
    let secret = ("proxy-ssl-secret", "shop/mine");
    asking(name, age, "a.test", path, &[&[secret], more].concat())
}

/// A Secret with a certificate and key, `ca.crt`, or both.
fn credentials(name: &str, pair: Option<&(String, String)>, authorities: Option<&str>) -> Change {
    let (certificate, key) = pair.map_or(("", ""), |(certificate, key)| (certificate, key));
    let mut written: core_v1::Secret = secret(name, certificate, key);
    let data = written.string_data.as_mut().unwrap();
    data.retain(|_, value| !value.is_empty());
    if let Some(authorities) = authorities {
        data.insert("ca.crt".to_owned(), authorities.to_owned());
    }
    Change::Secret(object(&format!("shop/{name}")), SecretData::read(&written))
}

impl World {
    fn hold(&mut self, change: Change) {
        self.compiler.apply(change);
        self.compile();
    }

    /// How TLS is spoken behind a path of `a.test`, and whether the path is closed.
    fn tls(&self, path: &str) -> (Option<Arc<BackendTls>>, bool) {
        let route = self.table.find("a.test", path).unwrap();
        (route.backend.tls.clone(), route.policy.denied)
    }

    fn id(&self, path: &str) -> Option<TlsId> {
        let (tls, denied) = self.tls(path);
        assert!(!denied, "{path}");
        tls.map(|tls| tls.id())
    }
}

fn shop(objects: &[String]) -> World {
    World::new(
        &[&[service("web"), service("api")], objects]
            .concat()
            .concat(),
    )
}

#[test]
fn a_secret_that_cannot_be_used_closes_the_paths_that_name_it() {
    let (own, other) = (pem("own", &["a"]), pem("other", &["b"]));
    let verify = [("proxy-ssl-verify", "on")];
    for (what, change, more, expect) in [
        ("none", None, &[][..], true),
        (
            "both",
            Some(credentials("mine", Some(&own), Some(&other.0))),
            &verify,
            false,
        ),
        (
            "a certificate alone",
            Some(credentials("mine", Some(&own), None)),
            &[],
            false,
        ),
        (
            "authorities alone",
            Some(credentials("mine", None, Some(&other.0))),
            &verify,
            false,
        ),
        (
            "nobody to verify by",
            Some(credentials("mine", Some(&own), None)),
            &verify,
            true,
        ),
        (
            "no certificate",
            Some(credentials(
                "mine",
                Some(&("x".into(), own.1.clone())),
                None,
            )),
            &[],
            true,
        ),
        (
            "another's key",
            Some(credentials(
                "mine",
                Some(&(own.0.clone(), other.1.clone())),
                None,
            )),
            &[],
            true,
        ),
        (
            "broken authorities",
            Some(credentials("mine", Some(&own), Some("x"))),
            &[],
            true,
        ),
    ] {
        let mut world = shop(&[
            with("one", 1, "Prefix /one web", more),
            asking("two", 2, "a.test", "Prefix /two web", &[]),
        ]);
        if let Some(change) = change {
            world.hold(change);
        }
        assert_eq!(world.tls("/one").1, expect, "{what}");
        assert!(!world.tls("/two").1, "{what}");
        let said = expect.then_some(
            "Ingress shop/one: metadata.annotations[proxy-ssl-secret]: InvalidAnnotation",
        );
        assert_eq!(
            world.problems(),
            said.into_iter().collect::<Vec<_>>(),
            "{what}"
        );
    }
}

#[test]
fn what_the_oldest_asks_for_holds_for_its_namespace() {
    let objects = |settings: Settings| {
        let others = [
            with("one", 2, "Prefix /one web", &[]),
            asking("two", 1, "a.test", "Prefix /two web", &[]),
            asking("else/three", 3, "a.test", "Prefix /three web", &[]),
            with(
                "four",
                4,
                "Prefix /four web",
                &[("proxy-ssl-name", "b.test")],
            ),
        ];
        let yaml = [
            &[CLASS.to_owned(), "---".to_owned(), service("web")],
            &others[..],
        ]
        .concat();
        let mut world = World::with(settings, &yaml.concat());
        world.hold(credentials("mine", Some(&pem("own", &["a"])), None));
        world
    };
    let world = objects(Settings::default());
    let own = world.id("/one").unwrap();
    assert_eq!(world.id("/two"), Some(own));
    assert_eq!(world.id("/three"), None);
    assert_ne!(world.id("/four"), Some(own));
    let by_path = Settings {
        tls_by_path: true,
        ..Settings::default()
    };
    let world = objects(by_path);
    assert!(world.id("/one").is_some());
    assert_eq!(world.id("/two"), None);
}

#[test]
fn an_identity_is_as_old_as_what_it_is_made_of() {
    let (first, second) = (pem("own", &["a"]), pem("own", &["a"]));
    let mut world = shop(&[
        with("one", 1, "Prefix /one web", &[]),
        with("two", 2, "Prefix /two api", &[]),
    ]);
    world.hold(credentials("mine", Some(&first), None));
    let (one, two) = (world.id("/one").unwrap(), world.id("/two").unwrap());
    assert_ne!(one, two, "each Service has a name of its own");
    let name = |path: &str| world.tls(path).0.unwrap().name([10, 0, 0, 1].into());
    assert_eq!(name("/one"), ServerName::try_from("web.shop.svc").unwrap());
    assert_eq!(name("/two"), ServerName::try_from("api.shop.svc").unwrap());
    // Where nothing is verified, authorities change nothing; a resync changes nothing either.
    world.hold(credentials("mine", Some(&first), Some(&second.0)));
    world.apply(&with(
        "one",
        1,
        "Prefix /one web",
        &[("proxy-body-size", "8m")],
    ));
    assert_eq!(world.id("/one"), Some(one));
    world.hold(credentials("mine", Some(&second), None));
    let renewed = world.id("/one").unwrap();
    assert_ne!(renewed, one);
    // What cannot be read leaves the last that could; what is gone does not.
    world.hold(credentials(
        "mine",
        Some(&("x".to_owned(), "y".to_owned())),
        None,
    ));
    assert_eq!(world.id("/one"), Some(renewed));
    world.check_problems(&["Secret shop/mine: data[tls.key]: InvalidCertificate"]);
    world.delete(Kind::Secret, "shop/mine");
    assert!(world.tls("/one").1);
    world.hold(credentials("mine", Some(&first), None));
    assert_ne!(world.id("/one"), Some(renewed));
    world.check_problems(&[]);
}

#[test]
fn ports_of_one_service_are_spoken_to_as_one() {
    let mut world = shop(&[
        with("one", 1, "Prefix /one web", &[]),
        with("two", 1, "Prefix /two web", &[("load-balance", "ewma")]),
    ]);
    world.hold(credentials("mine", Some(&pem("own", &["a"])), None));
    assert_eq!(world.id("/one"), world.id("/two"));
    let backend = |path| world.table.find("a.test", path).unwrap().backend.id;
    assert_ne!(backend("/one"), backend("/two"));
}

#[test]
fn a_canary_is_spoken_to_as_its_main_ingress_says() {
    let canary = ("canary", "true");
    let mut world = shop(&[
        with("main", 1, "Prefix /one web", &[]),
        asking("canary", 2, "a.test", "Prefix /one api", &[canary]),
    ]);
    world.hold(credentials("mine", Some(&pem("own", &["a"])), None));
    let route = world.table.find("a.test", "/one").unwrap();
    let tls = route.canary.as_ref().unwrap().backend.tls.as_ref().unwrap();
    let name = tls.name([10, 0, 0, 1].into());
    assert_eq!(name, ServerName::try_from("api.shop.svc").unwrap());
    assert_ne!(Some(tls.id()), world.id("/one"));
    let said = "with the certificate of Secret shop/mine, unverified";
    assert_eq!(tls.describe(), said);
}

#[test]
fn an_external_name_is_the_name_of_its_endpoints() {
    let external = "
apiVersion: v1
kind: Service
metadata: {name: away, namespace: shop}
spec: {type: ExternalName, externalName: away.example, ports: [{name: http, port: 443}]}
---
";
    let mut world = shop(&[external.to_owned(), with("one", 1, "Prefix /one away", &[])]);
    world.hold(credentials("mine", Some(&pem("own", &["a"])), None));
    let tls = world.tls("/one").0.unwrap();
    assert_eq!(
        tls.name([10, 0, 0, 1].into()),
        ServerName::try_from("away.example").unwrap()
    );
}

#[test]
fn values_are_read_as_ingress_nginx_reads_them() {
    let refused = "InvalidAnnotation!";
    for (annotation, value, expect) in [
        ("proxy-ssl-verify", "on", ""),
        ("proxy-ssl-verify", "true", refused),
        ("proxy-ssl-server-name", "off", ""),
        ("proxy-ssl-server-name", "yes", refused),
        ("proxy-ssl-verify-depth", "0", ""),
        ("proxy-ssl-verify-depth", "-1", refused),
        ("proxy-ssl-verify-depth", "deep", refused),
        ("proxy-ssl-name", "$host", refused),
        ("proxy-ssl-name", "10.0.0.1", ""),
        ("proxy-ssl-protocols", "TLSv1 TLSv1.1 TLSv1.2", ""),
        ("proxy-ssl-protocols", "TLSv1.4", refused),
        (
            "proxy-ssl-protocols",
            "SSLv3 TLSv1",
            "InvalidAnnotation 503",
        ),
        ("proxy-ssl-ciphers", "HIGH:!AES", ""),
        ("proxy-ssl-ciphers", "AES128-SHA", "InvalidAnnotation"),
        ("proxy-ssl-ciphers", "HIGH;", refused),
        ("proxy-ssl-secret", "else/mine", "InvalidAnnotation 503"),
    ] {
        let both = ("proxy-ssl-secret", "shop/mine");
        let ingress = match annotation {
            "proxy-ssl-secret" => asking(
                "one",
                1,
                "a.test",
                "Prefix /one web",
                &[(annotation, value)],
            ),
            _ => asking(
                "one",
                1,
                "a.test",
                "Prefix /one web",
                &[both, (annotation, value)],
            ),
        };
        let mut world = shop(&[ingress]);
        let (own, other) = (pem("own", &["a"]), pem("other", &["b"]));
        world.hold(credentials("mine", Some(&own), Some(&other.0)));
        let route = world.table.find("a.test", "/one");
        let mut got: String = world
            .problems()
            .iter()
            .filter_map(|problem| problem.rsplit(' ').next())
            .collect();
        match route {
            None => got.push('!'),
            Some(route) if route.policy.denied => got.push_str(" 503"),
            Some(_) => {}
        }
        assert_eq!(got, expect, "{annotation}: {value}");
    }
}

#[test]
fn without_a_secret_the_others_mean_nothing() {
    let alone = asking(
        "one",
        1,
        "a.test",
        "Prefix /one web",
        &[("proxy-ssl-verify", "on"), ("proxy-ssl-name", "b.test")],
    );
    let world = shop(&[alone]);
    assert_eq!(world.id("/one"), None);
    let field = |name: &str| {
        format!("Ingress shop/one: metadata.annotations[{PREFIX}/{name}]: InvalidAnnotation")
    };
    assert_eq!(
        world.problems(),
        [field("proxy-ssl-name"), field("proxy-ssl-verify")]
    );
}

//! What holds for all objects, in all orders.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::networking::v1 as networking_v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{
    EndpointSlice, EndpointState, ObjectName, Protocol, Service, SliceEndpoint, SlicePort,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::world::{World, changes, default_certificate, get, now, object, tls_secret};
use crate::class::ClassRef;
use crate::ingress::{self, Backend, Path, Rule, Tls};
use crate::{
    Answer, Change, Compiler, Ingress, PathVerdict, Query, Settings, Step, Table, compile, explain,
};

/// A change of one of a few objects, so that sequences meet each other.
fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (ingress_name(), proptest::option::weighted(0.85, ingress()))
            .prop_map(|(name, ingress)| Change::Ingress(object(name), ingress)),
        1 => class(),
        2 => service(),
        2 => slice(),
        1 => select(&*SECRETS),
    ]
}

fn ingress_name() -> impl Strategy<Value = &'static str> {
    select(vec!["shop/a", "shop/b", "shop/c", "else/a", "else/b"])
}

fn ingress() -> impl Strategy<Value = Ingress> {
    let class = select(vec![
        Some("nginx"),
        Some("nginx"),
        Some("nginx"),
        Some("other"),
        None,
    ]);
    let rules = proptest::collection::vec(rule(), 0..3);
    let default = proptest::option::weighted(0.3, select(vec!["s", "t"]));
    let tls = select(vec![
        vec![],
        vec![tls(&[], "one")],
        vec![tls(&["a.h"], "one")],
        vec![tls(&["*.h"], "two")],
        vec![tls(&["h"], "two"), tls(&["h"], "none")],
    ]);
    let redirect = select(vec![
        None,
        Some(("ssl-redirect", "false")),
        Some(("force-ssl-redirect", "1")),
    ]);
    (class, rules, default, tls, (redirect, 0..3_i64)).prop_map(
        |(class, rules, default, tls, (redirect, created))| {
            let default = default.or_else(|| rules.is_empty().then_some("s"));
            let annotate =
                |(name, value): (&str, &str)| (format!("penstock.dev/{name}").into(), value.into());
            Ingress {
                created: Some(created),
                class: ClassRef {
                    name: class.map(Into::into),
                    annotation: None,
                },
                annotations: redirect.map(annotate).into_iter().collect(),
                default_backend: default.map(|service| backend(service, (None, Some(80)))),
                rules: rules.into(),
                tls: tls.into(),
            }
        },
    )
}

fn tls(hosts: &[&str], secret: &str) -> Tls {
    Tls {
        hosts: hosts.iter().map(|host| (*host).into()).collect(),
        secret: secret.into(),
    }
}

fn backend(service: &str, (name, number): (Option<&str>, Option<i32>)) -> Backend {
    Backend {
        service: Some(ingress::Service {
            name: service.into(),
            port_name: name.map(Into::into),
            port_number: number,
        }),
        resource: None,
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let path = (
        select(vec!["Exact", "Prefix", "ImplementationSpecific"]),
        select(PATHS.to_vec()),
        select(vec!["s", "t", "u"]),
        select(vec![
            (None, Some(80)),
            (Some("http"), None),
            (None, Some(9)),
        ]),
    );
    let path = path.prop_map(|(path_type, path, service, port)| Path {
        path: path.into(),
        path_type: path_type.into(),
        backend: backend(service, port),
    });
    let paths = proptest::collection::vec(path, 1..4);
    (select(vec!["", "h", "*.h", "a.h"]), paths).prop_map(|(host, paths)| Rule {
        host: host.into(),
        paths: Some(paths.into()),
    })
}

const PATHS: [&str; 9] = [
    "/", "/a", "/a/", "/a/b", "/a/b/", "/a/bc", "/A", "/b", "/a/b/c/d",
];

fn class() -> impl Strategy<Value = Change> {
    let class = |controller: &str, is_default| crate::IngressClass {
        controller: controller.into(),
        is_default,
    };
    let versions = vec![
        Some(class("k8s.io/ingress-nginx", false)),
        Some(class("k8s.io/ingress-nginx", true)),
        Some(class("example.org/other", false)),
        None,
    ];
    let name = select(vec!["nginx", "nginx", "other"]);
    (name, select(versions)).prop_map(|(name, class)| Change::IngressClass(object(name), class))
}

fn service() -> impl Strategy<Value = Change> {
    let name = select(vec!["shop/s", "shop/t", "else/s"]);
    let service = proptest::option::weighted(0.8, select(&*SERVICES));
    (name, service).prop_map(|(name, service)| Change::Service(object(name), service))
}

static SERVICES: LazyLock<Vec<Service>> = LazyLock::new(|| {
    let specs = [
        "ports: [{name: http, port: 80}]",
        "ports: [{name: http, port: 80, appProtocol: grpc}, {name: x, port: 9}]",
        "ports: [{name: x, port: 9, protocol: UDP}]",
        "type: ExternalName, externalName: example.org",
        "type: ExternalName, externalName: localhost",
    ];
    let read = |spec: &str| {
        let text = format!("\napiVersion: v1\nkind: Service\nmetadata: {{}}\nspec: {{{spec}}}\n");
        match changes(&text).pop() {
            Some(Change::Service(_, Some(service))) => service,
            other => panic!("{other:?}"),
        }
    };
    specs.map(read).into()
});

fn slice() -> impl Strategy<Value = Change> {
    let name = select(vec!["shop/one", "shop/two"]);
    let service = proptest::option::weighted(0.8, select(vec!["s", "t"]));
    (name, service, 1..4_u8).prop_map(|(name, service, last)| {
        let slice = service.map(|service| EndpointSlice {
            service: ObjectName::new("shop", service),
            ports: vec![SlicePort {
                name: "http".into(),
                number: 8080,
                protocol: Protocol::Tcp,
            }],
            endpoints: vec![SliceEndpoint {
                ip: [10, 0, 0, last].into(),
                state: EndpointState::Ready,
                node: None,
            }],
        });
        Change::EndpointSlice(object(name), slice)
    })
}

/// Good ones only: what becomes of broken ones depends, by intent, on what was there before.
static SECRETS: LazyLock<Vec<Change>> = LazyLock::new(|| {
    vec![
        tls_secret("one", &["h", "a.h"]),
        tls_secret("one", &["a.h"]),
        tls_secret("two", &["h", "*.h"]),
    ]
});

/// The objects that a sequence of changes leaves.
fn last(changes: &[Change]) -> Vec<Change> {
    let mut objects: BTreeMap<(u8, ObjectName), Change> = BTreeMap::new();
    for change in changes {
        let key = match change {
            Change::Ingress(name, _) => (0, name),
            Change::IngressClass(name, _) => (1, name),
            Change::Service(name, _) => (2, name),
            Change::EndpointSlice(name, _) => (3, name),
            Change::Secret(name, _) => (4, name),
            Change::ConfigMap(name, _) => (5, name),
            Change::Malformed(..) => continue,
        };
        objects.insert((key.0, key.1.clone()), change.clone());
    }
    objects.into_values().collect()
}

/// All that can be asked of a table.
fn describe(table: &Table) -> Vec<String> {
    let routes = table.routes().map(|route| {
        let backend = &route.backend;
        format!(
            "{} {} {} {} {} {:?} {} {:?} {:?}",
            route.host,
            route.path_type,
            route.path,
            route.ingress,
            route.field,
            route.https_redirect,
            backend.upstream_name,
            backend.manner.protocol,
            backend.endpoints().as_ref(),
        )
    });
    let names = ["h", "a.h", "b.h", "other"];
    let certificates = names.map(|name| {
        let keys = table.certificates(Some(name)).iter();
        format!(
            "{name} {:?}",
            keys.map(|key| key.cert.first()).collect::<Vec<_>>()
        )
    });
    let served = names.map(|name| format!("{:?}", table.find(name, "/zzz").is_some()));
    routes.chain(certificates).chain(served).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn changes_one_by_one_give_what_the_last_objects_give_in_any_order(
        changes in proptest::collection::vec((change(), any::<bool>()), 0..30),
        swaps in proptest::collection::vec((any::<Index>(), any::<Index>()), 0..20),
    ) {
        let certificate = default_certificate();
        let mut compiler = Compiler::new(Settings::default(), Arc::clone(&certificate));
        let mut table = Arc::default();
        for (change, publish) in &changes {
            compiler.apply(change.clone());
            if *publish {
                table = compiler.compile().table.unwrap_or(table);
            }
        }
        table = compiler.compile().table.unwrap_or(table);

        let changes: Vec<Change> = changes.into_iter().map(|(change, _)| change).collect();
        let mut objects = last(&changes);
        let count = objects.len().max(1);
        for (a, b) in &swaps {
            let (a, b) = (a.index(count), b.index(count));
            if b < objects.len() {
                objects.swap(a, b);
            }
        }
        let (fresh, problems) = compile(objects, Settings::default(), certificate, now());
        prop_assert_eq!(describe(&table), describe(&fresh));
        prop_assert_eq!(compiler.problems(now()).collect::<Vec<_>>(), problems);
    }

    #[test]
    fn the_lookup_finds_what_the_explanation_finds(
        changes in proptest::collection::vec(change(), 0..30),
        path in "(/(a|b|bc|A|c|d)){0,5}/?",
        host in select(vec!["h", "a.h", "b.h", "x.b.h", "other"]),
        https in any::<bool>(),
    ) {
        let mut compiler = Compiler::new(Settings::default(), default_certificate());
        changes.into_iter().for_each(|change| compiler.apply(change));
        let table = compiler.compile().table.unwrap_or_default();
        let path = if path.is_empty() { "/" } else { &path };
        let query = Query { https, host, head: &get(path), sni: None };
        let explanation = explain(&compiler, &query);
        let chosen = explanation.steps.iter().find_map(|step| match step {
            Step::Path { route, verdict: PathVerdict::Chosen } => Some(route),
            _ => None,
        });
        let found = table.find(host, path);
        prop_assert_eq!(
            chosen.map(Arc::as_ptr),
            found.map(Arc::as_ptr),
            "{} {}",
            path,
            explanation
        );
        if let Answer::Forward(backend) = &explanation.answer {
            prop_assert_eq!(backend.id, found.unwrap().backend.id);
        }
    }

    #[test]
    fn no_ingress_makes_the_compiler_panic(
        texts in proptest::collection::vec(any::<String>(), 8),
        port in proptest::option::of(any::<i32>()),
        path_type in select(vec!["Exact", "Prefix", "ImplementationSpecific", ""]),
        request in any::<String>(),
    ) {
        let mut world = World::new("");
        let ingress = odd_ingress(&texts, port, path_type);
        let read = Ingress::read(&ingress);
        world.compiler.apply(Change::Ingress(object("shop/odd"), Some(read)));
        world.compile();
        let _ = world.table.find(&texts[0], &request);
        let query = Query { https: true, host: &texts[0], head: &get(&request), sni: Some(&texts[1]) };
        let _ = explain(&world.compiler, &query).to_string();
        world.delete(model::Kind::Ingress, "shop/odd");
        prop_assert!(world.problems().is_empty());
        prop_assert_eq!(world.table.routes().count(), 0);
    }
}

fn odd_ingress(texts: &[String], port: Option<i32>, path_type: &str) -> networking_v1::Ingress {
    let text = |index: usize| texts.get(index).cloned();
    let backend = networking_v1::IngressBackend {
        service: Some(networking_v1::IngressServiceBackend {
            name: text(3).unwrap_or_default(),
            port: Some(networking_v1::ServiceBackendPort {
                name: text(4).filter(|name| name.len() > 5),
                number: port,
            }),
        }),
        resource: None,
    };
    let path = networking_v1::HTTPIngressPath {
        backend: backend.clone(),
        path: text(2).map(|path| format!("/{path}")),
        path_type: path_type.to_owned(),
    };
    let annotation = "nginx.ingress.kubernetes.io/ssl-redirect".to_owned();
    networking_v1::Ingress {
        metadata: ObjectMeta {
            annotations: text(7).map(|value| [(annotation, value)].into()),
            ..ObjectMeta::default()
        },
        spec: Some(networking_v1::IngressSpec {
            default_backend: Some(backend),
            ingress_class_name: Some("nginx".to_owned()),
            rules: Some(vec![networking_v1::IngressRule {
                host: text(0),
                http: Some(networking_v1::HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            tls: Some(vec![networking_v1::IngressTLS {
                hosts: text(5).map(|host| vec![host]),
                secret_name: text(6),
            }]),
        }),
        status: None,
    }
}

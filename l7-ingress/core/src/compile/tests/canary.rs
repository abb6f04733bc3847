//! Which routes get which canary.

use model::Kind;

use super::world::{World, get, ingress, object, rule, service};
use crate::{Query, explain};

const CANARY: &str = "nginx.ingress.kubernetes.io/canary: \"true\"";

fn services() -> String {
    ["web", "api", "new", "newer"].map(service).concat()
}

/// An Ingress with these annotations.
fn annotated(name: &str, age: u32, annotations: &str, spec: &str) -> String {
    let written = ingress(name, age, spec);
    written.replace(
        "namespace: shop,",
        &format!("namespace: shop, annotations: {{{annotations}}},"),
    )
}

fn canary(name: &str, age: u32, spec: &str) -> String {
    annotated(name, age, CANARY, spec)
}

/// The Service of the route, and of its canary.
#[track_caller]
fn check(world: &World, url: &str, want: (&str, Option<&str>)) {
    let (_, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let route = world.table.find(host, &format!("/{path}")).unwrap();
    let canary = route.canary.as_ref();
    let canary = canary.map(|canary| &*canary.backend.service.name);
    assert_eq!((&*route.backend.service.name, canary), want, "{url}");
}

#[test]
fn the_main_ingress_wins_however_old_it_is() {
    for (main, other) in [(1, 2), (2, 1), (1, 1)] {
        let world = World::new(
            &[
                services(),
                ingress("main", main, &rule("h", &["Prefix / web"])),
                canary("canary", other, &rule("h", &["Prefix / new"])),
            ]
            .concat(),
        );
        check(&world, "http://h/", ("web", Some("new")));
        world.check_problems(&[]);
    }
}

#[test]
fn canaries_come_and_go_with_their_main_ingress() {
    let main = ingress("main", 2, &rule("h", &["Prefix / web"]));
    let mut world = World::new(
        &[
            services(),
            canary("canary", 1, &rule("h", &["Prefix / new"])),
        ]
        .concat(),
    );
    let alone = ["Ingress shop/canary: spec.rules[0].http.paths[0]: CanaryWithoutMain"];
    world.check(&[("http://h/", "404")]);
    world.check_problems(&alone);
    world.apply(&main);
    check(&world, "http://h/", ("web", Some("new")));
    world.check_problems(&[]);
    world.apply(&ingress("main", 2, &rule("h", &["Prefix / api"])));
    check(&world, "http://h/", ("api", Some("new")));
    world.apply(&canary("canary", 1, &rule("h", &["Prefix / newer"])));
    check(&world, "http://h/", ("api", Some("newer")));
    world.delete(Kind::Ingress, "shop/main");
    world.check(&[("http://h/", "404")]);
    world.check_problems(&alone);
    world.apply(&main);
    world.delete(Kind::Ingress, "shop/canary");
    check(&world, "http://h/", ("web", None));
    world.check_problems(&[]);
}

#[test]
fn an_ingress_may_become_a_canary_and_stop_being_one() {
    let spec = rule("h", &["Prefix / new", "Prefix /own new"]);
    let mut world = World::new(
        &[
            services(),
            ingress("main", 1, &rule("h", &["Prefix / web"])),
            canary("canary", 2, &spec),
        ]
        .concat(),
    );
    check(&world, "http://h/own", ("web", Some("new")));
    world.check_problems(&["Ingress shop/canary: spec.rules[0].http.paths[1]: CanaryWithoutMain"]);
    world.apply(&ingress("canary", 2, &spec));
    check(&world, "http://h/own", ("new", None));
    world.check_problems(&["Ingress shop/canary: spec.rules[0].http.paths[0]: Conflict"]);
    world.apply(&canary("canary", 2, &spec));
    check(&world, "http://h/", ("web", Some("new")));
}

#[test]
fn a_path_has_one_canary_the_oldest() {
    let world = World::new(
        &[
            services(),
            ingress("main", 9, &rule("h", &["Prefix / web"])),
            canary("late", 3, &rule("h", &["Prefix / newer"])),
            canary("early", 2, &rule("h", &["Prefix / new"])),
            canary("same", 1, &rule("h", &["Prefix / web"])),
        ]
        .concat(),
    );
    check(&world, "http://h/", ("web", Some("new")));
    world.check_problems(&[
        "Ingress shop/late: spec.rules[0].http.paths[0]: Conflict",
        "Ingress shop/same: spec.rules[0].http.paths[0]: Conflict",
    ]);
}

#[test]
fn a_default_backend_is_the_canary_of_all_that_no_host_matches() {
    let default = |service: &str| {
        format!("defaultBackend: {{service: {{name: {service}, port: {{name: http}}}}}}")
    };
    let mut world = World::new(
        &[
            services(),
            canary("everywhere", 1, &default("new")),
            ingress("hostless", 2, &rule("", &["Prefix /a api"])),
            ingress("other", 2, &rule("h", &["Prefix /a api"])),
        ]
        .concat(),
    );
    check(&world, "http://x/a", ("api", Some("new")));
    check(&world, "http://h/a", ("api", None));
    world.check(&[("http://x/", "404")]);
    world.apply(&ingress("catch-all", 3, &default("web")));
    check(&world, "http://x/", ("web", Some("new")));
    world.check(&[("http://h/", "404")]);
    world.check_problems(&[]);
    world.delete(Kind::Ingress, "shop/everywhere");
    check(&world, "http://x/", ("web", None));
    check(&world, "http://x/a", ("api", None));
}

#[test]
fn what_is_left_to_an_ingress_s_default_backend_has_a_canary_too() {
    let default = "defaultBackend: {service: {name: api, port: {name: http}}}";
    let main = format!("{}, {default}", rule("h", &["Prefix /a web"]));
    let world = World::new(
        &[
            services(),
            ingress("main", 1, &main),
            canary("canary", 2, &rule("h", &["Prefix / new"])),
        ]
        .concat(),
    );
    check(&world, "http://h/a", ("web", None));
    check(&world, "http://h/b", ("api", Some("new")));
    world.check_problems(&[]);
}

/// The numbers of SplitMix64, the same in every run.
fn numbers() -> impl FnMut(u32) -> u32 {
    let mut state = 1_u64;
    move |below| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        u32::try_from((u128::from(bits) * u128::from(below)) >> 64).unwrap()
    }
}

#[test]
fn a_canary_takes_the_share_that_it_weighs() {
    const REQUESTS: u32 = 100_000;
    for (weight, total, share) in [
        (0, 100, 0.0),
        (1, 100, 0.01),
        (50, 100, 0.5),
        (99, 100, 0.99),
        (100, 100, 1.0),
        (100, 200, 0.5),
        (1, 1000, 0.001),
        (30, 50, 0.3),
    ] {
        let weights = format!(
            "{CANARY}, nginx.ingress.kubernetes.io/canary-weight: \"{weight}\", nginx.ingress.kubernetes.io/canary-weight-total: \"{total}\""
        );
        let world = World::new(
            &[
                services(),
                ingress("main", 1, &rule("h", &["Prefix / web"])),
                annotated("canary", 2, &weights, &rule("h", &["Prefix / new"])),
            ]
            .concat(),
        );
        let route = world.table.find("h", "/").unwrap();
        let (headers, mut random) = (get("/").headers, numbers());
        let taken = (0..REQUESTS).filter(|_| route.takes_canary(&headers, &mut random));
        let taken = f64::from(u32::try_from(taken.count()).unwrap());
        let fair = f64::from(REQUESTS) * share;
        // Five standard deviations of a binomial distribution.
        let slack = 5.0 * (fair * (1.0 - share)).sqrt();
        assert!(
            (taken - fair).abs() <= slack,
            "{weight} of {total}: {taken}"
        );
    }
}

#[test]
fn a_canary_has_neither_certificates_nor_other_names() {
    let spec = format!(
        "{}, tls: [{{hosts: [h], secretName: gone}}]",
        rule("h", &["Prefix / new"])
    );
    let aliases = format!(
        "{CANARY}, nginx.ingress.kubernetes.io/server-alias: alias, nginx.ingress.kubernetes.io/from-to-www-redirect: \"true\""
    );
    let world = World::new(
        &[
            services(),
            ingress("main", 2, &rule("h", &["Prefix / web"])),
            annotated("canary", 1, &aliases, &spec),
        ]
        .concat(),
    );
    check(&world, "http://h/", ("web", Some("new")));
    world.check(&[
        ("http://alias/", "404"),
        ("http://www.h/", "404"),
        ("http://h/", "web"),
    ]);
    world.check_problems(&[]);
}

#[test]
fn what_is_spoken_to_a_canary_the_main_ingress_says() {
    let protocol = |name: &str| format!("nginx.ingress.kubernetes.io/backend-protocol: {name}");
    let world = World::new(
        &[
            services(),
            annotated("main", 1, &protocol("GRPC"), &rule("h", &["Prefix / web"])),
            annotated(
                "canary",
                2,
                &format!("{CANARY}, {}", protocol("HTTPS")),
                &rule("h", &["Prefix / new"]),
            ),
        ]
        .concat(),
    );
    let route = world.table.find("h", "/").unwrap();
    let canary = route.canary.as_ref().unwrap();
    assert_eq!(canary.backend.manner.protocol, crate::BackendProtocol::H2c);
    assert_eq!(canary.ingress, object("shop/canary"));
}

/// The lines of an explanation that speak of the canary and of the answer.
#[track_caller]
fn explained(annotations: &str, field: &str, want: &[&str]) {
    let mut world = World::new(
        &[
            services(),
            ingress("main", 1, &rule("h", &["Prefix / web"])),
            annotated(
                "canary",
                2,
                &format!("{CANARY}, {annotations}"),
                &rule("h", &["Prefix / new"]),
            ),
        ]
        .concat(),
    );
    if field == "down" {
        world.delete(Kind::EndpointSlice, "shop/new-1");
    }
    let mut head = get("/");
    head.headers.insert("x-canary", field.parse().unwrap());
    let query = Query {
        https: false,
        host: "h",
        head: &head,
        sni: None,
    };
    let text = explain(&world.compiler, &query).to_string();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("canary") || line.starts_with("answer"))
        .collect();
    assert_eq!(lines, want, "\n{text}");
}

#[test]
fn an_explanation_tells_whose_a_request_is() {
    let rules = "nginx.ingress.kubernetes.io/canary-by-header: x-canary, nginx.ingress.kubernetes.io/canary-weight: \"20\"";
    let who = "canary       Ingress shop/canary spec.rules[0].http.paths[0]:";
    explained(
        rules,
        "always",
        &[
            &format!("{who} takes it, a field of the request says so"),
            "answer       from Service shop/new:http",
        ],
    );
    explained(
        rules,
        "never",
        &[
            &format!("{who} does not take it, a field of the request says so"),
            "answer       from Service shop/web:http",
        ],
    );
    explained(
        rules,
        "",
        &[
            &format!("{who} takes 20 of 100 requests"),
            "answer       from Service shop/new:http (20 of 100 requests) or Service shop/web:http (the others)",
        ],
    );
    explained(
        rules,
        "down",
        &[
            &format!("{who} does not take it, it has no endpoint"),
            "answer       from Service shop/web:http",
        ],
    );
}

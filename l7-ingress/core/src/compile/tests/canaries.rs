//! Canary Ingresses beside the Ingresses that they are meant for.

use super::world::{World, get, ingress, rule, service};
use crate::upstream::Affinity;
use crate::{Query, explain};

const WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";
const CANARY: &str = "nginx.ingress.kubernetes.io/canary";

fn canary(name: &str, age: u32, paths: &[&str]) -> String {
    let annotations = format!("annotations: {{{CANARY}: \"true\", {WEIGHT}: \"30\"}}, ");
    ingress(name, age, &rule("a.test", paths)).replacen("name:", &format!("{annotations}name:"), 1)
}

fn world(ingresses: &[String]) -> World {
    let services = ["one", "two", "three"].map(service).concat();
    World::new(&(services + &ingresses.concat()))
}

/// Where the canary of `path` leads to, and its share.
fn beside(world: &World, path: &str) -> Option<(String, u32)> {
    let table = &world.table;
    let route = table.find("a.test", path)?;
    let canary = route.canary.as_ref()?;
    let service = canary.route.backend.service.name.to_string();
    Some((service, canary.canary.weight))
}

#[test]
fn the_main_ingress_answers_however_old_the_canary_is() {
    let main = ingress("main", 5, &rule("a.test", &["Prefix /x one"]));
    for age in [1, 9] {
        let world = world(&[main.clone(), canary("canary", age, &["Prefix /x two"])]);
        world.check(&[("http://a.test/x", "one")]);
        assert_eq!(beside(&world, "/x"), Some(("two".to_owned(), 30)));
        world.check_problems(&[]);
    }
}

#[test]
fn a_canary_without_a_main_ingress_is_left_out_and_says_so() {
    let world = world(&[canary("canary", 1, &["Prefix /x two"])]);
    world.check(&[("http://a.test/x", "404")]);
    world.check_problems(&["Ingress shop/canary: spec.rules[0].http.paths[0]: CanaryWithoutMain"]);
}

#[test]
fn the_oldest_of_two_canaries_serves() {
    let world = world(&[
        ingress("main", 5, &rule("a.test", &["Prefix /x one"])),
        canary("young", 9, &["Prefix /x three"]),
        canary("old", 1, &["Prefix /x two"]),
    ]);
    assert_eq!(beside(&world, "/x"), Some(("two".to_owned(), 30)));
    world.check_problems(&["Ingress shop/young: spec.rules[0].http.paths[0]: Conflict"]);
}

#[test]
fn a_canary_comes_and_goes() {
    let main = ingress("main", 5, &rule("a.test", &["Prefix /x one"]));
    let mut world = world(&[main]);
    assert_eq!(beside(&world, "/x"), None);
    world.apply(&canary("canary", 9, &["Prefix /x two"]));
    assert_eq!(beside(&world, "/x"), Some(("two".to_owned(), 30)));
    world.delete(model::Kind::Ingress, "shop/canary");
    assert_eq!(beside(&world, "/x"), None);
    world.check(&[("http://a.test/x", "one")]);
}

#[test]
fn its_share_is_explained() {
    let world = world(&[
        ingress("main", 5, &rule("a.test", &["Prefix /x one"])),
        canary("canary", 9, &["Prefix /x two"]),
    ]);
    let query = Query {
        https: false,
        host: "a.test",
        head: &get("/x"),
        sni: None,
    };
    let text = explain(&world.compiler, &query).to_string();
    let want = "canary       Service shop/two:http: gets 30 of 100 such requests";
    assert!(text.contains(want), "{text}");
}

#[test]
fn a_session_stays_where_it_began_unless_that_is_not_wanted() {
    for (behavior, stays) in [("sticky", true), ("legacy", false)] {
        let annotations = format!(
            "annotations: {{nginx.ingress.kubernetes.io/affinity: cookie, \
             nginx.ingress.kubernetes.io/session-cookie-name: at, \
             nginx.ingress.kubernetes.io/affinity-canary-behavior: {behavior}}}, "
        );
        let main = ingress("main", 5, &rule("a.test", &["Prefix /x one"]));
        let main = main.replacen("name:", &format!("{annotations}name:"), 1);
        let world = world(&[main, canary("canary", 9, &["Prefix /x two"])]);
        let route = world.table.find("a.test", "/x").unwrap();
        let beside = route.canary.as_ref().unwrap();
        for (backend, to_canary) in [(&route.backend, false), (&beside.route.backend, true)] {
            let mut head = get("/x");
            let cookie = format!("at=1|{:x}", Affinity::number_of(backend));
            head.headers.insert("cookie", cookie.parse().unwrap());
            let told = beside.told(route, &head.headers);
            assert_eq!(told, stays.then_some(to_canary), "{behavior}");
        }
    }
}

/// Of 20000 draws with a fixed seed, the share is within six standard deviations of the weight's.
#[test]
fn requests_that_say_nothing_are_spread_by_weight() {
    const DRAWS: u32 = 20_000;
    let world = world(&[
        ingress("main", 5, &rule("a.test", &["Prefix /x one"])),
        canary("canary", 9, &["Prefix /x two"]),
    ]);
    let route = world.table.find("a.test", "/x").unwrap();
    let mut beside = route.canary.clone().unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |below: u32| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        u32::try_from((random >> 32) % u64::from(below)).unwrap()
    };
    for (weight, total) in [
        (0, 100),
        (1, 100),
        (30, 100),
        (300, 1000),
        (100, 100),
        (200, 100),
    ] {
        (beside.canary.weight, beside.canary.total) = (weight, total);
        let headers = http::HeaderMap::new();
        let taken = (0..DRAWS).filter(|_| beside.takes(route, &headers, &mut draw));
        let taken = f64::from(u32::try_from(taken.count()).unwrap());
        let share = (f64::from(weight) / f64::from(total)).min(1.0);
        let mean = share * f64::from(DRAWS);
        let deviation = (mean * (1.0 - share)).sqrt();
        assert!(
            (taken - mean).abs() <= 6.0 * deviation,
            "{weight} of {total}: {taken}"
        );
    }
}

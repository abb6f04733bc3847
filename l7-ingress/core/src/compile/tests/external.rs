//! What another server is asked, what its answers come to, and what they are remembered by.

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use model::Kind;

use super::world::{World, get, ingress, object, rule, service};
use crate::filter::{self, Answer, Asking, External, Facts, Heard, Next, Run, Stage, Verdict};
use crate::forwarded::{self, Client, Connection, Forwarded};
use crate::global::Global;
use crate::{Route, Settings};

const NGINX: &str = "nginx.ingress.kubernetes.io";

/// The host `h` with these annotations, as `NAME: VALUE`.
fn world(annotations: &[&str]) -> World {
    let annotations: Vec<_> = annotations
        .iter()
        .map(|own| format!("{NGINX}/{own}"))
        .collect();
    let annotations = format!(
        "annotations: {{{}}}, creationTimestamp",
        annotations.join(", ")
    );
    let own = ingress(
        "a",
        1,
        &rule("h", &["Prefix /a web", "Exact /a web", "Prefix /b web"]),
    );
    let own = own.replace("creationTimestamp", &annotations);
    World::new(&[service("web"), own].concat())
}

/// What `then` makes of a request for `http://h/TARGET`.
fn with<T>(
    world: &World,
    head: &Parts,
    then: impl FnOnce(&Route, &External, &Facts<'_>) -> T,
) -> T {
    let connection = Connection {
        peer: [192, 0, 2, 1].into(),
        peer_text: "192.0.2.1",
        port: "80",
        tls: false,
        proxied: false,
    };
    let settings = forwarded::Settings::default();
    let forwarded = Forwarded::new(&settings, &connection, &Client::default());
    let facts = Facts {
        head,
        host: "h",
        authority: "H:80",
        path: head.uri.path(),
        query: head.uri.query(),
        tls: false,
        forwarded: &forwarded,
    };
    let route = world.table.find("h", head.uri.path()).unwrap();
    then(route, route.policy.external.as_ref().unwrap(), &facts)
}

fn asking(world: &World, head: &Parts) -> Option<(String, Vec<String>)> {
    with(world, head, |route, external, facts| {
        let Asking {
            method,
            url,
            fields,
        } = external.asking((&Global::default(), route), facts, "id")?;
        let mut lines: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        Some((format!("{method} {url}"), lines))
    })
}

fn request(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut head = get(target);
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        head.headers.append(name, value.parse().unwrap());
    }
    head
}

#[test]
fn the_question_is_the_head_of_the_request_without_what_is_the_proxys_to_say() {
    let world = world(&["auth-url: 'http://auth.test:81/check?m=$request_method'"]);
    let mut head = request(
        "/a?x=%20",
        &[
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("authorization", "Bearer t"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("range", "bytes=0-1"),
            ("if-none-match", "*"),
            ("if-modified-since", "Sun, 09 Sep 2001 01:46:50 GMT"),
            ("trailer", "x-a"),
            ("upgrade", "websocket"),
            ("under_score", "1"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-uri", "/admin"),
            ("x-original-uri", "/admin"),
            ("x-original-anything", "/admin"),
            ("x-real-ip", "1.2.3.4"),
            ("x-sent-from", "me"),
            ("ssl-client-verify", "SUCCESS"),
        ],
    );
    head.version = Version::HTTP_2;
    let (line, fields) = asking(&world, &head).unwrap();
    assert_eq!(line, "GET http://auth.test:81/check?m=GET");
    let expect = [
        "authorization: Bearer t",
        "cookie: a=1; b=2",
        "x-auth-request-redirect: /a?x=%20",
        "x-forwarded-for: 192.0.2.1",
        "x-original-method: GET",
        "x-original-url: http://H:80/a?x=%20",
        "x-real-ip: 192.0.2.1",
        "x-request-id: id",
        "x-sent-from: nginx-ingress-controller",
    ];
    assert_eq!(fields, expect);
}

#[test]
fn no_request_is_made_of_what_is_no_field_or_no_url() {
    let url = world(&["auth-url: 'http://$http_x_host/'"]);
    for (host, expect) in [
        ("auth.test", Some("GET http://auth.test/")),
        (
            "auth.test:8080/x#y",
            Some("GET http://auth.test:8080/x%23y/"),
        ),
        ("a b", None),
        ("user@auth.test", None),
        ("", None),
        ("a..b", None),
    ] {
        let asked = asking(&url, &request("/a", &[("x-host", host)]));
        assert_eq!(asked.map(|(line, _)| line).as_deref(), expect, "{host:?}");
    }
}

fn heard(external: &External, status: u16, fields: &[(&str, &str)]) -> Heard {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    external.hear(StatusCode::from_u16(status).unwrap(), &headers)
}

#[test]
fn endpoints_are_told_what_the_answer_says_and_nothing_else() {
    let world = world(&[
        "auth-url: 'http://auth.test/'",
        "auth-response-headers: 'X-User, X-Groups, Authorization'",
    ]);
    with(&world, &get("/a"), |_, external, _| {
        let told = |heard: Option<&Heard>| {
            let mut told = vec![
                (
                    "x-user".parse().unwrap(),
                    HeaderValue::from_static("snippet"),
                ),
                ("x-else".parse().unwrap(), HeaderValue::from_static("kept")),
            ];
            let client = request(
                "/",
                &[("x_user", "admin"), ("x.user", "admin"), ("xyuser", "")],
            );
            external.tell(heard, &client.headers, &mut told);
            let mut lines: Vec<_> = told
                .iter()
                .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
                .collect();
            lines.sort();
            lines.join(" ")
        };
        let said = [("x-user", "joe"), ("x-groups", "a"), ("x-groups", "b")];
        let yes = heard(external, 200, &said);
        let all = "authorization= x-else=kept x-groups=a, b x-user=joe x.user= x_user=";
        assert_eq!(told(Some(&yes)), all);
        let nothing = "authorization= x-else=kept x-groups= x-user= x.user= x_user=";
        assert_eq!(told(None), nothing, "nobody was asked");
        let no = heard(external, 401, &said);
        assert_eq!(told(Some(&no)), nothing, "another way led in");
    });
}

#[test]
fn statuses_are_judged_as_nginx_judges_them() {
    let world = world(&["auth-url: 'http://auth.test/'"]);
    with(&world, &get("/a"), |_, external, _| {
        for (status, expect) in [
            (Some(200), None),
            (Some(204), None),
            (Some(299), None),
            (Some(401), Some(401)),
            (Some(403), Some(403)),
            (Some(302), Some(500)),
            (Some(404), Some(500)),
            (Some(407), Some(500)),
            (Some(503), Some(500)),
            (None, Some(500)),
        ] {
            let heard = status.map(|status| heard(external, status, &[]));
            let answer = match external.judge(heard.as_ref()) {
                Verdict::Granted => None,
                Verdict::Answer(answer) => Some(answer.status.as_u16()),
                other => panic!("{other:?}"),
            };
            assert_eq!(answer, expect, "{status:?}");
        }
    });
}

#[test]
fn cookies_are_set_where_all_went_well_or_always() {
    for (always, statuses) in [
        ("false", &[200, 204, 302, 308][..]),
        ("true", &[200, 401, 500]),
    ] {
        let world = world(&[
            "auth-url: 'http://auth.test/'",
            &format!("auth-always-set-cookie: '{always}'"),
        ]);
        with(&world, &get("/a"), |_, external, _| {
            let heard = heard(
                external,
                200,
                &[("set-cookie", "a=1"), ("set-cookie", "b=2")],
            );
            for status in [200, 203, 204, 302, 308, 400, 401, 500] {
                let mut headers = HeaderMap::new();
                heard.set_cookies(StatusCode::from_u16(status).unwrap(), &mut headers);
                let set = headers.get_all(SET_COOKIE).iter().count();
                let expect = always == "true" || statuses.contains(&status);
                assert_eq!(set, if expect { 2 } else { 0 }, "{status}");
            }
        });
    }
}

#[test]
fn answers_are_remembered_apart() {
    let cached = |url: &str, more: &[&str]| {
        let url = format!("auth-url: '{url}'");
        world(&[&[&*url, "auth-cache-key: $cookie_id"], more].concat())
    };
    let key = |world: &World, target: &str, id: &str| {
        let head = request(target, &[("cookie", &format!("id={id}"))]);
        let key = with(world, &head, |route, external, facts| {
            external.key(route, facts, "id")
        });
        key.unwrap()
    };
    let one = cached("http://auth.test/", &[]);
    let base = key(&one, "/a/x", "1");
    assert_eq!(key(&one, "/a/y?z", "1"), base);
    for (what, other) in [
        ("another value", key(&one, "/a/x", "2")),
        ("another path", key(&one, "/b", "1")),
        ("another kind of path", key(&one, "/a", "1")),
        (
            "another server",
            key(&cached("http://auth.test/2", &[]), "/a/x", "1"),
        ),
        (
            "another method",
            key(
                &cached("http://auth.test/", &["auth-method: POST"]),
                "/a/x",
                "1",
            ),
        ),
    ] {
        assert_ne!(other, base, "{what}");
    }
    let none = world(&["auth-url: 'http://auth.test/'"]);
    with(&none, &get("/a"), |route, external, facts| {
        assert_eq!(external.key(route, facts, "id"), None);
    });
}

#[test]
fn whoever_is_unknown_signs_in_whichever_stage_says_so() {
    let world = world(&[
        "auth-url: 'http://auth.test/'",
        "auth-signin: 'https://signin.test/'",
        "satisfy: any",
        "denylist-source-range: 192.0.2.0/24",
    ]);
    with(&world, &get("/a?b"), |route, external, facts| {
        let mut run = Run::new(route, None);
        let Next::Ask(Stage::External, filter::Question::External(asked)) = run.next(facts) else {
            panic!("the server is asked");
        };
        assert_eq!(&**asked, external);
        let verdict = external.judge(Some(&heard(external, 401, &[])));
        // Another way might still lead in.
        assert_eq!(run.tell(Stage::External, verdict, facts), None);
        let Next::Answer(_, Answer { status, fields, .. }) = run.next(facts) else {
            panic!("none does");
        };
        assert_eq!(status, StatusCode::FOUND);
        assert_eq!(fields[0].1, "https://signin.test/?rd=http://H:80%2Fa%3Fb");
    });
}

#[test]
fn a_configmap_that_changes_changes_the_fields() {
    let mut world = world(&[
        "auth-url: 'http://auth.test/'",
        "auth-proxy-set-headers: told",
    ]);
    let denied = |world: &World| world.table.find("h", "/a").unwrap().policy.denied;
    let configmap = |data: &str| {
        format!(
            "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: told, namespace: shop}}\ndata: {{{data}}}\n"
        )
    };
    assert!(denied(&world));
    world.check_problems(&[
        "Ingress shop/a: metadata.annotations[auth-proxy-set-headers]: InvalidAnnotation",
    ]);
    let field = |world: &World| {
        let (_, fields) = asking(world, &get("/a")).unwrap();
        fields.into_iter().find(|line| line.starts_with("x-own"))
    };
    world.apply(&configmap("X-Own: a"));
    assert!(!denied(&world));
    assert_eq!(field(&world).as_deref(), Some("x-own: a"));
    world.apply(&configmap("X-Own: $host"));
    assert_eq!(field(&world).as_deref(), Some("x-own: h"));
    world.delete(Kind::ConfigMap, "shop/told");
    assert!(denied(&world));
}

#[test]
fn a_route_that_asks_nobody_has_nothing_to_run() {
    let world = World::new(
        &[
            service("web"),
            ingress("a", 1, &rule("h", &["Prefix / web"])),
        ]
        .concat(),
    );
    let route = world.table.find("h", "/").unwrap();
    assert!(route.policy.external.is_none());
    assert!(route.stages.iter().all(|stage| stage != Stage::External));
}

#[test]
fn a_server_for_all_hosts_comes_and_goes_with_its_key() {
    let settings = Settings {
        configmap: Some(object("ops/controller")),
        watch_without_class: true,
        ..Settings::default()
    };
    let configmap = |data: &str| {
        format!(
            "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: controller, namespace: ops}}\ndata: {{{data}}}\n---\n"
        )
    };
    let paths = ["Prefix / web", "Prefix /open/x web"];
    let own = ingress("a", 1, &rule("h", &paths));
    let mut world = World::with(
        settings,
        &[configmap(""), service("web"), own]
            .concat()
            .replace("ingressClassName: nginx,", ""),
    );
    let asked = |world: &World, path: &str| {
        let route = world.table.find("h", path).unwrap();
        let external = route.policy.external.as_ref();
        external.map(|external| external.url.as_ref().map(|url| url.text().to_owned()))
    };
    let some = |text: &str| Some(Some(text.to_owned()));
    assert_eq!(asked(&world, "/"), None);
    world.apply(&configmap("global-auth-url: 'http://auth.test/'"));
    assert_eq!(asked(&world, "/"), some("http://auth.test/"));
    assert_eq!(asked(&world, "/open/x"), some("http://auth.test/"));
    world.apply(&configmap(
        "global-auth-url: 'http://auth.test/2', no-auth-locations: '/open'",
    ));
    assert_eq!(asked(&world, "/"), some("http://auth.test/2"));
    assert_eq!(asked(&world, "/open/x"), None);
    world.apply(&configmap("global-auth-url: 'auth.test'"));
    assert_eq!(asked(&world, "/"), Some(None), "nobody is let in");
    world.check_problems(&["ConfigMap ops/controller: data[global-auth-url]: InvalidValue"]);
    world.apply(&configmap(""));
    assert_eq!(asked(&world, "/"), None);
    world.check_problems(&[]);
}

//! Hosts, paths, redirects, default backends.

use serde_json::json;

use crate::harness::{
    Authority, Backend, Proxy, annotate, class, get, ingress, secret, served, tls,
};

#[tokio::test]
async fn hosts_and_paths_choose_the_service() {
    let rules = [
        "a.test Prefix / root",
        "a.test Exact /exact exact",
        "a.test ImplementationSpecific /impl exact",
        "*.b.test Prefix / wild",
        "* Prefix /any any",
    ];
    let mut objects = vec![class(), ingress("web", &rules)];
    let mut backends = Vec::new();
    for name in ["root", "exact", "wild", "any"] {
        let backend = Backend::echo(name).await;
        objects.extend(served(name, &[backend.address]));
        backends.push(backend);
    }
    let proxy = Proxy::start(&objects, &[]).await;
    for (host, path, expect) in [
        ("a.test", "/", Some("root")),
        ("A.TEST", "/", Some("root")),
        ("a.test:8080", "/x", Some("root")),
        ("a.test.", "/x", Some("root")),
        ("a.test", "/exact", Some("exact")),
        ("a.test", "/exact?q=1", Some("exact")),
        ("a.test", "/exact/", Some("root")),
        ("a.test", "/impl/deeper", Some("exact")),
        ("a.test", "/x/../exact", Some("exact")),
        ("a.test", "/%65xact", Some("exact")),
        ("x.b.test", "/any", Some("wild")),
        ("x.y.b.test", "/any", Some("any")),
        ("b.test", "/any/thing", Some("any")),
        ("b.test", "/anything", None),
    ] {
        let mut sent = get(&format!("http://a.test{path}"));
        sent.headers_mut().insert("host", host.parse().unwrap());
        let answer = proxy.send(sent).await;
        match expect {
            Some(service) => {
                assert_eq!(answer.backend(), service, "{host}{path}");
                assert_eq!(answer.json()["path"], path, "passed on as it was written");
                assert_eq!(answer.json()["host"], host, "passed on as it was written");
            }
            None => assert_eq!(answer.status, 404, "{host}{path}"),
        }
    }
}

#[tokio::test]
async fn what_nobody_serves_is_404_and_healthz_is_200() {
    let proxy = Proxy::start(&[class()], &[]).await;
    let answer = proxy.get("http://nobody.test/").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("content-type"), "text/html");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        body.contains("<center><h1>404 Not Found</h1></center>"),
        "{body}"
    );
    assert!(!answer.header("date").is_empty());
    assert_eq!(proxy.get("http://nobody.test/healthz").await.status, 200);
}

#[tokio::test]
async fn the_default_backend_service_gets_what_nobody_serves() {
    let (web, fallback) = (Backend::echo("web").await, Backend::echo("fallback").await);
    let mut objects = super::site(&[&web]);
    objects.extend(served("fallback", &[fallback.address]));
    let flags = ["--default-backend-service", "default/fallback"];
    let proxy = Proxy::start(&objects, &flags).await;
    assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
    assert_eq!(proxy.get("http://b.test/x").await.backend(), "fallback");
}

#[tokio::test]
async fn hosts_with_tls_are_redirected() {
    let web = Backend::echo("web").await;
    let key = "nginx.ingress.kubernetes.io/ssl-redirect";
    let force = "nginx.ingress.kubernetes.io/force-ssl-redirect";
    let with_tls = |name: &str| {
        let host = format!("{name}.test");
        tls(
            ingress(name, &[&format!("{host} Prefix / web")]),
            &[&host],
            "tls",
        )
    };
    let mut objects = served("web", &[web.address]);
    let certificate = Authority::issue(&["tls.test", "off.test"]);
    objects.extend([
        class(),
        secret("tls", &certificate),
        with_tls("tls"),
        annotate(with_tls("off"), key, "false"),
        annotate(
            ingress("force", &["force.test Prefix / web"]),
            force,
            "true",
        ),
    ]);
    let proxy = Proxy::start(&objects, &[]).await;
    for (url, expect) in [
        ("http://tls.test/", "https://tls.test"),
        ("http://tls.test/x", "https://tls.test/x"),
        ("http://tls.test/x/", "https://tls.test/x"),
        ("http://tls.test/x/?q=1", "https://tls.test/x/?q=1"),
        ("http://tls.test:8080/x", "https://tls.test/x"),
        ("http://force.test/x", "https://force.test/x"),
    ] {
        let answer = proxy.get(url).await;
        assert_eq!(answer.status, 308, "{url}");
        assert_eq!(answer.header("location"), expect, "{url}");
    }
    assert_eq!(proxy.get("http://off.test/").await.backend(), "web");
    assert_eq!(proxy.get("https://tls.test/").await.backend(), "web");
}

#[tokio::test]
async fn debug_routes_say_what_the_table_holds() {
    let web = Backend::echo("web").await;
    let proxy = super::in_front_of(&[&web], &[]).await;
    proxy.ready().await;
    let routes = proxy.admin("/debug/routes").await.json();
    assert_eq!(routes[0]["host"], "a.test");
    assert_eq!(routes[0]["ingress"], "default/web");
    assert_eq!(routes[0]["service"], "default/web");
    assert_eq!(routes[0]["endpoints"], json!([web.address.to_string()]));
}

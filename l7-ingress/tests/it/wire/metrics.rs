//! What dashboards are told, under the names and labels that ingress-nginx has.

use std::collections::{BTreeMap, BTreeSet};

use super::{in_front_of, site};
use crate::harness::{
    Authority, Backend, Proxy, annotate, class, eventually, get, ingress, ingress_id, secret,
    served, tls,
};

const PREFIX: &str = "nginx_ingress_controller_";

/// What ingress-nginx's two dashboards and its sample alerts query.
const DASHBOARDS: [&str; 18] = [
    "config_hash",
    "config_last_reload_successful",
    "config_last_reload_successful_timestamp_seconds",
    "nginx_process_connections",
    "nginx_process_cpu_seconds_total",
    "nginx_process_resident_memory_bytes",
    "request_duration_seconds_bucket",
    "request_duration_seconds_count",
    "request_size_sum",
    "requests",
    "response_duration_seconds_bucket",
    "response_duration_seconds_sum",
    "response_size_bucket",
    "response_size_count",
    "response_size_sum",
    "ssl_certificate_info",
    "ssl_expire_time_seconds",
    "success",
];

/// The others that it has, but for those of its admission webhook.
const OTHERS: [&str; 19] = [
    "build_info",
    "bytes_sent_bucket",
    "bytes_sent_count",
    "connect_duration_seconds_bucket",
    "connect_duration_seconds_sum",
    "errors",
    "header_duration_seconds_bucket",
    "header_duration_seconds_count",
    "ingress_upstream_latency_seconds_count",
    "ingress_upstream_latency_seconds_sum",
    "leader_election_status",
    "nginx_process_connections_total",
    "nginx_process_num_procs",
    "nginx_process_oldest_start_time_seconds",
    "nginx_process_requests_total",
    "nginx_process_virtual_memory_bytes",
    "orphan_ingress",
    "request_size_bucket",
    "request_size_count",
];

/// One line of `/metrics`.
#[derive(Debug)]
struct Line {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Line {
    /// Reads a line; no label here holds a comma or a quote.
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let pairs = labels.trim_end_matches('}').split(',');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        Self {
            name: name.to_owned(),
            labels: pairs
                .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
                .collect(),
            value: value.parse().unwrap(),
        }
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        let has =
            |(name, value): &(&str, &str)| self.labels.get(*name).is_some_and(|own| own == value);
        labels.iter().all(has)
    }
}

struct Scraped(Vec<Line>);

impl Scraped {
    async fn of(proxy: &Proxy) -> Self {
        let answer = proxy.admin("/metrics").await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.map(Line::parse).collect())
    }

    /// Those whose name has ingress-nginx's prefix before `name`.
    fn named(&self, name: &str) -> impl Iterator<Item = &Line> {
        let named = move |line: &&Line| line.name.strip_prefix(PREFIX) == Some(name);
        self.0.iter().filter(named)
    }

    /// The sum over the series with these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let lines = self.named(name).filter(|line| line.has(labels));
        lines.map(|line| line.value).sum()
    }

    /// What stands for a label of the series with these labels.
    fn values(&self, name: &str, label: &str) -> BTreeSet<&str> {
        let values = self.named(name).filter_map(|line| line.labels.get(label));
        values.map(String::as_str).collect()
    }
}

/// Waits until so many requests have been counted.
async fn counted(proxy: &Proxy, requests: f64, labels: &[(&str, &str)]) -> Scraped {
    eventually("all are counted", async || {
        let scraped = Scraped::of(proxy).await;
        (scraped.sum("requests", labels) == requests).then_some(scraped)
    })
    .await
}

#[tokio::test]
async fn dashboards_find_every_name_and_label_that_they_query() {
    let backend = Backend::echo("web").await;
    let mut objects = served("web", &[backend.address]);
    let object = ingress("web", &["a.test Prefix /shop web"]);
    objects.extend([
        class(),
        secret("tls", &Authority::issue(&["a.test"])),
        tls(
            annotate(object, "nginx.ingress.kubernetes.io/ssl-redirect", "false"),
            &["a.test"],
            "tls",
        ),
        ingress("lost", &["lost.test Prefix / nothing"]),
    ]);
    let proxy = Proxy::start(&objects, &["--namespace", "ingress"]).await;
    assert_eq!(proxy.get("http://a.test/shop").await.status, 200);
    let scraped = counted(&proxy, 1.0, &[]).await;

    let constant = [
        ("controller_class", "nginx"),
        ("controller_namespace", "ingress"),
    ];
    for name in DASHBOARDS.iter().chain(&OTHERS) {
        let mut lines = scraped.named(name).peekable();
        assert!(lines.peek().is_some(), "{name} is not there");
        for line in lines {
            assert!(line.has(&constant), "{line:?}");
            assert!(line.labels.contains_key("controller_pod"), "{line:?}");
        }
    }
    let request = [
        ("status", "200"),
        ("method", "GET"),
        ("path", "/shop"),
        ("namespace", "default"),
        ("ingress", "web"),
        ("service", "web"),
        ("canary", ""),
        ("host", "a.test"),
    ];
    let by_ingress = [
        "requests",
        "request_duration_seconds_count",
        "response_duration_seconds_count",
        "header_duration_seconds_count",
        "connect_duration_seconds_count",
        "request_size_count",
        "response_size_count",
        "bytes_sent_count",
    ];
    for name in by_ingress {
        assert_eq!(scraped.sum(name, &request), 1.0, "{name}");
    }
    let mut limits = scraped.named("request_duration_seconds_bucket");
    assert!(limits.all(|line| line.labels.contains_key("le")));
    let length = "GET /shop HTTP/1.1\r\nhost: a.test\r\n\r\n".len();
    assert_eq!(scraped.sum("request_size_sum", &request), length as f64);
    assert!(scraped.sum("response_size_sum", &request) > 100.0);
    let certificate = [
        ("host", "a.test"),
        ("secret_name", "tls"),
        ("namespace", "default"),
    ];
    assert!(scraped.sum("ssl_expire_time_seconds", &certificate) > 1e9);
    let by = [&certificate[..], &[("public_key_algorithm", "ECDSA")]].concat();
    assert_eq!(scraped.sum("ssl_certificate_info", &by), 1.0);
    assert_eq!(scraped.sum("config_last_reload_successful", &[]), 1.0);
    assert!(scraped.sum("success", &[]) >= 1.0);
    assert_eq!(scraped.sum("errors", &[]), 0.0);
    let lost = [("ingress", "lost"), ("type", "no-service")];
    assert_eq!(scraped.sum("orphan_ingress", &lost), 1.0);
}

#[tokio::test]
async fn connections_are_told_apart_by_what_they_do() {
    let backend = Backend::echo("web").await;
    let proxy = in_front_of(&[&backend], &[]).await;
    let mut client = proxy.connect("http://a.test/").await;
    client.send(get("http://a.test/")).await.unwrap();
    let state = async |state: &str| {
        let scraped = Scraped::of(&proxy).await;
        scraped.sum("nginx_process_connections", &[("state", state)])
    };
    eventually("the connection waits", async || {
        let all = (
            state("active").await,
            state("waiting").await,
            state("writing").await,
        );
        (all == (1.0, 1.0, 0.0)).then_some(())
    })
    .await;
    drop(client);
    eventually("it is gone", async || {
        (state("active").await == 0.0).then_some(())
    })
    .await;
    let scraped = Scraped::of(&proxy).await;
    let handled = [("state", "handled")];
    assert_eq!(
        scraped.sum("nginx_process_connections_total", &handled),
        1.0
    );
    assert_eq!(scraped.sum("nginx_process_requests_total", &[]), 1.0);
}

/// `a.test`, all hosts under `b.test`, and a rule for all others at `/open`.
async fn hosts(backend: &Backend, flags: &[&str]) -> Proxy {
    let mut objects = site(&[backend]);
    objects.push(ingress("wild", &["*.b.test Prefix / web"]));
    let mut open = ingress("open", &["x Prefix /open web"]);
    open["spec"]["rules"][0]
        .as_object_mut()
        .unwrap()
        .remove("host");
    objects.push(open);
    let proxy = Proxy::start(&objects, flags).await;
    for host in ["a.test", "x.b.test", "y.b.test", "c.test"] {
        assert_eq!(proxy.get(&format!("http://{host}/open")).await.status, 200);
    }
    assert_eq!(proxy.get("http://d.test/").await.status, 404);
    proxy
}

#[tokio::test]
async fn clients_cannot_make_up_hosts_unless_a_flag_lets_them() {
    let backend = Backend::echo("web").await;
    let known: &[&str] = &["_", "*.b.test", "a.test"];
    let written: &[&str] = &["a.test", "c.test", "d.test", "x.b.test", "y.b.test"];
    let table: [(&[&str], f64, &[&str]); 3] = [
        (&[], 4.0, known),
        (&["--metrics-per-undefined-host"], 5.0, written),
        (&["--metrics-per-host=false"], 5.0, &[]),
    ];
    for (flags, requests, hosts_told) in table {
        let proxy = hosts(&backend, flags).await;
        let scraped = counted(&proxy, requests, &[]).await;
        let want: BTreeSet<&str> = hosts_told.iter().copied().collect();
        assert_eq!(scraped.values("requests", "host"), want, "{flags:?}");
    }
}

#[tokio::test]
async fn hosts_that_clients_make_up_end_somewhere() {
    const MADE_UP: usize = 1200;
    let backend = Backend::echo("web").await;
    let mut objects = site(&[&backend]);
    objects.push(ingress("wild", &["*.b.test Prefix / web"]));
    let flags = ["--metrics-per-undefined-host=true", "--workers", "1"];
    let proxy = Proxy::start(&objects, &flags).await;
    let mut client = proxy.connect("http://a.test/").await;
    for number in 0..MADE_UP {
        let url = format!("http://h{number}.b.test/");
        assert_eq!(client.send(get(&url)).await.unwrap().status, 200);
    }
    let scraped = counted(&proxy, 1200.0, &[]).await;
    assert_eq!(scraped.values("requests", "host").len(), 1001);
    assert_eq!(scraped.sum("requests", &[("host", "_")]), 200.0);
}

#[tokio::test]
async fn methods_that_clients_make_up_are_one() {
    let backend = Backend::echo("web").await;
    let proxy = in_front_of(&[&backend], &[]).await;
    for method in ["GET", "BREW", "FROTH"] {
        let mut request = get("http://a.test/");
        *request.method_mut() = method.parse().unwrap();
        assert_eq!(proxy.send(request).await.status, 200);
    }
    let scraped = counted(&proxy, 3.0, &[]).await;
    assert_eq!(scraped.sum("requests", &[("method", "OTHER")]), 2.0);
}

#[tokio::test]
async fn flags_choose_what_is_counted_and_how() {
    let backend = Backend::echo("web").await;
    let flags = [
        "--report-status-classes=true",
        "--exclude-socket-metrics=nginx_ingress_controller_bytes_sent,connect_duration_seconds",
        "--time-buckets=30,60",
        "--length-buckets=10,20",
    ];
    let proxy = in_front_of(&[&backend], &flags).await;
    assert_eq!(proxy.get("http://a.test/").await.status, 200);
    let scraped = counted(&proxy, 1.0, &[("status", "2xx")]).await;
    let gone = [
        "bytes_sent_count",
        "connect_duration_seconds_count",
        "ingress_upstream_latency_seconds_count",
    ];
    for gone in gone {
        assert_eq!(scraped.named(gone).count(), 0, "{gone}");
    }
    let limits = scraped.values("request_duration_seconds_bucket", "le");
    assert_eq!(limits, ["+Inf", "30", "60"].into());
    assert_eq!(
        scraped.sum("request_duration_seconds_bucket", &[("le", "30")]),
        1.0
    );
    let limits = scraped.values("response_size_bucket", "le");
    assert_eq!(limits, ["+Inf", "10", "20"].into());
}

#[tokio::test]
async fn nothing_is_counted_by_ingress_where_that_is_not_wanted() {
    let backend = Backend::echo("web").await;
    let proxy = in_front_of(&[&backend], &["--enable-metrics=false"]).await;
    assert_eq!(proxy.get("http://a.test/").await.status, 200);
    eventually("the request has ended", async || {
        let scraped = Scraped::of(&proxy).await;
        let writing = [("state", "writing")];
        let busy = scraped.sum("nginx_process_connections", &writing);
        (scraped.sum("nginx_process_requests_total", &[]) == 1.0 && busy == 0.0).then_some(())
    })
    .await;
    let scraped = Scraped::of(&proxy).await;
    assert_eq!(scraped.values("requests", "ingress"), BTreeSet::new());
    assert_eq!(
        scraped.values("request_size_count", "ingress"),
        BTreeSet::new()
    );
    assert_eq!(scraped.sum("config_last_reload_successful", &[]), 1.0);
}

#[tokio::test]
async fn what_was_counted_lives_as_long_as_its_ingress() {
    let backend = Backend::echo("web").await;
    let mut objects = served("web", &[backend.address]);
    objects.extend([class(), ingress("web", &["a.test Prefix /old web"])]);
    let proxy = Proxy::start(&objects, &[]).await;
    proxy.get("http://a.test/old").await;
    counted(&proxy, 1.0, &[("ingress", "web")]).await;

    // Another table: the same series goes on.
    let rules = ["a.test Prefix /old web", "a.test Prefix /new web"];
    proxy.apply(ingress("web", &rules));
    proxy
        .until("http://a.test/new", |answer| answer.status == 200)
        .await;
    proxy.get("http://a.test/old").await;
    counted(&proxy, 2.0, &[("ingress", "web"), ("path", "/old")]).await;

    proxy.delete(&ingress_id("web"));
    eventually("its series are gone", async || {
        let scraped = Scraped::of(&proxy).await;
        (scraped.named("requests").count() == 0).then_some(())
    })
    .await;
}

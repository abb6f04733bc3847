//! What a collector of spans is told, and what becomes of requests when it is not well.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use super::site;
use crate::harness::{
    Answer, Backend, Body, Proxy, annotate, eventually, get, hexadecimal, ingress, served, trailing,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A field of a message: its number and what it holds.
#[derive(Clone, Debug)]
enum Field {
    Number(u64),
    Bytes(Bytes),
}

/// Takes a message of protocol buffers apart.
fn fields(mut message: Bytes) -> Vec<(u64, Field)> {
    let mut fields = Vec::new();
    while message.has_remaining() {
        let tag = varint(&mut message);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(message.get_u64_le()),
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                Field::Bytes(message.split_to(length))
            }
            5 => Field::Number(message.get_u32_le().into()),
            wire => panic!("there is no wire type {wire}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn varint(message: &mut Bytes) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let byte = message.get_u8();
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

/// The messages in a field.
fn messages(message: &Bytes, number: u64) -> Vec<Bytes> {
    let fields = fields(message.clone()).into_iter();
    let messages = fields.filter(|(own, _)| *own == number);
    messages
        .map(|(_, field)| match field {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => panic!("field {number} holds a number"),
        })
        .collect()
}

fn number(message: &Bytes, number: u64) -> Option<u64> {
    let mut fields = fields(message.clone()).into_iter();
    let (_, field) = fields.find(|(own, _)| *own == number)?;
    match field {
        Field::Number(number) => Some(number),
        Field::Bytes(_) => panic!("field {number} holds no number"),
    }
}

fn text(message: &Bytes, number: u64) -> String {
    let text = messages(message, number).swap_remove(0);
    String::from_utf8(text.to_vec()).unwrap()
}

/// Attributes, numbers as text.
fn attributes(message: &Bytes, of: u64) -> BTreeMap<String, String> {
    let pairs = messages(message, of).into_iter();
    pairs
        .map(|pair| {
            let value = messages(&pair, 2).swap_remove(0);
            let value = match number(&value, 3) {
                Some(number) => number.to_string(),
                None => text(&value, 1),
            };
            (text(&pair, 1), value)
        })
        .collect()
}

/// A span as a collector was told of it.
#[derive(Clone, Debug)]
struct Told {
    service: String,
    span: Bytes,
}

impl Told {
    fn id(&self, number: u64) -> String {
        let ids = messages(&self.span, number);
        ids.first().map(|id| hexadecimal(id)).unwrap_or_default()
    }

    fn attributes(&self) -> BTreeMap<String, String> {
        attributes(&self.span, 9)
    }
}

type Spans = Arc<Mutex<Vec<Told>>>;

struct Collector {
    backend: Backend,
    spans: Spans,
}

impl Collector {
    async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn on(listener: TcpListener) -> Self {
        let spans = Spans::default();
        let told = Arc::clone(&spans);
        let backend = Backend::http_on(listener, move |request| take(request, Arc::clone(&told)));
        Self { backend, spans }
    }

    /// Waits for so many spans.
    async fn told(&self, count: usize) -> Vec<Told> {
        eventually("spans", async || {
            let spans = self.spans.lock().unwrap();
            (spans.len() >= count).then(|| spans.clone())
        })
        .await
    }
}

/// Takes spans, and says so.
async fn take(request: Request<Incoming>, spans: Spans) -> Response<Body> {
    assert_eq!(request.uri().path(), PATH);
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let mut body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.get_u8(), 0, "it is not compressed");
    assert_eq!(body.get_u32() as usize, body.len());
    for resource_spans in messages(&body, 1) {
        let resource = messages(&resource_spans, 1).swap_remove(0);
        let service = attributes(&resource, 1)["service.name"].clone();
        for scope_spans in messages(&resource_spans, 2) {
            let spans_of_scope = messages(&scope_spans, 2).into_iter();
            let service = service.clone();
            spans
                .lock()
                .unwrap()
                .extend(spans_of_scope.map(|span| Told {
                    service: service.clone(),
                    span,
                }));
        }
    }
    let mut response = Response::new(trailing(&[], &[("grpc-status", "0")]));
    let grpc = "application/grpc".parse().unwrap();
    response.headers_mut().insert("content-type", grpc);
    response
}

fn configmap(collector: SocketAddr, more: &[(&str, &str)]) -> Value {
    let mut data = json!({
        "enable-opentelemetry": "true",
        "otlp-collector-host": collector.ip().to_string(),
        "otlp-collector-port": collector.port().to_string(),
        "otel-schedule-delay-millis": "1",
    });
    for (key, value) in more {
        data[key] = json!(value);
    }
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": { "name": "controller", "namespace": "default" },
    })
}

/// `a.test`, with this collector.
async fn traced(backend: &Backend, collector: SocketAddr, more: &[(&str, &str)]) -> Proxy {
    let mut objects = site(&[backend]);
    objects.push(configmap(collector, more));
    Proxy::start(&objects, &["--configmap", "default/controller"]).await
}

fn with(url: &str, fields: &[(&'static str, &str)]) -> crate::harness::Request {
    let mut request = get(url);
    for (name, value) in fields {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// What the endpoint was told.
fn traceparent(answer: &Answer) -> String {
    let told = &answer.json()["headers"]["traceparent"][0];
    told.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_collector_is_told_of_requests_under_ingress_nginxs_names() {
    let (backend, collector) = (Backend::echo("web").await, Collector::start().await);
    let name = [
        (
            "opentelemetry-operation-name",
            "HTTP $request_method $service_name",
        ),
        ("otel-service-name", "edge"),
    ];
    let proxy = traced(&backend, collector.backend.address, &name).await;
    let client = format!("00-{TRACE}-{PARENT}-01");
    let fields = [
        ("traceparent", &*client),
        ("tracestate", "a=1"),
        ("user-agent", "me"),
    ];
    let answer = proxy.send(with("http://a.test/shop?a=b", &fields)).await;
    let told = collector.told(1).await.swap_remove(0);

    assert_eq!(told.service, "edge");
    assert_eq!(told.id(1), TRACE);
    assert_eq!(told.id(4), PARENT);
    assert_eq!(
        traceparent(&answer),
        format!("00-{TRACE}-{}-01", told.id(2))
    );
    assert_eq!(text(&told.span, 3), "a=1");
    assert_eq!(text(&told.span, 5), "HTTP GET web");
    assert_eq!(number(&told.span, 6), Some(2), "it is a server's");
    let (began, ended) = (
        number(&told.span, 7).unwrap(),
        number(&told.span, 8).unwrap(),
    );
    assert!(
        began > 1_500_000_000_000_000_000 && ended > began,
        "{began} to {ended}"
    );
    assert_eq!(number(&told.span, 16), Some(0x301));
    let attributes = told.attributes();
    let wanted = [
        ("http.method", "GET"),
        ("http.flavor", "1.1"),
        ("http.target", "/shop?a=b"),
        ("http.server_name", "a.test"),
        ("http.host", "a.test"),
        ("http.user_agent", "me"),
        ("http.scheme", "http"),
        ("http.status_code", "200"),
        ("net.peer.ip", "127.0.0.1"),
        ("ingress.namespace", "default"),
        ("ingress.name", "web"),
        ("ingress.service_name", "web"),
        ("ingress.upstream", "default-web-http"),
    ];
    for (key, value) in wanted {
        assert_eq!(
            attributes.get(key).map(String::as_str),
            Some(value),
            "{key}"
        );
    }
    let port = proxy.door().http.port().to_string();
    assert_eq!(attributes["net.host.port"], port);
    assert_ne!(attributes["net.peer.port"], "0");
    assert!(messages(&told.span, 15).is_empty(), "nothing went wrong");
}

#[tokio::test]
async fn what_the_proxy_answers_by_itself_is_a_span_and_503_an_error() {
    let collector = Collector::start().await;
    let backend = Backend::echo("web").await;
    let mut objects = site(&[&backend]);
    objects.extend(served("none", &[]));
    objects.push(ingress("none", &["b.test Prefix / none"]));
    objects.push(configmap(collector.backend.address, &[]));
    let proxy = Proxy::start(&objects, &["--configmap", "default/controller"]).await;
    assert_eq!(proxy.get("http://b.test/x").await.status, 503);
    let told = collector.told(1).await.swap_remove(0);
    assert_eq!(text(&told.span, 5), "/", "the path as the Ingress has it");
    assert_eq!(told.attributes()["http.status_code"], "503");
    let status = messages(&told.span, 15).swap_remove(0);
    assert_eq!(number(&status, 3), Some(2));
}

#[tokio::test]
async fn who_is_not_sampled_is_not_told_of() {
    let (backend, collector) = (Backend::echo("web").await, Collector::start().await);
    let proxy = traced(&backend, collector.backend.address, &[]).await;
    let not = format!("00-{TRACE}-{PARENT}-00");
    let answer = proxy
        .send(with("http://a.test/", &[("traceparent", &not)]))
        .await;
    assert!(traceparent(&answer).ends_with("-00"));
    let sampled = proxy.get("http://a.test/").await;
    let told = collector.told(1).await;
    assert_eq!(told.len(), 1);
    assert!(traceparent(&sampled).contains(&told[0].id(1)));
}

#[tokio::test]
async fn who_is_asked_for_a_request_is_told_where_it_belongs() {
    let seen = Arc::new(Mutex::new(String::new()));
    let sees = Arc::clone(&seen);
    let guard = Backend::http(move |request| {
        let told = request.headers()["traceparent"]
            .to_str()
            .unwrap()
            .to_owned();
        *sees.lock().unwrap() = told;
        async { Response::new(crate::harness::empty()) }
    })
    .await;
    let (backend, collector) = (Backend::echo("web").await, Collector::start().await);
    let mut objects = site(&[&backend]);
    objects.push(annotate(
        ingress("guarded", &["b.test Prefix / web"]),
        "nginx.ingress.kubernetes.io/auth-url",
        &format!("http://{}/", guard.address),
    ));
    objects.push(configmap(collector.backend.address, &[]));
    let proxy = Proxy::start(&objects, &["--configmap", "default/controller"]).await;
    let client = format!("00-{TRACE}-{PARENT}-01");
    let answer = proxy
        .send(with("http://b.test/", &[("traceparent", &client)]))
        .await;
    assert_eq!(*seen.lock().unwrap(), traceparent(&answer));
    assert!(traceparent(&answer).starts_with(&format!("00-{TRACE}-")));
    assert!(!traceparent(&answer).contains(PARENT));
}

#[tokio::test]
async fn a_dead_collector_harms_nobody_and_is_told_again_when_it_is_back() {
    let backend = Backend::echo("web").await;
    // Refuses connections until it listens.
    let dead = TcpSocket::new_v4().unwrap();
    dead.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let proxy = traced(&backend, dead.local_addr().unwrap(), &[]).await;
    let failed = || proxy.metric("penstock_l7_spans_total", &[("outcome", "failed")]);
    eventually("a batch fails", async || {
        assert_eq!(proxy.get("http://a.test/").await.status, 200);
        (failed() > 0.0).then_some(())
    })
    .await;
    let collector = Collector::on(dead.listen(64).unwrap());
    eventually("it is told", async || {
        assert_eq!(proxy.get("http://a.test/").await.status, 200);
        let is_told = !collector.spans.lock().unwrap().is_empty();
        is_told.then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted() {
    let backend = Backend::echo("web").await;
    // In a head without a body, as gRPC's libraries refuse.
    let full = Backend::http(async |_| {
        let mut response = Response::new(crate::harness::empty());
        response
            .headers_mut()
            .insert("grpc-status", "8".parse().unwrap());
        response
    })
    .await;
    let proxy = traced(&backend, full.address, &[]).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("http://a.test/").await.status, 200);
    }
    let outcome = |outcome| proxy.metric("penstock_l7_spans_total", &[("outcome", outcome)]);
    eventually("all are counted", async || {
        (outcome("failed") == 3.0).then_some(())
    })
    .await;
    assert_eq!(outcome("sent"), 0.0);
}

#[tokio::test]
async fn a_slow_collector_harms_nobody_and_what_it_misses_is_counted() {
    let backend = Backend::echo("web").await;
    // Takes connections, and never says a word.
    let slow = Backend::connections(async |tcp| {
        std::future::pending::<()>().await;
        drop(tcp);
    })
    .await;
    let more = [
        ("otel-max-queuesize", "3"),
        ("otel-max-export-batch-size", "2"),
    ];
    let proxy = traced(&backend, slow.address, &more).await;
    let dropped = || proxy.metric("penstock_l7_spans_dropped_total", &[]);
    eventually("the queue is full", async || {
        assert_eq!(proxy.get("http://a.test/").await.status, 200);
        (dropped() > 0.0).then_some(())
    })
    .await;
    // Three wait, and two are on their way at most.
    let before = dropped();
    for _ in 0..10 {
        proxy.get("http://a.test/").await;
    }
    eventually("all others are counted", async || {
        (dropped() - before >= 5.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn spans_that_wait_are_sent_before_the_process_ends() {
    let (backend, collector) = (Backend::echo("web").await, Collector::start().await);
    let hour = [("otel-schedule-delay-millis", "3600000")];
    let mut proxy = traced(&backend, collector.backend.address, &hour).await;
    proxy.get("http://a.test/").await;
    proxy.process.shutdown().request();
    proxy.ended().await.unwrap();
    assert_eq!(collector.told(1).await.len(), 1);
}

#[tokio::test]
async fn a_collector_that_is_named_later_is_told_without_a_restart() {
    let (backend, collector) = (Backend::echo("web").await, Collector::start().await);
    let proxy = Proxy::start(&site(&[&backend]), &["--configmap", "default/controller"]).await;
    let answer = proxy.get("http://a.test/").await;
    assert_eq!(answer.json()["headers"].get("traceparent"), None);
    proxy.apply(configmap(collector.backend.address, &[]));
    eventually("it is told", async || {
        proxy.get("http://a.test/").await;
        let is_told = !collector.spans.lock().unwrap().is_empty();
        is_told.then_some(())
    })
    .await;
}

//! Another server is asked who may come in: over which connections, and what if it fails.

use std::net::{SocketAddr, UdpSocket};

use http::Response;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::{
    Answer, Authority, Backend, Body, Names, Proxy, Raw, annotate, class, describe, empty, full,
    get, ingress, request, served, soon,
};

const PREFIX: &str = "nginx.ingress.kubernetes.io";

/// `a.test` leads to `backend`, with these annotations.
fn site(backend: SocketAddr, annotations: &[(&str, &str)]) -> Vec<Value> {
    let plain = ingress("web", &["a.test Prefix / web"]);
    let annotated = annotations.iter().fold(plain, |ingress, (name, value)| {
        annotate(ingress, &format!("{PREFIX}/{name}"), value)
    });
    let mut objects = served("web", &[backend]);
    objects.extend([class(), annotated]);
    objects
}

/// One worker, so that what it keeps can be counted.
async fn guarded(
    backend: &Backend,
    guard: SocketAddr,
    more: &[(&str, &str)],
    flags: &[&str],
) -> Proxy {
    let url = format!("http://{guard}/check");
    let annotations = [&[("auth-url", &*url)], more].concat();
    let flags = [&["--workers", "1"], flags].concat();
    Proxy::start(&site(backend.address, &annotations), &flags).await
}

/// Answers 200 and nothing else.
async fn yes() -> Backend {
    Backend::http(async |_| Response::new(empty())).await
}

#[tokio::test]
async fn whoever_cannot_be_asked_lets_nobody_in() {
    let backend = Backend::echo("web").await;
    let proxy = guarded(&backend, Backend::refusing().await, &[], &[]).await;
    for method in ["GET", "POST"] {
        let answer = proxy.send(request(method, "http://a.test/", empty())).await;
        assert_eq!(answer.status, 500);
        assert!(answer.body.starts_with(b"<html>"));
    }
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn answers_that_are_none_let_nobody_in() {
    let backend = Backend::echo("web").await;
    let huge = format!("HTTP/1.1 200 OK\r\nx-a: {}\r\n\r\n", "a".repeat(1 << 20));
    for bytes in [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nx-user : joe\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        &huge,
    ] {
        let guard = Backend::script(bytes.to_owned()).await;
        let proxy = guarded(&backend, guard.address, &[], &[]).await;
        let status = proxy.get("http://a.test/").await.status;
        assert_eq!(status, 500, "{:.80}", bytes);
    }
    assert_eq!(backend.requests(), 0);
}

const IMPATIENT: [&str; 6] = [
    "--proxy-connect-timeout",
    "300ms",
    "--proxy-send-timeout",
    "100ms",
    "--proxy-read-timeout",
    "300ms",
];

#[tokio::test]
async fn a_silent_server_lets_nobody_in() {
    let backend = Backend::echo("web").await;
    let silent = Backend::connections(async |tcp| {
        Raw::new(tcp).rest().await;
    });
    let silent = silent.await;
    let proxy = guarded(&backend, silent.address, &[], &IMPATIENT).await;
    assert_eq!(proxy.get("http://a.test/").await.status, 500);
    assert_eq!((silent.accepted(), backend.requests()), (1, 0));
}

#[tokio::test]
async fn a_server_that_never_ends_its_head_lets_nobody_in() {
    let backend = Backend::echo("web").await;
    let dripping = Backend::connections(async |tcp| {
        let mut raw = Raw::new(tcp);
        raw.until("\r\n\r\n").await;
        raw.send("HTTP/1.1 200 OK\r\n").await;
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(50));
        // Shorter than a read may take, longer in all than anybody waits.
        for _ in 0..200 {
            pace.tick().await;
            raw.send("x-a: b\r\n").await;
        }
    });
    let dripping = dripping.await;
    let proxy = guarded(&backend, dripping.address, &[], &IMPATIENT).await;
    let answer = proxy.get("http://a.test/").await;
    assert_eq!(answer.status, 500);
    assert_eq!((dripping.accepted(), backend.requests()), (1, 0));
}

#[tokio::test]
async fn connections_are_kept_as_annotations_say() {
    for (annotations, connections) in [
        (&[][..], 1),
        (&[("auth-keepalive", "5")], 1),
        (&[("auth-keepalive", "0")], 9),
        (
            &[("auth-keepalive", "5"), ("auth-keepalive-requests", "3")],
            3,
        ),
    ] {
        let (backend, guard) = (Backend::echo("web").await, yes().await);
        let proxy = guarded(&backend, guard.address, annotations, &[]).await;
        for _ in 0..9 {
            assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
        }
        let counts = (guard.requests(), guard.accepted());
        assert_eq!(counts, (9, connections), "{annotations:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_not_the_clients_problem() {
    let backend = Backend::echo("web").await;
    // Says nothing of closing, and closes.
    let guard = Backend::script("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let proxy = guarded(&backend, guard.address, &[("auth-method", "POST")], &[]).await;
    for _ in 0..20 {
        assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
    }
}

#[tokio::test]
async fn nobody_waits_for_the_body_of_the_answer() {
    // The first one never ends, the second is too long to be read for nothing.
    for (head, connections) in [
        ("content-length: 10\r\n\r\nhello", 2),
        ("content-length: 1000000\r\n\r\nhello", 2),
        ("content-length: 5\r\n\r\nhello", 1),
        (
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            1,
        ),
    ] {
        let backend = Backend::echo("web").await;
        let guard = Backend::connections(move |tcp| async move {
            let mut raw = Raw::new(tcp);
            loop {
                if !raw.until("\r\n\r\n").await.ends_with("\r\n\r\n") {
                    return;
                }
                raw.send(format!("HTTP/1.1 200 OK\r\n{head}")).await;
            }
        });
        let guard = guard.await;
        let proxy = guarded(&backend, guard.address, &[], &[]).await;
        for _ in 0..2 {
            assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
        }
        assert_eq!(guard.accepted(), connections, "{head:?}");
    }
}

#[tokio::test]
async fn what_was_answered_outlives_the_server() {
    let backend = Backend::echo("web").await;
    let guard = yes().await;
    let cached = [
        ("auth-cache-key", "$http_authorization"),
        // Its connections would outlive it too.
        ("auth-keepalive", "0"),
    ];
    let proxy = guarded(&backend, guard.address, &cached, &[]).await;
    let ask = async |who: &str| {
        let mut request = get("http://a.test/");
        let who = HeaderValue::from_str(who).unwrap();
        request.headers_mut().insert("authorization", who);
        proxy.send(request).await.status.as_u16()
    };
    assert_eq!(ask("joe").await, 200);
    assert_eq!(guard.requests(), 1);
    drop(guard);
    for _ in 0..3 {
        assert_eq!(ask("joe").await, 200);
    }
    assert_eq!(ask("ann").await, 500);
    let counts = ["granted", "refused", "failed", "remembered"];
    let counts = counts
        .map(|outcome| proxy.metric("penstock_l7_auth_requests_total", &[("outcome", outcome)]));
    assert_eq!(counts, [1.0, 0.0, 1.0, 3.0]);
}

#[tokio::test]
async fn a_body_goes_to_the_endpoint_alone() {
    const LENGTH: usize = 5 << 20;
    let length = async |request: http::Request<hyper::body::Incoming>| {
        let declared = request.headers().contains_key("content-length");
        let chunked = request.headers().contains_key("transfer-encoding");
        let answer = describe("web".to_owned(), request).await;
        let body = http_body_util::BodyExt::collect(answer.into_body()).await;
        let body: Value = serde_json::from_slice(&body.unwrap().to_bytes()).unwrap();
        let length = body["body"].as_str().unwrap().len();
        let mut response = Response::<Body>::new(empty());
        let field = format!("{length} {}", declared || chunked);
        response
            .headers_mut()
            .insert("x-got", field.parse().unwrap());
        response
    };
    let (backend, guard) = (Backend::http(length).await, Backend::http(length).await);
    let annotations = [("proxy-body-size", "0"), ("auth-response-headers", "X-Got")];
    let proxy = guarded(&backend, guard.address, &annotations, &[]).await;
    for connection in [
        &mut proxy.connect("http://a.test/").await,
        &mut proxy.connect_http2("http://a.test/").await,
    ] {
        let body = full(vec![b'x'; LENGTH]);
        let answer = connection
            .send(request("POST", "http://a.test/", body))
            .await;
        assert_eq!(answer.unwrap().header("x-got"), format!("{LENGTH} true"));
    }
    assert_eq!((guard.requests(), backend.requests()), (2, 2));
}

#[tokio::test]
async fn a_body_is_asked_for_once_its_request_may_come_in() {
    let backend = Backend::echo("web").await;
    let no = Backend::script("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    let head =
        "POST / HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    let proxy = guarded(&backend, no.address, &[], &[]).await;
    let mut client = Raw::connect(proxy.http).await;
    client.send(head).await;
    let answer = client.until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let yes = yes().await;
    let proxy = guarded(&backend, yes.address, &[], &[]).await;
    let mut client = Raw::connect(proxy.http).await;
    client.send(head).await;
    let answer = client.until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 100"), "{answer}");
    client.send("body").await;
    assert!(client.until("}").await.contains("HTTP/1.1 200"));
}

#[tokio::test]
async fn clients_of_http_2_are_asked_about_like_others() {
    let backend = Backend::echo("web").await;
    let guard = Backend::http(async |request| {
        let asked = describe("guard".to_owned(), request).await;
        let (_, body) = asked.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap();
        let asked: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        let mut response = Response::<Body>::new(empty());
        let said = HeaderValue::try_from(asked["headers"]["cookie"].to_string()).unwrap();
        response.headers_mut().insert("x-cookie", said);
        let headers = response.headers_mut();
        headers.append(SET_COOKIE, HeaderValue::from_static("a=1; Path=/"));
        headers.append(SET_COOKIE, HeaderValue::from_static("b=2, 3"));
        response
    });
    let told = [("auth-response-headers", "X-Cookie, X-User")];
    let guard = guard.await;
    let proxy = guarded(&backend, guard.address, &told, &[]).await;
    let mut client = proxy.connect_http2("http://a.test/").await;
    let mut request = get("http://a.test/");
    for (name, value) in [
        ("x-user", "admin"),
        ("x-user", "root"),
        ("x-cookie", "spoofed"),
    ] {
        let headers = request.headers_mut();
        headers.append(name, HeaderValue::from_static(value));
    }
    request
        .headers_mut()
        .append(COOKIE, HeaderValue::from_static("c=1"));
    request
        .headers_mut()
        .append(COOKIE, HeaderValue::from_static("d=2"));
    let answer: Answer = client.send(request).await.unwrap();
    let seen = answer.json();
    assert_eq!(seen["headers"]["x-cookie"][0], "[\"c=1; d=2\"]");
    assert_eq!(seen["headers"]["x-user"], Value::Null);
    let set: Vec<_> = answer.headers.get_all(SET_COOKIE).iter().collect();
    assert_eq!(set, ["a=1; Path=/", "b=2, 3"]);
}

#[tokio::test]
async fn tls_is_spoken_where_the_url_says_so() {
    let backend = Backend::echo("web").await;
    let config = Authority::issue(&["somebody.test"]).server(&["http/1.1"]);
    let guard = Backend::https(config, async |_| Response::new(empty())).await;
    let url = format!("https://{}/", guard.address);
    let objects = site(backend.address, &[("auth-url", &url)]);
    let proxy = Proxy::start(&objects, &["--workers", "1"]).await;
    for _ in 0..3 {
        // Its certificate is for another name, by an authority that nobody knows.
        assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
    }
    assert_eq!((guard.requests(), guard.accepted()), (3, 1));
}

/// An address of this machine that is not loopback, which names may not lead to.
async fn own_address() -> Option<TcpListener> {
    let route = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the kernel is asked which address it would use.
    route.connect("192.0.2.1:9").ok()?;
    let own = route.local_addr().unwrap().ip();
    Some(TcpListener::bind((own, 0)).await.unwrap())
}

#[tokio::test]
async fn a_name_is_resolved_and_its_last_address_stays() {
    let Some(listener) = own_address().await else {
        println!("skipped: this machine has no address but loopback");
        return;
    };
    let address = listener.local_addr().unwrap();
    let (names, backend) = (Names::start().await, Backend::echo("web").await);
    let guard = Backend::echo_on(listener, "guard");
    const NAME: &str = "auth.svc.cluster.local";
    names.says(NAME, 1, &[address.ip()]).await;
    let url = format!("http://{NAME}:{}/", address.port());
    let objects = site(backend.address, &[("auth-url", &url)]);
    let resolver = names.address.to_string();
    let flags = ["--workers", "1", "--resolver", &resolver];
    let proxy = Proxy::start(&objects, &flags).await;
    for _ in 0..5 {
        assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
    }
    assert_eq!(names.asked(NAME).len(), 1, "an answer holds for its time");
    names.fails(NAME);
    soon("asked in vain", async {
        while names.asked(NAME).len() < 2 {
            assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
        }
    })
    .await;
    assert_eq!(proxy.get("http://a.test/").await.backend(), "web");
    assert_eq!(guard.accepted(), 1);
}

#[tokio::test]
async fn a_name_may_not_lead_to_this_machine() {
    let (names, backend) = (Names::start().await, Backend::echo("web").await);
    let guard = yes().await;
    names.says("auth.test", 300, &[guard.address.ip()]).await;
    let url = format!("http://auth.test:{}/", guard.address.port());
    let objects = site(backend.address, &[("auth-url", &url)]);
    let resolver = names.address.to_string();
    let proxy = Proxy::start(&objects, &["--resolver", &resolver]).await;
    assert_eq!(proxy.get("http://a.test/").await.status, 500);
    assert_eq!((guard.accepted(), backend.requests()), (0, 0));
}

#[tokio::test]
async fn whoever_changes_protocols_is_asked_about_too() {
    let (backend, guard) = (
        Backend::websocket().await,
        Backend::http(answer_upgrade).await,
    );
    let proxy = guarded(&backend, guard.address, &[], &[]).await;
    let (status, own) = handshake(&proxy, "").await;
    assert_eq!((status, guard.requests()), (101, 1), "{own}");
    let (status, own) = handshake(&proxy, "x-no: 1\r\n").await;
    assert_eq!((status, backend.accepted()), (401, 1), "{own}");
}

/// 500 if it were asked to upgrade itself.
async fn answer_upgrade(request: http::Request<hyper::body::Incoming>) -> Response<Body> {
    let fields = request.headers();
    let status = match () {
        () if fields.contains_key("upgrade") => 500,
        () if fields.contains_key("x-no") => 401,
        () => 200,
    };
    Response::builder().status(status).body(empty()).unwrap()
}

async fn handshake(proxy: &Proxy, field: &str) -> (u16, String) {
    let mut client = Raw::connect(proxy.http).await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{field}\r\n"
        ))
        .await;
    let head = client.until("\r\n\r\n").await;
    (head[9..12].parse().unwrap(), head)
}

#[tokio::test]
async fn a_server_that_is_asked_of_itself_lets_nobody_in() {
    let backend = Backend::echo("web").await;
    let mut objects = served("web", &[backend.address]);
    let all = ingress("web", &["* Prefix / web"]);
    let url = "http://$http_x_self/";
    objects.extend([class(), annotate(all, &format!("{PREFIX}/auth-url"), url)]);
    let proxy = Proxy::start(&objects, &[]).await;
    let mut request = get("http://a.test/");
    let own = HeaderValue::try_from(proxy.http.to_string()).unwrap();
    request.headers_mut().insert("x-self", own);
    assert_eq!(proxy.send(request).await.status, 500);
    assert_eq!(backend.requests(), 0);
    // Three questions, the third of which was not asked any further.
    let failed = [("outcome", "failed")];
    let failed = proxy.metric("penstock_l7_auth_requests_total", &failed);
    assert_eq!(failed, 4.0);
}

//! TCP and UDP ports that lead straight to a Service.

use std::net::SocketAddr;

use apiserver::ObjectId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::harness::{Backend, Proxy, class, eventually, served, slice, soon};

const FLAGS: &[&str] = &[
    "--tcp-services-configmap",
    "default/tcp",
    "--udp-services-configmap",
    "default/udp",
];

fn ports(name: &str, data: &[(u16, &str)]) -> Value {
    let data: serde_json::Map<_, _> = data
        .iter()
        .map(|(port, target)| (port.to_string(), Value::from(*target)))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": { "name": name, "namespace": "default" },
    })
}

/// A port that was free a moment ago.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Says its name, then what it hears.
async fn parrot(name: &'static str) -> Backend {
    Backend::connections(move |mut tcp| async move {
        tcp.write_all(name.as_bytes()).await.unwrap();
        let (mut read, mut write) = tcp.split();
        // Clients that reset their connection are no failure of a test.
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

/// Waits until the port accepts.
async fn connect(port: u16) -> TcpStream {
    eventually("an open port", async || {
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await
}

async fn read(tcp: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    soon("bytes", tcp.read_exact(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn tcp_goes_to_the_service_and_outlives_every_change() {
    let (one, two) = (parrot("one").await, parrot("two").await);
    let mut objects = served("web", &[one.address]);
    let port = free_port().await;
    objects.extend([
        class(),
        ports("tcp", &[(port, "default/web:http")]),
        ports("udp", &[]),
    ]);
    let proxy = Proxy::start(&objects, FLAGS).await;
    let mut first = connect(port).await;
    assert_eq!(read(&mut first, 3).await, "one");

    proxy.apply(slice("web", 0, two.address));
    eventually("the other endpoint", async || {
        let mut next = connect(port).await;
        (read(&mut next, 3).await == "two").then_some(())
    })
    .await;
    first.write_all(b"still").await.unwrap();
    assert_eq!(read(&mut first, 5).await, "still");

    proxy.apply(ports("tcp", &[]));
    eventually("a closed port", async || {
        TcpStream::connect(("127.0.0.1", port)).await.err()
    })
    .await;
    first.write_all(b"there").await.unwrap();
    assert_eq!(read(&mut first, 5).await, "there");
    first.shutdown().await.unwrap();
    let mut rest = Vec::new();
    soon("the end", first.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());

    proxy.apply(ports("tcp", &[(port, "default/web:80")]));
    let mut again = connect(port).await;
    assert_eq!(read(&mut again, 3).await, "two");
    assert!(proxy.metric("penstock_l7_stream_sessions_total", &[("protocol", "TCP")]) >= 3.0);
}

#[tokio::test]
async fn proxy_headers_are_read_and_written() {
    let backend = Backend::connections(|mut tcp| async move {
        let mut bytes = [0; 256];
        let length = tcp.read(&mut bytes).await.unwrap();
        tcp.write_all(&bytes[..length]).await.unwrap();
    })
    .await;
    let mut objects = served("web", &[backend.address]);
    let port = free_port().await;
    let target = "default/web:80:PROXY:PROXY";
    objects.extend([class(), ports("tcp", &[(port, target)]), ports("udp", &[])]);
    let _proxy = Proxy::start(&objects, FLAGS).await;
    let mut client = connect(port).await;
    let header = "PROXY TCP4 9.8.7.6 5.4.3.2 1234 443\r\n";
    client.write_all(header.as_bytes()).await.unwrap();
    assert_eq!(read(&mut client, header.len()).await, header);

    let mut liar = connect(port).await;
    liar.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    // Closed, or reset with what was not read.
    let _ = soon("the end", liar.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_bad_entry_and_a_port_that_is_taken_leave_the_others_working() {
    let one = parrot("one").await;
    let mut objects = served("web", &[one.address]);
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (good, held) = (free_port().await, taken.local_addr().unwrap().port());
    let mut map = ports("tcp", &[(good, "default/web:80"), (held, "default/web:80")]);
    map["data"]["http"] = "default/web:80".into();
    map["data"]["9"] = "nonsense".into();
    objects.extend([class(), map, ports("udp", &[])]);
    let proxy = Proxy::start(&objects, FLAGS).await;
    let mut client = connect(good).await;
    assert_eq!(read(&mut client, 3).await, "one");
    let count = |reason| {
        let labels = [("kind", "ConfigMap"), ("reason", reason)];
        proxy.metric("penstock_l7_problems", &labels)
    };
    eventually("problems", async || {
        let counts = (count("InvalidValue"), count("PortUnavailable"));
        (counts == (2.0, 1.0)).then_some(())
    })
    .await;
    drop(taken);
    let mut client = connect(held).await;
    assert_eq!(read(&mut client, 3).await, "one");
    let own = ports("tcp", &[(proxy.http.port(), "default/web:80")]);
    proxy.apply(own);
    eventually("a port of our own", async || {
        (count("PortUnavailable") == 1.0 && count("InvalidValue") == 0.0).then_some(())
    })
    .await;
}

/// Answers `NAME: ` and what it hears.
async fn answering(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::task::spawn(async move {
        let mut bytes = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut bytes).await {
            let answer = [name.as_bytes(), b": ", &bytes[..length]].concat();
            // The client may be gone.
            let _ = socket.send_to(&answer, client).await;
        }
    });
    address
}

fn datagrams(endpoint: SocketAddr) -> Vec<Value> {
    let mut slice = slice("dns", 0, endpoint);
    slice["ports"] = json!([{ "name": "dns", "port": endpoint.port(), "protocol": "UDP" }]);
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "dns", "namespace": "default" },
        "spec": { "ports": [{ "name": "dns", "port": 53, "protocol": "UDP" }] },
    });
    vec![service, slice]
}

/// Asks until there is an answer: a datagram may come before its port is open.
async fn ask(port: u16, question: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(("127.0.0.1", port)).await.unwrap();
    eventually("an answer", async || {
        socket.send(question.as_bytes()).await.ok()?;
        let mut bytes = [0; 2048];
        let patience = std::time::Duration::from_millis(200);
        let answer = tokio::time::timeout(patience, socket.recv(&mut bytes)).await;
        let length = answer.ok()?.ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    })
    .await
}

#[tokio::test]
async fn datagrams_go_to_the_service_and_follow_its_endpoints() {
    let (one, two) = (answering("one").await, answering("two").await);
    let mut objects = datagrams(one);
    let port = free_port().await;
    objects.extend([
        class(),
        ports("tcp", &[]),
        ports("udp", &[(port, "default/dns:dns")]),
    ]);
    let proxy = Proxy::start(&objects, FLAGS).await;
    assert_eq!(ask(port, "who?").await, "one: who?");
    for object in datagrams(two) {
        proxy.apply(object);
    }
    eventually("the other endpoint", async || {
        (ask(port, "and now?").await == "two: and now?").then_some(())
    })
    .await;
    assert!(proxy.metric("penstock_l7_stream_sessions_total", &[("protocol", "UDP")]) >= 2.0);
    let config = ObjectId::of(&ports("udp", &[])).unwrap();
    proxy.delete(&config);
    eventually("a closed port", async || {
        UdpSocket::bind(("127.0.0.1", port)).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_datagram_is_answered_from_the_address_that_it_was_sent_to() {
    let mut objects = datagrams(answering("one").await);
    let port = free_port().await;
    objects.extend([
        class(),
        ports("tcp", &[]),
        ports("udp", &[(port, "default/dns:dns")]),
    ]);
    let flags = [FLAGS, &["--http", "0.0.0.0:0"]].concat();
    let _proxy = Proxy::start(&objects, &flags).await;
    assert_eq!(ask(port, "who?").await, "one: who?");
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // A connected socket hears that address alone.
    socket.connect(("127.0.0.2", port)).await.unwrap();
    socket.send(b"there?").await.unwrap();
    let mut bytes = [0; 64];
    let length = soon("an answer", socket.recv(&mut bytes)).await.unwrap();
    assert_eq!(&bytes[..length], b"one: there?");
}

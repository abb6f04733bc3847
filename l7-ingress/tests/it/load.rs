//! 200 clients at once: HTTP/1.1, HTTP/2, WebSocket, gRPC.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Authority, Backend, Connection, Lost, Pem, Proxy, annotate, class, full, ingress, request,
    secret, served, soon, tls,
};

/// Clients of each protocol.
const CLIENTS: usize = 50;
/// What a client leaves between two requests: shown is that none is lost, not how many fit.
const REST: Duration = Duration::from_millis(200);

/// What becomes of one client.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: usize,
    /// Requests that were sent and not answered as they should be.
    pub(crate) lost: Vec<String>,
    /// Connections that the server ended, or said that it would.
    pub(crate) closed: usize,
}

impl Tally {
    /// Adds up.
    pub(crate) fn sum(tallies: Vec<Self>) -> Self {
        tallies.into_iter().fold(Self::default(), |mut sum, tally| {
            sum.done += tally.done;
            sum.lost.extend(tally.lost);
            sum.closed += tally.closed;
            sum
        })
    }
}

/// A proxy with backends, and clients that use it until they are told to stop.
pub(crate) struct Load {
    pub(crate) proxy: Proxy,
    pub(crate) web: Vec<Backend>,
    pub(crate) grpc: Vec<Backend>,
    pub(crate) websocket: Vec<Backend>,
    progress: Arc<AtomicUsize>,
    begin: CancellationToken,
    stop: CancellationToken,
    http: Vec<JoinHandle<Tally>>,
    tunnels: Vec<JoinHandle<Tally>>,
}

/// The certificate of all the hosts that have one.
pub(crate) fn certificate() -> Pem {
    Authority::issue(&["h2.test", "grpc.test"])
}

/// The Ingress of HTTP/1.1 and WebSocket.
pub(crate) fn plain() -> Value {
    ingress("plain", &["h1.test Prefix / web", "ws.test Prefix / ws"])
}

/// The Ingress of HTTP/2.
pub(crate) fn secure() -> Value {
    tls(
        ingress("secure", &["h2.test Prefix / web"]),
        &["h2.test"],
        "tls",
    )
}

/// The Ingress of gRPC.
pub(crate) fn calls() -> Value {
    let object = ingress("calls", &["grpc.test Prefix / grpc"]);
    let object = annotate(
        object,
        "nginx.ingress.kubernetes.io/backend-protocol",
        "GRPC",
    );
    tls(object, &["grpc.test"], "tls")
}

impl Load {
    /// Starts the proxy, and connects all clients.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let mut objects = vec![class(), plain(), secure(), calls()];
        objects.push(secret("tls", &certificate()));
        let (mut web, mut grpc, mut websocket) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            web.push(Backend::mirror().await);
            grpc.push(Backend::grpc().await);
            websocket.push(Backend::websocket().await);
        }
        for (name, backends) in [("web", &web), ("grpc", &grpc), ("ws", &websocket)] {
            let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
            objects.extend(served(name, &addresses));
        }
        let proxy = Proxy::start(&objects, flags).await;
        proxy.ready().await;
        let mut load = Self {
            proxy,
            web,
            grpc,
            websocket,
            progress: Arc::default(),
            begin: CancellationToken::new(),
            stop: CancellationToken::new(),
            http: Vec::new(),
            tunnels: Vec::new(),
        };
        load.connect().await;
        // Not before: those that run would hold up those that connect.
        load.begin.cancel();
        load
    }

    async fn connect(&mut self) {
        let proxy = &self.proxy;
        for number in 0..CLIENTS {
            let client = Client {
                number,
                progress: Arc::clone(&self.progress),
                begin: self.begin.clone(),
                stop: self.stop.clone(),
                tally: Tally::default(),
            };
            let connection = proxy.connect("http://h1.test/").await;
            let task = client.clone().http(connection, "http://h1.test");
            self.http.push(tokio::task::spawn(task));
            let connection = proxy.connect_http2("https://h2.test/").await;
            let task = client.clone().http(connection, "https://h2.test");
            self.http.push(tokio::task::spawn(task));
            let connection = proxy.connect_http2("https://grpc.test/").await;
            self.http
                .push(tokio::task::spawn(client.clone().grpc(connection)));
            let tcp = TcpStream::connect(proxy.http).await.unwrap();
            let (socket, _) = tokio_tungstenite::client_async("ws://ws.test/", tcp)
                .await
                .unwrap();
            self.tunnels
                .push(tokio::task::spawn(client.websocket(socket)));
        }
    }

    /// Waits for so many more requests to be answered.
    pub(crate) async fn more(&self, requests: usize) {
        let goal = self.progress.load(Ordering::Relaxed) + requests;
        crate::harness::eventually("progress", async || {
            (self.progress.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Tells the clients to stop after what they are doing.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the clients of HTTP.
    pub(crate) async fn http(&mut self) -> Tally {
        join(std::mem::take(&mut self.http)).await
    }

    /// Waits for the clients of WebSocket.
    pub(crate) async fn tunnels(&mut self) -> Tally {
        join(std::mem::take(&mut self.tunnels)).await
    }
}

async fn join(tasks: Vec<JoinHandle<Tally>>) -> Tally {
    let joined = soon("the clients' end", futures_util::future::join_all(tasks)).await;
    Tally::sum(joined.into_iter().map(Result::unwrap).collect())
}

/// One client.
struct Client {
    number: usize,
    progress: Arc<AtomicUsize>,
    begin: CancellationToken,
    stop: CancellationToken,
    tally: Tally,
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            progress: Arc::clone(&self.progress),
            begin: self.begin.clone(),
            stop: self.stop.clone(),
            tally: Tally::default(),
        }
    }
}

impl Client {
    fn next_id(&self) -> String {
        format!("{}-{}", self.number, self.tally.done)
    }

    async fn done(&mut self) {
        self.tally.done += 1;
        self.progress.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(REST).await;
    }

    /// POSTs its ids, and expects them back.
    async fn http(mut self, mut connection: Connection, url: &str) -> Tally {
        self.begin.cancelled().await;
        while !self.stop.is_cancelled() {
            let id = self.next_id();
            let sent = request("POST", &format!("{url}/{id}"), full(id.clone()));
            match connection.send(sent).await {
                Ok(answer) if answer.status == 200 && answer.body == id => self.done().await,
                Ok(answer) => self.tally.lost.push(format!("{id}: {answer:?}")),
                Err(Lost::Sent(error)) => self.tally.lost.push(format!("{id}: {error:?}")),
                Err(Lost::Unsent) => {
                    self.tally.closed += 1;
                    break;
                }
            }
            if !self.tally.lost.is_empty() {
                break;
            }
        }
        self.tally
    }

    /// Calls with its ids, and expects them and a status back.
    async fn grpc(mut self, mut connection: Connection) -> Tally {
        self.begin.cancelled().await;
        while !self.stop.is_cancelled() {
            let id = self.next_id();
            let mut sent = request("POST", "https://grpc.test/echo.Echo/Echo", full(id.clone()));
            let headers = sent.headers_mut();
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            match connection.send(sent).await {
                Ok(answer) if answer.body == id && answer.trailers["grpc-status"] == "0" => {
                    self.done().await;
                }
                Ok(answer) => self.tally.lost.push(format!("{id}: {answer:?}")),
                Err(Lost::Sent(error)) => self.tally.lost.push(format!("{id}: {error:?}")),
                Err(Lost::Unsent) => {
                    self.tally.closed += 1;
                    break;
                }
            }
            if !self.tally.lost.is_empty() {
                break;
            }
        }
        self.tally
    }

    /// Sends its ids as messages, and expects them back.
    async fn websocket(mut self, mut socket: WebSocketStream<TcpStream>) -> Tally {
        self.begin.cancelled().await;
        while !self.stop.is_cancelled() {
            let id = self.next_id();
            let sent = socket.send(Message::text(id.clone())).await;
            match (sent, socket.next().await) {
                (Ok(()), Some(Ok(message))) if message == Message::text(id.as_str()) => {
                    self.done().await;
                }
                other => {
                    self.tally.closed += 1;
                    self.tally.lost.push(format!("{id}: {other:?}"));
                    return self.tally;
                }
            }
        }
        let closed = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
        if let Err(error) = closed {
            self.tally.lost.push(format!("close: {error}"));
        }
        self.tally
    }
}

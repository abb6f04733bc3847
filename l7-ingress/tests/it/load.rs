//! 200 clients at once: HTTP/1.1, HTTP/2, WebSocket, gRPC.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Answer, Authority, Backend, Connection, Door, Lost, Pem, Proxy, Request, annotate, class, full,
    ingress, request, secret, served, soon, tls,
};

/// Clients of each protocol.
const CLIENTS: usize = 50;

/// What becomes of clients.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: usize,
    /// Of the one that has done the least.
    pub(crate) least: usize,
    /// Requests that were sent and not answered as they should be.
    pub(crate) lost: Vec<String>,
    /// Connections that the server ended, or said that it would.
    pub(crate) closed: usize,
}

impl Tally {
    /// Adds up.
    pub(crate) fn sum(tallies: Vec<Self>) -> Self {
        let least = tallies.iter().map(|tally| tally.least).min();
        let sum = Self {
            least: least.unwrap_or(0),
            ..Self::default()
        };
        tallies.into_iter().fold(sum, |mut sum, tally| {
            sum.done += tally.done;
            sum.lost.extend(tally.lost);
            sum.closed += tally.closed;
            sum
        })
    }
}

/// A proxy with backends, and clients that use it until they are told to stop, each as fast as it is
/// answered.
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
    /// Clients and backends have a runtime of their own, as they have machines of their own: in one
    /// with the control loop they would let it have a turn only when all of them have had theirs.
    elsewhere: Option<Runtime>,
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
        let elsewhere = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut objects = vec![class(), plain(), secure(), calls()];
        objects.push(secret("tls", &certificate()));
        let (mut web, mut grpc, mut websocket) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            web.push(elsewhere.spawn(Backend::mirror()).await.unwrap());
            grpc.push(elsewhere.spawn(Backend::grpc()).await.unwrap());
            websocket.push(elsewhere.spawn(Backend::websocket()).await.unwrap());
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
            elsewhere: Some(elsewhere),
        };
        load.connect().await;
        // Not before: those that run would hold up those that connect.
        load.begin.cancel();
        load
    }

    async fn connect(&mut self) {
        let elsewhere = self.elsewhere.as_ref().expect("it goes last");
        let door = self.proxy.door();
        let connected = Arc::new(AtomicUsize::new(0));
        for number in 0..CLIENTS {
            let client = || Client {
                number,
                door,
                connected: Arc::clone(&connected),
                progress: Arc::clone(&self.progress),
                begin: self.begin.clone(),
                stop: self.stop.clone(),
                tally: Tally::default(),
            };
            self.http.push(elsewhere.spawn(client().http1()));
            self.http.push(elsewhere.spawn(client().http2()));
            self.http.push(elsewhere.spawn(client().grpc()));
            self.tunnels.push(elsewhere.spawn(client().websocket()));
        }
        crate::harness::eventually("all clients are connected", async || {
            (connected.load(Ordering::Relaxed) == 4 * CLIENTS).then_some(())
        })
        .await;
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

impl Drop for Load {
    fn drop(&mut self) {
        // A runtime cannot be waited for within another one.
        if let Some(elsewhere) = self.elsewhere.take() {
            elsewhere.shutdown_background();
        }
    }
}

/// One client.
struct Client {
    number: usize,
    door: Door,
    connected: Arc<AtomicUsize>,
    progress: Arc<AtomicUsize>,
    begin: CancellationToken,
    stop: CancellationToken,
    tally: Tally,
}

impl Client {
    /// Waits until all clients are connected.
    async fn begin(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
        self.begin.cancelled().await;
    }

    fn next_id(&self) -> String {
        format!("{}-{}", self.number, self.tally.done)
    }

    fn done(&mut self) {
        self.tally.done += 1;
        self.tally.least += 1;
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// POSTs its ids in HTTP/1.1, and expects them back.
    async fn http1(self) -> Tally {
        let connection = self.door.http1("http://h1.test/").await;
        let post = |id: &str| request("POST", &format!("http://h1.test/{id}"), full(id.to_owned()));
        self.requests(connection, post, |answer| answer.status == 200)
            .await
    }

    /// The same in HTTP/2 under TLS.
    async fn http2(self) -> Tally {
        let connection = self.door.http2("https://h2.test/").await;
        let post = |id: &str| {
            request(
                "POST",
                &format!("https://h2.test/{id}"),
                full(id.to_owned()),
            )
        };
        self.requests(connection, post, |answer| answer.status == 200)
            .await
    }

    /// Calls with its ids, and expects them and a status back.
    async fn grpc(self) -> Tally {
        let connection = self.door.http2("https://grpc.test/").await;
        let call = |id: &str| {
            let url = "https://grpc.test/echo.Echo/Echo";
            let mut sent = request("POST", url, full(id.to_owned()));
            let headers = sent.headers_mut();
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            sent
        };
        let ended_well = |answer: &Answer| {
            let status = answer.trailers.get("grpc-status");
            status.is_some_and(|status| status == "0")
        };
        self.requests(connection, call, ended_well).await
    }

    /// Sends its ids, one after the other, and expects them back.
    async fn requests(
        mut self,
        mut connection: Connection,
        make: impl Fn(&str) -> Request,
        is_well: impl Fn(&Answer) -> bool,
    ) -> Tally {
        self.begin().await;
        while !self.stop.is_cancelled() {
            let id = self.next_id();
            let why = match connection.send(make(&id)).await {
                Ok(answer) if is_well(&answer) && answer.body == id => {
                    self.done();
                    continue;
                }
                Ok(answer) => format!("{answer:?}"),
                Err(Lost::Sent(error)) => error.to_string(),
                Err(Lost::Unsent) => {
                    self.tally.closed += 1;
                    break;
                }
            };
            self.tally.lost.push(format!("{id}: {why}"));
            break;
        }
        self.tally
    }

    /// Sends its ids as messages, and expects them back.
    async fn websocket(mut self) -> Tally {
        let tcp = TcpStream::connect(self.door.http).await.unwrap();
        let opened = tokio_tungstenite::client_async("ws://ws.test/", tcp).await;
        let (mut socket, _) = opened.unwrap();
        self.begin().await;
        while !self.stop.is_cancelled() {
            let id = self.next_id();
            let sent = socket.send(Message::text(id.clone())).await;
            match (sent, socket.next().await) {
                (Ok(()), Some(Ok(message))) if message == Message::text(id.as_str()) => {
                    self.done();
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

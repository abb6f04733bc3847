//! Backends: echo servers of several protocols, and servers that misbehave by script.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{Body, full, soon};

/// A backend on a port of its own. Dropping it closes the port.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    counters: Arc<Counters>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicUsize,
    ended: AtomicUsize,
    requests: AtomicUsize,
}

impl Backend {
    /// Hands every connection to `serve`.
    pub(crate) async fn connections<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::counting(loopback().await, Arc::default(), serve)
    }

    fn counting<F>(
        listener: TcpListener,
        counters: Arc<Counters>,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let counted = Arc::clone(&counters);
        let accepting = tokio::task::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::Relaxed);
                tcp.set_nodelay(true).unwrap();
                let (served, counted) = (serve(tcp), Arc::clone(&counted));
                tokio::task::spawn(async move {
                    served.await;
                    counted.ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self {
            address,
            counters,
            accepting,
        }
    }

    /// Answers requests, in HTTP/1.1 and by prior knowledge in HTTP/2.
    pub(crate) async fn http<F>(
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::serving(loopback().await, None, answer)
    }

    /// The same on a listener that is there already.
    pub(crate) fn http_on<F>(
        listener: TcpListener,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::serving(listener, None, answer)
    }

    /// The same under TLS.
    pub(crate) async fn https<F>(
        config: ServerConfig,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::serving(loopback().await, Some(Arc::new(config).into()), answer)
    }

    fn serving<F>(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let counters = Arc::<Counters>::default();
        let counted = Arc::clone(&counters);
        let answer = Arc::new(answer);
        Self::counting(listener, counters, move |tcp| {
            let (answer, counted) = (Arc::clone(&answer), Arc::clone(&counted));
            let answer = move |request| {
                counted.requests.fetch_add(1, Ordering::Relaxed);
                answer(request)
            };
            let tls = tls.clone();
            async move {
                match tls {
                    None => serve(tcp, answer).await,
                    Some(tls) => {
                        let Ok(session) = tls.accept(tcp).await else {
                            return;
                        };
                        let facts = Session::of(session.get_ref().1);
                        let answer = move |mut request: Request<Incoming>| {
                            request.extensions_mut().insert(facts.clone());
                            answer(request)
                        };
                        serve(session, answer).await;
                    }
                }
            }
        })
    }

    /// Answers every request with its description, as the conformance suite's echo server does.
    pub(crate) async fn echo(name: &str) -> Self {
        Self::echo_on(loopback().await, name)
    }

    /// The same on a listener that is there already.
    pub(crate) fn echo_on(listener: TcpListener, name: &str) -> Self {
        let name = name.to_owned();
        Self::serving(listener, None, move |request| {
            describe(name.clone(), request)
        })
    }

    /// Sends every request's body back as it comes, its trailers too.
    pub(crate) async fn mirror() -> Self {
        Self::http(async |request: Request<Incoming>| {
            Response::new(request.into_body().map_err(Into::into).boxed_unsync())
        })
        .await
    }

    /// As [`Self::mirror`], with the trailer that ends a successful gRPC call.
    pub(crate) async fn grpc() -> Self {
        Self::http(call).await
    }

    /// Echoes WebSocket messages.
    pub(crate) async fn websocket() -> Self {
        Self::connections(async |tcp| {
            let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else {
                return;
            };
            while let Some(Ok(message)) = socket.next().await {
                let echoed = message.is_text() || message.is_binary();
                if echoed && socket.send(message).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Reads a request's head on every connection, then writes `bytes` and closes.
    pub(crate) async fn script(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::connections(move |tcp| {
            let bytes = bytes.clone();
            async move {
                let mut raw = Raw::new(tcp);
                raw.until("\r\n\r\n").await;
                raw.send(&bytes).await;
                raw.close().await;
            }
        })
        .await
    }

    /// An address at which nobody listens.
    pub(crate) async fn refusing() -> SocketAddr {
        loopback().await.local_addr().unwrap()
    }

    /// How many connections it has accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.counters.connections.load(Ordering::Relaxed)
    }

    /// How many of them have ended.
    pub(crate) fn ended(&self) -> usize {
        self.counters.ended.load(Ordering::Relaxed)
    }

    /// How many requests it has got.
    pub(crate) fn requests(&self) -> usize {
        self.counters.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A port of its own.
async fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Serves one connection.
async fn serve<F>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let served = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    // A proxy may hang up when it likes.
    let _ = served.await;
}

/// What a backend under TLS knows of a connection.
#[derive(Clone, Debug)]
struct Session {
    /// The certificate that the proxy showed, in hexadecimal.
    client: String,
    sni: String,
    version: String,
    suite: String,
}

impl Session {
    fn of(session: &rustls::ServerConnection) -> Self {
        let shown = session.peer_certificates();
        let shown = shown.and_then(|chain| chain.first());
        Self {
            client: shown.map(|own| hexadecimal(own)).unwrap_or_default(),
            sni: session.server_name().unwrap_or_default().to_owned(),
            version: format!("{:?}", session.protocol_version().unwrap()),
            suite: format!("{:?}", session.negotiated_cipher_suite().unwrap().suite()),
        }
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends a call's body back, with the trailer that ends one that succeeded.
pub(crate) async fn call(request: Request<Incoming>) -> Response<Body> {
    let body = request.into_body().map_err(Into::into);
    let status = HeaderMap::from_iter([(
        "grpc-status".parse().unwrap(),
        HeaderValue::from_static("0"),
    )]);
    let body = body.with_trailers(async move { Some(Ok(status)) });
    let mut response = Response::new(body.boxed_unsync());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

/// The JSON of the conformance suite's echo server, and what more the tests ask for.
pub(crate) async fn describe(name: String, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut headers = Map::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let values = headers.entry(name.as_str()).or_insert_with(|| json!([]));
        values.as_array_mut().unwrap().push(value.into());
    }
    let Ok(collected) = body.collect().await else {
        return Response::new(full("incomplete"));
    };
    let trailers = collected.trailers().map_or(0, HeaderMap::len);
    let authority = head.uri.authority().map(ToString::to_string);
    let session = head.extensions.get::<Session>();
    let mut described = json!({
        "pod": name,
        "namespace": "default",
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map_or("", |target| target.as_str()),
        "proto": format!("{:?}", head.version),
        "host": headers.get("host").map_or_else(|| json!(authority), |host| host[0].clone()),
        "headers": Value::Object(headers),
        "trailers": trailers,
        "body": String::from_utf8_lossy(&collected.to_bytes()),
    });
    if let Some(session) = session {
        described["client"] = session.client.clone().into();
        described["sni"] = session.sni.clone().into();
        described["version"] = session.version.clone().into();
        described["suite"] = session.suite.clone().into();
    }
    let mut response = Response::new(full(described.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A body in pieces, with trailers.
pub(crate) fn trailing(pieces: &[&'static str], trailers: &[(&'static str, &'static str)]) -> Body {
    let data = pieces.iter().map(|piece| Frame::data(Bytes::from(*piece)));
    let fields = trailers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
    let last = Frame::trailers(HeaderMap::from_iter(fields));
    let frames: Vec<_> = data.chain([last]).map(Ok).collect();
    http_body_util::StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

/// A connection whose bytes are read and written as they are, at either end.
pub(crate) struct Raw<S = TcpStream> {
    io: S,
    buffer: Vec<u8>,
}

impl Raw {
    /// A client's connection to `address`.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) const fn new(io: S) -> Self {
        Self {
            io,
            buffer: Vec::new(),
        }
    }

    /// Writes bytes; whether they arrive is not known.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other end may be gone, which the next read tells.
        let _ = self.io.write_all(bytes.as_ref()).await;
        let _ = self.io.flush().await;
    }

    /// Reads up to and with `end`, or to the end of the stream.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        soon(end, async {
            loop {
                let found = self
                    .buffer
                    .windows(end.len())
                    .position(|it| it == end.as_bytes());
                if let Some(at) = found {
                    let rest = self.buffer.split_off(at + end.len());
                    let text = std::mem::replace(&mut self.buffer, rest);
                    return String::from_utf8_lossy(&text).into_owned();
                }
                if self.io.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                    let text = std::mem::take(&mut self.buffer);
                    return String::from_utf8_lossy(&text).into_owned();
                }
            }
        })
        .await
    }

    /// Reads to the end of the stream, however it ends.
    pub(crate) async fn rest(&mut self) -> String {
        soon("the end of the stream", async {
            while self.io.read_buf(&mut self.buffer).await.unwrap_or(0) > 0 {}
            String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
        })
        .await
    }

    /// Closes the writing half.
    pub(crate) async fn close(&mut self) {
        let _ = self.io.shutdown().await;
    }
}

//! A backend that says what reached it: JSON in the shape of the Ingress conformance echo server, and
//! WebSocket echo for requests that ask for it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// Where a backend pretends to live.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) service: String,
    pub(crate) ingress: String,
    pub(crate) pod: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    path: &'a str,
    host: &'a str,
    method: &'a str,
    proto: String,
    headers: BTreeMap<String, Vec<String>>,
    body_bytes: usize,
    namespace: &'a str,
    ingress: &'a str,
    service: &'a str,
    pod: &'a str,
}

/// Binds `address` and serves for as long as the runtime lives; says where.
pub(crate) async fn start(address: SocketAddr, identity: Identity) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tokio::spawn(accept(listener, Arc::new(identity)));
    Ok(address)
}

async fn accept(listener: TcpListener, identity: Arc<Identity>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let identity = Arc::clone(&identity);
        let service =
            hyper::service::service_fn(move |request| answer(request, Arc::clone(&identity)));
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // A client that breaks off ends its own connection, nothing else.
            drop(
                server
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn answer(
    mut request: Request<Incoming>,
    identity: Arc<Identity>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(key) = websocket_key(&request) {
        return Ok(switch_to_websocket(&mut request, &key, identity));
    }
    let (head, body) = request.into_parts();
    let body_bytes = match body.collect().await {
        Ok(body) => body.to_bytes().len(),
        Err(_) => return Ok(plain(StatusCode::BAD_REQUEST, "the body broke off\n")),
    };
    let host = head
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let seen = Seen {
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()),
        host: host.or_else(|| head.uri.host()).unwrap_or_default(),
        method: head.method.as_str(),
        proto: format!("{:?}", head.version),
        headers: by_name(&head.headers),
        body_bytes,
        namespace: "default",
        ingress: &identity.ingress,
        service: &identity.service,
        pod: &identity.pod,
    };
    let mut json = serde_json::to_vec_pretty(&seen).expect("strings and numbers are JSON");
    json.push(b'\n');
    let mut response = Response::new(Full::new(json.into()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

fn by_name(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        map.entry(name.to_string()).or_default().push(value);
    }
    map
}

fn websocket_key(request: &Request<Incoming>) -> Option<HeaderValue> {
    let upgrade = request.headers().get(header::UPGRADE)?;
    let asked =
        request.method() == Method::GET && upgrade.as_bytes().eq_ignore_ascii_case(b"websocket");
    asked.then(|| request.headers().get(header::SEC_WEBSOCKET_KEY).cloned())?
}

/// 101, then a greeting, then every message back; `/…/greeting` closes after the greeting.
fn switch_to_websocket(
    request: &mut Request<Incoming>,
    key: &HeaderValue,
    identity: Arc<Identity>,
) -> Response<Full<Bytes>> {
    let only_greet = request.uri().path().ends_with("/greeting");
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let greeting = format!("hello from {}", identity.pod);
        let mut open = socket.send(Message::text(greeting)).await.is_ok();
        while open && !only_greet {
            open = match socket.next().await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    socket.send(message).await.is_ok()
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => false,
                Some(Ok(_)) => true,
            };
        }
        drop(socket.close(None).await);
    });
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .expect("base64 is a header value");
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

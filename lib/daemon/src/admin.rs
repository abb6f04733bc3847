//! The admin port: health, readiness, metrics, and what components add for people who look inside.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Shutdown;
use crate::health::Health;

/// What a handler of the admin port answers.
pub type AdminResponse = Response<Full<Bytes>>;

type Handler = Arc<dyn Fn() -> AdminResponse + Send + Sync>;

/// Answers requests to the admin port.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) health: Health,
    pub(crate) shutdown: Shutdown,
    pub(crate) registry: Registry,
    // A lock and not a channel: it guards the routes that components add while they start, and is
    // read once a request.
    routes: Arc<RwLock<BTreeMap<String, Handler>>>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    pub(crate) fn new(health: Health, shutdown: Shutdown, registry: Registry) -> Self {
        Self {
            health,
            shutdown,
            registry,
            routes: Arc::default(),
        }
    }

    pub(crate) fn route(&self, path: &str, handler: Handler) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.insert(path.to_owned(), handler);
    }

    /// Accepts until it is dropped.
    ///
    /// Never spins and never floods the log: a fault of one connection is passed over, one of the
    /// process (no file descriptors) is waited out and logged once.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let mut failing = false;
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        failing = false;
                        connections.spawn(self.clone().connection(stream));
                    }
                    Err(error) if of_the_connection(&error) => {}
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!("the admin port cannot accept: {error}");
                        }
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                },
                Some(_ended) = connections.join_next() => {}
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(&request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!("admin connection: {error}");
        }
    }

    async fn answer<B>(self, request: &Request<B>) -> AdminResponse {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match request.uri().path() {
            "/healthz" => self.healthz(),
            "/readyz" => self.readyz(),
            // Writing many series or a whole table takes long enough to keep a probe waiting, so
            // it happens off the two threads of the control plane.
            "/metrics" => blocking(move || self.metrics()).await,
            path => match self.handler(path) {
                Some(handler) => blocking(move || handler()).await,
                None => self.not_found(),
            },
        }
    }

    fn healthz(&self) -> AdminResponse {
        match self.health.stuck().as_slice() {
            [] => text(StatusCode::OK, "ok\n"),
            stuck => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("stuck: {}\n", stuck.join(", ")),
            ),
        }
    }

    fn readyz(&self) -> AdminResponse {
        let reason = if self.shutdown.is_requested() {
            "shutting down\n".to_owned()
        } else {
            match self.health.missing() {
                Some(missing) if missing.is_empty() => return text(StatusCode::OK, "ok\n"),
                Some(missing) => format!("waiting for: {}\n", missing.join(", ")),
                None => "starting\n".to_owned(),
            }
        };
        text(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    fn metrics(&self) -> AdminResponse {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn handler(&self, path: &str) -> Option<Handler> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(path).cloned()
    }

    fn not_found(&self) -> AdminResponse {
        let mut body = "not found; there are:\n/healthz\n/metrics\n/readyz\n".to_owned();
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        for path in routes.keys() {
            body.push_str(path);
            body.push('\n');
        }
        text(StatusCode::NOT_FOUND, body)
    }
}

async fn blocking(answer: impl FnOnce() -> AdminResponse + Send + 'static) -> AdminResponse {
    tokio::task::spawn_blocking(answer)
        .await
        .unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "the handler panicked\n"))
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> AdminResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Whether an error of accept(2) is that of the connection that was to be accepted; all others are
/// the listener's or the process's.
fn of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Enough for every scraper and probe of a cluster; the next one waits in the backlog.
const MAX_CONNECTIONS: usize = 256;
/// Also ends connections that are kept and not used.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);

//! A collector of spans: OTLP over gRPC, in the clear.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use l7_ingress_core::trace::{Collector, otlp};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a collector may take for one batch, connecting included.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of its answer.
const LONGEST_ANSWER: usize = 64 << 10;
/// What it is called by.
const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC_STATUS: &str = "grpc-status";

/// Why a collector did not take spans.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("cannot connect to it: {0}")]
    Connect(#[source] std::io::Error),
    #[error("its connection failed: {0}")]
    Connection(#[from] hyper::Error),
    #[error("its name is no part of a URL: {0}")]
    Name(#[from] http::Error),
    #[error("its answer cannot be read: {0}")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("it refuses them with gRPC's status {0}")]
    Refused(Box<str>),
    #[error("it takes longer than {PATIENCE:?}")]
    Slow,
}

/// Sends spans, on a connection that is kept.
#[derive(Debug, Default)]
pub(super) struct Exporter {
    connection: Option<Connection>,
    /// Whether the last batch was refused; a change is said once.
    is_down: bool,
}

#[derive(Debug)]
struct Connection {
    to: (Box<str>, u16),
    sender: SendRequest<Full<Bytes>>,
    /// Ends it when it is dropped.
    _driver: JoinSet<()>,
}

impl Exporter {
    /// Sends a batch; returns whether it was taken.
    pub(super) async fn send(&mut self, collector: &Collector, spans: &[Bytes]) -> bool {
        let scope = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let message = otlp::frame(&otlp::request(&collector.service, scope, spans));
        let sent = timeout(PATIENCE, self.try_send(collector, message)).await;
        let error = match sent.unwrap_or(Err(ExportError::Slow)) {
            Ok(()) => {
                if std::mem::take(&mut self.is_down) {
                    tracing::info!("the collector of spans takes them again");
                }
                return true;
            }
            Err(error) => error,
        };
        // What it waits for may never come.
        self.connection = None;
        let (host, port) = (&collector.host, collector.port);
        match std::mem::replace(&mut self.is_down, true) {
            false => tracing::warn!("{host}:{port} collects no spans: {error}"),
            true => tracing::debug!("{host}:{port} collects no spans: {error}"),
        }
        false
    }

    async fn try_send(&mut self, collector: &Collector, message: Bytes) -> Result<(), ExportError> {
        let to = (collector.host.clone(), collector.port);
        let kept = self.connection.take();
        let connection = match kept.filter(|kept| kept.to == to && !kept.sender.is_closed()) {
            Some(kept) => kept,
            None => connect(to).await?,
        };
        let connection = self.connection.insert(connection);
        let host = match collector.host.contains(':') {
            true => format!("[{}]", collector.host),
            false => collector.host.to_string(),
        };
        let request = Request::post(format!("http://{host}:{}{METHOD}", collector.port))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(Full::new(message))?;
        let response = connection.sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(ExportError::Status(head.status));
        }
        // Where there is no body, the status is in the head.
        let status = match status(&head.headers) {
            Some(status) => Some(status),
            None => {
                let body = Limited::new(body, LONGEST_ANSWER).collect().await;
                let body = body.map_err(ExportError::Answer)?;
                body.trailers().and_then(status)
            }
        };
        match status.as_deref() {
            Some("0") => Ok(()),
            status => Err(ExportError::Refused(status.unwrap_or("none").into())),
        }
    }
}

/// gRPC's status, in trailers or a head.
fn status(fields: &HeaderMap) -> Option<Box<str>> {
    let status = fields.get(GRPC_STATUS)?;
    Some(status.to_str().unwrap_or("?").into())
}

async fn connect(to: (Box<str>, u16)) -> Result<Connection, ExportError> {
    let stream = TcpStream::connect((&*to.0, to.1)).await;
    let stream = stream.map_err(ExportError::Connect)?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection to the collector of spans ended: {error}");
        }
    });
    Ok(Connection {
        to,
        sender,
        _driver: driver,
    })
}

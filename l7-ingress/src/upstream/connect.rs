//! Makes connections to backends, in the clear or under TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use l7_ingress_core::BackendTls;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::peer::Peer;
use crate::stream::{Socket, Stream};

/// Why a backend could not be connected to. Nothing was sent to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("could not connect to the backend")]
    Tcp(#[source] io::Error),
    #[error("TLS with the backend failed: {0}")]
    Tls(#[source] io::Error),
    #[error("the backend did not accept in time")]
    Timeout,
    #[error("HTTP/2 with the backend failed")]
    Http2(#[source] hyper::Error),
}

/// Makes connections.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    /// How TLS is spoken where no Ingress says anything of it.
    default: Arc<BackendTls>,
}

impl Connector {
    pub(crate) fn new() -> Self {
        Self {
            default: Arc::default(),
        }
    }

    /// Connects to `peer`; the connection has to stand after `patience`.
    pub(crate) async fn connect(
        &self,
        peer: &Peer,
        patience: Duration,
    ) -> Result<Stream, ConnectError> {
        timeout(patience, self.open(peer))
            .await
            .map_err(|_| ConnectError::Timeout)?
    }

    async fn open(&self, peer: &Peer) -> Result<Stream, ConnectError> {
        let tcp = TcpStream::connect(peer.address)
            .await
            .map_err(ConnectError::Tcp)?;
        tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
        let socket = Socket::new(tcp);
        let tls = peer.tls.as_ref().unwrap_or(&self.default);
        let Some(config) = tls.config(peer.protocol) else {
            return Ok(Stream::Plain(socket));
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let name = tls.name(peer.address.ip());
        let session = connector.connect(name, socket);
        let session = session.await.map_err(ConnectError::Tls)?;
        Ok(Stream::Tls(Box::new(session.into())))
    }
}

//! Makes connections to backends, in the clear or under TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use l7_ingress_core::BackendProtocol;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
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
    #[error("TLS with the backend failed")]
    Tls(#[source] io::Error),
    #[error("the backend did not accept in time")]
    Timeout,
    #[error("HTTP/2 with the backend failed")]
    Http2(#[source] hyper::Error),
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    http1: TlsConnector,
    http2: TlsConnector,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Does TLS as `provider` does.
    pub(crate) fn new(provider: &Arc<CryptoProvider>) -> Self {
        let tls = |protocol: &[u8]| {
            let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
                .with_safe_default_protocol_versions()
                .expect("the provider has cipher suites for TLS 1.2 and 1.3")
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(Arc::clone(provider))))
                .with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            // ingress-nginx sends no server name unless proxy-ssl-server-name is on.
            config.enable_sni = false;
            TlsConnector::from(Arc::new(config))
        };
        Self {
            http1: tls(b"http/1.1"),
            http2: tls(b"h2"),
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
        let tls = match peer.protocol {
            BackendProtocol::Http | BackendProtocol::H2c => return Ok(Stream::Plain(socket)),
            BackendProtocol::Https => &self.http1,
            BackendProtocol::H2Tls => &self.http2,
        };
        let name = ServerName::IpAddress(peer.address.ip().into());
        let session = tls.connect(name, socket).await.map_err(ConnectError::Tls)?;
        Ok(Stream::Tls(Box::new(session.into())))
    }
}

/// Takes any certificate: pods have certificates that nobody signed for their address, and
/// ingress-nginx verifies none unless proxy-ssl-verify is on.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

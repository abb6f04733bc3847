//! TLS connections: new ones all the time, or many that idle.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::future::join_all;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Sample, TLS_HOST, repeat, since};

/// How long a connection may take until its first answer.
const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST: &str = "GET /100 HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST_REQUEST: &str = "GET /100 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

pub(super) async fn run(port: u16, connections: u32, duration: Duration) -> Result<Sample> {
    let tls = connector()?;
    let sample = repeat(connections, duration, async |worker, end, latencies| {
        let mut errors = 0;
        let mut round = worker;
        while Instant::now() < end {
            let start = Instant::now();
            round = round.wrapping_add(connections);
            match timeout(PATIENCE, handshake(&tls, port, round)).await {
                Ok(Ok(())) => latencies.push(since(start)),
                Ok(Err(_)) | Err(_) => errors += 1,
            }
        }
        Some(errors)
    });
    Ok(sample.await)
}

/// A new connection, a full handshake, one request, the end.
async fn handshake(tls: &TlsConnector, port: u16, round: u32) -> Result<()> {
    let mut stream = connect_tls(tls, port, round).await?;
    stream.write_all(LAST_REQUEST.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1024);
    // Some servers end with a TCP FIN alone; the answer's length says whether it is whole.
    let ended = stream.read_to_end(&mut answer).await;
    if !answer.starts_with(b"HTTP/1.1 200") || !answer.ends_with(b"x") {
        ended?;
        bail!("not an answer");
    }
    Ok(())
}

/// From one of many loopback addresses, so that ports in TIME-WAIT do not run out.
async fn connect_tls(tls: &TlsConnector, port: u16, round: u32) -> Result<TlsStream<TcpStream>> {
    let [_, _, high, low] = (round % 16_000).to_be_bytes();
    let source = SocketAddr::from((Ipv4Addr::new(127, 1, high, low), 0));
    let socket = TcpSocket::new_v4()?;
    socket.bind(source)?;
    let stream = socket
        .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(TLS_HOST).expect("localhost is a name");
    Ok(tls.connect(name, stream).await?)
}

/// Opens `count` TLS connections, each of which has answered one request.
pub(in crate::bench) async fn idle_connections(
    port: u16,
    count: u32,
) -> Result<Vec<TlsStream<TcpStream>>> {
    let tls = connector()?;
    let mut open = Vec::new();
    for first in (0..count).step_by(50) {
        let batch = (first..count.min(first + 50)).map(async |number| {
            let one = timeout(PATIENCE, idle_connection(&tls, port, number)).await;
            let one = one.map_err(|_| anyhow!("no answer in {PATIENCE:?}"));
            one.flatten()
                .with_context(|| format!("connection {number}"))
        });
        for stream in join_all(batch).await {
            open.push(stream?);
        }
    }
    Ok(open)
}

async fn idle_connection(
    tls: &TlsConnector,
    port: u16,
    number: u32,
) -> Result<TlsStream<TcpStream>> {
    let mut stream = connect_tls(tls, port, number).await?;
    stream.write_all(REQUEST.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"xxx") {
        let read = stream.read_buf(&mut answer).await?;
        ensure!(read > 0, "closed after {} bytes", answer.len());
    }
    Ok(stream)
}

/// X25519 alone, so that no server chooses another group; no resumption; no verification, because it is
/// the server whose handshake is measured and the client must not be the ceiling.
fn connector() -> Result<TlsConnector> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

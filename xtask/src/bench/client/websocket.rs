//! WebSocket ping-pong, with frames that are written in advance.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Sample, repeat, since};

/// How long the last echo may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes in a message; they fit a frame's short length.
const MESSAGE: u8 = 100;

/// RFC 6455, 1.3: the sample key; nobody between checks the answer to it.
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: plain.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
pub(in crate::bench) const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A binary message of [`MESSAGE`] bytes from a client: the mask is zero.
const CLIENT_FRAME: [u8; 6 + MESSAGE as usize] = {
    let mut frame = [0; 6 + MESSAGE as usize];
    frame[0] = 0x82;
    frame[1] = 0x80 | MESSAGE;
    frame
};
/// The same from a server, unmasked.
pub(in crate::bench) const SERVER_FRAME: [u8; 2 + MESSAGE as usize] = {
    let mut frame = [0; 2 + MESSAGE as usize];
    frame[0] = 0x82;
    frame[1] = MESSAGE;
    frame
};
pub(in crate::bench) const CLIENT_FRAME_LENGTH: usize = CLIENT_FRAME.len();

pub(super) async fn run(port: u16, connections: u32, duration: Duration) -> Result<Sample> {
    let sample = repeat(connections, duration, async |_, end, latencies| {
        let ended = timeout(duration + PATIENCE, ping_pong(port, end, latencies)).await;
        (!matches!(ended, Ok(Ok(())))).then_some(1)
    });
    Ok(sample.await)
}

async fn ping_pong(port: u16, end: Instant, latencies: &mut Vec<u32>) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(UPGRADE.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut head).await? > 0, "closed in the head");
    }
    ensure!(head.starts_with(b"HTTP/1.1 101"), "not upgraded");
    let mut frame = [0; SERVER_FRAME.len()];
    while Instant::now() < end {
        let start = Instant::now();
        stream.write_all(&CLIENT_FRAME).await?;
        stream.read_exact(&mut frame).await?;
        ensure!(frame == SERVER_FRAME, "not an echo");
        latencies.push(since(start));
    }
    Ok(())
}

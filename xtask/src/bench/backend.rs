//! The WebSocket backend: answers every upgrade alike, and every frame with the same frame.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::client::{CLIENT_FRAME_LENGTH, SERVER_FRAME, UPGRADED};

/// Serves on a free port for as long as the handle is kept.
pub(super) async fn websocket() -> Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.context("the WebSocket backend")?;
    let port = listener
        .local_addr()
        .context("the WebSocket backend")?
        .port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // How a connection ends shows at the client, which counts it.
            tokio::spawn(async move { drop(echo(stream).await) });
        }
    });
    Ok((port, task))
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut head).await? > 0, "closed in the head");
    }
    stream.write_all(UPGRADED.as_bytes()).await?;
    let mut frame = [0; CLIENT_FRAME_LENGTH];
    loop {
        stream.read_exact(&mut frame).await?;
        stream.write_all(&SERVER_FRAME).await?;
    }
}

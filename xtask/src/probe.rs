//! Asks a port: is it free, is it ready.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::Daemon;

/// Fails if `address` cannot be listened on, naming the flag that changes it.
pub(crate) fn must_be_free(address: SocketAddr, flag: &str) -> Result<()> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => bail!("{address}: {error}; choose another with {flag}"),
    }
}

/// The status and the rest of one plain HTTP answer; `None` when there was none.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (line, rest) = answer.split_once("\r\n")?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    Some((status, rest.to_owned()))
}

/// Waits until `GET path` on `address` answers 200 while `daemon` lives.
pub(crate) async fn until_ready(
    daemon: &mut Daemon,
    (address, host, path): (SocketAddr, &str, &str),
    patience: Duration,
) -> Result<Duration> {
    let start = Instant::now();
    let mut last = "no answer".to_owned();
    while start.elapsed() < patience {
        if let Some(status) = daemon.exited()? {
            bail!(
                "{} ended with {status}:\n{}",
                daemon.name(),
                daemon.last_words()
            );
        }
        match get(address, host, path).await {
            Some((200, _)) => return Ok(start.elapsed()),
            Some((status, rest)) => last = format!("{status}: {}", rest.trim_end()),
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!(
        "{} is not ready after {patience:?}; http://{address}{path} says {last}\n{}",
        daemon.name(),
        daemon.last_words()
    )
}

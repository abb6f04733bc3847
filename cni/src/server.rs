//! The socket that the plugin asks through: one request and one answer a connection.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cni_core::spec::{Code, Refusal};
use cni_core::talk::{self, Ask, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::metrics::Metrics;
use crate::requests::Requests;

/// More wait in the backlog.
const MAX_CONNECTIONS: usize = 256;
/// How long a plugin may take to say what it wants.
const READ_TIME: Duration = Duration::from_secs(10);
/// A pause when there are no descriptors left.
const BACKOFF: Duration = Duration::from_millis(200);

/// Listens where nobody does; a socket that a killed agent left is taken over.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // Under another name first: no plugin finds a socket that nobody listens to.
    let unfinished = path.with_extension("new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished)?;
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unfinished, path)?;
    Ok(listener)
}

/// Answers until it is dropped. A request that has begun is finished: it runs on a thread of its own.
pub(crate) async fn serve(listener: UnixListener, requests: Arc<Requests>, metrics: Metrics) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&requests), metrics.clone()));
                }
                Err(error) => {
                    tracing::warn!("the plugin's socket cannot accept: {error}");
                    tokio::time::sleep(BACKOFF).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn connection(mut stream: UnixStream, requests: Arc<Requests>, metrics: Metrics) {
    let reply = match tokio::time::timeout(READ_TIME, read(&mut stream)).await {
        Ok(Ok(ask)) => answer(ask, requests, metrics).await,
        Ok(Err(error)) => {
            tracing::debug!("a plugin's request: {error}");
            Reply::Refused(Refusal::new(
                Code::Decode,
                "the agent cannot read the request",
            ))
        }
        Err(_late) => return,
    };
    if let Err(error) = stream.write_all(&talk::frame(&reply)).await {
        tracing::debug!("a plugin has gone before its answer: {error}");
    }
}

async fn answer(ask: Ask, requests: Arc<Requests>, metrics: Metrics) -> Reply {
    let begun = Instant::now();
    let command = ask.environment.command.clone();
    let blocking = move || {
        let reply = requests.answer(&ask);
        if let Reply::Refused(refusal) = &reply {
            let environment = &ask.environment;
            tracing::warn!(
                command = environment.command,
                container = environment.container,
                interface = environment.ifname,
                "{refusal} {}",
                refusal.details
            );
        }
        reply
    };
    let reply = tokio::task::spawn_blocking(blocking)
        .await
        .unwrap_or_else(|_| Reply::Refused(Refusal::new(Code::Internal, "the agent has panicked")));
    metrics.answered(&command, &reply, begun.elapsed());
    reply
}

async fn read(stream: &mut UnixStream) -> io::Result<Ask> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = talk::length(head).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

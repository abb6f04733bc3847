//! The machine behind a watch: list, open, follow.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use daemon::error_chain;
use futures_util::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use futures_util::stream::{self, StreamExt as _};
use kube::Client;
use kube::core::Request;
use kube::core::params::{ListParams, WatchParams};
use model::ObjectName;
use prometheus::IntCounter;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use super::decode::{self, Head, Line, Page};
use super::known::Known;
use super::{Change, Changes, Malformed, Selection, Watched};
use crate::backoff::Backoff;

/// Watches the objects of a kind without an end; what they were projected to is what is reported.
pub(crate) fn watch<K: Watched, T: Send + 'static>(
    client: Client,
    selection: Selection,
    restarts: IntCounter,
    project: impl Fn(K) -> T + Send + 'static,
) -> Changes<T> {
    let watcher = Watcher {
        request: Request::new(K::url_path(&(), selection.namespace.as_deref())),
        health: Health {
            kind: K::kind(&()).into_owned(),
            failing: false,
            backoff: Backoff::new(),
            restarts,
        },
        client,
        selection,
        decode: Box::new(move |raw| decode::object::<K>(raw).map(&project)),
        phase: Phase::List { token: None },
        page: FIRST_PAGE,
        known: Known::default(),
        synced: false,
        ready: VecDeque::new(),
    };
    stream::unfold(watcher, |mut watcher| async move {
        let change = watcher.next().await;
        Some((change, watcher))
    })
    .boxed()
}

type Decode<T> = Box<dyn Fn(&RawValue) -> Result<T, Malformed> + Send>;

struct Watcher<T> {
    client: Client,
    request: Request,
    selection: Selection,
    decode: Decode<T>,
    phase: Phase,
    /// How many objects are asked for at once.
    page: u32,
    known: Known,
    synced: bool,
    /// Bounded by a page.
    ready: VecDeque<Change<T>>,
    health: Health,
}

enum Phase {
    /// Take the page that `token` leads to, or the first.
    List { token: Option<String> },
    /// Ask for the changes since `version`.
    Open { version: String },
    /// Take changes as they come.
    Follow {
        version: String,
        lines: Lines,
        opened: Instant,
    },
}

type Lines = Pin<Box<dyn AsyncBufRead + Send>>;

/// Why the API has to be asked again.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the request cannot be made")]
    Request(#[from] kube::core::request::Error),
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    Silent,
    #[error("the answer is not what the API speaks")]
    Answer(#[from] serde_json::Error),
    #[error("the connection broke")]
    Broken(#[from] std::io::Error),
    #[error("a line of more than {MAX_LINE} bytes")]
    TooLong,
    #[error("watches end as soon as they begin")]
    TooShort,
    #[error("{0}")]
    Refused(Box<kube::core::Status>),
}

impl Fault {
    /// Whether the version or page that was asked for is no longer kept.
    fn is_gone(&self) -> bool {
        match self {
            Self::Api(kube::Error::Api(status)) | Self::Refused(status) => status.code == 410,
            _ => false,
        }
    }

    /// Whether it belongs to how watches work; nobody has to be told.
    fn is_of_the_protocol(&self) -> bool {
        self.is_gone() || matches!(self, Self::TooShort)
    }
}

impl<T> Watcher<T> {
    async fn next(&mut self) -> Change<T> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return change;
            }
            if let Err(fault) = self.step().await {
                self.recover(&fault);
                self.health.fault(&fault).await;
            }
        }
    }

    /// From where to go on.
    fn recover(&mut self, fault: &Fault) {
        match &mut self.phase {
            _ if fault.is_gone() => self.phase = Phase::List { token: None },
            Phase::Follow { version, .. } => {
                let version = std::mem::take(version);
                self.phase = Phase::Open { version };
            }
            // A list whose page failed begins anew: `step` took the token.
            Phase::List { .. } | Phase::Open { .. } => {}
        }
    }

    async fn step(&mut self) -> Result<(), Fault> {
        match &mut self.phase {
            Phase::List { token } => {
                let token = token.take();
                self.list(token).await
            }
            Phase::Open { version } => {
                let version = version.clone();
                self.open(version).await
            }
            Phase::Follow { .. } => self.follow().await,
        }
    }

    async fn list(&mut self, token: Option<String>) -> Result<(), Fault> {
        let first = token.is_none();
        let request = self.request.list(&ListParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            limit: Some(self.page),
            continue_token: token,
            ..ListParams::default()
        })?;
        let body = timeout(ANSWER_TIMEOUT, self.client.request_text(request))
            .await
            .map_err(|_| Fault::Silent)??;
        let page: Page<'_> = serde_json::from_str(&body)?;
        self.page = next_page(body.len(), page.items.as_ref().map_or(0, Vec::len));
        self.health.well();
        if first {
            self.known.begin_list();
        }
        for raw in page.items.iter().flatten() {
            self.see(raw);
        }
        let next = page.metadata.continue_token.filter(|it| !it.is_empty());
        if next.is_some() {
            self.phase = Phase::List { token: next };
            return Ok(());
        }
        let gone = self.known.end_list();
        self.ready.extend(gone.into_iter().map(Change::Removed));
        if !std::mem::replace(&mut self.synced, true) {
            self.ready.push_back(Change::Synced);
        }
        let version = page.metadata.resource_version.unwrap_or_default();
        self.phase = Phase::Open { version };
        Ok(())
    }

    async fn open(&mut self, version: String) -> Result<(), Fault> {
        let seconds = WATCH_SECONDS + fastrand::u32(0..WATCH_SECONDS_SPREAD);
        let parameters = WatchParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            timeout: Some(seconds),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = self.request.watch(&parameters, &version)?;
        let lines = timeout(ANSWER_TIMEOUT, self.client.request_stream(request))
            .await
            .map_err(|_| Fault::Silent)??;
        self.health.well();
        self.phase = Phase::Follow {
            version,
            lines: Box::pin(lines),
            opened: Instant::now(),
        };
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), Fault> {
        let Phase::Follow {
            version,
            lines,
            opened,
        } = &mut self.phase
        else {
            return Ok(());
        };
        // The server ends the watch by itself before this; when it does not, it is gone.
        let received = timeout(WATCH_SILENCE, line(lines)).await;
        if opened.elapsed() >= SHORT_WATCH {
            self.health.steady();
        }
        let Some(text) = received.map_err(|_| Fault::Silent)?? else {
            let ended_at_once = opened.elapsed() < SHORT_WATCH;
            let version = std::mem::take(version);
            self.phase = Phase::Open { version };
            return match ended_at_once {
                true => Err(Fault::TooShort),
                false => Ok(()),
            };
        };
        let line: Line<'_> = serde_json::from_slice(&text)?;
        if line.kind == "ERROR" {
            return Err(Fault::Refused(Box::new(decode::status(line.object))));
        }
        self.health.steady();
        let head = Head::read(line.object)?;
        if is_replay(version, head.resource_version()) {
            return Ok(());
        }
        head.resource_version().clone_into(version);
        match &*line.kind {
            "ADDED" | "MODIFIED" => self.see(line.object),
            "DELETED" => {
                let name = head.name();
                if self.known.forget(&name) {
                    self.ready.push_back(Change::Removed(name));
                }
            }
            // BOOKMARK, which only moves the version, and whatever comes to be.
            _ => {}
        }
        Ok(())
    }

    /// Reports an object, unless it was reported in this version.
    fn see(&mut self, raw: &RawValue) {
        let head = match Head::read(raw) {
            Ok(head) => head,
            Err(error) => {
                let kind = &self.health.kind;
                tracing::warn!("a {kind} without legible metadata is passed over: {error}");
                return;
            }
        };
        let name = head.name();
        if self.known.see(&name, head.version()) {
            self.ready.push_back(self.decoded(name, raw));
        }
    }

    fn decoded(&self, name: ObjectName, raw: &RawValue) -> Change<T> {
        match (self.decode)(raw) {
            Ok(projected) => Change::Set(name, projected),
            Err(malformed) => Change::Malformed(name, malformed),
        }
    }
}

/// Whether an event is not after the version that the watch has reached. Versions are numbers that
/// grow (KEP-5504); where they are not, nothing is a replay.
fn is_replay(reached: &str, version: &str) -> bool {
    match (reached.parse::<u64>(), version.parse::<u64>()) {
        (Ok(reached), Ok(version)) => version <= reached,
        _ => false,
    }
}

/// The next line; `None` when the watch ended in order.
async fn line(lines: &mut Lines) -> Result<Option<Vec<u8>>, Fault> {
    let mut text = Vec::new();
    // A line can be long, but not without bound.
    let mut bounded = lines.take(MAX_LINE);
    bounded.read_until(b'\n', &mut text).await?;
    match text.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(text)),
        Some(_) if bounded.limit() == 0 => Err(Fault::TooLong),
        Some(_) => Err(Fault::Broken(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Says once that the API fails, and once that it is back.
struct Health {
    kind: String,
    failing: bool,
    backoff: Backoff,
    restarts: IntCounter,
}

impl Health {
    /// The API answered.
    fn well(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!("watching {}: the API answers again", self.kind);
        }
    }

    /// Waits before the next try. A server may answer well and yet end every watch at once: only
    /// [`Health::steady`] makes the waits short again.
    async fn fault(&mut self, fault: &Fault) {
        self.restarts.inc();
        if fault.is_of_the_protocol() {
            tracing::debug!("watching {}: beginning anew: {fault}", self.kind);
        } else if !std::mem::replace(&mut self.failing, true) {
            let fault = error_chain(fault);
            tracing::warn!(
                "watching {}: trying again until it works, what is known stays in effect: {fault}",
                self.kind
            );
        }
        tokio::time::sleep(self.backoff.next()).await;
    }

    fn steady(&mut self) {
        self.backoff.reset();
    }
}

/// How many objects of this size are a page: as many as client-go takes, but no more bytes than a page of
/// small objects has. What was once held for large ones, as Nodes with their images, is not given back soon.
fn next_page(bytes: usize, objects: usize) -> u32 {
    let each = bytes.checked_div(objects).unwrap_or(0).max(1);
    let fitting = u32::try_from(PAGE_BYTES / each).unwrap_or(PAGE);
    fitting.clamp(SMALLEST_PAGE, PAGE)
}

const PAGE: u32 = 500;
/// The first one tells how large the objects are.
const FIRST_PAGE: u32 = 100;
const SMALLEST_PAGE: u32 = 20;
const PAGE_BYTES: usize = 1 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a watch is asked to last; spread, so that not all of them begin anew at once.
const WATCH_SECONDS: u32 = 240;
const WATCH_SECONDS_SPREAD: u32 = 50;
const WATCH_SILENCE: Duration = Duration::from_secs(300);
/// A watch that ends sooner is a fault: beginning the next at once would spin.
const SHORT_WATCH: Duration = Duration::from_secs(1);
/// Objects are limited to about 1.5 MB by the store of a real API server.
const MAX_LINE: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_few_large_objects_and_many_small_ones() {
        for (bytes, objects, want) in [
            (0, 0, PAGE),
            (200, 0, PAGE),
            (100 * 1000, 100, PAGE),
            (100 * 13_000, 100, 80),
            (20 * 900_000, 20, SMALLEST_PAGE),
        ] {
            assert_eq!(next_page(bytes, objects), want, "{bytes} {objects}");
        }
    }
}

//! Watches: a cursor into a collection's history, turned into a stream of events.
//!
//! ```text
//!  initial objects (ADDED…) ─▶ [bookmark "initial-events-end"] ─▶ history after the cursor ─▶ …
//!                                                   ▲                      │
//!                                                   └── wait for a change, │ a bookmark's time,
//!                                                       the end of time ◀──┘ a fault
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    faults::{Cut, Suffering},
    list::{invalid_options, too_old, version_parameter},
    object::Object,
    query::Query,
    registry::ResourceType,
    render::{Chunk, Form},
    reply::Closed,
    selector::Selection,
    server::ApiServer,
    status::Status,
    store::{Change, Event, TooOld},
    target::Target,
};

/// The parameters of a watch.
#[derive(Debug)]
pub(crate) struct WatchOptions {
    selection: Selection,
    bookmarks: bool,
    timeout: Option<Duration>,
    start: Start,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With what exists now, as ADDED events; then, if asked for, a bookmark that says so.
    State { announce_end: bool },
    /// After this version.
    After(u64),
}

impl WatchOptions {
    pub(crate) fn parse(target: &Target, query: &Query) -> Result<Self, Status> {
        let mut selection = Selection::parse(
            &target.resource,
            query.get("labelSelector"),
            query.get("fieldSelector"),
        )?;
        if let Some(name) = &target.name {
            selection = selection.named(name);
        }
        let version = version_parameter(query)?;
        let matching = query.get("resourceVersionMatch");
        let start = match query.get("sendInitialEvents") {
            None if matching.is_some() => {
                return Err(invalid_options(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
                     provided",
                ));
            }
            Some(_) if matching != Some("NotOlderThan") => {
                return Err(invalid_options(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            Some(_) if query.flag("sendInitialEvents") => Start::State { announce_end: true },
            _ => match version {
                None | Some(0) => Start::State {
                    announce_end: false,
                },
                Some(version) => Start::After(version),
            },
        };
        Ok(Self {
            selection,
            bookmarks: query.flag("allowWatchBookmarks"),
            timeout: query
                .number("timeoutSeconds")?
                .filter(|it| *it > 0)
                .map(Duration::from_secs),
            start,
        })
    }
}

/// A watch that runs. Holds no events, only a place in the history.
struct Watcher {
    server: ApiServer,
    resource: Arc<ResourceType>,
    namespace: Option<String>,
    selection: Selection,
    form: Form,
    /// Everything up to this version was sent or is of no concern.
    cursor: u64,
    /// What is still to be sent of the state at the start, last first.
    initial: Vec<Arc<Object>>,
    announce_end: bool,
    /// The start is no longer in the history.
    forgotten: Option<TooOld>,
    bookmarks: Option<Instant>,
    deadline: Instant,
    changes: watch::Receiver<u64>,
    cuts: watch::Receiver<Cut>,
    suffering: Suffering,
    sent: u32,
    /// The stream ends with the piece at hand.
    ended: bool,
}

/// Most events that are taken from the history at once.
const BATCH: usize = 64;

impl ApiServer {
    /// Starts a watch.
    pub(crate) fn watch(
        &self,
        target: &Target,
        options: WatchOptions,
        form: Form,
        suffering: Suffering,
    ) -> impl Stream<Item = Result<Bytes, Closed>> + Send + use<> {
        let storage = &target.resource.storage;
        // Subscribed before the list, so that no change falls between them.
        let changes = self.store().subscribe(storage);
        let (cursor, initial, announce_end) = match options.start {
            Start::After(version) => (version.saturating_sub(suffering.replay), Vec::new(), false),
            Start::State { announce_end } => {
                let mut now = self.store().list(storage, target.namespace.as_deref());
                now.objects
                    .retain(|object| options.selection.matches(object));
                now.objects.reverse();
                (now.version, now.objects, announce_end)
            }
        };
        let now = Instant::now();
        let watcher = Watcher {
            server: self.clone(),
            resource: Arc::clone(&target.resource),
            namespace: target.namespace.clone(),
            selection: options.selection,
            form,
            cursor,
            initial,
            announce_end,
            forgotten: self.store().check_kept(storage, cursor).err(),
            bookmarks: options
                .bookmarks
                .then(|| now + self.options().bookmark_interval),
            deadline: now
                + options
                    .timeout
                    .unwrap_or_else(|| self.options().watch_timeout),
            changes,
            cuts: self.faults().cuts(),
            suffering,
            sent: 0,
            ended: false,
        };
        stream::unfold(watcher, |mut watcher| async {
            let piece = watcher.next().await?;
            Some((piece, watcher))
        })
    }
}

impl Watcher {
    /// The next piece of the stream: some events, or its end.
    async fn next(&mut self) -> Option<Result<Bytes, Closed>> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(cut) = self.cut() {
                return self.end(cut);
            }
            let piece = self.ready();
            if !piece.is_empty() {
                return Some(Ok(piece));
            }
            if self.broken() {
                return self.end(Cut::Broken);
            }
            if Instant::now() >= self.deadline {
                return self.end(Cut::Cleanly);
            }
            self.wait().await;
        }
    }

    fn cut(&self) -> Option<Cut> {
        // Only a cut that came after the start of this watch counts.
        let changed = self.cuts.has_changed().unwrap_or(true);
        changed.then(|| *self.cuts.borrow())
    }

    fn end(&mut self, how: Cut) -> Option<Result<Bytes, Closed>> {
        self.ended = true;
        (how == Cut::Broken).then_some(Err(Closed))
    }

    fn broken(&self) -> bool {
        self.suffering
            .break_after
            .is_some_and(|events| self.sent >= events)
    }

    /// What can be sent at once.
    fn ready(&mut self) -> Bytes {
        let mut chunk = Chunk::new();
        if let Some(error) = self.forgotten.take() {
            self.give_up(&mut chunk, error);
            return chunk.take();
        }
        while !chunk.is_full()
            && !self.broken()
            && let Some(object) = self.initial.pop()
        {
            self.send(&mut chunk, "ADDED", &object);
        }
        if !self.initial.is_empty() || self.broken() {
            return chunk.take();
        }
        if std::mem::take(&mut self.announce_end) {
            let annotations = json!({ "k8s.io/initial-events-end": "true" });
            self.bookmark(&mut chunk, Some(annotations));
        }
        self.changes.borrow_and_update();
        let storage = &self.resource.storage;
        match self
            .server
            .store()
            .events_after(storage, self.cursor, BATCH)
        {
            Ok((events, complete)) => {
                events
                    .iter()
                    .for_each(|event| self.pass_on(&mut chunk, event));
                self.cursor = complete;
                self.remind(&mut chunk);
            }
            Err(error) => self.give_up(&mut chunk, error),
        }
        chunk.take()
    }

    fn give_up(&mut self, chunk: &mut Chunk, error: TooOld) {
        let status = too_old(error, self.cursor).to_json().to_string();
        write(chunk, "ERROR", status.as_bytes());
        self.ended = true;
    }

    /// Sends a change as it looks through the selection: what enters it is added, what leaves it
    /// is deleted.
    fn pass_on(&mut self, chunk: &mut Chunk, event: &Event) {
        if self.broken() {
            return;
        }
        let inside = |it: &Object| {
            self.namespace
                .as_deref()
                .is_none_or(|namespace| *it.key.namespace == *namespace)
                && self.selection.matches(it)
        };
        let before = event.previous.as_deref().is_some_and(inside);
        let after = event.change != Change::Deleted && inside(&event.object);
        match (before, after) {
            (false, true) => self.send(chunk, "ADDED", &event.object),
            (true, true) => self.send(chunk, "MODIFIED", &event.object),
            (true, false) => self.send(chunk, "DELETED", &event.object),
            (false, false) => {}
        }
    }

    fn send(&mut self, chunk: &mut Chunk, kind: &str, object: &Object) {
        let json = self.form.object(&self.resource, object, self.server.time());
        for _ in 0..=u8::from(self.suffering.duplicate) {
            write(chunk, kind, &json);
        }
        self.sent += 1;
    }

    /// Sends a bookmark when one is due.
    fn remind(&mut self, chunk: &mut Chunk) {
        let now = Instant::now();
        let Some(due) = self.bookmarks else { return };
        // The last one is sent just before the end, so that the next watch starts late.
        if now >= due || now >= self.deadline {
            let next = now + self.server.options().bookmark_interval;
            self.bookmarks = (now < self.deadline).then_some(next);
            self.bookmark(chunk, None);
        }
    }

    fn bookmark(&self, chunk: &mut Chunk, annotations: Option<Value>) {
        let mut metadata =
            json!({ "resourceVersion": self.cursor.to_string(), "creationTimestamp": null });
        if let Some(annotations) = annotations {
            metadata["annotations"] = annotations;
        }
        let (kind, api_version) = match self.form {
            Form::Whole => (self.resource.kind.as_str(), self.resource.api_version()),
            Form::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
            Form::Table(_) => ("Table", "meta.k8s.io/v1".to_owned()),
        };
        let object = json!({ "kind": kind, "apiVersion": api_version, "metadata": metadata });
        write(chunk, "BOOKMARK", object.to_string().as_bytes());
    }

    /// Waits until something may have to be sent.
    async fn wait(&mut self) {
        let wake = self
            .bookmarks
            .map_or(self.deadline, |due| due.min(self.deadline));
        // A clone, because to see a cut here would mark it as seen.
        let mut cuts = self.cuts.clone();
        tokio::select! {
            _ = self.changes.changed() => {}
            _ = cuts.changed() => {}
            () = sleep_until(wake) => {}
        }
    }
}

fn write(chunk: &mut Chunk, kind: &str, object: &[u8]) {
    chunk.push(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
    chunk.push(object);
    chunk.push(b"}\n");
}

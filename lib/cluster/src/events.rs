//! Kubernetes Events: findings, where `kubectl describe` shows them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use daemon::{Process, error_chain};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::gvk::ParseGroupVersionError;
use kube::core::{GroupVersion, PartialObjectMeta};
use kube::{Client, ResourceExt as _};
use model::ObjectRef;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::metrics::Metrics;

/// Whether an Event tells of something wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// Somebody has to do something.
    Warning,
}

/// Writes Events about objects, slowly and without being waited for.
///
/// The same Event again raises its count instead of making another, also after a restart and from
/// other replicas: its name is made from what it says.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Report>,
    metrics: Metrics,
}

/// One Event to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) object: ObjectRef,
    pub(crate) kind: EventKind,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Events {
    /// Starts to write Events under the process's name. Those about objects without a namespace go
    /// to `default`, where kubectl looks for them.
    pub(crate) fn start(client: Client, process: &Process, metrics: Metrics) -> Self {
        let (queue, reports) = mpsc::channel(QUEUE);
        let writer = Writer {
            client,
            component: process.name().to_owned(),
            instance: instance(),
            metrics: metrics.clone(),
        };
        process.tasks().spawn("events", writer.run(reports));
        Self { queue, metrics }
    }

    /// Tells of something that went well. `reason` is one CamelCase word.
    pub fn normal(&self, object: ObjectRef, reason: &'static str, message: impl Into<String>) {
        self.tell(object, EventKind::Normal, reason, message.into());
    }

    /// Tells of something that went wrong once; what stays wrong belongs to [`crate::Problems`].
    pub fn warning(&self, object: ObjectRef, reason: &'static str, message: impl Into<String>) {
        self.tell(object, EventKind::Warning, reason, message.into());
    }

    fn tell(&self, object: ObjectRef, kind: EventKind, reason: &'static str, message: String) {
        let report = Report {
            object,
            kind,
            reason,
            message,
        };
        if self.queue.try_send(report).is_err() {
            self.metrics.events_dropped.inc();
        }
    }

    /// Waits for room for one Event.
    pub(crate) async fn room(&self) -> Option<mpsc::Permit<'_, Report>> {
        self.queue.reserve().await.ok()
    }
}

struct Writer {
    client: Client,
    component: String,
    instance: String,
    metrics: Metrics,
}

/// Why an Event is not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Kind(#[from] ParseGroupVersionError),
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    Silent,
}

impl WriteError {
    /// Whether the same may work later: not when the API has understood and refuses.
    fn may_pass(&self) -> bool {
        match self {
            Self::Api(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
            Self::Api(_) | Self::Silent => true,
            Self::Kind(_) => false,
        }
    }
}

impl Writer {
    async fn run(self, mut reports: mpsc::Receiver<Report>) {
        let mut failing = false;
        // When the next Event would be due if there were no burst (GCRA).
        let mut due = Instant::now();
        while let Some(report) = reports.recv().await {
            let begin = due.checked_sub(PACE * BURST).unwrap_or(due);
            tokio::time::sleep_until(begin).await;
            due = due.max(Instant::now()) + PACE;
            match self.write_with_patience(&report).await {
                Ok(()) => failing = false,
                Err(error) => {
                    self.metrics.events_dropped.inc();
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!("cannot write Events: {}", error_chain(&error));
                    }
                }
            }
        }
    }

    /// Tries some times: what waits meanwhile is bounded, and coalesced where it is problems.
    async fn write_with_patience(&self, report: &Report) -> Result<(), WriteError> {
        let mut backoff = Backoff::new();
        for _ in 1..TRIES {
            match self.write_in_time(report).await {
                Err(error) if error.may_pass() => tokio::time::sleep(backoff.next()).await,
                ended => return ended,
            }
        }
        self.write_in_time(report).await
    }

    async fn write_in_time(&self, report: &Report) -> Result<(), WriteError> {
        let written = tokio::time::timeout(ANSWER_TIMEOUT, self.write(report)).await;
        written.unwrap_or(Err(WriteError::Silent))
    }

    async fn write(&self, report: &Report) -> Result<(), WriteError> {
        let Some(regarding) = self.regarding(&report.object).await? else {
            return Ok(());
        };
        let event = self.event(report, regarding);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => repeat(&api, &event).await,
            // The namespace is gone or going: nobody will look there.
            Err(kube::Error::Api(status))
                if status.code == 404 || status.message.contains("being terminated") =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The object as Events refer to it; with its uid, for kubectl selects by that. `None` when it
    /// is gone.
    async fn regarding(&self, object: &ObjectRef) -> Result<Option<ObjectReference>, WriteError> {
        let version: GroupVersion = object.kind.api_version().parse()?;
        let resource = ApiResource::from_gvk(&version.with_kind(object.kind.as_str()));
        let namespace = &*object.name.namespace;
        let api: Api<DynamicObject> = if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        };
        let found: Option<PartialObjectMeta<DynamicObject>> =
            api.get_metadata_opt(&object.name.name).await?;
        Ok(found.map(|found| ObjectReference {
            api_version: Some(object.kind.api_version().to_owned()),
            kind: Some(object.kind.as_str().to_owned()),
            name: Some(object.name.name.to_string()),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            resource_version: found.resource_version(),
            uid: found.uid(),
            ..ObjectReference::default()
        }))
    }

    fn event(&self, report: &Report, regarding: ObjectReference) -> Event {
        let now = Time(jiff::Timestamp::now());
        let namespace = regarding.namespace.as_deref().unwrap_or("default");
        Event {
            metadata: ObjectMeta {
                name: Some(event_name(
                    report,
                    regarding.uid.as_deref(),
                    &self.component,
                )),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: regarding,
            type_: Some(format!("{:?}", report.kind)),
            reason: Some(report.reason.to_owned()),
            message: Some(cut(&report.message)),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: None,
            }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// Raises the count of an Event that exists. Two that do so at once may count once: it is a hint.
async fn repeat(api: &Api<Event>, event: &Event) -> Result<(), WriteError> {
    let name = event.name_any();
    let count = match api.get_opt(&name).await? {
        Some(written) => written.count.unwrap_or(1).saturating_add(1),
        None => return Ok(()),
    };
    let patch = json!({ "count": count, "lastTimestamp": event.last_timestamp });
    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// The same for the same words about the same object.
fn event_name(report: &Report, uid: Option<&str>, component: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (&report.object, uid, component).hash(&mut hasher);
    (report.kind, report.reason, &report.message).hash(&mut hasher);
    // Names are DNS subdomains of at most 253 bytes.
    let object = report.object.name.name.get(..200);
    let object = object.unwrap_or(&report.object.name.name);
    format!("{object}.{:016x}", hasher.finish())
}

/// The API takes messages of at most 1024 bytes.
fn cut(message: &str) -> String {
    let mut end = message.len().min(MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    if end == message.len() {
        return message.to_owned();
    }
    format!("{}…", &message[..end])
}

/// The pod's name, which is its host name.
fn instance() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// Events that wait to be written.
const QUEUE: usize = 256;
/// Written at once, before the pace begins.
const BURST: u32 = 25;
/// An API server takes about this many from one source before it begins to refuse.
const PACE: Duration = Duration::from_millis(100);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// With their waits, an outage of some seconds.
const TRIES: usize = 6;
/// Leaves room for the ellipsis.
const MESSAGE: usize = 1020;

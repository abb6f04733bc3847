//! The handle to the embedded API: what it holds and how others reach it.

use std::{
    fmt,
    future::Future,
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    crd,
    faults::Faults,
    object::{Key, metadata_text},
    registry::{Registry, ResourceType, StorageId},
    service::ApiService,
    status::Status,
    store::{Bounds, Store},
    target::Target,
    write::{Manager, WriteOptions},
};

/// An in-memory Kubernetes API. Clones are handles to the same one.
#[derive(Clone)]
pub struct ApiServer(Arc<Shared>);

struct Shared {
    store: Store,
    // A lock: it guards a pointer that is read per request and swapped when a
    // CustomResourceDefinition changes.
    registry: RwLock<Arc<Registry>>,
    faults: Faults,
    options: Options,
}

/// Limits and the clock.
#[derive(Clone, Debug)]
pub struct Options {
    /// Changes kept for each resource; a watch that starts before them is told 410.
    pub history: usize,
    /// Bytes of objects in these changes.
    pub history_bytes: usize,
    /// Most items in one page of a list that asks for pages.
    pub page_size: usize,
    /// Largest body of a request, and largest object.
    pub body_size: usize,
    /// How often a watch that asked for bookmarks gets one.
    pub bookmark_interval: Duration,
    /// After how long a watch ends that names no time itself.
    pub watch_timeout: Duration,
    /// The clock of creation times and such.
    pub clock: fn() -> Timestamp,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history: 10_000,
            history_bytes: 64 << 20,
            page_size: 10_000,
            body_size: 3 << 20,
            bookmark_interval: Duration::from_mins(1),
            watch_timeout: Duration::from_mins(30),
            clock: Timestamp::now,
        }
    }
}

/// What [`ApiServer::apply`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// There was no such object.
    Created,
    /// The object was different.
    Changed,
    /// The object was already so.
    Unchanged,
}

/// Names one object, whatever holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// Such as `networking.k8s.io/v1`.
    pub api_version: String,
    /// Such as `Ingress`.
    pub kind: String,
    /// Empty for cluster-scoped objects, and for the namespace `default`.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
}

impl ObjectId {
    /// The identity that an object states, if it is complete.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |member: &str| {
            object
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let id = Self {
            api_version: text("apiVersion").to_owned(),
            kind: text("kind").to_owned(),
            namespace: metadata_text(object, "namespace").to_owned(),
            name: metadata_text(object, "name").to_owned(),
        };
        let complete = !id.api_version.is_empty() && !id.kind.is_empty() && !id.name.is_empty();
        complete.then_some(id)
    }
}

impl ApiServer {
    /// An API that holds the namespaces a cluster starts with.
    pub fn new() -> Self {
        Self::with_options(Options::default())
    }

    /// An API with these limits.
    pub fn with_options(options: Options) -> Self {
        let bounds = Bounds {
            events: options.history,
            bytes: options.history_bytes,
        };
        let server = Self(Arc::new(Shared {
            store: Store::new(bounds),
            registry: RwLock::new(Arc::new(Registry::builtin())),
            faults: Faults::new(),
            options,
        }));
        for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            server.ensure_namespace(namespace);
        }
        server
    }

    /// A client of this API that needs no network. Must be called within a tokio runtime.
    pub fn client(&self, default_namespace: &str) -> kube::Client {
        kube::Client::new(self.service(), default_namespace)
    }

    /// The API as a service of HTTP requests.
    pub fn service(&self) -> ApiService {
        ApiService::new(self.clone())
    }

    /// Serves HTTP/1.1 and HTTP/2 without TLS until `shutdown`, then lets answers finish.
    ///
    /// Nobody is authenticated: this is for one machine and for tests.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        crate::serve::serve(self, listener, shutdown).await
    }

    /// Makes the object what this document says, as `kubectl apply` would for `manager`.
    ///
    /// What the manager applied before and no longer says is removed; what others wrote, such as
    /// the status, stays.
    pub fn apply(&self, manager: &str, object: Value) -> Result<Applied, Status> {
        let target = self.target_of(&object)?;
        crate::upsert::upsert(self, &target, manager, object)
    }

    /// Removes the object as `kubectl delete` would; false if there is none.
    pub fn delete(&self, id: &ObjectId) -> Result<bool, Status> {
        let resource = self.resource(&id.api_version, &id.kind)?;
        let target = Target::object(resource, &id.namespace, &id.name);
        match self.remove(&target, &Value::Null, &WriteOptions::by(Manager::unnamed())) {
            Ok(_) => Ok(true),
            Err(status) if status.code == 404 => Ok(false),
            Err(status) => Err(status),
        }
    }

    /// The object as it is now, if it exists.
    pub fn get(&self, id: &ObjectId) -> Result<Option<Value>, Status> {
        let resource = self.resource(&id.api_version, &id.kind)?;
        let target = Target::object(resource, &id.namespace, &id.name);
        let found = self.store().get(&target.resource.storage, &target.key());
        Ok(found.map(|object| object.value()))
    }

    /// Misbehaviour on demand.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn time(&self) -> Timestamp {
        (self.0.options.clock)()
    }

    pub(crate) fn now(&self) -> String {
        self.time().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(
            &self
                .0
                .registry
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Takes over what the stored CustomResourceDefinitions declare now.
    pub(crate) fn reload_custom_types(&self) {
        let mut slot = self
            .0
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Listed under the lock, so that the newest list wins.
        let definitions = self
            .store()
            .list(&StorageId::from(crate::registry::CRDS), None);
        let custom = definitions
            .objects
            .iter()
            .flat_map(|it| crd::resources(&it.value()));
        *slot = Arc::new(Registry::with(custom));
    }

    /// The type that a document names.
    pub(crate) fn resource(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Arc<ResourceType>, Status> {
        self.registry()
            .by_kind(api_version, kind)
            .cloned()
            .ok_or_else(|| {
                Status::new(
                    http::StatusCode::NOT_FOUND,
                    "NotFound",
                    format!("no matches for kind {kind:?} in version {api_version:?}"),
                )
            })
    }

    fn target_of(&self, object: &Value) -> Result<Target, Status> {
        let text = |member: &str| {
            object
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let resource = self.resource(text("apiVersion"), text("kind"))?;
        let namespace = metadata_text(object, "namespace");
        Ok(Target::object(
            resource,
            namespace,
            metadata_text(object, "name"),
        ))
    }

    /// Makes the namespace if it is missing: on one machine nobody else would.
    pub(crate) fn ensure_namespace(&self, name: &str) {
        let registry = self.registry();
        let Some(resource) = registry.by_plural("", "v1", "namespaces") else {
            return;
        };
        if self
            .store()
            .get(&resource.storage, &Key::new("", name))
            .is_some()
        {
            return;
        }
        let body = serde_json::json!({ "metadata": { "name": name } });
        let target = Target::object(Arc::clone(resource), "", name);
        // A name that no namespace may have is refused with the object that wants to be in it.
        let _ = self.create(&target, body, &WriteOptions::by(Manager::unnamed()));
    }
}

impl Default for ApiServer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("version", &self.store().version())
            .finish()
    }
}

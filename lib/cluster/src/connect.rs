//! The cluster that the flags name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apiserver::ApiServer;
use daemon::Process;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use model::Problem;
use prometheus::IntCounter;
use tokio::net::TcpListener;
use tokio::sync::watch as state;

use crate::Flags;
use crate::endpoints::{Annotated, Maker};
use crate::events::Events;
use crate::leader::{Candidate, Leader, LeaseTimes};
use crate::manifests::{self, Changed, Finding, Folder, FolderError, Watching};
use crate::metrics::Metrics;
use crate::problems::Problems;
use crate::status::StatusWriter;
use crate::watch::{Changes, Selection, Watched, watch};

/// A cluster: an API server, or a folder of manifests in an API of this process. Copies are the same.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    process: Process,
    namespace: String,
    metrics: Metrics,
    events: Events,
    problems: Problems,
    findings: state::Receiver<Arc<[Finding]>>,
    api_addr: Option<SocketAddr>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `--kubeconfig` is not a kubeconfig.
    #[error("--kubeconfig {file}")]
    Kubeconfig {
        /// The file asked for.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// There is no service account.
    #[error("not in a pod: give --kubeconfig or --manifests")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// What the configuration says is not enough to make requests.
    #[error("cannot make a client of the API server")]
    Client(#[source] Box<kube::Error>),
    /// `--manifests` cannot be watched.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// `--api-listen` cannot be listened on.
    #[error("cannot listen on --api-listen {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The process has this crate's metrics already: one cluster a process.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    /// Reading the folder panicked.
    #[error("reading the manifests failed")]
    Load(#[from] tokio::task::JoinError),
}

/// A folder of manifests that was read once.
#[derive(Debug)]
pub struct Offline {
    /// The API that holds its objects.
    pub api: ApiServer,
    /// What is wrong with its documents.
    pub findings: Vec<Finding>,
    /// What is wrong with objects of it, as far as this crate can tell.
    pub problems: Vec<Problem>,
}

impl Cluster {
    /// Finds the cluster; a folder is read when this returns, an API server is not yet asked.
    ///
    /// # Errors
    ///
    /// When the flags lead nowhere.
    pub async fn connect(flags: &Flags, process: &Process) -> Result<Self, ConnectError> {
        let metrics = Metrics::register(process.registry(), process.name())?;
        match &flags.manifests {
            Some(folder) => Self::of_folder(folder, flags, process, metrics).await,
            None => {
                let config = match &flags.kubeconfig {
                    Some(file) => kubeconfig(file).await?,
                    None => Config::incluster()
                        .map_err(|error| ConnectError::InCluster(Box::new(error)))?,
                };
                let client = Client::try_from(config)
                    .map_err(|error| ConnectError::Client(Box::new(error)))?;
                let (_, findings) = state::channel(Arc::default());
                Ok(Self::new(
                    client,
                    &flags.namespace,
                    process,
                    metrics,
                    findings,
                ))
            }
        }
    }

    /// The cluster behind a client, for those that make their own, as tests do.
    ///
    /// # Errors
    ///
    /// When the process has a cluster already.
    pub fn with_client(client: Client, process: &Process) -> Result<Self, ConnectError> {
        let metrics = Metrics::register(process.registry(), process.name())?;
        let (_, findings) = state::channel(Arc::default());
        let namespace = client.default_namespace().to_owned();
        Ok(Self::new(client, &namespace, process, metrics, findings))
    }

    fn new(
        client: Client,
        namespace: &str,
        process: &Process,
        metrics: Metrics,
        findings: state::Receiver<Arc<[Finding]>>,
    ) -> Self {
        let events = Events::start(client.clone(), process, metrics.clone());
        Self {
            problems: Problems::start(events.clone(), process, metrics.clone()),
            process: process.clone(),
            namespace: namespace.to_owned(),
            api_addr: None,
            client,
            metrics,
            events,
            findings,
        }
    }

    async fn of_folder(
        path: &Path,
        flags: &Flags,
        process: &Process,
        metrics: Metrics,
    ) -> Result<Self, ConnectError> {
        let api = ApiServer::new();
        let watching = Watching::begin(path)?;
        let folder = load(watching.root(), &api).await?;
        let (sender, findings) = state::channel(Arc::default());
        manifests::publish(&folder, &sender, &metrics.manifest_problems);
        let gauge = metrics.manifest_problems.clone();
        let client = api.client(&flags.namespace);
        let mut cluster = Self::new(client, &flags.namespace, process, metrics, findings);

        let services = cluster.watch(Selection::all(), Annotated::read);
        let mut maker = Maker::new(api.clone(), services);
        maker.sync().await;
        let tasks = process.tasks();
        tasks.spawn("endpoints", maker.run(cluster.problems.clone()));
        tasks.spawn(
            "manifests",
            manifests::watch(watching, folder, sender, gauge),
        );
        if let Some(address) = flags.api_listen {
            cluster.api_addr = Some(serve(api, address, process).await?);
        }
        Ok(cluster)
    }

    /// Reads a folder once, without a process, for commands that only look.
    ///
    /// # Errors
    ///
    /// When there is no such folder.
    pub async fn offline(folder: &Path) -> Result<Offline, ConnectError> {
        let root = folder
            .canonicalize()
            .map_err(|source| FolderError::Folder {
                folder: folder.to_owned(),
                source,
            })?;
        let api = ApiServer::new();
        let findings = load(&root, &api).await?.findings();
        let ignored = IntCounter::new("ignored", "Nobody scrapes a command.")?;
        let client = api.client("default");
        let services = watch(client, Selection::all(), ignored, Annotated::read);
        let mut maker = Maker::new(api.clone(), services);
        maker.sync().await;
        Ok(Offline {
            api,
            findings,
            problems: maker.problems(),
        })
    }

    /// A client of the API.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The daemon's own namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The address that the embedded API is served on, if it is.
    #[must_use]
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api_addr
    }

    /// Watches the objects of a kind, each projected to what is needed of it and dropped at once.
    ///
    /// The stream has no end and no errors: while the API does not answer, nothing changes.
    pub fn watch<K: Watched, T: Send + 'static>(
        &self,
        selection: Selection,
        project: impl Fn(K) -> T + Send + 'static,
    ) -> Changes<T> {
        let kind = K::kind(&());
        let restarts = self.metrics.watch_restarts.with_label_values(&[&*kind]);
        watch(self.client.clone(), selection, restarts, project)
    }

    /// Where problems of objects are reported.
    #[must_use]
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Where Events are written.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What is wrong with the documents of the manifest folder now.
    #[must_use]
    pub fn manifest_findings(&self) -> Arc<[Finding]> {
        self.findings.borrow().clone()
    }

    /// Stands for election by the Lease `name` in the daemon's namespace, as `identity`, which has to
    /// be another one for each process.
    #[must_use]
    pub fn leader(&self, name: &str, identity: &str, times: LeaseTimes) -> Leader {
        let gauge = self.metrics.leader.with_label_values(&[name]);
        let client = self.client.clone();
        let candidate = Candidate::new(client, &self.namespace, (name, identity), times, gauge);
        Leader::start(candidate, &self.process)
    }

    /// Begins to write the status of objects of a kind.
    #[must_use]
    pub fn status_writer<K: Watched>(&self) -> StatusWriter {
        StatusWriter::start::<K>(self.client.clone(), &self.process)
    }
}

async fn kubeconfig(file: &Path) -> Result<Config, ConnectError> {
    let wrong = |source| ConnectError::Kubeconfig {
        file: file.to_owned(),
        source: Box::new(source),
    };
    let read = Kubeconfig::read_from(file).map_err(wrong)?;
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .map_err(wrong)
}

/// Reads all of a folder; parsing blocks, so it is done aside.
async fn load(root: &Path, api: &ApiServer) -> Result<Folder, ConnectError> {
    let mut folder = Folder::new(root.to_owned(), api.clone());
    let folder = tokio::task::spawn_blocking(move || {
        folder.reload(&Changed::all());
        folder
    });
    Ok(folder.await?)
}

async fn serve(
    api: ApiServer,
    address: SocketAddr,
    process: &Process,
) -> Result<SocketAddr, ConnectError> {
    let listening = |source| ConnectError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listening)?;
    let bound = listener.local_addr().map_err(listening)?;
    tracing::info!("the manifests are a Kubernetes API on http://{bound}");
    let shutdown = process.shutdown().clone();
    let until = async move { shutdown.requested().await };
    process.tasks().spawn("api", api.serve(listener, until));
    Ok(bound)
}

//! A manifest folder, compiled once, for commands that only look.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use cluster::{Cluster, ConnectError, Finding};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::Resource;
use kube::api::{Api, ListParams};
use l7_ingress_core::{Change, Compiler, ConfigData, SecretData};
use model::{ObjectName, Problem};
use serde::de::DeserializeOwned;

use crate::settings::{ArgumentError, IngressArgs};
use crate::tls;

/// Why a folder cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfflineError {
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    #[error(transparent)]
    Cluster(#[from] ConnectError),
    #[error(transparent)]
    DefaultCertificate(#[from] tls::DefaultCertificateError),
    #[error("the embedded API does not answer")]
    Api(#[source] Box<kube::Error>),
    #[error("the request is not one: {0}")]
    Request(&'static str),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<kube::Error> for OfflineError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// What a folder amounts to.
pub(crate) struct Offline {
    pub(crate) compiler: Compiler,
    pub(crate) routes: usize,
    pub(crate) findings: Vec<Finding>,
    problems: Vec<Problem>,
}

impl Offline {
    /// Reads and compiles `folder`.
    pub(crate) async fn read(folder: &Path, args: &IngressArgs) -> Result<Self, OfflineError> {
        let settings = args.settings()?;
        let offline = Cluster::offline(folder).await?;
        let default_certificate = tls::default_certificate(&tls::provider())?;
        let mut compiler = Compiler::new(settings, default_certificate);
        let client = offline.api.client("default");
        let mut all = Vec::new();
        list(&client, &mut all, |name, object: &IngressClass| {
            Change::IngressClass(name, Some(l7_ingress_core::IngressClass::read(object)))
        })
        .await?;
        list(&client, &mut all, |name, object: &ConfigMap| {
            Change::ConfigMap(name, ConfigData::read(object))
        })
        .await?;
        list(&client, &mut all, |name, object: &Secret| {
            Change::Secret(name, SecretData::read(object))
        })
        .await?;
        list(&client, &mut all, |name, object: &Service| {
            Change::Service(name, Some(model::Service::from(object)))
        })
        .await?;
        list(&client, &mut all, |name, object: &EndpointSlice| {
            Change::EndpointSlice(name, model::EndpointSlice::read(object))
        })
        .await?;
        list(&client, &mut all, |name, object: &Ingress| {
            Change::Ingress(name, Some(l7_ingress_core::Ingress::read(object)))
        })
        .await?;
        for change in all {
            compiler.apply(change);
        }
        let table = compiler.compile().table;
        let routes = table.map_or(0, |table| table.routes().count());
        Ok(Self {
            compiler,
            routes,
            findings: offline.findings,
            problems: offline.problems,
        })
    }

    /// Everything that could not be honoured in objects.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.compiler.problems(SystemTime::now()).collect();
        problems.extend(self.problems.iter().cloned());
        problems.sort_unstable();
        problems
    }

    /// Keys of the ConfigMap that have no effect.
    pub(crate) fn notes(&self) -> Vec<String> {
        let notes = self.compiler.useless_keys();
        notes
            .map(|(config, key, why)| format!("ConfigMap {config}: data[{key}]: no effect: {why}"))
            .collect()
    }
}

async fn list<K>(
    client: &kube::Client,
    all: &mut Vec<Change>,
    change: impl Fn(ObjectName, &K) -> Change,
) -> Result<(), OfflineError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let objects = Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    all.extend(objects.items.iter().map(|object| {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        change(
            ObjectName::new(namespace, meta.name.as_deref().unwrap_or_default()),
            object,
        )
    }));
    Ok(())
}

/// Runs a command that prints its findings and ends; an error is one line and exit code 2.
pub(crate) fn command(
    name: &str,
    main: impl Future<Output = Result<(String, ExitCode), OfflineError>>,
) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime
        .map_err(OfflineError::Io)
        .and_then(|runtime| runtime.block_on(main));
    let (text, code) = match done {
        Ok(done) => done,
        Err(error) => {
            let chain = daemon::error_chain(&error);
            // Whoever closed the pipe does not want to know.
            let _ = writeln!(io::stderr(), "l7-ingress {name}: {chain}");
            return ExitCode::from(2);
        }
    };
    let _ = io::stdout().write_all(text.as_bytes());
    code
}

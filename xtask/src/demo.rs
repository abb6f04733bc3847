//! `cargo xtask demo`: l7-ingress on a folder of manifests, with backends, until Ctrl-C.

mod page;

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::echo::{self, Identity};
use crate::process::{Daemon, interrupted};
use crate::{certs, probe, workspace};

/// `cargo xtask demo`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of manifests, watched while the demo runs
    #[arg(long, value_name = "DIR", default_value = "deploy/demo")]
    manifests: PathBuf,
    /// Where HTTP is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where HTTPS is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// Where health, metrics and routes are served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10254")]
    admin: SocketAddr,
    /// Where the embedded Kubernetes API is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    api: SocketAddr,
    /// Ports of the three backends; the manifests name the same
    #[arg(
        long,
        value_name = "PORTS",
        value_delimiter = ',',
        default_value = "8081,8082,8083"
    )]
    backends: Vec<u16>,
}

/// The Service and the pod that each backend pretends to be.
const BACKENDS: [(&str, &str); 3] = [("web", "web-1"), ("web", "web-2"), ("api", "api-1")];
/// How long the proxy may take to start and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the demo's certificate is for. Not more: a host that it covered would be sent to HTTPS.
const NAMES: [&str; 1] = ["secure.demo.localhost"];

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let args = Args {
        manifests: workspace::root().join(&args.manifests),
        ..args
    };
    ensure!(
        args.manifests.is_dir(),
        "{} is not a folder",
        args.manifests.display()
    );
    for (address, flag) in [
        (args.http, "--http"),
        (args.https, "--https"),
        (args.admin, "--admin"),
        (args.api, "--api"),
    ] {
        probe::must_be_free(address, flag)?;
    }
    start_backends(&args.backends).await?;
    // The dev profile builds in a third of the release profile's time, and a demo needs no speed.
    println!("Building l7-ingress (a few minutes the first time) …");
    let program = workspace::build("l7-ingress", "dev")?;
    serve(&args, &program).await
}

async fn start_backends(ports: &[u16]) -> Result<()> {
    ensure!(
        ports.len() == BACKENDS.len(),
        "--backends takes three ports"
    );
    for (port, (service, pod)) in ports.iter().zip(BACKENDS) {
        let identity = Identity {
            service: service.to_owned(),
            ingress: service.to_owned(),
            pod: pod.to_owned(),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], *port));
        echo::start(address, identity).await.with_context(|| {
            format!(
                "{address} is for a backend; choose other ports with --backends A,B,C, \
                 and in the penstock.dev/endpoints annotations of the manifests"
            )
        })?;
    }
    Ok(())
}

/// Where the demo's folder has the controller's settings; other folders may have none.
const CONFIGMAP: &str = "configmap.yaml";

/// Runs until the user interrupts; whatever happens, nothing is left behind.
async fn serve(args: &Args, program: &Path) -> Result<ExitCode> {
    let pems = certs::issue(&NAMES)?;
    let folder = TempDir::with_prefix("penstock-demo-").context("a temporary folder")?;
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, &pems.ca).context("the CA certificate")?;
    let _secret = GeneratedSecret::write(&args.manifests, &pems)?;

    let mut command = Command::new(program);
    command
        .arg("run")
        .arg("--manifests")
        .arg(&args.manifests)
        .args(["--http", &args.http.to_string()])
        .args(["--https", &args.https.to_string()])
        .args(["--admin", &args.admin.to_string()])
        .args(["--api-listen", &args.api.to_string()])
        .args(["--drain-delay", "0s", "--drain-deadline", "1s"]);
    if args.manifests.join(CONFIGMAP).is_file() {
        command.args(["--configmap", "default/penstock"]);
    }
    let log = folder.path().join("l7-ingress.log");
    let mut proxy = Daemon::start("l7-ingress", &mut command, &log)?;
    let mut interrupted = pin!(interrupted());
    tokio::select! {
        ready = probe::until_ready(&mut proxy, (args.admin, "localhost", "/readyz"), PATIENCE) => {
            ready?;
            print!("{}", page::render(args, &ca, &log));
        }
        result = &mut interrupted => return result.map(|()| ExitCode::SUCCESS),
    }
    tokio::select! {
        status = proxy.ended() => {
            bail!("l7-ingress ended with {}:\n{}", status?, proxy.last_words())
        }
        result = interrupted => result?,
    }
    println!("\nEnding …");
    proxy.stop(PATIENCE).await;
    Ok(ExitCode::SUCCESS)
}

/// The Secret of the demo's certificate, in the manifests' folder for as long as the demo runs.
struct GeneratedSecret(PathBuf);

impl GeneratedSecret {
    fn write(folder: &Path, pems: &certs::Pems) -> Result<Self> {
        let path = folder.join("tls-secret.generated.yaml");
        let yaml = format!(
            "# Made by `cargo xtask demo`, which removes it when it ends.\n{}",
            pems.secret("demo-tls")
        );
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{}", path.display()))?;
        let secret = Self(path);
        file.write_all(yaml.as_bytes()).context("the Secret")?;
        Ok(secret)
    }
}

impl Drop for GeneratedSecret {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            println!("{} is left behind: {error}", self.0.display());
        }
    }
}

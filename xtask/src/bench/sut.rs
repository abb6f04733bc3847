//! What is measured: nginx, HAProxy and l7-ingress, one worker each, with equal features, in front of
//! the same backend.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::client::{PLAIN_HOST, Ports, TLS_HOST};
use super::config;
use crate::certs::Pems;
use crate::probe;
use crate::process::Daemon;

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Who {
    Nginx,
    #[value(name = "haproxy")]
    HaProxy,
    #[value(name = "l7-ingress")]
    Penstock,
}

impl Who {
    pub(super) const ALL: [Self; 3] = [Self::Nginx, Self::HaProxy, Self::Penstock];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
            Self::Penstock => "l7-ingress",
        }
    }
}

/// Which CPUs the parties run on, as `taskset` reads them.
#[derive(Clone, Debug)]
pub(super) struct Cpus {
    pub(super) proxy: String,
    pub(super) others: String,
}

/// Everything that a start needs.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) cpus: Cpus,
    pub(super) pems: Pems,
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    /// As many as the limit of open files lets a proxy have.
    pub(super) connections: u64,
    /// Where the backend listens.
    pub(super) backend: Ports,
}

/// A running proxy.
#[derive(Debug)]
pub(super) struct Sut {
    pub(super) ports: Ports,
    pub(super) daemon: Daemon,
    /// From its start until it answered.
    pub(super) ready_after: Duration,
}

const PATIENCE: Duration = Duration::from_secs(120);

/// How l7-ingress is told where the objects are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Objects<'a> {
    /// `--manifests`
    Folder(&'a Path),
    /// `--kubeconfig`
    Api(&'a Path),
}

impl Bench {
    /// Starts a proxy in front of the backend.
    pub(super) async fn start(&self, who: Who) -> Result<Sut> {
        let folder = self.folder.join(who.name());
        fs::create_dir_all(&folder).context("a folder for a proxy")?;
        let [http, https] = free_ports()?;
        let listen = Ports {
            http,
            https,
            websocket: http,
        };
        match who {
            Who::Penstock => {
                self.write_manifests(&folder)?;
                self.start_penstock(listen, Objects::Folder(&folder)).await
            }
            Who::Nginx => {
                self.write_certificate(&folder)?;
                let text = config::nginx_proxy(listen, self.backend);
                let mut command = nginx(&folder, &text, &self.cpus.proxy)?;
                self.launch(who, &mut command, listen).await
            }
            Who::HaProxy => {
                self.write_certificate(&folder)?;
                let file = folder.join("haproxy.cfg");
                let text = config::haproxy(&folder, self.connections, listen, self.backend);
                fs::write(&file, text).context("haproxy.cfg")?;
                let mut command = pinned(&self.cpus.proxy, "haproxy");
                command.arg("-db").arg("-f").arg(file);
                self.launch(who, &mut command, listen).await
            }
        }
    }

    async fn launch(&self, who: Who, command: &mut Command, ports: Ports) -> Result<Sut> {
        let log = self.folder.join(format!("{}.log", who.name()));
        let mut daemon = Daemon::start(who.name(), command, &log)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.http));
        let ready_after =
            probe::until_ready(&mut daemon, (address, PLAIN_HOST, "/100"), PATIENCE).await?;
        Ok(Sut {
            ports,
            daemon,
            ready_after,
        })
    }

    /// Starts l7-ingress with one worker; it is up once `/readyz` says so.
    pub(super) async fn start_penstock(&self, ports: Ports, objects: Objects<'_>) -> Result<Sut> {
        let [admin] = free_ports()?;
        let mut command = pinned(&self.cpus.proxy, &self.program.to_string_lossy());
        command.arg("run");
        match objects {
            Objects::Folder(folder) => command.arg("--manifests").arg(folder),
            Objects::Api(kubeconfig) => command.arg("--kubeconfig").arg(kubeconfig),
        };
        command
            .args(["--http", &format!("127.0.0.1:{}", ports.http)])
            .args(["--https", &format!("127.0.0.1:{}", ports.https)])
            .args(["--admin", &format!("127.0.0.1:{admin}")])
            .args(["--workers", "1", "--access-log", "off"])
            .args(["--log-level", "warn"])
            .args([
                "--keep-alive",
                "600s",
                "--keep-alive-requests",
                "1000000000",
            ])
            .args(["--upstream-keepalive-timeout", "600s"])
            .args(["--upstream-keepalive-requests", "1000000000"])
            .args(["--drain-delay", "0s", "--drain-deadline", "1s"]);
        let log = self.folder.join("l7-ingress.log");
        let mut daemon = Daemon::start(Who::Penstock.name(), &mut command, &log)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, admin));
        let ready_after =
            probe::until_ready(&mut daemon, (address, "localhost", "/readyz"), PATIENCE).await?;
        Ok(Sut {
            ports,
            daemon,
            ready_after,
        })
    }

    fn write_manifests(&self, folder: &Path) -> Result<()> {
        let text = config::manifests(&self.pems, self.backend);
        fs::write(folder.join("bench.yaml"), text).context("manifests")
    }

    fn write_certificate(&self, folder: &Path) -> Result<()> {
        let pem = format!("{}{}", self.pems.chain, self.pems.key);
        fs::write(folder.join("tls.pem"), pem).context("the certificate")
    }
}

/// The backend: nginx with bodies of fixed sizes, over HTTP, HTTPS and HTTP/2.
pub(super) async fn start_backend(
    folder: &Path,
    pems: &Pems,
    cpus: &Cpus,
    websocket: u16,
) -> Result<(Daemon, Ports)> {
    let folder = folder.join("backend");
    fs::create_dir_all(&folder).context("a folder for the backend")?;
    fs::write(
        folder.join("tls.pem"),
        format!("{}{}", pems.chain, pems.key),
    )?;
    fs::write(folder.join("16k"), "x".repeat(16 * 1024))?;
    fs::write(folder.join("1m"), "x".repeat(1024 * 1024))?;
    let [http, https] = free_ports()?;
    let ports = Ports {
        http,
        https,
        websocket,
    };
    let text = config::nginx_backend(&folder, ports);
    let mut command = nginx(&folder, &text, &cpus.others)?;
    let mut daemon = Daemon::start("the backend", &mut command, &folder.join("log"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
    probe::until_ready(&mut daemon, (address, TLS_HOST, "/100"), PATIENCE).await?;
    Ok((daemon, ports))
}

fn nginx(folder: &Path, text: &str, cpus: &str) -> Result<Command> {
    let file = folder.join("nginx.conf");
    fs::write(&file, text).context("nginx.conf")?;
    let mut command = pinned(cpus, "nginx");
    command
        .arg("-c")
        .arg(file)
        .arg("-p")
        .arg(folder)
        .args(["-e", "stderr"]);
    Ok(command)
}

/// `program`, on these CPUs; `taskset` becomes it, so the process id is the program's.
fn pinned(cpus: &str, program: &str) -> Command {
    let found = crate::workspace::find_program(program).unwrap_or_else(|| program.into());
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", cpus]).arg(found);
    command
}

/// Ports that nobody listens on; all are held until the last is known, so that they differ.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::new();
    for _ in 0..N {
        listeners.push(TcpListener::bind("127.0.0.1:0").context("a free port")?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().context("a free port")?.port();
    }
    Ok(ports)
}

//! The program `l7-ingress`, started on a folder of manifests.
#![expect(clippy::disallowed_methods, reason = "a log ends with its program")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client;

/// How long anything may take that is expected to happen. Only a test that fails waits for it.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A running l7-ingress. It ends with this value.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    log: JoinHandle<Vec<String>>,
    folder: TempDir,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// A Service with its endpoints, and an Ingress for all hosts that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    name: String,
    path: String,
    endpoints: Vec<SocketAddr>,
}

impl Route {
    pub(crate) fn new(name: &str, path: &str, endpoints: &[SocketAddr]) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            endpoints: endpoints.to_vec(),
        }
    }

    fn manifest(&self) -> String {
        let Self { name, path, .. } = self;
        let endpoints: Vec<_> = self.endpoints.iter().map(ToString::to_string).collect();
        let endpoints = endpoints.join(",");
        format!(
            r#"
apiVersion: v1
kind: Service
metadata:
  name: {name}
  annotations:
    penstock.dev/endpoints: "{endpoints}"
spec:
  ports:
    - port: 80
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
spec:
  rules:
    - http:
        paths:
          - path: {path}
            pathType: Prefix
            backend:
              service:
                name: {name}
                port:
                  number: 80
"#
        )
    }
}

impl Program {
    /// Serves `routes` with one worker; `flags` are added to the command line.
    pub(crate) async fn start(routes: &[Route], flags: &[&str]) -> Self {
        Self::start_within(None, routes, flags).await
    }

    /// With no more than `descriptors` open at a time.
    pub(crate) async fn start_within(
        descriptors: Option<u32>,
        routes: &[Route],
        flags: &[&str],
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("sh");
        let limit = descriptors.map_or_else(String::new, |n| format!("ulimit -n {n}; "));
        command
            .arg("-c")
            .arg(format!("{limit}exec \"$@\""))
            .arg("sh");
        command
            .arg(env!("CARGO_BIN_EXE_l7-ingress"))
            .args(["run", "--http=127.0.0.1:0", "--https=127.0.0.1:0"])
            .args(["--admin=127.0.0.1:0", "--workers=1", "--access-log=off"])
            .args(["--watch-ingress-without-class", "--drain-delay=0s"])
            .args(["--drain-deadline=1s", "--manifests"])
            .arg(folder.path())
            .args(flags);
        for route in routes {
            write(&folder, route);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let admin = timeout(SOON, addresses(&mut log, "admin port on")).await;
        let serving = timeout(SOON, addresses(&mut log, "serving http on")).await;
        let (admin, serving) = (admin.unwrap(), serving.unwrap());
        Self {
            child,
            log: tokio::task::spawn(rest(log)),
            folder,
            http: serving[0],
            https: serving[1],
            admin: admin[0],
        }
    }

    /// Replaces a route's manifest, and waits until it is in force.
    pub(crate) async fn apply(&self, route: &Route) {
        write(&self.folder, route);
        let wanted: Vec<_> = route.endpoints.iter().map(ToString::to_string).collect();
        let in_force = async {
            loop {
                let routes = client::get(self.admin, "/debug/routes").await;
                let text = String::from_utf8(routes.body).unwrap();
                let listed = text.matches("127.0.0.1:").count();
                if wanted.iter().all(|one| text.contains(one)) && listed == wanted.len() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, in_force).await.unwrap();
    }

    /// A metric's sum over its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let metrics = client::get(self.admin, "/metrics").await;
        let text = String::from_utf8(metrics.body).unwrap();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let labelled = rest.starts_with('{') || rest.starts_with(' ');
            labelled.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        values.sum()
    }

    /// Bytes that it holds in memory.
    pub(crate) fn resident(&self) -> usize {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS"));
        let kib: usize = line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kib * 1024
    }

    /// Processor time that it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|f| f.parse::<u64>().unwrap())
            .sum();
        Duration::from_millis(ticks * 10)
    }

    fn proc(&self, file: &str) -> String {
        let pid = self.child.id().unwrap();
        std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
    }

    /// Proves that it still answers, and ends it: it must leave by itself and not have panicked.
    pub(crate) async fn finish(mut self) {
        let alive = client::get(self.admin, "/healthz").await;
        assert_eq!(alive.status, 200);
        let pid = self
            .child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = timeout(SOON, self.child.wait()).await.unwrap().unwrap();
        let log = self.log.await.unwrap();
        let panics: Vec<_> = log.iter().filter(|line| line.contains("panic")).collect();
        assert!(panics.is_empty(), "{panics:?}");
        assert!(ended.success(), "{ended}: {log:?}");
    }
}

fn write(folder: &TempDir, route: &Route) {
    let file = folder.path().join(format!("{}.yaml", route.name));
    std::fs::write(file, route.manifest()).unwrap();
}

/// The addresses in the log line that holds `what`.
async fn addresses(log: &mut BufReader<ChildStderr>, what: &str) -> Vec<SocketAddr> {
    let mut seen = String::new();
    loop {
        let start = seen.len();
        let read = log.read_line(&mut seen).await.unwrap();
        assert_ne!(read, 0, "it ended: {seen}");
        let line = &seen[start..];
        if line.contains(what) {
            let words = line.split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
            return words.filter_map(|word| word.parse().ok()).collect();
        }
    }
}

async fn rest(mut log: BufReader<ChildStderr>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    while log.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        lines.push(std::mem::take(&mut line));
    }
    lines
}

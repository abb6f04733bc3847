//! What connects pods: a chain of plugins on a node.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netlink::{LinkName, LinkSettings, Namespace, Netlink};
use serde_json::{Value, json};

use super::{PATIENCE, Pod, size};
use crate::bench::procfs;
use crate::bench::table::mib;
use crate::process::Daemon;
use crate::workspace::CNI_PLUGINS;

/// Plugins in the order of ADD, on a node of their own.
#[derive(Debug)]
pub(super) struct Chain {
    name: &'static str,
    node: Namespace,
    /// Where the plugins are.
    folder: PathBuf,
    plugins: Vec<Value>,
    agent: Option<Daemon>,
}

/// What DEL has to be told.
#[derive(Debug)]
pub(super) struct Connected {
    result: Value,
    host_port: Option<u16>,
}

fn node() -> Result<Namespace> {
    let namespace = Namespace::new()?;
    let mut netlink = Netlink::open_in(&namespace)?;
    let lo = netlink.link_named(&LinkName::new("lo")?)?.index;
    let up = LinkSettings {
        up: Some(true),
        ..LinkSettings::default()
    };
    netlink.change(netlink::Change::set_link(lo, up))?;
    Ok(namespace)
}

const NODE: &str = "\
apiVersion: v1
kind: Node
metadata: {name: bench}
spec: {podCIDR: 10.78.0.0/16, podCIDRs: [10.78.0.0/16]}
";

impl Chain {
    /// penstock-cni and its agent.
    pub(super) async fn penstock(programs: &Path, folder: &Path) -> Result<Self> {
        let node = node()?;
        let manifests = folder.join("manifests");
        std::fs::create_dir_all(&manifests)?;
        std::fs::write(manifests.join("node.yaml"), NODE)?;
        let socket = folder.join("cni.sock");
        let flag = |name: &str, file: &str| format!("--{name}={}", folder.join(file).display());
        let mut command = Command::new(programs.join("cni-agent"));
        command.args([
            "run",
            "--node-name=bench",
            "--admin=127.0.0.1:0",
            "--log-level=warn",
        ]);
        command.args([
            flag("manifests", "manifests"),
            flag("socket", "cni.sock"),
            flag("state-dir", "state"),
            flag("cni-conf-dir", "net.d"),
            flag("subnet-file", "subnet.env"),
        ]);
        let log = folder.join("agent.log");
        let mut agent = node.enter(|| Daemon::start("cni-agent", &mut command, &log))??;
        let begun = Instant::now();
        while !folder.join("net.d/05-penstock.conflist").exists() {
            ensure!(agent.exited()?.is_none(), "{}", agent.last_words());
            ensure!(
                begun.elapsed() < PATIENCE,
                "cni-agent: {}",
                agent.last_words()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            name: "penstock-cni",
            node,
            folder: programs.to_owned(),
            plugins: vec![json!({"type": "penstock-cni", "socket": socket})],
            agent: Some(agent),
        })
    }

    /// Debian's plugins, in the chain that flannel uses.
    pub(super) fn reference(folder: &Path) -> Result<Self> {
        let ipam = json!({
            "type": "host-local",
            "dataDir": folder.join("host-local"),
            "ranges": [[{"subnet": "10.79.0.0/16"}]],
        });
        let bridge = json!({
            "type": "bridge",
            "bridge": "cni0",
            "hairpinMode": true,
            "isDefaultGateway": true,
            "ipam": ipam,
        });
        Ok(Self {
            name: "bridge, host-local, portmap",
            node: node()?,
            folder: CNI_PLUGINS.into(),
            plugins: vec![bridge, json!({"type": "portmap"})],
            agent: None,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// How many links the node has.
    pub(super) fn links(&self) -> Result<usize> {
        Ok(Netlink::open_in(&self.node)?.links()?.len())
    }

    /// What there is to know about the programs.
    pub(super) fn facts(&self) -> Result<Vec<(&'static str, String)>> {
        let mut facts = vec![(
            "penstock-cni, not stripped",
            size(&self.folder.join("penstock-cni"))?,
        )];
        if let Some(agent) = &self.agent {
            let rss = procfs::rss(agent.pid())?;
            facts.push(("RSS of cni-agent", format!("{} MiB", mib(rss))));
        }
        Ok(facts)
    }

    pub(super) fn add(&self, pod: &Pod, host_port: Option<u16>) -> Result<(Connected, Duration)> {
        let mut connected = Connected {
            result: Value::Null,
            host_port,
        };
        let mut all = Duration::ZERO;
        for plugin in &self.plugins {
            let (output, time) = self.call("ADD", plugin, pod, &connected)?;
            all += time;
            connected.result = serde_json::from_slice(&output).context(self.name)?;
        }
        Ok((connected, all))
    }

    pub(super) fn del(&self, pod: &Pod, connected: &Connected) -> Result<Duration> {
        let mut all = Duration::ZERO;
        for plugin in self.plugins.iter().rev() {
            all += self.call("DEL", plugin, pod, connected)?.1;
        }
        Ok(all)
    }

    fn call(
        &self,
        command: &str,
        plugin: &Value,
        pod: &Pod,
        connected: &Connected,
    ) -> Result<(Vec<u8>, Duration)> {
        let mut config = plugin.clone();
        config["cniVersion"] = json!("1.0.0");
        config["name"] = json!("bench");
        if !connected.result.is_null() {
            config["prevResult"] = connected.result.clone();
        }
        if let Some(port) = connected.host_port {
            let mapping = json!({"hostPort": port, "containerPort": 80, "protocol": "tcp"});
            config["capabilities"] = json!({"portMappings": true});
            config["runtimeConfig"] = json!({"portMappings": [mapping]});
        }
        let kind = plugin["type"].as_str().unwrap_or_default();
        let mut process = Command::new(self.folder.join(kind));
        process
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &pod.name)
            .env("CNI_NETNS", pod.path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let config = config.to_string();
        let run = || -> Result<_> {
            let begun = Instant::now();
            let mut child = process.spawn().with_context(|| kind.to_owned())?;
            let stdin = child.stdin.take().context("it was piped")?;
            { stdin }.write_all(config.as_bytes())?;
            Ok((child.wait_with_output()?, begun.elapsed()))
        };
        let (output, time) = self.node.enter(run)??;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            bail!("{kind} {command} of {}: {said}", pod.name);
        }
        Ok((output.stdout, time))
    }
}

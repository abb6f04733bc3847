//! Nodes as objects, in an API that the agent reaches over a link.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use apiserver::ApiServer;
use loadtest::lab::{Lab, Machine, Switch};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Which families nodes and pods have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    One,
    Both,
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "IPv4",
            Self::Both => "dual stack",
        })
    }
}

/// A cluster without machines, but for one node's and the API's.
#[derive(Debug)]
pub(super) struct Cluster {
    families: Families,
    nodes: u32,
    api: ApiServer,
    lan: Switch,
    _control: Machine,
    kubeconfig: PathBuf,
    server: AbortHandle,
}

impl Cluster {
    pub(super) fn new(
        lab: &Lab,
        families: Families,
        nodes: u32,
        runtime: &Handle,
        folder: &Path,
    ) -> Result<Self> {
        let lan = lab.switch("lan")?;
        let control = lab.machine("control")?;
        control.plug(&lan, "eth0", &["192.0.2.100/24"])?;
        let listener = control.enter(|| TcpListener::bind("192.0.2.100:0"))??;
        listener.set_nonblocking(true)?;
        let kubeconfig = folder.join("kubeconfig");
        let url = format!("http://{}", listener.local_addr()?);
        std::fs::write(&kubeconfig, config(&url).to_string())?;
        let api = ApiServer::new();
        let serving = api.clone();
        let server = runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serving.serve(listener, std::future::pending()).await
        });
        let cluster = Self {
            families,
            nodes,
            api,
            lan,
            _control: control,
            kubeconfig,
            server: server.abort_handle(),
        };
        for number in 1..=nodes {
            cluster.apply(number, cluster.address(number))?;
        }
        Ok(cluster)
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// How many ranges the others have.
    pub(super) fn routes(&self) -> usize {
        let families = match self.families {
            Families::One => 1,
            Families::Both => 2,
        };
        self.nodes as usize * families
    }

    /// The node that the agent runs on.
    pub(super) fn add_own_node(&self, lab: &Lab) -> Result<Machine> {
        let machine = lab.router("own")?;
        machine.plug(&self.lan, "eth0", &["192.0.2.1/24", "2001:db8::1/64"])?;
        machine.route("0.0.0.0/0", "192.0.2.254")?;
        machine.route("::/0", "2001:db8::fe")?;
        self.write(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "own"},
            "spec": {"podCIDRs": self.ranges(0)},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
        }))?;
        Ok(machine)
    }

    /// Gives a node another address, and says which.
    pub(super) fn move_node(&self, number: u32) -> Result<IpAddr> {
        let address = self.address(self.nodes + number);
        self.apply(number, address)?;
        Ok(address.into())
    }

    fn apply(&self, number: u32, address: Ipv4Addr) -> Result<()> {
        self.write(&node(number, address, self.families, &self.ranges(number)))
    }

    fn write(&self, object: &Value) -> Result<()> {
        let applied = self.api.apply("bench", object.clone());
        applied.map_err(|status| anyhow!("{}", status.message))?;
        Ok(())
    }

    /// Of nodes behind a router.
    fn address(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + number)
    }

    fn ranges(&self, number: u32) -> Vec<String> {
        let v4 = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + (number << 8));
        let mut ranges = vec![format!("{v4}/24")];
        if self.families == Families::Both {
            ranges.push(format!("fd00:0:0:{number:x}::/64"));
        }
        ranges
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn config(url: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "users": [{"name": "bench", "user": {}}],
    })
}

/// As large as a kubelet's, with flannel's annotations.
fn node(number: u32, address: Ipv4Addr, families: Families, ranges: &[String]) -> Value {
    let key = |key| format!("flannel.alpha.coreos.com/{key}");
    let [_, a, b, c] = number.to_be_bytes();
    let data = |family| {
        let mac = format!("02:00:{family:02x}:{a:02x}:{b:02x}:{c:02x}");
        json!({"VNI": 1, "VtepMAC": mac}).to_string()
    };
    let mut annotations = json!({
        key("backend-type"): "vxlan",
        key("kube-subnet-manager"): "true",
        key("public-ip"): address,
        key("backend-data"): data(4),
        "node.alpha.kubernetes.io/ttl": "300",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    });
    if families == Families::Both {
        let bits = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0).to_bits();
        let address = Ipv6Addr::from_bits(bits + u128::from(number));
        annotations[key("public-ipv6")] = json!(address);
        annotations[key("backend-v6-data")] = json!(data(6));
    }
    let images = (0..50).map(|image| {
        let name = format!("registry.example/team-{}/service-{image}", image % 7);
        json!({
            "names": [format!("{name}@sha256:{:064x}", image * 7919), format!("{name}:v1.{image}.0")],
            "sizeBytes": 40_000_000 + image,
        })
    });
    let conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map(|kind| {
        json!({
            "type": kind, "status": if kind == "Ready" { "True" } else { "False" },
            "reason": "KubeletReports", "message": "kubelet is posting this status",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    });
    let capacity = json!({"cpu": "64", "memory": "263856716Ki", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": format!("node-{number:05}"), "annotations": annotations,
            "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        },
        "spec": {"podCIDR": ranges.first(), "podCIDRs": ranges},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "allocatable": capacity, "capacity": capacity,
            "conditions": conditions, "images": images.collect::<Vec<_>>(),
        },
    })
}

//! The agent as a process: ready, killed, started again, asked to leave.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cni_core::talk::{self, Ask, Reply};
use netlink::nft::{Chain, ChainKind, Family, Hook, Nft, Table, Transaction};
use netlink::{
    Change, LinkKind, LinkName, LinkSettings, Namespace, Netlink, NewLink, Route, Sysctl,
};
use serde_json::{Value, json};

use crate::{Named, Node, addresses, ask, done, skipped};

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec:\n  podCIDR: 10.77.1.0/28\n  \
                    podCIDRs: [10.77.1.0/28, \"fd77:1::/64\"]\n";

/// A process that ends with this.
pub(crate) struct Agent {
    child: Child,
    folder: PathBuf,
}

impl Agent {
    /// Starts it on a node and waits until runtimes are told of it.
    fn start(node: &Node, folder: &Path) -> Self {
        let manifests = folder.join("manifests");
        std::fs::create_dir_all(&manifests).unwrap();
        std::fs::write(manifests.join("node.yaml"), NODE).unwrap();
        let source = format!("--manifests={}", manifests.display());
        Self::start_with(&node.namespace, folder, &["--node-name=n1", &source])
    }

    /// The same, with these flags.
    pub(crate) fn start_with(namespace: &Namespace, folder: &Path, flags: &[&str]) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let arguments = [
            "run",
            "--admin=127.0.0.1:0",
            "--drain-delay=0s",
            &format!("--socket={}", path("run/cni.sock")),
            &format!("--state-dir={}", path("state")),
            &format!("--cni-conf-dir={}", path("net.d")),
            &format!("--subnet-file={}", path("subnet.env")),
        ];
        // Here and not before: a conflist of an earlier start says nothing about this one's socket.
        drop(std::fs::remove_file(folder.join("run/cni.sock")));
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let spawn = move || {
            Command::new(env!("CARGO_BIN_EXE_cni-agent"))
                .args(arguments)
                .args(flags)
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap()
        };
        let mut agent = Self {
            child: namespace.enter(spawn).unwrap(),
            folder: folder.to_owned(),
        };
        let conflist = folder.join("net.d/05-penstock.conflist");
        let socket = agent.socket();
        agent.until("ready", || {
            conflist.exists() && UnixStream::connect(&socket).is_ok()
        });
        agent
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("run/cni.sock")
    }

    /// Waits until this is so.
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(20), "not {what}");
            assert_eq!(self.child.try_wait().unwrap(), None, "it has ended");
            std::thread::yield_now();
        }
    }

    pub(crate) fn ask(&self, ask: &Ask) -> Reply {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.write_all(&talk::frame(ask)).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        serde_json::from_slice(&reply[4..]).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_killed_agent_takes_up_where_it_was() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(&node, folder.path());
    let list = std::fs::read(folder.path().join("net.d/05-penstock.conflist")).unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["plugins"][0]["type"], "penstock-cni");
    let subnet = std::fs::read_to_string(folder.path().join("subnet.env")).unwrap();
    assert!(subnet.contains("FLANNEL_SUBNET=10.77.1.1/28\n"), "{subnet}");

    let pods = [Named::new(), Named::new(), Named::new()];
    let first = done(agent.ask(&ask("ADD", "c0", &pods[0].path(), &json!({})))).unwrap();
    done(agent.ask(&ask("ADD", "c1", &pods[1].path(), &json!({}))));
    drop(agent);
    assert_eq!(node.cables().len(), 2, "pods stay connected");

    // What the plugin does meanwhile.
    let tombstones = folder.path().join("run").join(talk::TOMBSTONES);
    std::fs::create_dir_all(&tombstones).unwrap();
    let word = json!({"network": "pods", "containerID": "c1", "ifname": "eth0"});
    std::fs::write(tombstones.join("penc1"), word.to_string()).unwrap();
    let agent = Agent::start(&node, folder.path());
    let check = ask(
        "CHECK",
        "c0",
        &pods[0].path(),
        &json!({"prevResult": first}),
    );
    done(agent.ask(&check));
    let next = done(agent.ask(&ask("ADD", "c2", &pods[2].path(), &json!({})))).unwrap();
    assert!(
        addresses(&next)
            .iter()
            .all(|address| !addresses(&first).contains(address))
    );
    assert_eq!(node.cables().len(), 2, "the deletion was heard of");
    assert!(std::fs::read_dir(tombstones).unwrap().next().is_none());
}

fn mtu(namespace: &Namespace, link: &str) -> u32 {
    let mut netlink = Netlink::open_in(namespace).unwrap();
    netlink
        .link_named(&LinkName::new(link).unwrap())
        .unwrap()
        .mtu
}

#[test]
fn pods_follow_the_underlay() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let mut netlink = Netlink::open_in(&node.namespace).unwrap();
    let up0 = NewLink::new(LinkName::new("up0").unwrap(), LinkKind::Bridge);
    let up = LinkSettings {
        up: Some(true),
        mtu: Some(1500),
        ..LinkSettings::default()
    };
    let up0 = netlink.add_link(up0.with(up)).unwrap().index;
    let way_out = Route::on_link("0.0.0.0/0".parse().unwrap(), up0);
    netlink.change(Change::add(way_out)).unwrap();
    for (family, link) in [("ipv4", "up0"), ("ipv6", "all")] {
        let close = || Sysctl::net(&[family, "conf", link, "forwarding"]).write("0");
        node.namespace.enter(close).unwrap().unwrap();
    }
    // As Docker leaves it.
    let filter = Table::new(Family::Ip, "filter");
    let forward = Chain::base("FORWARD", ChainKind::Filter, Hook::Forward, 0).dropping();
    let mut firewall = Transaction::new(&filter);
    firewall.add_table().add_chain(&forward);
    let mut nft = Nft::open_in(&node.namespace).unwrap();
    nft.commit(firewall).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(&node, folder.path());
    let log = folder.path().join("log");
    agent.until("told of the firewall", || {
        let log = std::fs::read_to_string(&log).unwrap();
        let mut lines = log.lines();
        lines.any(|line| line.contains("ForwardPolicyDrop") && line.contains("ip filter FORWARD"))
    });
    for sysctl in [
        "net.ipv4.conf.up0.forwarding",
        "net.ipv6.conf.all.forwarding",
    ] {
        agent.until("told that forwarding is off", || {
            let log = std::fs::read_to_string(&log).unwrap();
            let mut lines = log.lines();
            lines.any(|line| line.contains("ForwardingOff") && line.contains(sysctl))
        });
    }

    let pods = [Named::new(), Named::new()];
    let add = |number: usize, config| {
        let name = format!("c{number}");
        done(agent.ask(&ask("ADD", &name, &pods[number].path(), &config))).unwrap()
    };
    assert_eq!(add(0, json!({}))["interfaces"][1]["mtu"], 1450);
    add(1, json!({"mtu": 1300}));
    for (underlay, pod) in [(1400, 1350), (9000, 8950), (1000, 1280)] {
        let settings = LinkSettings {
            mtu: Some(underlay),
            ..LinkSettings::default()
        };
        netlink.change(Change::set_link(up0, settings)).unwrap();
        let outside = node.cables();
        agent.until("followed", || {
            mtu(&pods[0].namespace, "eth0") == pod
                && outside
                    .iter()
                    .any(|cable| mtu(&node.namespace, cable) == pod)
        });
        let subnet = folder.path().join("subnet.env");
        agent.until("told", || {
            let subnet = std::fs::read_to_string(&subnet).unwrap();
            subnet.contains(&format!("FLANNEL_MTU={pod}\n"))
        });
        assert_eq!(mtu(&pods[1].namespace, "eth0"), 1300, "it was promised");
    }
}

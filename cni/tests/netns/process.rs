//! The agent as a process: ready, killed, started again, asked to leave.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cni_core::talk::{self, Ask, Reply};
use serde_json::{Value, json};

use crate::{Named, Node, addresses, ask, done, skipped};

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec:\n  podCIDR: 10.77.1.0/28\n  \
                    podCIDRs: [10.77.1.0/28, \"fd77:1::/64\"]\n";

/// A process that ends with this.
struct Agent {
    child: Child,
    folder: PathBuf,
}

impl Agent {
    /// Starts it on a node and waits until runtimes are told of it.
    fn start(node: &Node, folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("manifests")).unwrap();
        std::fs::write(folder.join("manifests/node.yaml"), NODE).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let arguments = [
            "run",
            "--node-name=n1",
            "--admin=127.0.0.1:0",
            "--drain-delay=0s",
            &format!("--manifests={}", path("manifests")),
            &format!("--socket={}", path("run/cni.sock")),
            &format!("--state-dir={}", path("state")),
            &format!("--cni-conf-dir={}", path("net.d")),
            &format!("--subnet-file={}", path("subnet.env")),
        ];
        // Here and not before: a conflist of an earlier start says nothing about this one's socket.
        drop(std::fs::remove_file(folder.join("run/cni.sock")));
        let spawn = move || {
            Command::new(env!("CARGO_BIN_EXE_cni-agent"))
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut agent = Self {
            child: node.namespace.enter(spawn).unwrap(),
            folder: folder.to_owned(),
        };
        let conflist = folder.join("net.d/05-penstock.conflist");
        let begun = Instant::now();
        while !(conflist.exists() && UnixStream::connect(agent.socket()).is_ok()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it is not ready");
            assert_eq!(agent.child.try_wait().unwrap(), None, "it has ended");
            std::thread::yield_now();
        }
        agent
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("run/cni.sock")
    }

    fn ask(&self, ask: &Ask) -> Reply {
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

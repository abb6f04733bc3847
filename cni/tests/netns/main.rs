//! Pods connected by the agent's own code, in namespaces that the tests make.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test runs the program")]
#![expect(clippy::print_stdout, reason = "a test says why it was skipped")]

mod containers;
mod crashes;
mod mesh;
mod nat;
mod pods;
mod process;
mod shape;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cni::{Book, Outside, Requests, Step};
use cni_core::spec::{Code, Environment, Refusal};
use cni_core::talk::{Ask, Reply, TALK};
use netlink::{Change, LinkName, LinkSettings, Namespace, Netlink};
use serde_json::{Value, json};

/// Says why a test does not run here, if so.
fn skipped() -> bool {
    let Err(error) = Namespace::new() else {
        return false;
    };
    println!("skipped: no network namespaces here: {error}");
    true
}

/// A namespace with a name, which goes with this.
struct Named {
    name: String,
    namespace: Namespace,
}

impl Named {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("penstock-cni-{}-{number}", std::process::id());
        let namespace = Namespace::create(&name).unwrap();
        set_up_loopback(&namespace);
        Self { name, namespace }
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    fn links(&self) -> Vec<String> {
        let links = Netlink::open_in(&self.namespace).unwrap().links().unwrap();
        links.iter().map(|link| link.name.to_string()).collect()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        drop(Namespace::delete(&self.name));
    }
}

/// A node: its namespace, and an agent's state.
struct Node {
    namespace: Namespace,
    state: tempfile::TempDir,
}

fn ranges() -> [ipnet::IpNet; 2] {
    ["10.77.1.0/28", "fd77:1::/64"].map(|range| range.parse().unwrap())
}

impl Node {
    fn new() -> Self {
        let namespace = Namespace::new().unwrap();
        set_up_loopback(&namespace);
        namespace
            .enter(|| {
                let forward = netlink::Sysctl::net(&["ipv6", "conf", "all", "forwarding"]);
                forward.write("1").unwrap();
            })
            .unwrap();
        Self {
            namespace,
            state: tempfile::tempdir().unwrap(),
        }
    }

    /// An agent that has just been started.
    fn agent(&self) -> (Arc<Book>, Requests) {
        self.watched_agent(|_| true)
    }

    fn watched_agent(
        &self,
        watcher: impl Fn(Step) -> bool + Send + Sync + 'static,
    ) -> (Arc<Book>, Requests) {
        let book = Arc::new(Book::open(&self.journal(), "boot").unwrap());
        book.set_ranges(&ranges());
        let node = self.namespace.clone();
        let requests = Requests::watched(Arc::clone(&book), node, watcher).unwrap();
        requests.set_mtu(1450);
        let outside = Outside {
            local: ranges().to_vec(),
            cluster: ["10.77.0.0/16", "fd77::/16"]
                .map(|net| net.parse().unwrap())
                .to_vec(),
            masquerade: true,
        };
        requests.set_outside(outside).unwrap();
        (book, requests)
    }

    fn journal(&self) -> PathBuf {
        self.state.path().to_owned()
    }

    /// The names of pods' interfaces, sorted.
    fn cables(&self) -> Vec<String> {
        let mut netlink = Netlink::open_in(&self.namespace).unwrap();
        let links = netlink.links().unwrap().into_iter();
        let mut names: Vec<_> = links
            .map(|link| link.name.to_string())
            .filter(|name| name.starts_with("pe"))
            .collect();
        names.sort();
        names
    }
}

/// As runtimes do it.
fn set_up_loopback(namespace: &Namespace) {
    let mut netlink = Netlink::open_in(namespace).unwrap();
    let lo = netlink.link_named(&LinkName::new("lo").unwrap()).unwrap();
    let up = LinkSettings {
        up: Some(true),
        ..LinkSettings::default()
    };
    netlink.change(Change::set_link(lo.index, up)).unwrap();
}

fn ask(command: &str, container: &str, netns: &str, config: &Value) -> Ask {
    let mut full = json!({"cniVersion": "1.1.0", "name": "pods", "type": "penstock-cni"});
    for (key, value) in config.as_object().unwrap() {
        full[key] = value.clone();
    }
    Ask {
        talk: TALK,
        environment: Environment {
            command: command.to_owned(),
            container: container.to_owned(),
            netns: netns.to_owned(),
            ifname: "eth0".to_owned(),
            path: "/opt/cni/bin".to_owned(),
            ..Environment::default()
        },
        stdin: full.to_string(),
    }
}

fn done(reply: Reply) -> Option<Value> {
    match reply {
        Reply::Done(value) => value,
        Reply::Refused(refusal) => panic!("{refusal} {}", refusal.details),
    }
}

fn refused(reply: Reply) -> Refusal {
    match reply {
        Reply::Done(value) => panic!("{value:?}"),
        Reply::Refused(refusal) => refusal,
    }
}

fn code(reply: Reply) -> Code {
    refused(reply).code
}

/// The addresses of a result.
fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().unwrap().iter();
    ips.map(|ip| {
        let net: ipnet::IpNet = ip["address"].as_str().unwrap().parse().unwrap();
        net.addr()
    })
    .collect()
}

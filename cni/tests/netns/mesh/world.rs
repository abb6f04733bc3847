//! A small cluster: a link, a router with somebody behind it, an API, and nodes.

use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use apiserver::{ApiServer, ObjectId};
use loadtest::lab::{Lab, LabError, Machine, Switch};
use netlink::{LinkName, RouteFilter};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::process::Agent;
use crate::{Named, addresses, ask, done};

pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) lan: Switch,
    pub(crate) outside: Machine,
    pub(crate) router: Machine,
    pub(crate) api: ApiServer,
    folder: tempfile::TempDir,
    _control: Machine,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

/// Its addresses outside.
pub(crate) const OUTSIDE: [&str; 2] = ["198.51.100.9", "2001:db8:1::9"];

impl World {
    pub(crate) fn new() -> Option<Self> {
        let lab = match Lab::new() {
            Ok(lab) => lab,
            Err(LabError::Kernel(error)) => {
                println!("skipped: no network namespaces here: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let lan = lab.switch("lan").unwrap();
        let [control, outside] = ["control", "outside"].map(|name| lab.machine(name).unwrap());
        let router = lab.router("router").unwrap();
        let near = ["192.0.2.254/24", "2001:db8::fe/64"];
        router.plug(&lan, "lan", &near).unwrap();
        let (near, far) = (
            ["198.51.100.1/24", "2001:db8:1::1/64"],
            ["198.51.100.9/24", "2001:db8:1::9/64"],
        );
        router.cable("wan", &near, &outside, "eth0", &far).unwrap();
        outside.route("0.0.0.0/0", "198.51.100.1").unwrap();
        outside.route("::/0", "2001:db8:1::1").unwrap();
        control.plug(&lan, "eth0", &["192.0.2.100/24"]).unwrap();
        let bind = || TcpListener::bind("192.0.2.100:0").unwrap();
        let listener = control.enter(bind).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig(&url)).unwrap();
        let api = ApiServer::new();
        let (stop, stopped) = oneshot::channel();
        Some(Self {
            server: Some(serve(api.clone(), listener, stopped)),
            lab,
            lan,
            outside,
            router,
            api,
            folder,
            _control: control,
            stop: Some(stop),
        })
    }

    /// Its machine, its Node object, and the routes of others to its pods; no agent.
    pub(crate) fn node(&self, number: u8) -> Machine {
        let machine = self.lab.router(&format!("n{number}")).unwrap();
        let [v4, v6] = node_addresses(number);
        let own = [format!("{v4}/24"), format!("{v6}/64")];
        machine
            .plug(&self.lan, "eth0", &[&own[0], &own[1]])
            .unwrap();
        machine.route("0.0.0.0/0", "192.0.2.254").unwrap();
        machine.route("::/0", "2001:db8::fe").unwrap();
        let [range, v6_range] = ranges(number);
        self.router.route(&range, &v4.to_string()).unwrap();
        self.router.route(&v6_range, &v6.to_string()).unwrap();
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("n{number}")},
            "spec": {"podCIDR": range, "podCIDRs": [range, v6_range]},
            "status": {"addresses": [{"type": "InternalIP", "address": v4}]},
        }));
        machine
    }

    /// A node with an agent that serves.
    pub(crate) fn member(&self, number: u8, flags: &[&str]) -> Member {
        self.member_on(number, self.node(number), flags)
    }

    /// The same, on a machine that is there.
    pub(crate) fn member_on(&self, number: u8, machine: Machine, flags: &[&str]) -> Member {
        let mut member = Member {
            number,
            machine,
            folder: tempfile::tempdir().unwrap(),
            agent: None,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            kubeconfig: self.folder.path().join("kubeconfig").display().to_string(),
        };
        member.start();
        member
    }

    pub(crate) fn apply(&self, object: &Value) {
        self.api.apply("test", object.clone()).unwrap();
    }

    pub(crate) fn object(&self, number: u8) -> Value {
        self.api.get(&id(number)).unwrap().unwrap()
    }

    /// An annotation of flannel's.
    pub(crate) fn told(&self, number: u8, key: &str) -> Option<String> {
        let key = format!("flannel.alpha.coreos.com/{key}");
        let object = self.object(number);
        let value = object["metadata"]["annotations"][key].as_str();
        value.map(ToOwned::to_owned)
    }

    pub(crate) fn delete(&self, number: u8) {
        assert!(self.api.delete(&id(number)).unwrap());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }
}

fn id(number: u8) -> ObjectId {
    ObjectId {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        namespace: String::new(),
        name: format!("n{number}"),
    }
}

fn kubeconfig(url: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}],
    })
    .to_string()
}

/// On a runtime of its own; the socket stays in the namespace it was made in.
fn serve(api: ApiServer, listener: TcpListener, stop: oneshot::Receiver<()>) -> JoinHandle<()> {
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            // Watches have no end of their own.
            tokio::select! {
                _ = stop => {}
                served = api.serve(listener, std::future::pending()) => served.unwrap(),
            }
        });
    })
}

pub(crate) fn node_addresses(number: u8) -> [IpAddr; 2] {
    [format!("192.0.2.{number}"), format!("2001:db8::{number}")].map(|text| text.parse().unwrap())
}

pub(crate) fn ranges(number: u8) -> [String; 2] {
    [
        format!("10.244.{number}.0/24"),
        format!("fd00:{number}::/64"),
    ]
}

/// A node with an agent.
pub(crate) struct Member {
    pub(crate) number: u8,
    pub(crate) machine: Machine,
    folder: tempfile::TempDir,
    agent: Option<Agent>,
    flags: Vec<String>,
    kubeconfig: String,
}

/// A pod, with its addresses.
pub(crate) struct Pod {
    pub(crate) named: Named,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Member {
    pub(crate) fn start(&mut self) {
        let name = format!("--node-name=n{}", self.number);
        let source = format!("--kubeconfig={}", self.kubeconfig);
        let mut flags = vec![name.as_str(), &source];
        flags.extend(self.flags.iter().map(String::as_str));
        let namespace = self.machine.namespace();
        let agent = Agent::start_with(namespace, self.folder.path(), &flags);
        self.agent = Some(agent);
    }

    pub(crate) fn kill(&mut self) {
        self.agent = None;
    }

    pub(crate) fn add_pod(&self, container: &str) -> Pod {
        let named = Named::new();
        let ask = ask("ADD", container, &named.path(), &json!({}));
        let result = done(self.agent.as_ref().unwrap().ask(&ask)).unwrap();
        Pod {
            addresses: addresses(&result),
            named,
        }
    }

    /// Destination, gateway and interface of the routes by tunnels, or by others' addresses.
    pub(crate) fn routes(&self) -> Vec<String> {
        let mut netlink = self.machine.netlink().unwrap();
        let routes = netlink.routes(RouteFilter {
            table: Some(netlink::MAIN_TABLE),
            ..RouteFilter::default()
        });
        let mut shown = Vec::new();
        for route in routes.unwrap() {
            let hop = &route.hops[0];
            let name = netlink.link_at(hop.dev.unwrap()).unwrap().unwrap().name;
            if let (Some(via), true) = (hop.via, route.destination.prefix_len() > 0) {
                shown.push(format!("{} {via} {name}", route.destination));
            }
        }
        shown.sort();
        shown
    }

    pub(crate) fn link(&self, name: &str) -> Option<netlink::Link> {
        let name = LinkName::new(name).unwrap();
        self.machine.netlink().unwrap().link(&name).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        read(&self.folder.path().join("log"))
    }

    pub(crate) fn subnet_file(&self) -> String {
        read(&self.folder.path().join("subnet.env"))
    }

    /// Waits until the routes are these.
    pub(crate) fn until_routes(&self, want: &[&str]) {
        let what = format!("routes of n{} as {want:?}", self.number);
        self.until(&what, || self.routes() == want);
    }

    /// Waits until this is so.
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            let late = begun.elapsed() > Duration::from_secs(20);
            assert!(!late, "not {what}, but {:?}\n{}", self.routes(), self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

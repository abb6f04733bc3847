//! Real containers: containerd and runc call the plugin, for pods of busybox.
//!
//! ```text
//!  unshare: mounts and processes of their own, which end with it
//!    ├─ cni-agent                 the node's namespace
//!    ├─ containerd ─ shim ─ runc ─ the containers
//!    └─ ctr, which calls penstock-cni
//! ```

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use netlink::{Address, Change, LinkName, Netlink, RouteFilter};

use crate::{Node, skipped};

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec:\n  podCIDR: 10.77.1.0/28\n  \
                    podCIDRs: [10.77.1.0/28, \"fd77:1::/64\"]\n";

/// `$1` is the folder, `$2` the agent; runtimes look for plugins and networks where they always do.
const SCRIPT: &str = r#"
set -e
cp -a /etc "$1/etc"
mkdir -p "$1/etc/cni/net.d" "$1/opt/cni/bin" "$1/net.d"
cp "$(dirname "$2")/penstock-cni" "$1/opt/cni/bin/"
mount --bind "$1/etc" /etc
mount --bind "$1/net.d" /etc/cni/net.d
mount --bind "$1/opt" /opt
mount -t tmpfs none /run
"$2" run --node-name=n1 --admin=127.0.0.1:0 --drain-delay=0s --manifests="$1/manifests" \
    --socket="$1/cni.sock" --state-dir="$1/state" --cni-conf-dir="$1/net.d" --subnet-file=- &
exec containerd --config "$1/config.toml"
"#;

const CONFIG: &str = r#"
version = 2
root = "FOLDER/root"
state = "FOLDER/run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "FOLDER/containerd.sock"
[ttrpc]
address = "FOLDER/ttrpc.sock"
"#;

/// Says why there are no containers here, if so.
fn lacking() -> Option<String> {
    let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    for program in ["containerd", "ctr", "runc", "busybox", "unshare", "nsenter"] {
        let is_in = |folder: &str| Path::new(folder).join(program).is_file();
        if !folders.iter().any(|folder| is_in(folder)) {
            return Some(format!("{program} is not installed"));
        }
    }
    let plugin = Path::new(env!("CARGO_BIN_EXE_cni-agent")).with_file_name("penstock-cni");
    (!plugin.is_file()).then(|| "penstock-cni is not built".to_owned())
}

struct Runtime {
    /// `unshare`, whose child takes everybody else with it.
    outer: Child,
    folder: tempfile::TempDir,
    node: Node,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.outer.kill());
        drop(self.outer.wait());
    }
}

impl Runtime {
    fn start() -> Self {
        let node = Node::new();
        // What it speaks to its pods by.
        let mut netlink = Netlink::open_in(&node.namespace).unwrap();
        let lo = netlink.link_named(&LinkName::new("lo").unwrap()).unwrap();
        for own in ["192.0.2.1/32", "2001:db8::1/128"] {
            let address = Address::new(lo.index, own.parse().unwrap());
            netlink.change(Change::add(address)).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("manifests")).unwrap();
        fs::write(path.join("manifests/node.yaml"), NODE).unwrap();
        let config = CONFIG.replace("FOLDER", &path.display().to_string());
        fs::write(path.join("config.toml"), config).unwrap();
        for inside in ["bin", "proc", "etc", "www"] {
            fs::create_dir_all(path.join("rootfs").join(inside)).unwrap();
        }
        fs::copy("/bin/busybox", path.join("rootfs/bin/busybox")).unwrap();
        fs::write(path.join("rootfs/www/index.html"), "from a pod").unwrap();
        let log = fs::File::create(path.join("log")).unwrap();
        let spawn = || {
            Command::new("unshare")
                .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
                .args(["sh", "-c", SCRIPT, "sh"])
                .arg(path)
                .arg(env!("CARGO_BIN_EXE_cni-agent"))
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap()
        };
        let outer = node.namespace.enter(spawn).unwrap();
        let runtime = Self {
            outer,
            folder,
            node,
        };
        runtime.until("there", |folder| {
            folder.join("containerd.sock").exists()
                && folder.join("net.d/05-penstock.conflist").exists()
        });
        runtime
    }

    fn until(&self, what: &str, is_so: impl Fn(&Path) -> bool) {
        let begun = Instant::now();
        while !is_so(self.folder.path()) {
            let said = || {
                let read = |name| fs::read_to_string(self.folder.path().join(name));
                ["log", "server.log"]
                    .map(|name| read(name).unwrap_or_default())
                    .concat()
            };
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "not {what}: {}",
                said()
            );
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let id = self.outer.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            children.trim(),
            "--mount",
            "--pid",
            "--net",
            "--",
        ]);
        command.args(["ctr", "--address"]);
        command.arg(self.folder.path().join("containerd.sock"));
        command.args(arguments);
        command
    }

    /// A container, and the runtime's program that connects it and disconnects it at the end.
    fn run(&self, name: &str, command: &[&str]) -> Command {
        let rootfs = self.folder.path().join("rootfs").display().to_string();
        let mut arguments = vec![
            "run",
            "--rm",
            "--rootfs",
            "--cni",
            &rootfs,
            name,
            "/bin/busybox",
        ];
        arguments.extend(command);
        self.ctr(&arguments)
    }

    /// What the only cable of the node leads to.
    fn pod(&self) -> Vec<IpAddr> {
        let cables = self.node.cables();
        let [cable] = cables.as_slice() else {
            return Vec::new();
        };
        let mut netlink = Netlink::open_in(&self.node.namespace).unwrap();
        let name = LinkName::new(cable).unwrap();
        let dev = netlink.link(&name).unwrap().map(|link| link.index);
        let filter = RouteFilter {
            dev,
            table: Some(netlink::MAIN_TABLE),
            ..RouteFilter::default()
        };
        let routes = netlink.routes(filter).unwrap().into_iter();
        let to_one = routes
            .filter(|route| route.destination.prefix_len() == route.destination.max_prefix_len());
        to_one.map(|route| route.destination.addr()).collect()
    }
}

fn said(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn containers_of_a_real_runtime_are_connected() {
    if skipped() {
        return;
    }
    if let Some(why) = lacking() {
        println!("skipped: no containers here: {why}");
        return;
    }
    let runtime = Runtime::start();
    let log: PathBuf = runtime.folder.path().join("server.log");
    let mut server = runtime.run("server", &["httpd", "-f", "-p", "80", "-h", "/www"]);
    let server = server
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap());
    let mut server = server.spawn().unwrap();
    runtime.until("connected", |_| runtime.pod().len() == 2);
    let addresses = runtime.pod();
    for address in &addresses {
        let target = SocketAddr::new(*address, 80);
        let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(5)).is_ok();
        runtime.until("listening", |_| {
            runtime.node.namespace.enter(connect).unwrap()
        });
        let client = format!("client{}", u8::from(address.is_ipv6()));
        let url = format!("http://{target}/");
        let output = runtime
            .run(&client, &["wget", "-q", "-O", "-", &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output), "from a pod");
    }
    // The runtime has disconnected those that have ended; soon the kernel has, too.
    runtime.until("gone", |_| runtime.node.cables().len() == 1);
    let kill = runtime
        .ctr(&["task", "kill", "--signal", "KILL", "server"])
        .output()
        .unwrap();
    assert!(kill.status.success(), "{}", said(&kill));
    server.wait().unwrap();
    let mut text = String::new();
    fs::File::open(log)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    runtime.until("gone", |_| runtime.node.cables().is_empty());
    // By its DEL, not by the agent's looking for garbage.
    assert!(!text.contains("failed to remove"), "{text}");
}

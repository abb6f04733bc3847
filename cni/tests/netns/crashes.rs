//! Each step of ADD and DEL failing, and the agent killed after each.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cni::{Book, Requests, Step};
use cni_core::spec::Code;
use netlink::Namespace;
use netlink::nft::{Family, Nft, Table};
use serde_json::{Value, json};

use crate::{Named, Node, addresses, ask, code, done, ranges, skipped};

#[test]
fn a_step_of_add_that_fails_leaves_nothing_behind() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let pod = Named::new();
    for failing in Step::ADD {
        let (book, agent) = node.watched_agent(move |step| step != failing);
        let add = ask("ADD", "c1", &pod.path(), &with_everything());
        assert_eq!(code(agent.answer(&add)), Code::Internal, "{failing:?}");
        assert!(book.leases().is_empty(), "{failing:?}");
        assert!(node.cables().is_empty(), "{failing:?}");
        assert_eq!(pod.links(), ["lo"], "{failing:?}");
    }
}

#[test]
fn a_step_of_del_that_fails_is_made_a_minute_later() {
    if skipped() {
        return;
    }
    for failing in Step::DEL {
        let node = Node::new();
        let pod = Named::new();
        let failed = AtomicBool::new(false);
        let once = move |step| step != failing || failed.swap(true, Ordering::Relaxed);
        let (book, agent) = node.watched_agent(once);
        done(agent.answer(&ask("ADD", "c1", &pod.path(), &json!({}))));
        let answer = agent.answer(&ask("DEL", "c1", &pod.path(), &json!({})));
        if failing == Step::Going {
            assert_eq!(code(answer), Code::Internal);
        } else {
            done(answer);
        }
        agent.settle();
        // No address is free that may still lead to a pod.
        let left = usize::from(failing != Step::Released);
        assert_eq!(book.leases().len(), left, "{failing:?}");
        agent.collect(Path::new("/nowhere/x")).unwrap();
        agent.settle();
        assert!(book.leases().is_empty(), "{failing:?}");
        assert!(node.cables().is_empty(), "{failing:?}");
    }
}

/// A connection between two pods that is not to break.
struct Talk {
    near: TcpStream,
    far: TcpStream,
}

impl Talk {
    fn begin(from: &Named, to: &Named, address: std::net::IpAddr) -> Self {
        let listen = || TcpListener::bind((address, 0)).unwrap();
        let listener = to.namespace.enter(listen).unwrap();
        let target = listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(5)).unwrap();
        let near = from.namespace.enter(connect).unwrap();
        let far = listener.accept().unwrap().0;
        far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { near, far }
    }

    fn goes_on(&mut self) {
        self.near.write_all(b"still there?").unwrap();
        let mut heard = [0; 12];
        self.far.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"still there?");
    }
}

fn with_everything() -> Value {
    json!({"runtimeConfig": {
        "portMappings": [{"hostPort": 8080, "containerPort": 80}],
        "bandwidth": {"egressRate": 1_000_000},
    }})
}

/// How many of the node's ports lead anywhere.
fn host_ports(node: &Node) -> usize {
    let mut nft = Nft::open_in(&node.namespace).unwrap();
    let table = Table::new(Family::Inet, "penstock-nat");
    let contents = nft.contents(&table).unwrap().unwrap();
    let mut sets = contents.sets.iter();
    let ports = sets.find(|filled| &*filled.set.name == "ports4").unwrap();
    ports.elements.len()
}

/// The agent's own code in a process of its own, which kills itself after a step.
#[derive(serde::Serialize, serde::Deserialize)]
struct Doomed {
    node: String,
    state: std::path::PathBuf,
    pod: String,
    command: String,
    dies_after: String,
}

const DOOMED: &str = "PENSTOCK_DOOMED";

impl Doomed {
    fn run(self) {
        let book = Arc::new(Book::open(&self.state, "boot").unwrap());
        book.set_ranges(&ranges());
        let node = Namespace::open(Path::new(&self.node)).unwrap();
        let last = self.dies_after;
        let kill = move |step| {
            if format!("{step:?}") == last {
                let me = rustix::process::getpid();
                rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
            }
            true
        };
        let agent = Requests::watched(book, node, kill).unwrap();
        agent.answer(&ask(&self.command, "c1", &self.pod, &with_everything()));
        agent.settle();
    }
}

/// Runs this very test in another process until that dies.
fn die(node: &Node, pod: &Named, command: &str, step: Step) {
    let fd = node.namespace.as_fd().as_raw_fd();
    let doomed = Doomed {
        node: format!("/proc/{}/fd/{fd}", std::process::id()),
        state: node.journal(),
        pod: pod.path(),
        command: command.to_owned(),
        dies_after: format!("{step:?}"),
    };
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crashes::a_kill_after_any_step_neither_leaks_nor_doubles",
        ])
        .env(DOOMED, serde_json::to_string(&doomed).unwrap())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), None, "{step:?}: it was not killed");
}

#[test]
fn a_kill_after_any_step_neither_leaks_nor_doubles() {
    if let Ok(doomed) = std::env::var(DOOMED) {
        let doomed: Doomed = serde_json::from_str(&doomed).unwrap();
        return doomed.run();
    }
    if skipped() {
        return;
    }
    let node = Node::new();
    let pods = [Named::new(), Named::new()];
    let (_, agent) = node.agent();
    let [living, peer] = [0, 1].map(|number: usize| {
        let add = ask(
            "ADD",
            &format!("living{number}"),
            &pods[number].path(),
            &json!({}),
        );
        done(agent.answer(&add)).unwrap()
    });
    drop(agent);
    let mut talks: Vec<_> = addresses(&peer)
        .into_iter()
        .map(|address| Talk::begin(&pods[0], &pods[1], address))
        .collect();
    let adds = Step::ADD.map(|step| ("ADD", step));
    let dels = Step::DEL.map(|step| ("DEL", step));
    for (command, step) in adds.into_iter().chain(dels) {
        let (pod, next) = (Named::new(), Named::new());
        if command == "DEL" {
            let (_, agent) = node.agent();
            done(agent.answer(&ask("ADD", "c1", &pod.path(), &with_everything())));
        }
        die(&node, &pod, command, step);

        let (book, agent) = node.agent();
        agent.recover().unwrap();
        // Of an ADD the runtime has heard nothing, so that only what was whole is kept.
        let kept = usize::from(step == Step::Completed);
        assert_eq!(book.leases().len(), 2 + kept, "{step:?}");
        assert_eq!(node.cables().len(), 2 + 2 * kept, "{step:?}");
        assert_eq!(host_ports(&node), kept, "{step:?}");
        talks.iter_mut().for_each(Talk::goes_on);
        let previous = json!({"prevResult": living});
        done(agent.answer(&ask("CHECK", "living0", &pods[0].path(), &previous)));
        // The runtime tries again, and has what it wants.
        done(agent.answer(&ask("DEL", "c1", &pod.path(), &json!({}))));
        done(agent.answer(&ask("ADD", "c1", &pod.path(), &with_everything())));
        done(agent.answer(&ask("ADD", "c2", &next.path(), &json!({}))));
        let mut given: Vec<_> = book
            .leases()
            .into_iter()
            .flat_map(|lease| lease.addresses)
            .collect();
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 8, "{step:?}");
        for (name, pod) in [("c1", &pod), ("c2", &next)] {
            done(agent.answer(&ask("DEL", name, &pod.path(), &json!({}))));
        }
        agent.settle();
        assert_eq!(
            (book.leases().len(), node.cables().len()),
            (2, 2),
            "{step:?}"
        );
    }
    talks.iter_mut().for_each(Talk::goes_on);
}

#[test]
fn a_lost_journal_gives_no_living_pods_address_away() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let pods = [Named::new(), Named::new()];
    let (_, agent) = node.agent();
    let before = done(agent.answer(&ask("ADD", "c0", &pods[0].path(), &json!({})))).unwrap();
    drop(agent);
    std::fs::write(node.journal().join("journal"), "rubbish\nmore rubbish\n").unwrap();
    let (book, agent) = node.agent();
    agent.recover().unwrap();
    let after = done(agent.answer(&ask("ADD", "c1", &pods[1].path(), &json!({})))).unwrap();
    assert!(
        addresses(&after)
            .iter()
            .all(|address| !addresses(&before).contains(address))
    );
    // A DEL of the lost one frees its addresses when the garbage is collected.
    done(agent.answer(&ask("DEL", "c0", &pods[0].path(), &json!({}))));
    agent.collect(Path::new("/nowhere/x")).unwrap();
    agent.settle();
    assert_eq!(book.leases().len(), 1);
}

#[test]
fn pods_that_go_without_a_del_are_collected() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (book, agent) = node.agent();
    let stays = Named::new();
    let goes = Named::new();
    done(agent.answer(&ask("ADD", "stays", &stays.path(), &json!({}))));
    done(agent.answer(&ask("ADD", "goes", &goes.path(), &json!({}))));
    drop(goes);
    agent.collect(Path::new("/nowhere/x")).unwrap();
    agent.settle();
    let left: Vec<_> = book
        .leases()
        .into_iter()
        .map(|lease| lease.key.attachment.container)
        .collect();
    assert_eq!(left, ["stays"]);
    assert_eq!(node.cables().len(), 1);
}

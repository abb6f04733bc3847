//! The lab on this machine's kernel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says why it was skipped")]
#![expect(clippy::disallowed_methods, reason = "a test runs programs")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadtest::lab::{Lab, LabError, Machine};
use netlink::Namespace;

fn lab() -> Option<Lab> {
    match Lab::new() {
        Ok(lab) => Some(lab),
        Err(LabError::Kernel(error)) => {
            println!("skipped: no network namespaces here: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn reaches(from: &Machine, to: &Machine, address: &str) {
    let bind = || TcpListener::bind((address, 0)).unwrap();
    let listener = to.enter(bind).unwrap();
    let target = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(5)).unwrap();
    let mut stream = from.enter(connect).unwrap();
    stream.write_all(b"x").unwrap();
    let mut byte = [0];
    listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

#[test]
fn machines_reach_each_other_over_links_and_routers() {
    let Some(lab) = lab() else { return };
    let [a, b] = ["a", "b"].map(|name| lab.machine(name).unwrap());
    let outside = lab.machine("outside").unwrap();
    let router = lab.router("router").unwrap();
    let lan = lab.switch("lan").unwrap();
    a.plug(&lan, "eth0", &["192.0.2.1/24", "2001:db8::1/64"])
        .unwrap();
    b.plug(&lan, "eth0", &["192.0.2.2/24", "2001:db8::2/64"])
        .unwrap();
    router
        .plug(&lan, "lan", &["192.0.2.254/24", "2001:db8::fe/64"])
        .unwrap();
    let (near, far) = (
        ["198.51.100.1/24", "2001:db8:1::1/64"],
        ["198.51.100.9/24", "2001:db8:1::9/64"],
    );
    router.cable("wan", &near, &outside, "eth0", &far).unwrap();
    a.route("0.0.0.0/0", "192.0.2.254").unwrap();
    a.route("::/0", "2001:db8::fe").unwrap();
    outside.route("192.0.2.0/24", "198.51.100.1").unwrap();
    outside.route("2001:db8::/64", "2001:db8:1::1").unwrap();
    reaches(&a, &b, "192.0.2.2");
    reaches(&a, &b, "2001:db8::2");
    reaches(&a, &outside, "198.51.100.9");
    reaches(&a, &outside, "2001:db8:1::9");
    a.add_address("eth0", "192.0.2.11/24").unwrap();
    reaches(&b, &a, "192.0.2.11");
    assert!(a.add_address("eth0", "192.0.2.300/24").is_err());
    assert!(lab.machine("a").is_err(), "names are taken once");
}

#[test]
fn everything_goes_with_its_handle() {
    let Some(lab) = lab() else { return };
    let machine = lab.machine("m").unwrap();
    let path = machine.path();
    let mut sleep = machine.spawn(Command::new("sleep").arg("600")).unwrap();
    let inside = Namespace::of_process(sleep.child().id()).unwrap();
    assert_eq!(inside, *machine.namespace());
    let process = format!("/proc/{}", sleep.child().id());
    drop((sleep, inside, machine));
    assert!(!path.exists() && !std::path::Path::new(&process).exists());
}

/// The name of a variable that makes this test program a victim.
const VICTIM: &str = "LAB_VICTIM";

/// Makes a machine with a program in it, tells of both, and waits to be killed.
fn be_a_victim() {
    let lab = Lab::new().unwrap();
    let machine = lab.machine("m").unwrap();
    let mut sleep = machine.spawn(Command::new("sleep").arg("600")).unwrap();
    let (path, id) = (machine.path(), sleep.child().id());
    println!("\nvictim {} {id}", path.display());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn start_victim() -> (Child, String, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "what_a_killed_process_left_is_swept",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.map(Result::unwrap).find_map(|line| {
        let (path, id) = line.strip_prefix("victim ")?.split_once(' ')?;
        Some((path.to_owned(), format!("/proc/{id}")))
    });
    let (path, sleep) = told.unwrap();
    (child, path, sleep)
}

#[test]
fn what_a_killed_process_left_is_swept() {
    if std::env::var_os(VICTIM).is_some() {
        return be_a_victim();
    }
    let Some(lab) = lab() else { return };
    let machine = lab.machine("m").unwrap();
    let (mut child, path, sleep) = start_victim();
    let there = |path: &str| std::path::Path::new(path).exists();
    drop(Lab::new().unwrap());
    assert!(there(&path) && there(&sleep), "its owner lives");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(there(&path) && there(&sleep));
    drop(Lab::new().unwrap());
    assert!(!there(&path));
    assert!(machine.path().exists(), "ours stays");
    // An orphan is waited for by somebody else, in their time.
    let begun = Instant::now();
    let ended = |stat: String| stat.contains(") Z ");
    while !std::fs::read_to_string(format!("{sleep}/stat")).map_or(true, ended) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
}

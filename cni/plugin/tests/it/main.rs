//! The program as a runtime runs it: with an agent that the test plays, and without one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test runs the program")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use cni_core::ipam::Key;
use cni_core::spec::{Code, Refusal};
use cni_core::talk::{self, Ask, Reply, TALK, TOMBSTONES};
use serde_json::{Value, json};

fn run(command: &str, stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock-cni"))
        .env_clear()
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_NETNS", "/no/such/namespace")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/opt/cni/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses early may not read it.
    let _unread = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn printed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn config(socket: &Path) -> String {
    json!({"cniVersion": "1.1.0", "name": "pods", "type": "penstock-cni", "socket": socket})
        .to_string()
}

/// An agent that answers one request.
fn agent(socket: &Path, reply: Vec<u8>) -> thread::JoinHandle<Ask> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; talk::length(head).unwrap()];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(&reply).unwrap();
        serde_json::from_slice(&body).unwrap()
    })
}

#[test]
fn version_needs_nobody() {
    let output = run("VERSION", r#"{"cniVersion":"0.3.1"}"#);
    assert!(output.status.success());
    assert_eq!(printed(&output)["cniVersion"], "0.3.1");
    assert_eq!(
        printed(&output)["supportedVersions"]
            .as_array()
            .unwrap()
            .len(),
        7
    );
}

#[test]
fn errors_are_printed_as_the_protocol_has_them() {
    let long = format!("{{\"name\": \"{}\"}}", "a".repeat(1 << 20));
    for (command, stdin, code) in [
        ("ADD", "rubbish", 6),
        ("ADD", "", 6),
        ("ADD", long.as_str(), 6),
        ("ADD", r#"{"cniVersion": "9.0.0", "name": "a"}"#, 1),
        ("ADD", r#"{"cniVersion": "1.0.0"}"#, 7),
        ("ADDD", "{}", 4),
        ("", "{}", 4),
    ] {
        let output = run(command, stdin);
        assert_eq!(output.status.code(), Some(1), "{command:?} {stdin:.40}");
        let error = printed(&output);
        assert_eq!(error["code"], code, "{command:?} {stdin:.40}: {error}");
        assert!(error["msg"].is_string() && error["cniVersion"].is_string());
    }
}

#[test]
fn the_agents_answer_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let result = json!({"cniVersion": "1.1.0", "ips": []});
    let asked = agent(&socket, talk::frame(&Reply::Done(Some(result.clone()))));
    let output = run("ADD", &config(&socket));
    assert!(output.status.success());
    assert_eq!(printed(&output), result);
    let asked = asked.join().unwrap();
    assert_eq!(asked.talk, TALK);
    assert_eq!(asked.environment.container, "c1");
    assert_eq!(asked.stdin, config(&socket));

    std::fs::remove_file(&socket).unwrap();
    let refusal = Refusal::new(Code::PoolFull, "full").with("more");
    let asked = agent(&socket, talk::frame(&Reply::Refused(refusal)));
    let output = run("ADD", &config(&socket));
    assert_eq!(output.status.code(), Some(1));
    let want = json!({"cniVersion": "1.1.0", "code": 103, "msg": "full", "details": "more"});
    assert_eq!(printed(&output), want);
    asked.join().unwrap();

    std::fs::remove_file(&socket).unwrap();
    let asked = agent(&socket, talk::frame(&Reply::Done(None)));
    let output = run("DEL", &config(&socket));
    assert!(output.status.success() && output.stdout.is_empty());
    asked.join().unwrap();
}

#[test]
fn without_an_agent_only_deletions_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    for (command, code) in [("ADD", 11), ("GC", 11), ("STATUS", 50)] {
        let output = run(command, &config(&socket));
        assert_eq!(printed(&output)["code"], code, "{command}");
    }
    let output = run("DEL", &config(&socket));
    assert!(output.status.success() && output.stdout.is_empty());
    let mut left = std::fs::read_dir(folder.path().join(TOMBSTONES)).unwrap();
    let word = std::fs::read(left.next().unwrap().unwrap().path()).unwrap();
    let key: Key = serde_json::from_slice(&word).unwrap();
    assert_eq!(
        (key.network.as_str(), key.attachment.container.as_str()),
        ("pods", "c1")
    );
    assert!(left.next().is_none());
}

#[test]
fn an_agent_that_talks_rubbish_is_one_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    for (number, reply) in [
        &b""[..],
        &[0, 0, 0, 9, b'{'],
        &[0, 0, 0, 2, b'{', b'}'],
        &[255; 8],
    ]
    .iter()
    .enumerate()
    {
        let socket = folder.path().join(number.to_string());
        let asked = agent(&socket, reply.to_vec());
        let output = run("ADD", &config(&socket));
        assert_eq!(printed(&output)["code"], 11);
        asked.join().unwrap();
    }
}

//! `cargo xtask demo`: every command that it prints does what it says.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

#[test]
fn demo_prints_commands_that_work() {
    if !runs("curl") {
        println!("skipped: curl is not installed");
        return;
    }
    let ports = free_ports::<7>();
    let manifests = manifests([ports[4], ports[5], ports[6]]);
    let mut demo = Demo::start(manifests.path(), &ports);
    let page = demo.page();

    let mut tried = 0;
    for pair in page.windows(2) {
        let (command, shows) = (pair[0].trim(), pair[1].trim());
        let Some(shows) = shows.strip_prefix("→ ") else {
            continue;
        };
        if command.starts_with("kubectl") && !runs("kubectl") {
            continue;
        }
        let output = sh(command).unwrap_or_else(|error| panic!("{command}\n{error}"));
        for words in shows.split(", ") {
            assert!(
                output.contains(words),
                "{command}\nlacks {words}:\n{output}"
            );
        }
        tried += 1;
    }
    assert!(
        tried >= 12,
        "only {tried} commands in:\n{}",
        page.join("\n")
    );

    edit_is_served(manifests.path(), &page);
    demo.interrupt();
    assert!(demo.child.wait().unwrap().success());
    let left: Vec<_> = fs::read_dir(manifests.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains("generated"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    for port in ports {
        assert!(
            TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err(),
            "{port} is still served"
        );
    }
}

#[test]
fn demo_names_the_port_that_is_taken_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = xtask().args(["demo", "--http", &address]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(text.contains(&address) && text.contains("--http"), "{text}");
}

/// The page's own suggestion: `/version` becomes `/release`.
fn edit_is_served(manifests: &Path, page: &[String]) {
    let ask = page
        .iter()
        .find(|line| line.trim().starts_with("curl") && line.ends_with("/release"))
        .expect("the page suggests an edit");
    let file = manifests.join("api.yaml");
    let edited = fs::read_to_string(&file)
        .unwrap()
        .replace("path: /version", "path: /release");
    fs::write(&file, edited).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = sh(ask.trim()).unwrap();
        if answer.contains(r#""service": "api""#) {
            return;
        }
        assert!(Instant::now() < deadline, "still {answer}");
    }
}

struct Demo {
    child: Child,
    /// Kept: the demo must be able to print until it ends.
    stdout: BufReader<ChildStdout>,
}

impl Demo {
    fn start(manifests: &Path, ports: &[u16; 7]) -> Self {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let mut child = xtask()
            .args(["demo", "--manifests", manifests.to_str().unwrap()])
            .args(["--http", &address(ports[0])])
            .args(["--https", &address(ports[1])])
            .args(["--admin", &address(ports[2])])
            .args(["--api", &address(ports[3])])
            .args([
                "--backends",
                &format!("{},{},{}", ports[4], ports[5], ports[6]),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// What it prints until it is up.
    fn page(&mut self) -> Vec<String> {
        let mut page = Vec::new();
        for line in self.stdout.by_ref().lines().map(Result::unwrap) {
            let last = line.starts_with("Ctrl-C");
            page.push(line);
            if last {
                return page;
            }
        }
        panic!("the demo ended:\n{}", page.join("\n"));
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // After a failed assertion; it fails where the demo has ended, as it should.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.interrupt();
            let _ = self.child.wait();
        }
    }
}

fn xtask() -> Command {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
}

fn runs(program: &str) -> bool {
    sh(&format!("command -v {program}")).is_ok()
}

fn sh(command: &str) -> Result<String, String> {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        let error = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}\n{text}{error}", output.status))
    }
}

/// The demo's manifests, with other ports.
fn manifests(backends: [u16; 3]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo");
    for entry in fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.contains("generated") {
            continue;
        }
        let mut yaml = fs::read_to_string(&path).unwrap();
        for (written, port) in [8081, 8082, 8083].into_iter().zip(backends) {
            yaml = yaml.replace(
                &format!("127.0.0.1:{written}"),
                &format!("127.0.0.1:{port}"),
            );
        }
        fs::write(folder.path().join(name), yaml).unwrap();
    }
    folder
}

/// Ports that nobody listens on; all are held until the last is known, so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

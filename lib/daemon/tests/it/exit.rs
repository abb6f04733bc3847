//! How a process ends.
//!
//! Those that need signals run in a process of their own: this test program, started again with
//! the name of the test and a variable that tells it to be the daemon.

use std::future::pending;
use std::io::{BufRead as _, BufReader, Error, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use daemon::{BoxError, Flags, Process, run};
use rustix::process::{Pid, Signal, kill_process};

fn flags() -> Flags {
    Flags {
        admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        drain_delay: Duration::ZERO,
        ..Flags::default()
    }
}

async fn until_shutdown(process: Process) -> Result<(), BoxError> {
    process.shutdown().requested().await;
    Ok(())
}

#[test]
fn a_main_that_ends_well_is_success() {
    let code = run("test", &flags(), |_| async { Ok::<_, BoxError>(()) });
    assert_eq!(code, ExitCode::SUCCESS);
}

#[test]
fn a_main_that_fails_or_panics_is_failure() {
    let code = run("test", &flags(), |_| async { Err(Error::other("no")) });
    assert_eq!(code, ExitCode::FAILURE);
    let code = run("test", &flags(), |process| async move {
        if process.name() == "test" {
            panic!("on purpose");
        }
        Ok::<_, BoxError>(())
    });
    assert_eq!(code, ExitCode::FAILURE);
}

#[test]
fn a_task_that_fails_ends_the_process() {
    let code = run("test", &flags(), |process| {
        let failing = async { Err::<(), _>(Error::other("no")) };
        process.tasks().spawn("failing", failing);
        until_shutdown(process)
    });
    assert_eq!(code, ExitCode::FAILURE);
}

#[test]
fn a_task_that_panics_ends_the_process() {
    let code = run("test", &flags(), |process| {
        let task = async { assert!(std::env::args().count() == 0, "on purpose") };
        process.tasks().spawn("panicking", task);
        until_shutdown(process)
    });
    assert_eq!(code, ExitCode::FAILURE);
}

#[test]
fn a_task_that_is_done_ends_nothing() {
    let (done, was_done) = tokio::sync::oneshot::channel::<()>();
    let code = run("test", &flags(), |process| async move {
        process.tasks().spawn("short", async { drop(done) });
        assert!(was_done.await.is_err());
        assert!(!process.shutdown().is_requested());
        Ok::<_, BoxError>(())
    });
    assert_eq!(code, ExitCode::SUCCESS);
}

#[test]
fn at_the_end_tasks_finish_or_are_dropped() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
    let finished = sender.clone();
    let code = run("test", &flags(), |process| async move {
        let shutdown = process.shutdown().clone();
        process.tasks().spawn_finishing("finisher", async move {
            shutdown.requested().await;
            tokio::task::yield_now().await;
            finished.send("finished").await
        });
        process.tasks().spawn("loop", async move {
            pending::<()>().await;
            sender.send("never").await
        });
        Ok::<_, BoxError>(())
    });
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(receiver.blocking_recv(), Some("finished"));
    assert_eq!(receiver.blocking_recv(), None, "the loop was dropped");
}

#[test]
fn wrong_flags_are_failure() {
    let wrong = Flags {
        log_level: "a=b=c".to_owned(),
        ..flags()
    };
    let code = run("test", &wrong, |_| async { Ok::<_, BoxError>(()) });
    assert_eq!(code, ExitCode::FAILURE);
}

const ROLE: &str = "PENSTOCK_TEST_ROLE";

/// Starts this test again as the daemon and waits until it is up.
#[expect(
    clippy::disallowed_methods,
    reason = "the signal is for a process of its own"
)]
fn start(test: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("exit::{test}"), "--nocapture"])
        .env(ROLE, "daemon")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut lines, "up");
    (child, lines)
}

fn wait_for(lines: &mut impl std::io::BufRead, word: &str) {
    assert!(
        lines.lines().any(|line| line.unwrap().ends_with(word)),
        "the daemon never said {word:?}"
    );
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn sigterm_drains_and_is_success() {
    if std::env::var_os(ROLE).is_some() {
        let code = run("test", &flags(), |process| async move {
            println!("up");
            process.shutdown().accepting_ends().await;
            println!("drained");
            Ok::<_, BoxError>(())
        });
        assert_eq!(code, ExitCode::SUCCESS);
        return;
    }
    let (mut child, mut lines) = start("sigterm_drains_and_is_success");
    signal(&child, Signal::TERM);
    wait_for(&mut lines, "drained");
    lines.read_to_end(&mut Vec::new()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_second_signal_leaves_at_once() {
    if std::env::var_os(ROLE).is_some() {
        let code = run("test", &flags(), |process| async move {
            println!("up");
            process.shutdown().requested().await;
            println!("draining");
            pending::<Result<(), BoxError>>().await
        });
        assert_eq!(code, ExitCode::FAILURE);
        return;
    }
    let (mut child, mut lines) = start("a_second_signal_leaves_at_once");
    signal(&child, Signal::INT);
    wait_for(&mut lines, "draining");
    signal(&child, Signal::TERM);
    lines.read_to_end(&mut Vec::new()).unwrap();
    assert!(child.wait().unwrap().success());
}

//! Debian packages: installed when root and missing, else named.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::workspace::find_program;

/// A program and the Debian package that brings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// Tries to have `tools` installed. Returns those that are missing afterwards, having said so.
pub(crate) fn ensure(tools: &[Tool]) -> Vec<Tool> {
    let missing = missing(tools);
    if missing.is_empty() {
        return missing;
    }
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let command = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    if !rustix::process::geteuid().is_root() || find_program("apt-get").is_none() {
        println!("not installed, and what needs it is skipped; as root:\n    {command}\n");
        return missing;
    }
    println!("installing: {command}");
    if !install(&packages) {
        println!("could not install; what needs it is skipped\n");
    }
    self::missing(tools)
}

fn missing(tools: &[Tool]) -> Vec<Tool> {
    tools
        .iter()
        .filter(|tool| find_program(tool.program).is_none())
        .copied()
        .collect()
}

fn install(packages: &[&str]) -> bool {
    let _no_daemons = NoDaemons::forbid();
    let mut args = vec!["install", "-y", "--no-install-recommends"];
    args.extend(packages);
    // Package lists may be absent (fresh image) or old; one refresh settles both.
    apt_get(&args) || (apt_get(&["update"]) && apt_get(&args))
}

fn apt_get(args: &[&str]) -> bool {
    Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// While it lives, packages that bring a daemon do not start it (Debian policy, 9.3.3.1).
struct NoDaemons {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoDaemons {
    fn forbid() -> Self {
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY);
        let ours = file.is_ok_and(|mut file| {
            std::io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n").is_ok()
        });
        Self { ours }
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.ours {
            // Nothing to do about it here; apt would say so at the next daemon.
            drop(fs::remove_file(Path::new(POLICY)));
        }
    }
}

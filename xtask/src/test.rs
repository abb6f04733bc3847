//! `cargo xtask test`: runs every lane that can run here and closes with one line.
//!
//! A test that cannot run where it is prints a line that starts with `skipped: ` and returns; it is
//! counted as skipped and its reason is shown.

mod httpwg;
mod libtest;
mod nextest;

use std::process::ExitCode;

use anyhow::Result;

use crate::packages::{self, Tool};

/// What tests run: `kubectl` against the embedded API, `curl` and `h2load` against the proxy,
/// `nft` to list what we made.
const TOOLS: [Tool; 5] = [
    Tool {
        program: "curl",
        package: "curl",
    },
    Tool {
        program: "h2load",
        package: "nghttp2-client",
    },
    Tool {
        program: "kubectl",
        package: "kubernetes-client",
    },
    Tool {
        program: "nft",
        package: "nftables",
    },
    Tool {
        program: "openssl",
        package: "openssl",
    },
];

const SKIPPED: &str = "skipped: ";

/// What a lane came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
    /// Why, one per test.
    skipped: Vec<String>,
}

impl Tally {
    /// A lane that cannot run here.
    fn skipping(why: &str) -> Self {
        Self {
            skipped: vec![why.to_owned()],
            ..Self::default()
        }
    }

    /// A lane that did not come as far as its tests.
    fn broken() -> Self {
        Self {
            failed: 1,
            ..Self::default()
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
    }
}

pub(crate) fn run() -> Result<ExitCode> {
    packages::ensure(&TOOLS);
    let mut tally = unit_lane()?;
    // Where nothing builds, the doc tests would say the same once more.
    if tally.passed > 0 {
        tally.add(libtest::run(&["--doc"])?);
        tally.add(httpwg::run()?);
    }
    println!();
    for why in &tally.skipped {
        println!("{SKIPPED}{why}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed,
        tally.failed,
        tally.skipped.len()
    );
    Ok(if tally.failed == 0 && tally.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn unit_lane() -> Result<Tally> {
    if nextest::installed() {
        return nextest::run();
    }
    println!(
        "cargo-nextest is not installed (cargo install --locked cargo-nextest): using cargo test\n"
    );
    libtest::run(&["--lib", "--bins", "--tests"])
}

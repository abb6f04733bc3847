//! `cargo xtask test`: runs every lane that can run here and closes with one line.
//!
//! Tests that make network namespaces are the binaries named `netns`: they want to be root, and run
//! after the others, whose load would slow down the packets that they wait for.
//!
//! A test that cannot run where it is prints a line that starts with `skipped: ` and returns; it is
//! counted as skipped and its reason is shown.

mod httpwg;
mod libtest;
mod nextest;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

use crate::packages::{self, Tool};

/// What tests run: `kubectl` against the embedded API, `curl` and `h2load` against the proxy,
/// `nft` to list what we made.
const TOOLS: [Tool; 8] = [
    // Real containers for the CNI plugin.
    Tool {
        program: "busybox",
        package: "busybox-static",
    },
    Tool {
        program: "containerd",
        package: "containerd",
    },
    Tool {
        program: "runc",
        package: "runc",
    },
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

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed) = (self.passed, self.failed);
        write!(
            f,
            "{passed} passed, {failed} failed, {} skipped",
            self.skipped.len()
        )
    }
}

/// Some of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Lane {
    /// All that needs no privileges
    Unit,
    /// Network namespaces; wants to be root
    Netns,
    /// Examples in the documentation
    Doc,
    /// HTTP conformance
    Httpwg,
}

impl Lane {
    const ALL: [Self; 4] = [Self::Unit, Self::Netns, Self::Doc, Self::Httpwg];

    fn run(self) -> Result<Tally> {
        match self {
            Self::Unit if nextest::installed() => nextest::run(&["-E", "not binary(netns)"]),
            Self::Netns if nextest::installed() => nextest::run(&["--test", "netns"]),
            Self::Unit => {
                println!(
                    "cargo-nextest is not installed (cargo install --locked cargo-nextest): using cargo test\n"
                );
                // What begins with another letter than `netns`.
                libtest::run(&["--lib", "--bins", "--test", "[!n]*"])
            }
            Self::Netns => libtest::run(&["--test", "netns"]),
            Self::Doc => libtest::run(&["--doc"]),
            Self::Httpwg => httpwg::run(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Netns => "netns",
            Self::Doc => "doc",
            Self::Httpwg => "httpwg",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// These lanes alone
    #[arg(value_enum, value_name = "LANE")]
    lanes: Vec<Lane>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    packages::ensure(&TOOLS);
    let lanes = match args.lanes.as_slice() {
        [] => &Lane::ALL,
        chosen => chosen,
    };
    let mut tallies = Vec::with_capacity(lanes.len());
    for lane in lanes {
        let tally = lane.run()?;
        // Where nothing builds, the others would say the same once more.
        let built = tally.passed > 0 || tally.failed == 0;
        tallies.push((lane.name(), tally));
        if !built {
            break;
        }
    }
    Ok(conclude(tallies))
}

/// Says what was skipped and why, what each lane came to, and last what all did.
fn conclude(tallies: Vec<(&'static str, Tally)>) -> ExitCode {
    println!();
    let mut all = Tally::default();
    for why in tallies.iter().flat_map(|(_, tally)| &tally.skipped) {
        println!("{SKIPPED}{why}");
    }
    for (name, tally) in tallies {
        println!("{name:<7} {tally}");
        all.add(tally);
    }
    println!("{all}");
    match all.failed == 0 && all.passed > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

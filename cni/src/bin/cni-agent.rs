//! The program `cni-agent`.

use std::process::ExitCode;

use clap::Parser as _;
use cni::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => daemon::run("cni-agent", &args.daemon.clone(), |process| {
            cni::run(process, *args)
        }),
    }
}

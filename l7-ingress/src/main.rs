//! The program `l7-ingress`.

use std::process::ExitCode;

use clap::Parser as _;
use l7_ingress::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => daemon::run("l7-ingress", &args.daemon.clone(), |process| {
            l7_ingress::run(process, *args)
        }),
        Command::Check(args) => l7_ingress::check(&args),
        Command::Explain(args) => l7_ingress::explain(&args),
    }
}

//! The one entry for people and for the gate: `cargo xtask demo | test | bench`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a command line tool: it talks to its user and runs other programs"
)]

mod bench;
mod certs;
mod demo;
mod docs;
mod echo;
mod packages;
mod probe;
mod process;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about, disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure programs beside their peers
    #[command(subcommand)]
    Bench(bench::Target),
    /// Run l7-ingress on deploy/demo with backends of its own, until Ctrl-C
    Demo(demo::Args),
    /// Write the parts of the README that the code knows best
    Docs(docs::Args),
    /// Run every test that can run here; the last line is `N passed, N failed, N skipped`
    Test(test::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            println!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Bench(target) => bench::run(target, runtime),
        Command::Demo(args) => runtime()?.block_on(demo::run(args)),
        Command::Docs(args) => docs::run(&args),
        Command::Test(args) => test::run(&args),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")
}

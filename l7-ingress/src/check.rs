//! `l7-ingress check`: every problem of a manifest folder.

use std::fmt::Write as _;
use std::process::ExitCode;

use model::Severity;

use crate::offline::{self, Offline, OfflineError};
use crate::settings::CheckArgs;

/// Prints every problem; the exit code is 1 if there is one, 2 if the folder cannot be read.
#[must_use]
pub fn check(args: &CheckArgs) -> ExitCode {
    offline::command("check", run(args))
}

async fn run(args: &CheckArgs) -> Result<(String, ExitCode), OfflineError> {
    let folder = Offline::read(&args.manifests, &args.ingress).await?;
    let problems = folder.problems();
    let mut text = String::new();
    for finding in &folder.findings {
        push(&mut text, format_args!("error    {finding}"));
    }
    for problem in &problems {
        let severity = match problem.severity {
            Severity::Error => "error   ",
            Severity::Warning => "warning ",
        };
        push(&mut text, format_args!("{severity} {problem}"));
    }
    for note in folder.notes() {
        push(&mut text, format_args!("note     {note}"));
    }
    let routes = folder.routes;
    let count = folder.findings.len() + problems.len();
    if count == 0 {
        push(&mut text, format_args!("ok: {routes} routes, no problems"));
        return Ok((text, ExitCode::SUCCESS));
    }
    let plural = if count == 1 { "problem" } else { "problems" };
    push(
        &mut text,
        format_args!("\n{count} {plural}; {routes} routes are served"),
    );
    Ok((text, ExitCode::FAILURE))
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a buffer in memory grows");
}

//! Tests by `cargo test`: the doc tests always, the others where cargo-nextest is not installed.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result};

use super::{SKIPPED, Tally};
use crate::workspace;

pub(super) fn run(targets: &[&str]) -> Result<Tally> {
    let mut child = workspace::cargo()
        .args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(targets)
        .args(["--", "--show-output"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test does not start")?;
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cargo test")?;
        println!("{line}");
        lines.push(line);
    }
    let mut tally = count(lines.iter().map(String::as_str));
    if !child.wait().context("cargo test")?.success() && tally.failed == 0 {
        tally.add(Tally::broken());
    }
    Ok(tally)
}

fn count<'a>(lines: impl Iterator<Item = &'a str>) -> Tally {
    let mut tally = Tally::default();
    let (mut ok, mut ignored) = (0_usize, 0_usize);
    for line in lines {
        if let Some(why) = line.strip_prefix(SKIPPED) {
            tally.skipped.push(why.to_owned());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            ok += counted(result, "passed");
            ignored += counted(result, "ignored");
            tally.failed += counted(result, "failed");
        }
    }
    // libtest says `ok` of a test that skipped itself.
    tally.passed = ok.saturating_sub(tally.skipped.len());
    tally
        .skipped
        .extend((0..ignored).map(|_| "marked ignore".to_owned()));
    tally
}

/// The number before `what` in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn counted(result: &str, what: &str) -> usize {
    result
        .split([';', '.'])
        .find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_add_up() {
        let output = "\
running 3 tests
test a ... ok
successes:
---- b stdout ----
skipped: curl is not installed
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        let want = Tally {
            passed: 3,
            failed: 2,
            skipped: vec![
                "curl is not installed".to_owned(),
                "marked ignore".to_owned(),
            ],
        };
        assert_eq!(count(output.lines()), want);
    }
}

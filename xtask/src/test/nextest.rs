//! The unit and integration tests, by cargo-nextest; counted from its JUnit report, which holds what
//! each test printed.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::{SKIPPED, Tally};
use crate::workspace;

pub(super) fn installed() -> bool {
    workspace::cargo()
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs the tests that these arguments choose.
pub(super) fn run(choice: &[&str]) -> Result<Tally> {
    // nextest's store is there whatever CARGO_TARGET_DIR says.
    let report = workspace::root().join("target/nextest/ci/junit.xml");
    if report.exists() {
        fs::remove_file(&report).context("the last report cannot be removed")?;
    }
    let status = workspace::cargo()
        .args([
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--profile",
            "ci",
        ])
        .args(choice)
        .status()
        .context("cargo nextest does not start")?;
    let Ok(xml) = fs::read_to_string(&report) else {
        return Ok(Tally::broken());
    };
    let mut tally = count(&xml);
    tally.skipped.extend(ignored(choice)?);
    if !status.success() && tally.failed == 0 {
        tally.add(Tally::broken());
    }
    Ok(tally)
}

/// Tests marked `#[ignore]`, which the report leaves out.
fn ignored(choice: &[&str]) -> Result<Vec<String>> {
    let output = workspace::cargo()
        .args(["nextest", "list", "--locked", "--workspace"])
        .args(choice)
        .args(["--run-ignored", "only", "--message-format", "oneline"])
        .stderr(Stdio::null())
        .output()
        .context("cargo nextest does not start")?;
    let names = String::from_utf8_lossy(&output.stdout);
    let reasons = names
        .lines()
        .map(|name| format!("marked #[ignore] ({name})"));
    Ok(reasons.collect())
}

fn count(xml: &str) -> Tally {
    let mut tally = Tally::default();
    for case in xml.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        let name = case
            .strip_prefix("name=\"")
            .and_then(|rest| rest.split('"').next())
            .unwrap_or("?");
        if case.contains("<failure") || case.contains("<error") {
            tally.failed += 1;
        } else if let Some(why) = case.lines().find_map(skip_reason) {
            tally.skipped.push(format!("{why} ({name})"));
        } else {
            tally.passed += 1;
        }
    }
    tally
}

/// The reason in a line of output; the first line follows its element's tag.
fn skip_reason(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line
        .strip_prefix("<system-out>")
        .or_else(|| line.strip_prefix("<system-err>"))
        .unwrap_or(line);
    let why = line.strip_prefix(SKIPPED)?;
    Some(why.split("</system-").next().unwrap_or(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_failed_and_skipped_are_told_apart() {
        let xml = r#"<testsuites name="nextest-run" tests="4" failures="1" errors="0">
    <testsuite name="model" tests="4" disabled="0" errors="0" failures="1">
        <testcase name="a::plain" classname="model" time="0.1">
        </testcase>
        <testcase name="a::talks" classname="model" time="0.1">
            <system-out>running 1 test
this was not skipped: it ran
</system-out>
        </testcase>
        <testcase name="a::cannot" classname="model" time="0.1">
            <system-out>
running 1 test
skipped: kubectl is not installed
test a::cannot ... ok
</system-out>
            <system-err></system-err>
        </testcase>
        <testcase name="a::breaks" classname="model" time="0.1">
            <failure type="test failure">boom</failure>
            <system-out>skipped: no, it failed</system-out>
        </testcase>
    </testsuite>
</testsuites>"#;
        let want = Tally {
            passed: 2,
            failed: 1,
            skipped: vec!["kubectl is not installed (a::cannot)".to_owned()],
        };
        assert_eq!(count(xml), want);
    }
}

//! The unit and integration tests, by cargo-nextest; counted from its JUnit report, which holds what
//! each test printed.

use std::fs;
use std::io::{BufRead, BufReader};
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

pub(super) fn run() -> Result<Tally> {
    // nextest's store is there whatever CARGO_TARGET_DIR says.
    let report = workspace::root().join("target/nextest/ci/junit.xml");
    if report.exists() {
        fs::remove_file(&report).context("the last report cannot be removed")?;
    }
    let mut child = workspace::cargo()
        .args([
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--profile",
            "ci",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .context("cargo nextest does not start")?;
    let stderr = child.stderr.take().expect("it is piped");
    let mut ignored = 0;
    for line in BufReader::new(stderr).lines() {
        let line = line.context("cargo nextest")?;
        ignored = ignored_in_summary(&line).unwrap_or(ignored);
        eprintln!("{line}");
    }
    let status = child.wait().context("cargo nextest")?;
    let Ok(xml) = fs::read_to_string(&report) else {
        return Ok(Tally::broken());
    };
    let mut tally = count(&xml);
    tally
        .skipped
        .extend((0..ignored).map(|_| "marked #[ignore]".to_owned()));
    if !status.success() && tally.failed == 0 {
        tally.add(Tally::broken());
    }
    Ok(tally)
}

/// The `N skipped` of `Summary [ 1.2s] 9 tests run: 9 passed, N skipped`: tests marked `#[ignore]`,
/// which the report leaves out.
fn ignored_in_summary(line: &str) -> Option<usize> {
    let (_, counts) = line.trim_start().strip_prefix("Summary")?.split_once(':')?;
    counts
        .split(',')
        .find_map(|count| count.trim().strip_suffix(" skipped")?.parse().ok())
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

    #[test]
    fn the_summary_names_ignored_tests() {
        let table = [
            (
                "     Summary [   0.012s] 3 tests run: 2 passed, 1 failed, 7 skipped",
                Some(7),
            ),
            (
                "     Summary [   0.012s] 3 tests run: 3 passed, 0 skipped",
                Some(0),
            ),
            ("        PASS [   0.012s] model a: 4 skipped", None),
        ];
        for (line, want) in table {
            assert_eq!(ignored_in_summary(line), want, "{line}");
        }
    }
}

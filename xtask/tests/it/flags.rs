//! `docs/flags.md` names the flags that `l7-ingress run` has, and no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_flag_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let help = Command::new(cargo)
        .args([
            "run",
            "--quiet",
            "--locked",
            "--bin",
            "l7-ingress",
            "--",
            "run",
            "--help",
        ])
        .current_dir(&root)
        .output()
        .unwrap();
    assert!(
        help.status.success(),
        "{}",
        String::from_utf8_lossy(&help.stderr)
    );
    let mut have = flags(&String::from_utf8_lossy(&help.stdout), "      --");
    have.remove("help");
    let said = flags(
        &fs::read_to_string(root.join("docs/flags.md")).unwrap(),
        "| `--",
    );
    assert_eq!(said, have);
}

/// The names after `lead` at the beginning of lines; a value that may be left out follows in brackets.
fn flags(text: &str, lead: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix(lead))
        .filter_map(|rest| rest.split([' ', '`', '[']).next())
        .map(str::to_owned)
        .collect()
}

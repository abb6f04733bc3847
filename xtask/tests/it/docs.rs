//! What the README says of annotations is what the code does with them.

use std::process::Command;

#[test]
fn the_readme_is_up_to_date() {
    let checked = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["docs", "--check"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
}

//! `cargo xtask docs`: writes the parts of the README that the code knows best.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use l7_ingress_core::{Support, catalogue, configmap_keys};

use crate::workspace;

/// What the README has of the code: what each part is called in its marks, and what it says.
const PARTS: [Part; 2] = [("annotations", annotations), ("keys", keys)];

type Part = (&'static str, fn() -> String);

/// `cargo xtask docs`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; exit with 1 if something would be written
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let file = workspace::root().join("README.md");
    let old = fs::read_to_string(&file).context("README.md")?;
    let new = PARTS.iter().try_fold(old.clone(), |text, (name, part)| {
        replaced(&text, name, &part())
    })?;
    if old == new {
        return Ok(ExitCode::SUCCESS);
    }
    if args.check {
        println!("README.md does not say what the code does; `cargo xtask docs` writes it");
        return Ok(ExitCode::FAILURE);
    }
    fs::write(&file, new).context("README.md")?;
    println!("written: README.md");
    Ok(ExitCode::SUCCESS)
}

/// `text` with `part` between the marks of `name`.
fn replaced(text: &str, name: &str, part: &str) -> Result<String> {
    let begin = format!("<!-- begin: {name}, written by cargo xtask docs -->\n");
    let end = format!("<!-- end: {name}, written by cargo xtask docs -->\n");
    let (before, rest) = text.split_once(&begin).unwrap_or_default();
    let (_, after) = rest.split_once(&end).unwrap_or_default();
    ensure!(
        !before.is_empty() && !after.is_empty(),
        "the marks of {name} are not there"
    );
    Ok(format!("{before}{begin}\n{part}\n{end}{after}"))
}

/// Every annotation and what becomes of it.
fn annotations() -> String {
    let mut text = "| annotation | |\n|---|---|\n".to_owned();
    for known in catalogue() {
        let words = match known.support {
            Support::NotYet if known.guards() => {
                "not yet: refuses its Ingress, which would be open without it".to_owned()
            }
            Support::NotYet => "not yet: reported, the Ingress is served without it".to_owned(),
            support => words(support),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{}` | {words} |", known.name);
    }
    text
}

/// Every key of the ConfigMap and what becomes of it.
fn keys() -> String {
    let mut text = "| key | |\n|---|---|\n".to_owned();
    for known in configmap_keys() {
        let _ = writeln!(text, "| `{}` | {} |", known.name, words(known.support));
    }
    text
}

fn words(support: Support) -> String {
    match support {
        Support::Same => "supported".to_owned(),
        Support::Differs(how) => format!("differs: {how}"),
        Support::Useless(why) => format!("accepted, without effect: {why}"),
        Support::Refused(why) => format!("refused: {why}"),
        Support::NotYet => "not yet: reported".to_owned(),
    }
}

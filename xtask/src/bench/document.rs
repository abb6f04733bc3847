//! docs/benchmarks.md: each benchmark writes its part and keeps the others.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Where a benchmark's part begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Markers {
    pub(super) begin: &'static str,
    pub(super) end: &'static str,
}

impl Markers {
    /// Puts `body` between the markers of `file`; without them, after all that is there.
    pub(super) fn replace(self, file: &Path, body: &str) -> Result<()> {
        let old = fs::read_to_string(file).unwrap_or_default();
        fs::write(file, self.put(&old, body)).with_context(|| format!("{}", file.display()))?;
        println!("written: {}", file.display());
        Ok(())
    }

    fn put(self, old: &str, body: &str) -> String {
        let Self { begin, end } = self;
        let (before, after) = match (old.split_once(begin), old.split_once(end)) {
            (Some((before, _)), Some((_, after))) => (before.to_owned(), after),
            _ if old.is_empty() => (TITLE.to_owned(), "\n"),
            _ => (format!("{}\n\n", old.trim_end()), "\n"),
        };
        format!("{before}{begin}\n\n{body}\n{end}{after}")
    }
}

const TITLE: &str = "# Benchmarks\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_replaced_where_it_is() {
        let [one, other] = ["one", "other"].map(|name| Markers {
            begin: if name == "one" { "<1>" } else { "<2>" },
            end: if name == "one" { "</1>" } else { "</2>" },
        });
        let text = one.put("", "a");
        assert_eq!(text, "# Benchmarks\n\n<1>\n\na\n</1>\n");
        let text = other.put(&(text + "\nkept\n"), "b");
        let text = one.put(&text, "c");
        let want = "# Benchmarks\n\n<1>\n\nc\n</1>\n\nkept\n\n<2>\n\nb\n</2>\n";
        assert_eq!(text, want);
    }
}

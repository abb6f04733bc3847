//! What is wrong with a document of the manifest folder.

use std::fmt;
use std::path::PathBuf;

/// What is wrong with a document of the manifest folder; what it said before stays in effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the folder's point of view.
    pub file: PathBuf,
    /// Which document of the file, counted from 1 without empty ones; 0 is the file itself.
    pub document: usize,
    /// The line in the file, from 1, where it is known.
    pub line: Option<u64>,
    /// The path of the field at fault, as in `spec.rules[0].host`; empty when it is none.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if self.document > 0 {
            write!(f, ": document {}", self.document)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_like_those_of_a_compiler() {
        let mut finding = Finding {
            file: PathBuf::from("web/shop.yaml"),
            document: 2,
            line: Some(14),
            field: "spec.rules[0].host".to_owned(),
            message: "is no host".to_owned(),
        };
        assert_eq!(
            finding.to_string(),
            "web/shop.yaml:14: document 2: spec.rules[0].host: is no host"
        );
        finding.document = 0;
        finding.line = None;
        finding.field.clear();
        assert_eq!(finding.to_string(), "web/shop.yaml: is no host");
    }
}

//! From the text of a file to its documents, and from a document to the objects in it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use apiserver::ObjectId;
use serde_json::Value;

use super::Finding;

/// One document of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document<'t> {
    /// From 1; documents without content do not count.
    pub(super) number: usize,
    /// The line of the file on which it begins, from 1.
    pub(super) line: u64,
    pub(super) text: &'t str,
}

/// Splits a file textually, so that a document that does not parse harms no other.
///
/// `---` in the first column is a marker wherever it stands (YAML 1.2.2, 9.1.2): even block scalars
/// cannot hold it there, for their lines are indented.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let (mut begin, mut begin_line) = (0, 1);
    let mut at = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        if is_marker(line) && at > begin {
            push(&mut documents, &text[begin..at], begin_line);
            (begin, begin_line) = (at, number);
        }
        at += line.len();
    }
    push(&mut documents, &text[begin..], begin_line);
    documents
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn push<'t>(documents: &mut Vec<Document<'t>>, text: &'t str, line: u64) {
    let empty = text.lines().all(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line.starts_with('#') || line == "..."
    });
    if !empty {
        let number = documents.len() + 1;
        documents.push(Document { number, line, text });
    }
}

/// An object of a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) id: ObjectId,
    pub(super) object: Value,
    /// Where in the document it is: empty, or `items[3].`.
    pub(super) prefix: String,
}

impl Item {
    /// A digest of what is said of the object.
    pub(super) fn content(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.object.hash(&mut hasher);
        hasher.finish()
    }
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// In the document, from 1.
    pub(super) line: Option<u64>,
    pub(super) field: String,
    pub(super) message: String,
}

impl Fault {
    /// One of no field.
    pub(super) fn new(message: String) -> Self {
        Self {
            line: None,
            field: String::new(),
            message,
        }
    }

    /// The same as a finding in a document that begins on line `begin` of its file.
    pub(super) fn found(self, file: &Path, document: usize, begin: u64) -> Finding {
        Finding {
            file: file.to_owned(),
            document,
            line: self.line.map(|line| begin + line.saturating_sub(1)),
            field: self.field,
            message: self.message,
        }
    }
}

/// Reads a document: one object, or a list of them.
pub(super) fn read(text: &str) -> Result<Vec<Item>, Fault> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        // A bound on what one file may hold is set where files are read.
        budget: None,
    };
    let value: Value =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| Fault {
            line: error.location().map(|location| location.line()),
            field: String::new(),
            message: format!("not YAML: {}", without_position(&error.to_string())),
        })?;
    let mut items = Vec::new();
    if is_list(&value) {
        let kind = text_of(&value, "kind").trim_end_matches("List").to_owned();
        let api_version = text_of(&value, "apiVersion").to_owned();
        let Value::Object(mut list) = value else {
            return Ok(items);
        };
        let Some(Value::Array(members)) = list.remove("items") else {
            return Ok(items);
        };
        for (index, mut object) in members.into_iter().enumerate() {
            // The members of a typed list need not say what they are.
            if let Value::Object(object) = &mut object
                && !kind.is_empty()
            {
                object.entry("kind").or_insert_with(|| kind.clone().into());
                object
                    .entry("apiVersion")
                    .or_insert_with(|| api_version.clone().into());
            }
            items.push(item(object, format!("items[{index}]."))?);
        }
    } else {
        items.push(item(value, String::new())?);
    }
    Ok(items)
}

fn is_list(value: &Value) -> bool {
    text_of(value, "kind").ends_with("List") && value.get("items").is_some_and(Value::is_array)
}

fn item(object: Value, prefix: String) -> Result<Item, Fault> {
    let fault = |field: &str, message: &str| Fault {
        line: None,
        field: format!("{prefix}{field}"),
        message: message.to_owned(),
    };
    if !object.is_object() {
        return Err(Fault {
            line: None,
            field: prefix.trim_end_matches('.').to_owned(),
            message: "not an object of the Kubernetes API".to_owned(),
        });
    }
    for field in ["apiVersion", "kind"] {
        if text_of(&object, field).is_empty() {
            return Err(fault(field, "Required value"));
        }
    }
    match ObjectId::of(&object) {
        Some(mut id) => {
            // One name for one object: the API reads no namespace as this one.
            if id.namespace == "default" {
                id.namespace.clear();
            }
            Ok(Item { id, object, prefix })
        }
        None if object
            .pointer("/metadata/name")
            .is_some_and(|name| !name.is_null()) =>
        {
            Err(fault(
                "metadata.name",
                "must be a text that is not empty; names like 1, yes and on need quotes",
            ))
        }
        None => Err(fault("metadata.name", "Required value")),
    }
}

fn text_of<'v>(value: &'v Value, member: &str) -> &'v str {
    value
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The parser says the position in its message too; a finding has it already, as that of the file.
fn without_position(message: &str) -> &str {
    let message = message.lines().next().unwrap_or_default();
    message
        .split_once(" at line ")
        .map_or(message, |(message, _)| message)
}

/// A digest of a document, by which one that did not change is recognised.
///
/// The marker does not count: it comes and goes with the document in front.
pub(super) fn digest(text: &str) -> u64 {
    let text = text.strip_prefix("---").unwrap_or(text);
    let mut hasher = DefaultHasher::new();
    text.trim().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &[(usize, u64, &str)]) {
        let got: Vec<_> = split(text)
            .into_iter()
            .map(|document| (document.number, document.line, document.text))
            .collect();
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn documents_are_split_at_their_markers() {
        check("", &[]);
        check("---\n# only words\n---\n", &[]);
        check("a: 1\n", &[(1, 1, "a: 1\n")]);
        check(
            "a: 1\n---\nb: 1\n--- # words\nc: 1",
            &[
                (1, 1, "a: 1\n"),
                (2, 2, "---\nb: 1\n"),
                (3, 4, "--- # words\nc: 1"),
            ],
        );
        check(
            "# head\n---\na: 1\n---\n---\r\nb: 1\r\n",
            &[(1, 2, "---\na: 1\n"), (2, 5, "---\r\nb: 1\r\n")],
        );
    }

    #[test]
    fn what_only_looks_like_a_marker_is_none() {
        let certificate = "a: |\n  -----BEGIN CERTIFICATE-----\n  ---\n";
        check(certificate, &[(1, 1, certificate)]);
        let words = "-----BEGIN\n---x\n";
        check(words, &[(1, 1, words)]);
    }

    fn names(text: &str) -> Vec<(String, String)> {
        let items = read(text).unwrap();
        items
            .into_iter()
            .map(|item| (format!("{} {}", item.id.kind, item.id.name), item.prefix))
            .collect()
    }

    #[test]
    fn a_document_holds_an_object_or_a_list() {
        let one = "kind: Service\napiVersion: v1\nmetadata: {name: web, namespace: default}\n";
        assert_eq!(names(one), [("Service web".to_owned(), String::new())]);
        assert_eq!(read(one).unwrap()[0].id.namespace, "");
        let list = "kind: ServiceList\napiVersion: v1\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n";
        assert_eq!(
            names(list),
            [
                ("Service a".to_owned(), "items[0].".to_owned()),
                ("Service b".to_owned(), "items[1].".to_owned())
            ]
        );
        assert_eq!(
            names(r#"{"kind": "List", "apiVersion": "v1", "items": []}"#),
            []
        );
    }

    #[test]
    fn a_fault_names_its_place() {
        let check = |text: &str, line: Option<u64>, field: &str| {
            let fault = read(text).unwrap_err();
            assert_eq!((fault.line, &*fault.field), (line, field), "{fault:?}");
        };
        check("kind: Service\nmetadata: [\n", Some(2), "");
        check("kind: Service\nkind: Service\n", Some(2), "");
        check("just words\n", None, "");
        check("kind: Service\n", None, "apiVersion");
        check("apiVersion: v1\nkind: Service\n", None, "metadata.name");
        check(
            "apiVersion: v1\nkind: Service\nmetadata: {name: on}\n",
            None,
            "metadata.name",
        );
        let list = "kind: List\napiVersion: v1\nitems:\n- kind: Service\n  apiVersion: v1\n";
        check(list, None, "items[0].metadata.name");
    }
}

//! The texts of a reload, by the places of the objects in them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::Finding;
use super::document::{self, Fault, Item};
use super::locate;
use super::scan::Stamp;

/// Where an object is defined; ordered as definitions win.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: Arc<Path>,
    /// From 1.
    pub(super) document: usize,
    /// Of the document's objects, from 0.
    pub(super) item: usize,
}

impl Place {
    pub(super) fn new(file: &Arc<Path>, document: usize, item: usize) -> Self {
        Self {
            file: Arc::clone(file),
            document,
            item,
        }
    }
}

/// The texts that a reload needs again, each read once: to find the line of a fault, or the object
/// of a document that did not change. Objects and texts are not kept beyond, for the API has them.
#[derive(Debug)]
pub(super) struct Texts {
    root: PathBuf,
    fresh: BTreeMap<Place, Value>,
    files: BTreeMap<Arc<Path>, Vec<(u64, String)>>,
}

impl Texts {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            fresh: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// Keeps an object that was just read until it is asked for.
    pub(super) fn keep(&mut self, place: Place, object: Value) {
        self.fresh.insert(place, object);
    }

    /// The object at a place, once.
    pub(super) fn object(&mut self, place: &Place) -> Result<Value, Finding> {
        if let Some(object) = self.fresh.remove(place) {
            return Ok(object);
        }
        self.item(place).map(|item| item.object).ok_or_else(|| {
            let fault = Fault::new("the file changed while it was read".to_owned());
            fault.found(&place.file, place.document, 0)
        })
    }

    /// A finding at a field, on its line.
    pub(super) fn locate(&mut self, place: &Place, field: &str, message: String) -> Finding {
        let item = self.item(place);
        let prefix = item.map_or_else(String::new, |item| item.prefix);
        let field = format!("{prefix}{field}");
        let field = field.trim_end_matches('.').to_owned();
        let (begin, line) = self.document(place).map_or((0, None), |(begin, text)| {
            (*begin, locate::line(text, &field))
        });
        let fault = Fault {
            line,
            field,
            message,
        };
        fault.found(&place.file, place.document, begin)
    }

    fn item(&mut self, place: &Place) -> Option<Item> {
        let (_, text) = self.document(place)?;
        document::read(text).ok()?.into_iter().nth(place.item)
    }

    /// The document's first line and its text.
    fn document(&mut self, place: &Place) -> Option<&(u64, String)> {
        let root = &self.root;
        let read = || {
            let text = read(&root.join(&place.file)).map_or_else(|_| String::new(), |it| it.0);
            document::split(&text)
                .into_iter()
                .map(|document| (document.line, document.text.to_owned()))
                .collect()
        };
        let documents = self
            .files
            .entry(Arc::clone(&place.file))
            .or_insert_with(read);
        documents.get(place.document.checked_sub(1)?)
    }
}

/// A file's text, and the state of the file that it is of.
pub(super) fn read(path: &Path) -> io::Result<(String, Stamp)> {
    let file = fs::File::open(path)?;
    // Of the open file: what is read is what the stamp says.
    let stamp = Stamp::of(&file.metadata()?);
    let mut text = String::new();
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE) {
        let message = format!("it is larger than {} MiB", MAX_FILE >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok((text, stamp))
}

/// A hundred thousand Ingresses fit.
const MAX_FILE: u64 = 256 << 20;

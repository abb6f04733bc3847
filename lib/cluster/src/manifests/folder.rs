//! What the files of a folder say, and what of it is in the embedded API.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use apiserver::{ApiServer, ObjectId, Status};
use serde_json::Value;

use super::Finding;
use super::document::{self, Fault, Item};
use super::locate;
use super::scan::{self, Stamp};

/// What the files of a folder say, and what of it is in the embedded API.
///
/// Invariant after each [`Folder::reload`]: the objects in `applied` are exactly those in the API
/// that come from the folder. An object stays as it was when the document that should say what it
/// is cannot be used.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    api: ApiServer,
    files: BTreeMap<PathBuf, File>,
    /// Every document that defines an object, in the order in which they win.
    definitions: BTreeMap<ObjectId, BTreeSet<Place>>,
    applied: BTreeMap<ObjectId, Applied>,
    /// Objects whose definition is not, or not the only one, in effect.
    contested: BTreeMap<ObjectId, Vec<Finding>>,
    /// Set while the folder itself cannot be read.
    unreadable: Option<Finding>,
}

/// What changed in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Perhaps everything.
    All,
    /// These files, which may be gone.
    Files(BTreeSet<PathBuf>),
}

#[derive(Debug, Default)]
struct File {
    stamp: Option<Stamp>,
    documents: Vec<Entry>,
    /// Whether there is something in it of which nobody can say which object it is.
    illegible: bool,
    findings: Vec<Finding>,
    /// The objects that are in the API as this file said.
    owns: BTreeSet<ObjectId>,
}

/// A document that was read.
#[derive(Clone, Debug)]
struct Entry {
    number: usize,
    digest: u64,
    objects: Vec<(ObjectId, Content)>,
    fault: Option<Fault>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: PathBuf,
    document: usize,
    item: usize,
}

#[derive(Debug)]
struct Applied {
    file: PathBuf,
    content: Content,
}

/// A digest of what is said of an object, without the words and spaces around it.
type Content = u64;

/// The objects of the documents that were read in this reload, at their places.
type Fresh = BTreeMap<Place, Value>;

impl Folder {
    pub(crate) fn new(root: PathBuf, api: ApiServer) -> Self {
        Self {
            root,
            api,
            files: BTreeMap::new(),
            definitions: BTreeMap::new(),
            applied: BTreeMap::new(),
            contested: BTreeMap::new(),
            unreadable: None,
        }
    }

    /// Everything that is wrong, in the order of files and documents.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let of_files = self.files.values().flat_map(|file| &file.findings);
        let of_objects = self.contested.values().flatten();
        let mut findings: Vec<Finding> = self
            .unreadable
            .iter()
            .chain(of_files)
            .chain(of_objects)
            .cloned()
            .collect();
        findings.sort();
        findings
    }

    /// Brings the API to what the files say now.
    pub(crate) fn reload(&mut self, changed: &Changed) {
        let files = match changed {
            Changed::All => match self.changed_files() {
                Ok(files) => {
                    self.unreadable = None;
                    files
                }
                Err(error) => {
                    self.unreadable = Some(Finding {
                        file: self.root.clone(),
                        document: 0,
                        line: None,
                        field: String::new(),
                        message: format!("the folder cannot be read: {error}"),
                    });
                    return;
                }
            },
            Changed::Files(files) => files.clone(),
        };
        let mut affected = BTreeSet::new();
        let mut fresh = Fresh::new();
        // All files first: an object that moved from one to another is neither removed nor changed.
        for path in files {
            self.read(&path, &mut affected, &mut fresh);
        }
        self.settle(affected, fresh);
    }

    /// The files that are new, different or gone.
    fn changed_files(&self) -> io::Result<BTreeSet<PathBuf>> {
        let found: BTreeMap<PathBuf, Stamp> = scan::manifests(&self.root)?.into_iter().collect();
        let gone = self.files.keys().filter(|path| !found.contains_key(*path));
        let different = found.iter().filter(|(path, stamp)| {
            let known = self.files.get(*path).and_then(|file| file.stamp);
            known != Some(**stamp)
        });
        Ok(gone
            .chain(different.map(|(path, _)| path))
            .cloned()
            .collect())
    }

    /// Takes over what a file says, and adds the objects that this may concern to `affected`.
    fn read(&mut self, path: &Path, affected: &mut BTreeSet<ObjectId>, fresh: &mut Fresh) {
        let before = self.files.remove(path).unwrap_or_default();
        let mut now = File {
            owns: before.owns,
            ..File::default()
        };
        let exists = match read_text(&self.root.join(path)) {
            Ok((text, stamp)) => {
                now.stamp = Some(stamp);
                now.read(path, &text, &before.documents, fresh);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                now.illegible = true;
                let fault = Fault::new(format!("the file cannot be read: {error}"));
                now.findings.push(finding(path, 0, 0, fault));
                true
            }
        };
        // A document that is where it was and as it was concerns nobody: most of a large file.
        for entry in entries_beside(&before.documents, &now.documents) {
            for (item, (id, _)) in entry.objects.iter().enumerate() {
                self.undefine(id, &place(path, entry.number, item));
                affected.insert(id.clone());
            }
        }
        for entry in entries_beside(&now.documents, &before.documents) {
            for (item, (id, _)) in entry.objects.iter().enumerate() {
                let places = self.definitions.entry(id.clone()).or_default();
                places.insert(place(path, entry.number, item));
                affected.insert(id.clone());
            }
        }
        if before.illegible {
            // Among them are those that were kept because nobody could say that they were gone.
            affected.extend(now.owns.iter().cloned());
        }
        if exists {
            self.files.insert(path.to_owned(), now);
        }
    }

    fn undefine(&mut self, id: &ObjectId, place: &Place) {
        if let Some(places) = self.definitions.get_mut(id) {
            places.remove(place);
            if places.is_empty() {
                self.definitions.remove(id);
            }
        }
    }

    /// Brings the API to what the definitions say, for these objects.
    fn settle(&mut self, mut affected: BTreeSet<ObjectId>, fresh: Fresh) {
        let types_change = affected.iter().any(|id| defines_types(&id.kind));
        if types_change {
            // What was refused because its type or namespace did not exist may now be taken.
            affected.extend(self.contested.keys().cloned());
        }
        let mut texts = Texts::new(&self.root, fresh);
        let mut gone = Vec::new();
        let mut order: Vec<&ObjectId> = affected.iter().collect();
        order.sort_by_key(|id| !defines_types(&id.kind));
        for id in order {
            match self.definitions.get(id) {
                Some(places) => {
                    let places: Vec<Place> = places.iter().cloned().collect();
                    self.define(id, &places, &mut texts);
                }
                None => gone.push(id.clone()),
            }
        }
        for id in gone {
            self.contested.remove(&id);
            self.remove(&id);
        }
    }

    /// Applies the first definition and reports the others.
    fn define(&mut self, id: &ObjectId, places: &[Place], texts: &mut Texts) {
        let Some((winner, losers)) = places.split_first() else {
            return;
        };
        let mut findings: Vec<Finding> = losers
            .iter()
            .map(|loser| texts.locate(loser, "metadata.name", duplicate(id, winner)))
            .collect();
        let content = self.content(winner);
        let known = self.applied.get(id);
        if known.is_some_and(|known| Some(known.content) == content) {
            self.own(id, &winner.file, content.unwrap_or_default());
        } else {
            match self.apply(winner, texts) {
                Ok(()) => self.own(id, &winner.file, content.unwrap_or_default()),
                Err(fault) => findings.push(fault),
            }
        }
        if findings.is_empty() {
            self.contested.remove(id);
        } else {
            self.contested.insert(id.clone(), findings);
        }
    }

    fn apply(&self, place: &Place, texts: &mut Texts) -> Result<(), Finding> {
        let object = texts.object(place)?;
        self.api
            .apply(MANAGER, object)
            .map(|_| ())
            .map_err(|status| {
                let (field, message) = refusal(&status);
                texts.locate(place, &field, message)
            })
    }

    /// Removes an object that no document defines, unless an illegible one might.
    fn remove(&mut self, id: &ObjectId) {
        let Some(applied) = self.applied.get(id) else {
            return;
        };
        if self
            .files
            .get(&applied.file)
            .is_some_and(|file| file.illegible)
        {
            return;
        }
        // A refusal means that there is no such type any more, and with it no such object.
        if let Err(status) = self.api.delete(id) {
            tracing::debug!("cannot remove {} {}: {status}", id.kind, id.name);
        }
        if let Some(file) = self.files.get_mut(&applied.file) {
            file.owns.remove(id);
        }
        self.applied.remove(id);
    }

    /// Takes note that an object is in the API as `path` says.
    fn own(&mut self, id: &ObjectId, path: &Path, content: Content) {
        let now = Applied {
            file: path.to_owned(),
            content,
        };
        let before = self.applied.insert(id.clone(), now);
        if let Some(before) = before.filter(|before| before.file != path)
            && let Some(file) = self.files.get_mut(&before.file)
        {
            file.owns.remove(id);
        }
        if let Some(file) = self.files.get_mut(path) {
            file.owns.insert(id.clone());
        }
    }

    fn content(&self, place: &Place) -> Option<Content> {
        let documents = &self.files.get(&place.file)?.documents;
        let entry = documents.get(place.document.checked_sub(1)?)?;
        entry.objects.get(place.item).map(|(_, content)| *content)
    }
}

fn duplicate(id: &ObjectId, winner: &Place) -> String {
    let name = match id.namespace.as_str() {
        "" => id.name.clone(),
        namespace => format!("{namespace}/{}", id.name),
    };
    format!(
        "{} {name} is defined in document {} of {} already, which is used",
        id.kind,
        winner.document,
        winner.file.display(),
    )
}

/// The field at fault, and what the API has against it.
fn refusal(status: &Status) -> (String, String) {
    let causes: Vec<_> = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .collect();
    let Some((first, others)) = causes.split_first() else {
        return (String::new(), status.message.clone());
    };
    let mut message = first.message.clone();
    for other in others {
        message.push_str(&format!("; {}: {}", other.field, other.message));
    }
    (first.field.clone(), message)
}

/// The documents in `these` that are not the same at the same place in `those`.
fn entries_beside<'e>(these: &'e [Entry], those: &'e [Entry]) -> impl Iterator<Item = &'e Entry> {
    these.iter().enumerate().filter_map(|(at, entry)| {
        let same = those
            .get(at)
            .is_some_and(|other| other.digest == entry.digest);
        (!same).then_some(entry)
    })
}

impl File {
    /// Reads the documents that are new, and keeps what is known of the others.
    fn read(&mut self, path: &Path, text: &str, before: &[Entry], fresh: &mut Fresh) {
        let known: BTreeMap<u64, &Entry> = before.iter().map(|it| (it.digest, it)).collect();
        for document in document::split(text) {
            let digest = document::digest(document.text);
            let entry = match known.get(&digest) {
                Some(entry) => Entry {
                    number: document.number,
                    ..(*entry).clone()
                },
                None => match document::read(document.text) {
                    Ok(items) => {
                        let objects = items.iter().map(Item::content).collect();
                        for (item, read) in items.into_iter().enumerate() {
                            fresh.insert(place(path, document.number, item), read.object);
                        }
                        Entry {
                            number: document.number,
                            digest,
                            objects,
                            fault: None,
                        }
                    }
                    Err(mut fault) => {
                        let line = || locate::line(document.text, &fault.field);
                        fault.line = fault.line.or_else(line);
                        Entry {
                            number: document.number,
                            digest,
                            objects: Vec::new(),
                            fault: Some(fault),
                        }
                    }
                },
            };
            if let Some(fault) = &entry.fault {
                self.illegible = true;
                let fault = fault.clone();
                let found = finding(path, document.number, document.line, fault);
                self.findings.push(found);
            }
            self.documents.push(entry);
        }
    }
}

/// The texts that a reload needs again, each read once: to find the line of a fault, or the object
/// of a document that did not change. Objects and texts are not kept beyond, for the API has them.
struct Texts {
    root: PathBuf,
    fresh: Fresh,
    files: BTreeMap<PathBuf, Vec<(u64, String)>>,
}

impl Texts {
    fn new(root: &Path, fresh: Fresh) -> Self {
        Self {
            root: root.to_owned(),
            fresh,
            files: BTreeMap::new(),
        }
    }

    /// The document's first line and its text.
    fn document(&mut self, place: &Place) -> Option<&(u64, String)> {
        let root = &self.root;
        let documents = self.files.entry(place.file.clone()).or_insert_with(|| {
            let text = read_text(&root.join(&place.file)).map_or_else(|_| String::new(), |it| it.0);
            document::split(&text)
                .into_iter()
                .map(|document| (document.line, document.text.to_owned()))
                .collect()
        });
        documents.get(place.document.checked_sub(1)?)
    }

    fn item(&mut self, place: &Place) -> Option<Item> {
        let (_, text) = self.document(place)?;
        document::read(text).ok()?.into_iter().nth(place.item)
    }

    fn object(&mut self, place: &Place) -> Result<Value, Finding> {
        if let Some(object) = self.fresh.remove(place) {
            return Ok(object);
        }
        self.item(place).map(|item| item.object).ok_or_else(|| {
            let fault = Fault::new("the file changed while it was read".to_owned());
            finding(&place.file, place.document, 0, fault)
        })
    }

    /// A finding at a field, on its line.
    fn locate(&mut self, place: &Place, field: &str, message: String) -> Finding {
        let prefix = self
            .item(place)
            .map_or_else(String::new, |item| item.prefix);
        let field = format!("{prefix}{field}");
        let field = field.trim_end_matches('.').to_owned();
        let (begin, line) = self.document(place).map_or((0, None), |(begin, text)| {
            (*begin, locate::line(text, &field))
        });
        finding(
            &place.file,
            place.document,
            begin,
            Fault {
                line,
                field,
                message,
            },
        )
    }
}

fn place(file: &Path, document: usize, item: usize) -> Place {
    Place {
        file: file.to_owned(),
        document,
        item,
    }
}

/// A finding in a document that begins on line `begin` of its file.
fn finding(file: &Path, document: usize, begin: u64, fault: Fault) -> Finding {
    Finding {
        file: file.to_owned(),
        document,
        line: fault.line.map(|line| begin + line.saturating_sub(1)),
        field: fault.field,
        message: fault.message,
    }
}

/// Kinds that have to be in the API before others can be.
fn defines_types(kind: &str) -> bool {
    matches!(kind, "Namespace" | "CustomResourceDefinition")
}

fn read_text(path: &Path) -> io::Result<(String, Stamp)> {
    use io::Read as _;
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

/// Whose word the API takes an object from the folder for.
const MANAGER: &str = "manifests";
/// A hundred thousand Ingresses fit.
const MAX_FILE: u64 = 256 << 20;

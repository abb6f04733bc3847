//! What the files of a folder say, and what of it is in the embedded API.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apiserver::{ApiServer, ObjectId, Status};

use super::Finding;
use super::document::{self, Document, Fault, Item};
use super::locate;
use super::scan::{self, Stamp};
use super::texts::{self, Place, Texts};

/// What the files of a folder say, and what of it is in the embedded API.
///
/// Invariant after each [`Folder::reload`]: the objects in `applied` are exactly those in the API
/// that come from the folder. An object stays as it was when the document that should say what it
/// is cannot be used.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    api: ApiServer,
    files: BTreeMap<Arc<Path>, File>,
    /// Every place that defines an object, sorted: the first wins.
    definitions: BTreeMap<Id, Vec<Place>>,
    applied: BTreeMap<Id, Applied>,
    /// Objects whose definition is not, or not the only one, in effect.
    contested: BTreeMap<Id, Vec<Finding>>,
    /// Set while the folder itself cannot be read.
    unreadable: Option<Finding>,
}

/// What changed in the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// These files, which may be gone.
    pub(crate) files: BTreeSet<PathBuf>,
    /// And any other.
    pub(crate) all: bool,
}

impl Changed {
    /// Anything may have changed.
    pub(crate) fn all() -> Self {
        Self {
            files: BTreeSet::new(),
            all: true,
        }
    }
}

/// Shared: an object is named in several maps, and there are many objects.
type Id = Arc<ObjectId>;

#[derive(Debug, Default)]
struct File {
    stamp: Option<Stamp>,
    documents: Vec<Entry>,
    /// Whether there is something in it of which nobody can say which object it is.
    illegible: bool,
    findings: Vec<Finding>,
    /// The objects that are in the API as this file said.
    owns: BTreeSet<Id>,
}

/// A document that was read.
#[derive(Clone, Debug)]
struct Entry {
    number: usize,
    digest: u64,
    objects: Vec<(Id, Content)>,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct Applied {
    file: Arc<Path>,
    content: Content,
}

/// A digest of what is said of an object, without the words and spaces around it.
type Content = u64;

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
        let all = self.unreadable.iter().chain(of_files).chain(of_objects);
        let mut findings: Vec<Finding> = all.cloned().collect();
        findings.sort();
        findings
    }

    /// Brings the API to what the files say now.
    pub(crate) fn reload(&mut self, changed: &Changed) {
        let mut files = changed.files.clone();
        if changed.all {
            self.unreadable = None;
            match self.changed_files() {
                Ok(found) => files.extend(found),
                Err(error) => {
                    let fault = Fault::new(format!("the folder cannot be read: {error}"));
                    self.unreadable = Some(fault.found(&self.root, 0, 0));
                }
            }
        }
        let files: Vec<Arc<Path>> = files.into_iter().map(Into::into).collect();
        let mut undefined = BTreeSet::new();
        // In parts, for what was read is held until it is applied.
        for part in files.chunks(FILES_AT_ONCE) {
            let mut affected = BTreeSet::new();
            let mut texts = Texts::new(&self.root);
            for file in part {
                self.read(file, &mut affected, &mut texts);
            }
            undefined.append(&mut self.settle(affected, &mut texts));
        }
        // Last: an object that moved from one file to another is neither removed nor changed.
        for id in undefined {
            if !self.definitions.contains_key(&id) {
                self.contested.remove(&id);
                self.remove(&id);
            }
        }
    }

    /// The files that are new, different or gone.
    fn changed_files(&self) -> io::Result<Vec<PathBuf>> {
        let found: BTreeMap<PathBuf, Stamp> = scan::manifests(&self.root)?.into_iter().collect();
        let gone = self.files.keys().map(|path| path.to_path_buf());
        let gone = gone.filter(|path| !found.contains_key(path));
        let different = found.iter().filter(|(path, stamp)| {
            let known = self.files.get(path.as_path()).and_then(|file| file.stamp);
            known != Some(**stamp)
        });
        let different = different.map(|(path, _)| path.clone());
        Ok(gone.chain(different).collect())
    }

    /// Takes over what a file says, and adds the objects that this may concern to `affected`.
    fn read(&mut self, path: &Arc<Path>, affected: &mut BTreeSet<Id>, texts: &mut Texts) {
        let before = self.files.remove(path).unwrap_or_default();
        let mut now = File {
            owns: before.owns,
            ..File::default()
        };
        let exists = match texts::read(&self.root.join(path)) {
            Ok((text, stamp)) => {
                now.stamp = Some(stamp);
                now.read(path, &text, &before.documents, texts);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                now.illegible = true;
                let fault = Fault::new(format!("the file cannot be read: {error}"));
                now.findings.push(fault.found(path, 0, 0));
                true
            }
        };
        // A document that is where it was and as it was concerns nobody: most of a large file.
        for (id, place) in places_beside(path, &before.documents, &now.documents) {
            self.undefine(id, &place);
            affected.insert(Arc::clone(id));
        }
        for (id, place) in places_beside(path, &now.documents, &before.documents) {
            self.redefine(id, place);
            affected.insert(Arc::clone(id));
        }
        if before.illegible {
            // Among them are those that were kept because nobody could say that they were gone.
            affected.extend(now.owns.iter().cloned());
        }
        if exists {
            self.files.insert(Arc::clone(path), now);
        }
    }

    fn undefine(&mut self, id: &Id, place: &Place) {
        if let Some(places) = self.definitions.get_mut(id) {
            places.retain(|known| known != place);
            if places.is_empty() {
                self.definitions.remove(id);
            }
        }
    }

    fn redefine(&mut self, id: &Id, place: Place) {
        let places = self.definitions.entry(Arc::clone(id)).or_default();
        if let Err(at) = places.binary_search(&place) {
            // Nearly always there is one.
            places.reserve_exact(1);
            places.insert(at, place);
        }
    }

    /// Brings the API to what the definitions say, for these objects; returns those that have none.
    fn settle(&mut self, mut affected: BTreeSet<Id>, texts: &mut Texts) -> BTreeSet<Id> {
        if affected.iter().any(|id| defines_types(&id.kind)) {
            // What was refused because its type did not exist may now be taken.
            affected.extend(self.contested.keys().cloned());
        }
        let (first, then): (Vec<Id>, Vec<Id>) =
            affected.into_iter().partition(|id| defines_types(&id.kind));
        let mut undefined = BTreeSet::new();
        for id in first.into_iter().chain(then) {
            match self.definitions.get(&id) {
                Some(places) => {
                    let places = places.clone();
                    self.define(&id, &places, texts);
                }
                None => {
                    undefined.insert(id);
                }
            }
        }
        undefined
    }

    /// Applies the first definition and reports the others.
    fn define(&mut self, id: &Id, places: &[Place], texts: &mut Texts) {
        let Some((winner, losers)) = places.split_first() else {
            return;
        };
        let mut findings: Vec<Finding> = losers
            .iter()
            .map(|loser| texts.locate(loser, "metadata.name", duplicate(id, winner)))
            .collect();
        let content = self.content(winner).unwrap_or_default();
        let known = self.applied.get(id);
        if known.is_some_and(|known| known.content == content) {
            self.own(id, &winner.file, content);
        } else {
            match self.apply(winner, texts) {
                Ok(()) => self.own(id, &winner.file, content),
                Err(finding) => findings.push(finding),
            }
        }
        if findings.is_empty() {
            self.contested.remove(id);
        } else {
            self.contested.insert(Arc::clone(id), findings);
        }
    }

    fn apply(&self, place: &Place, texts: &mut Texts) -> Result<(), Finding> {
        let object = texts.object(place)?;
        let applied = self.api.apply(MANAGER, object);
        applied.map(|_| ()).map_err(|status| {
            let (field, message) = refusal(&status);
            texts.locate(place, &field, message)
        })
    }

    /// Removes an object that no document defines, unless an illegible one might.
    fn remove(&mut self, id: &Id) {
        let Some(applied) = self.applied.get(id) else {
            return;
        };
        let file = self.files.get_mut(&applied.file);
        if file.as_ref().is_some_and(|file| file.illegible) {
            return;
        }
        // A refusal means that there is no such type any more, and with it no such object.
        if let Err(status) = self.api.delete(id) {
            tracing::debug!("cannot remove {} {}: {status}", id.kind, id.name);
        }
        if let Some(file) = file {
            file.owns.remove(id);
        }
        self.applied.remove(id);
    }

    /// Takes note that an object is in the API as `path` says.
    fn own(&mut self, id: &Id, path: &Arc<Path>, content: Content) {
        let now = Applied {
            file: Arc::clone(path),
            content,
        };
        let before = self.applied.insert(Arc::clone(id), now);
        if let Some(before) = before.filter(|before| before.file != *path)
            && let Some(file) = self.files.get_mut(&before.file)
        {
            file.owns.remove(id);
        }
        if let Some(file) = self.files.get_mut(path) {
            file.owns.insert(Arc::clone(id));
        }
    }

    fn content(&self, place: &Place) -> Option<Content> {
        let documents = &self.files.get(&place.file)?.documents;
        let entry = documents.get(place.document.checked_sub(1)?)?;
        entry.objects.get(place.item).map(|(_, content)| *content)
    }
}

impl File {
    /// Reads the documents that are new, and keeps what is known of the others.
    fn read(&mut self, path: &Arc<Path>, text: &str, before: &[Entry], texts: &mut Texts) {
        let known: BTreeMap<u64, &Entry> = before.iter().map(|it| (it.digest, it)).collect();
        for document in document::split(text) {
            let digest = document::digest(document.text);
            let entry = match known.get(&digest) {
                Some(entry) => Entry {
                    number: document.number,
                    ..(*entry).clone()
                },
                None => Entry::read(path, &document, digest, texts),
            };
            if let Some(fault) = &entry.fault {
                self.illegible = true;
                let found = fault.clone().found(path, document.number, document.line);
                self.findings.push(found);
            }
            self.documents.push(entry);
        }
    }
}

impl Entry {
    fn read(path: &Arc<Path>, document: &Document<'_>, digest: u64, texts: &mut Texts) -> Self {
        let mut entry = Self {
            number: document.number,
            digest,
            objects: Vec::new(),
            fault: None,
        };
        match document::read(document.text) {
            Ok(items) => {
                entry.objects.reserve_exact(items.len());
                for (at, item) in items.into_iter().enumerate() {
                    let content = item.content();
                    let Item { id, object, .. } = item;
                    texts.keep(Place::new(path, document.number, at), object);
                    entry.objects.push((Arc::new(id), content));
                }
            }
            Err(mut fault) => {
                let line = || locate::line(document.text, &fault.field);
                fault.line = fault.line.or_else(line);
                entry.fault = Some(fault);
            }
        }
        entry
    }
}

/// What is defined in the documents in `these` that are not the same at the same place in `those`.
fn places_beside<'e>(
    path: &Arc<Path>,
    these: &'e [Entry],
    those: &[Entry],
) -> impl Iterator<Item = (&'e Id, Place)> {
    let changed = these.iter().enumerate().filter(|(at, entry)| {
        let same = those.get(*at);
        same.is_none_or(|same| same.digest != entry.digest)
    });
    changed.flat_map(move |(_, entry)| {
        let objects = entry.objects.iter().enumerate();
        objects.map(move |(item, (id, _))| (id, Place::new(path, entry.number, item)))
    })
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
    let details = status.details.iter();
    let causes: Vec<_> = details.flat_map(|details| &details.causes).collect();
    let Some((first, others)) = causes.split_first() else {
        return (String::new(), status.message.clone());
    };
    let mut message = first.message.clone();
    for other in others {
        message.push_str(&format!("; {}: {}", other.field, other.message));
    }
    (first.field.clone(), message)
}

/// Kinds that have to be in the API before others can be.
fn defines_types(kind: &str) -> bool {
    matches!(kind, "Namespace" | "CustomResourceDefinition")
}

/// Whose word the API takes an object from the folder for.
const MANAGER: &str = "manifests";
const FILES_AT_ONCE: usize = 256;

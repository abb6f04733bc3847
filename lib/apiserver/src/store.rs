//! The collections, their history and the one counter that orders every change.
//!
//! ```text
//!  write ──▶ objects (now) ──▶ list at the newest version
//!    │
//!    └─────▶ history (bounded ring) ──▶ watchers, each with a cursor of its own
//!                                   └─▶ list at an older version (undo)
//! ```
//! A watcher has no queue: it reads the ring behind the writer. One that falls out of the ring is
//! told so and ended, hence slow watchers cost no memory.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    object::{Draft, Key, Object},
    registry::StorageId,
};

/// Every collection.
#[derive(Debug)]
pub(crate) struct Store {
    // A mutex and not a task with a channel: each critical section is a look-up, a copy of
    // reference counts or one insertion, and `ApiServer::apply` is a plain function.
    inner: Mutex<Inner>,
    bounds: Bounds,
}

/// How much of the past is kept for each collection; what each change replaced comes on top.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Inner {
    version: u64,
    /// Nobody may start at a version before this one any more.
    compacted: u64,
    collections: HashMap<StorageId, Collection>,
}

#[derive(Debug)]
struct Collection {
    objects: BTreeMap<Key, Arc<Object>>,
    history: VecDeque<Event>,
    history_bytes: usize,
    /// The newest version that is no longer in the history: what came after it is known.
    floor: u64,
    wake: watch::Sender<u64>,
}

/// One change of a collection.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) change: Change,
    /// The object after the change; for a deletion, as it was last, at the deletion's version.
    pub(crate) object: Arc<Object>,
    /// The object before the change.
    pub(crate) previous: Option<Arc<Object>>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    Absent,
    Version(u64),
}

/// Why a write found something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    Exists,
    Changed,
    Gone,
}

/// The history no longer reaches back to the version that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOld {
    pub(crate) oldest: u64,
}

/// A list of objects and the version at which it holds.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    pub(crate) objects: Vec<Arc<Object>>,
}

impl Store {
    pub(crate) fn new(bounds: Bounds) -> Self {
        // Version 0 means "any" on the wire, so the first one is 1.
        let inner = Inner {
            version: 1,
            compacted: 0,
            collections: HashMap::new(),
        };
        Self {
            inner: Mutex::new(inner),
            bounds,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No critical section leaves the state half-written, so a poisoned lock is still sound.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(crate) fn get(&self, storage: &StorageId, key: &Key) -> Option<Arc<Object>> {
        self.lock()
            .collections
            .get(storage)?
            .objects
            .get(key)
            .cloned()
    }

    /// Stores the draft, if what is there is what the writer has seen.
    pub(crate) fn put(
        &self,
        storage: &StorageId,
        key: Key,
        expect: Expect,
        draft: Draft,
    ) -> Result<Arc<Object>, Stale> {
        let mut inner = self.lock();
        let version = inner.version + 1;
        let collection = inner.collection(storage);
        let previous = collection.objects.get(&key).cloned();
        check(previous.as_deref(), expect)?;
        let object = Arc::new(draft.at(key.clone(), version));
        collection.objects.insert(key, Arc::clone(&object));
        let change = if previous.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        collection.record(
            Event {
                change,
                object: Arc::clone(&object),
                previous,
            },
            self.bounds,
        );
        inner.version = version;
        Ok(object)
    }

    /// Removes the object; the draft is its last state.
    pub(crate) fn remove(
        &self,
        storage: &StorageId,
        key: &Key,
        seen: u64,
        last: Draft,
    ) -> Result<Arc<Object>, Stale> {
        let mut inner = self.lock();
        let version = inner.version + 1;
        let collection = inner.collection(storage);
        let previous = collection.objects.get(key).cloned();
        check(previous.as_deref(), Expect::Version(seen))?;
        collection.objects.remove(key);
        let object = Arc::new(last.at(key.clone(), version));
        let event = Event {
            change: Change::Deleted,
            object: Arc::clone(&object),
            previous,
        };
        collection.record(event, self.bounds);
        inner.version = version;
        Ok(object)
    }

    /// What a namespace (or, with none, the collection) holds now.
    pub(crate) fn list(&self, storage: &StorageId, namespace: Option<&str>) -> Snapshot {
        let inner = self.lock();
        let objects = inner
            .collections
            .get(storage)
            .map(|it| it.range(namespace, None).cloned().collect())
            .unwrap_or_default();
        Snapshot {
            version: inner.version,
            objects,
        }
    }

    /// What it held at an older version, from the key after `after` on.
    pub(crate) fn list_at(
        &self,
        storage: &StorageId,
        namespace: Option<&str>,
        version: u64,
        after: Option<&Key>,
    ) -> Result<Snapshot, TooOld> {
        let inner = self.lock();
        let Some(collection) = inner.collections.get(storage) else {
            return Ok(Snapshot {
                version,
                objects: Vec::new(),
            });
        };
        inner.check_kept(collection, version)?;
        let undone = collection.undone(namespace, version, after);
        if undone.is_empty() {
            let objects = collection.range(namespace, after).cloned().collect();
            return Ok(Snapshot { version, objects });
        }
        let mut objects: BTreeMap<&Key, &Arc<Object>> = collection
            .range(namespace, after)
            .filter(|it| !undone.contains_key(&it.key))
            .map(|it| (&it.key, it))
            .collect();
        objects.extend(
            undone
                .iter()
                .filter_map(|(key, before)| Some((*key, (*before)?))),
        );
        Ok(Snapshot {
            version,
            objects: objects.into_values().cloned().collect(),
        })
    }

    /// Fails if nobody may start at this version any more.
    pub(crate) fn check_kept(&self, storage: &StorageId, version: u64) -> Result<(), TooOld> {
        let inner = self.lock();
        inner
            .collections
            .get(storage)
            .map_or(Ok(()), |it| inner.check_kept(it, version))
    }

    /// At most `limit` changes that came after this version, and the version up to which they are
    /// all there are.
    pub(crate) fn events_after(
        &self,
        storage: &StorageId,
        version: u64,
        limit: usize,
    ) -> Result<(Vec<Event>, u64), TooOld> {
        let inner = self.lock();
        let Some(collection) = inner.collections.get(storage) else {
            return Ok((Vec::new(), version));
        };
        if version < collection.floor {
            return Err(TooOld {
                oldest: collection.floor,
            });
        }
        let start = collection
            .history
            .partition_point(|it| it.object.version <= version);
        let events: Vec<Event> = collection
            .history
            .range(start..)
            .take(limit)
            .cloned()
            .collect();
        let complete = match events.last() {
            Some(last) if events.len() == limit => last.object.version,
            _ => inner.version.max(version),
        };
        Ok((events, complete))
    }

    /// Says when the collection changes.
    pub(crate) fn subscribe(&self, storage: &StorageId) -> watch::Receiver<u64> {
        self.lock().collection(storage).wake.subscribe()
    }

    /// Lets nobody start before the newest version any more, as etcd's compaction does.
    /// Watches that run go on.
    pub(crate) fn compact(&self) {
        let mut inner = self.lock();
        inner.compacted = inner.version;
    }
}

impl Inner {
    fn collection(&mut self, storage: &StorageId) -> &mut Collection {
        self.collections
            .entry(Arc::clone(storage))
            .or_insert_with(|| Collection {
                objects: BTreeMap::new(),
                history: VecDeque::new(),
                history_bytes: 0,
                floor: 0,
                wake: watch::Sender::new(0),
            })
    }

    fn check_kept(&self, collection: &Collection, version: u64) -> Result<(), TooOld> {
        let oldest = collection.floor.max(self.compacted);
        if version < oldest {
            Err(TooOld { oldest })
        } else {
            Ok(())
        }
    }
}

impl Collection {
    fn record(&mut self, event: Event, bounds: Bounds) {
        let version = event.object.version;
        self.history_bytes += event.object.json.len();
        self.history.push_back(event);
        while self.history.len() > bounds.events || self.history_bytes > bounds.bytes {
            let Some(dropped) = self.history.pop_front() else {
                break;
            };
            self.history_bytes -= dropped.object.json.len();
            self.floor = dropped.object.version;
        }
        self.wake.send_replace(version);
    }

    fn range<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&Key>,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        let start = match after {
            Some(key) => Bound::Excluded(key.clone()),
            None => Bound::Included(Key::new(namespace.unwrap_or_default(), "")),
        };
        self.objects
            .range((start, Bound::Unbounded))
            .map(|(_, object)| object)
            .take_while(move |it| namespace.is_none_or(|ns| *it.key.namespace == *ns))
    }

    /// For every key changed after `version`: what was there at that version.
    fn undone<'a>(
        &'a self,
        namespace: Option<&str>,
        version: u64,
        after: Option<&Key>,
    ) -> BTreeMap<&'a Key, Option<&'a Arc<Object>>> {
        let start = self
            .history
            .partition_point(|it| it.object.version <= version);
        let mut undone = BTreeMap::new();
        for event in self.history.range(start..) {
            let key = &event.object.key;
            let wanted = namespace.is_none_or(|ns| *key.namespace == *ns)
                && after.is_none_or(|after| key > after);
            if wanted {
                // The earliest change after the version holds what was there at it.
                undone.entry(key).or_insert(event.previous.as_ref());
            }
        }
        undone
    }
}

fn check(found: Option<&Object>, expect: Expect) -> Result<(), Stale> {
    match (found, expect) {
        (None, Expect::Absent) => Ok(()),
        (Some(_), Expect::Absent) => Err(Stale::Exists),
        (None, Expect::Version(_)) => Err(Stale::Gone),
        (Some(object), Expect::Version(seen)) if object.version == seen => Ok(()),
        (Some(_), Expect::Version(_)) => Err(Stale::Changed),
    }
}

//! The Ingresses of the cluster: the latest version of each, and the one that is served.

use std::cmp::Ordering;
use std::sync::Arc;

use model::ObjectName;

use super::accept::Accepted;
use super::names::Map;
use super::users::IngressId;
use crate::Ingress;

/// The Ingresses of the cluster, foreign ones included: a class may come later than its Ingresses.
#[derive(Debug, Default)]
pub(crate) struct Ingresses {
    by_name: Map<ObjectName, IngressId>,
    entries: Vec<Option<Entry>>,
    free: Vec<IngressId>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: ObjectName,
    pub(crate) latest: Version,
    /// The last version that was ours and good.
    pub(crate) serving: Option<Arc<Accepted>>,
}

/// A version of an Ingress.
#[derive(Debug)]
pub(crate) enum Version {
    /// Only its manifest could not even be read.
    Unknown,
    /// Foreign, or refused.
    Written(Box<Ingress>),
    Accepted(Arc<Accepted>),
}

impl Ingresses {
    pub(crate) fn get(&self, id: IngressId) -> Option<&Entry> {
        self.entries.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: IngressId) -> Option<&mut Entry> {
        self.entries.get_mut(id.0 as usize)?.as_mut()
    }

    pub(crate) fn id(&self, name: &ObjectName) -> Option<IngressId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn add(&mut self, name: ObjectName) -> IngressId {
        let id = self.free.pop().unwrap_or_else(|| {
            let next = u32::try_from(self.entries.len()).expect("fewer than 2^32 Ingresses");
            self.entries.push(None);
            IngressId(next)
        });
        self.by_name.insert(name.clone(), id);
        if let Some(place) = self.entries.get_mut(id.0 as usize) {
            *place = Some(Entry {
                name,
                latest: Version::Unknown,
                serving: None,
            });
        }
        id
    }

    pub(crate) fn remove(&mut self, id: IngressId) {
        let place = self.entries.get_mut(id.0 as usize);
        if let Some(entry) = place.and_then(Option::take) {
            self.by_name.remove(&entry.name);
            self.free.push(id);
        }
    }

    /// Every number in use, in no order that means anything.
    pub(crate) fn ids(&self) -> impl Iterator<Item = IngressId> {
        (0..)
            .map(IngressId)
            .zip(&self.entries)
            .filter_map(|(id, entry)| entry.is_some().then_some(id))
    }

    /// Every Ingress, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let mut entries: Vec<&Entry> = self.entries.iter().flatten().collect();
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        entries.into_iter()
    }

    pub(crate) fn serving(&self, id: IngressId) -> Option<&Arc<Accepted>> {
        self.get(id)?.serving.as_ref()
    }
}

/// Which of two Ingresses wins: the older one, and of two of the same second the one whose
/// `namespace/name` sorts last, as in ingress-nginx. One without a time is older than all.
pub(crate) fn precedence(a: (Option<i64>, &ObjectName), b: (Option<i64>, &ObjectName)) -> Ordering {
    fn joined(name: &ObjectName) -> impl Iterator<Item = u8> {
        name.namespace
            .bytes()
            .chain([b'/'])
            .chain(name.name.bytes())
    }
    a.0.cmp(&b.0).then_with(|| joined(b.1).cmp(joined(a.1)))
}

/// The place of an Ingress among those that want to answer what nobody else does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatchAllRank {
    /// Those without rules come first: answering everything is all that they are for.
    pub(crate) has_rules: bool,
    pub(crate) created: Option<i64>,
    pub(crate) name: ObjectName,
}

impl Ord for CatchAllRank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.has_rules
            .cmp(&other.has_rules)
            .then_with(|| precedence((self.created, &self.name), (other.created, &other.name)))
    }
}

impl PartialOrd for CatchAllRank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

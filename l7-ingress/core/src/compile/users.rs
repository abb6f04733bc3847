//! Which Ingresses use a thing: sorted numbers, four bytes each.

/// The number of an Ingress within one compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IngressId(pub(crate) u32);

/// A set of Ingresses.
#[derive(Debug, Default)]
pub(crate) struct Users(Vec<IngressId>);

impl Users {
    pub(crate) fn insert(&mut self, id: IngressId) {
        if let Err(place) = self.0.binary_search(&id) {
            self.0.insert(place, id);
        }
    }

    pub(crate) fn remove(&mut self, id: IngressId) {
        if let Ok(place) = self.0.binary_search(&id) {
            self.0.remove(place);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = IngressId> {
        self.0.iter().copied()
    }
}

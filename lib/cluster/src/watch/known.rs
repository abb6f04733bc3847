//! Which objects were reported, and in which version.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use model::ObjectName;

/// Which objects were reported, and in which version: names and eight bytes an object, so that
/// a list can be turned into differences without keeping the objects.
#[derive(Debug, Default)]
pub(super) struct Known {
    objects: HashMap<ObjectName, Entry>,
    round: u32,
}

#[derive(Debug)]
struct Entry {
    version: Version,
    /// The list in which it was last seen.
    round: u32,
}

/// A digest of an object's uid and resourceVersion. The uid belongs to it because a version number
/// says nothing across objects, nor across restarts of an API that keeps nothing on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(u64);

impl Version {
    pub(super) fn of(uid: &str, resource_version: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (uid, resource_version).hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Known {
    /// Begins a list: what is not [`Known::see`]n until [`Known::end_list`] is gone.
    pub(super) fn begin_list(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Takes note of an object; whether it is new or different.
    pub(super) fn see(&mut self, name: &ObjectName, version: Version) -> bool {
        let round = self.round;
        if let Some(entry) = self.objects.get_mut(name) {
            entry.round = round;
            return std::mem::replace(&mut entry.version, version) != version;
        }
        self.objects.insert(name.clone(), Entry { version, round });
        true
    }

    /// Forgets an object; whether it was known.
    pub(super) fn forget(&mut self, name: &ObjectName) -> bool {
        self.objects.remove(name).is_some()
    }

    /// The objects that the list did not hold, in order.
    pub(super) fn end_list(&mut self) -> Vec<ObjectName> {
        let round = self.round;
        let gone = self.objects.extract_if(|_, entry| entry.round != round);
        let mut gone: Vec<ObjectName> = gone.map(|(name, _)| name).collect();
        gone.sort();
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ObjectName {
        ObjectName::new("default", text)
    }

    #[test]
    fn a_list_becomes_differences() {
        let mut known = Known::default();
        let version = |text| Version::of("uid", text);
        known.begin_list();
        for object in ["a", "b", "c"] {
            assert!(known.see(&name(object), version("1")), "new: {object}");
        }
        assert_eq!(known.end_list(), []);

        known.begin_list();
        assert!(!known.see(&name("b"), version("1")), "unchanged");
        // The list broke off and is begun again: what was seen then does not count.
        known.begin_list();
        assert!(known.see(&name("c"), version("2")), "changed");
        assert_eq!(known.end_list(), [name("a"), name("b")]);
        assert!(!known.forget(&name("a")));
        assert!(known.forget(&name("c")));
    }

    #[test]
    fn an_object_that_was_made_anew_is_another() {
        assert_ne!(Version::of("x", "1"), Version::of("y", "1"));
        assert_ne!(Version::of("x1", ""), Version::of("x", "1"));
    }
}

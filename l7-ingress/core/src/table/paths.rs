//! Finds the route of a path: by one binary search, however many paths a host has.
//!
//! Paths are kept without their trailing slash, sorted element by element, each with a link to the
//! longest other one that is a prefix of it. The longest prefix of a request is then the entry just
//! before it in that order, or one that its links lead to.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{PathType, Route};

/// The paths of one host.
#[derive(Debug, Default)]
pub(super) struct PathIndex {
    entries: Box<[Entry]>,
}

/// The routes that differ only in type and in a trailing slash.
#[derive(Debug)]
struct Entry {
    /// Length of the path without its trailing slash.
    length: u32,
    /// The longest entry that is an element-wise prefix of this one.
    parent: u32,
    /// Places in the host's routes: `/foo`, `/foo/`.
    exact: [u32; 2],
    /// The same for Prefix.
    prefix: [u32; 2],
}

const NONE: u32 = u32::MAX;

impl Entry {
    /// Any route of this entry: its path begins with the entry's.
    fn any(&self) -> u32 {
        let [a, b] = self.exact;
        let [c, d] = self.prefix;
        a.min(b).min(c).min(d)
    }

    fn path<'r>(&self, routes: &'r [Arc<Route>]) -> &'r [u8] {
        // The root, all that most hosts have, needs no look at its route.
        if self.length == 0 {
            return &[];
        }
        route(routes, self.any())
            .and_then(|route| route.path.as_bytes().get(..self.length as usize))
            .unwrap_or_default()
    }

    /// The Prefix route to take when the request goes on below this path, or has a trailing slash:
    /// `/foo/` is the longer match. Without one, `/foo` is what was meant, and `/foo/` matches it too.
    fn prefix(&self, slash: bool) -> u32 {
        let [plain, slashed] = self.prefix;
        let (first, second) = if slash {
            (slashed, plain)
        } else {
            (plain, slashed)
        };
        if first == NONE { second } else { first }
    }

    fn exact(&self, slash: bool) -> u32 {
        let [plain, slashed] = self.exact;
        if slash { slashed } else { plain }
    }
}

impl PathIndex {
    pub(super) fn new(routes: &[Arc<Route>]) -> Self {
        let mut places: Vec<(&[u8], bool, PathType, u32)> = routes
            .iter()
            .zip(0..)
            .map(|(route, place)| {
                let (path, slash) = split(&route.path);
                (path, slash, route.path_type, place)
            })
            .collect();
        places.sort_unstable_by(|a, b| compare(a.0, b.0).then(a.3.cmp(&b.3)));
        let mut entries: Vec<Entry> = Vec::with_capacity(places.len());
        let mut last: Option<&[u8]> = None;
        for (path, slash, path_type, place) in places {
            if last != Some(path) {
                entries.push(Entry {
                    length: u32::try_from(path.len()).unwrap_or(NONE),
                    parent: parent(&entries, routes, path),
                    exact: [NONE; 2],
                    prefix: [NONE; 2],
                });
                last = Some(path);
            }
            if let Some(entry) = entries.last_mut() {
                let slots = match path_type {
                    PathType::Exact => &mut entry.exact,
                    PathType::Prefix => &mut entry.prefix,
                };
                slots[usize::from(slash)] = place;
            }
        }
        Self {
            entries: entries.into(),
        }
    }

    /// The route for a normalised path: the longest match, Exact before Prefix of the same path.
    pub(super) fn find<'r>(&self, routes: &'r [Arc<Route>], path: &str) -> Option<&'r Arc<Route>> {
        if !path.starts_with('/') {
            return None;
        }
        let (path, slash) = split(path);
        let after = self
            .entries
            .partition_point(|entry| compare(entry.path(routes), path) != Ordering::Greater);
        let mut entry = self.entries.get(after.checked_sub(1)?)?;
        let nearest = entry.path(routes);
        if nearest == path {
            let found = match entry.exact(slash) {
                NONE => entry.prefix(slash),
                exact => exact,
            };
            if found != NONE {
                return route(routes, found);
            }
            entry = self.entries.get(entry.parent as usize)?;
        }
        let shared = common(nearest, path);
        loop {
            let length = entry.length as usize;
            if length <= shared && path.get(length) == Some(&b'/') && entry.prefix(true) != NONE {
                return route(routes, entry.prefix(true));
            }
            entry = self.entries.get(entry.parent as usize)?;
        }
    }
}

/// The path without its trailing slash, and whether it has one.
fn split(path: &str) -> (&[u8], bool) {
    match path.as_bytes() {
        [rest @ .., b'/'] => (rest, true),
        whole => (whole, false),
    }
}

fn route(routes: &[Arc<Route>], place: u32) -> Option<&Arc<Route>> {
    routes.get(place as usize)
}

/// The longest of the entries so far that is a prefix of `path`, which sorts after all of them.
fn parent(entries: &[Entry], routes: &[Arc<Route>], path: &[u8]) -> u32 {
    let Some(last) = entries.len().checked_sub(1) else {
        return NONE;
    };
    let mut index = u32::try_from(last).unwrap_or(NONE);
    while let Some(entry) = entries.get(index as usize) {
        let candidate = entry.path(routes);
        if path.starts_with(candidate) && path.get(candidate.len()) == Some(&b'/') {
            return index;
        }
        index = entry.parent;
    }
    NONE
}

/// Element-wise order: `/` sorts before every other byte, so that what lies below a path follows it
/// directly.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let shared = common(a, b);
    let rank = |path: &[u8]| match path.get(shared) {
        None => 0_u16,
        Some(b'/') => 1,
        Some(byte) => u16::from(*byte) + 2,
    };
    rank(a).cmp(&rank(b))
}

/// How many leading bytes are equal.
fn common(a: &[u8], b: &[u8]) -> usize {
    const WORD: usize = 8;
    let mut equal = 0;
    for (a, b) in a.chunks_exact(WORD).zip(b.chunks_exact(WORD)) {
        if a != b {
            break;
        }
        equal += WORD;
    }
    let rest = |path: &[u8]| path.len().min(equal);
    equal
        + a[rest(a)..]
            .iter()
            .zip(&b[rest(b)..])
            .take_while(|(a, b)| a == b)
            .count()
}

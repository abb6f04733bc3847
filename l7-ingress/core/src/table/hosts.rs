//! All host patterns: a hash trie of two fixed levels whose clone shares everything and whose change
//! copies one path through it, so that publishing costs the same however many hosts there are.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;

use super::host::{Host, key, wildcard_of};

/// Children of the root, and of each of those: copying a path copies this many pointers twice, and a leaf
/// holds six of 100 000 hosts.
const FAN_OUT: usize = 128;

type Node = Arc<[Leaf]>;
type Leaf = Arc<[Entry]>;

#[derive(Clone, Debug)]
struct Entry {
    hash: u64,
    host: Arc<Host>,
}

/// A map from pattern to [`Host`].
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    nodes: Box<[Node]>,
    hasher: FixedState,
    /// How many of them have their TLS ended elsewhere.
    passthroughs: usize,
}

impl Default for Hosts {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Hosts {
    /// An empty map; whoever cannot guess `seed` cannot write hosts that all fall into one leaf.
    pub(crate) fn new(seed: u64) -> Self {
        let leaf: Leaf = Arc::new([]);
        let node: Node = vec![leaf; FAN_OUT].into();
        Self {
            nodes: vec![node; FAN_OUT].into(),
            hasher: FixedState::with_seed(seed),
            passthroughs: 0,
        }
    }

    /// Whether one of them has its TLS ended elsewhere.
    pub(super) const fn has_passthroughs(&self) -> bool {
        self.passthroughs > 0
    }

    /// The entry of an exact name. A name as odd as a wildcard's key is no host.
    pub(super) fn exact(&self, name: &str) -> Option<&Host> {
        self.get(name).filter(|_| !name.starts_with('.'))
    }

    /// The entry of the wildcard that covers `name`.
    pub(super) fn wildcard(&self, name: &str) -> Option<&Host> {
        self.get(wildcard_of(name)?)
    }

    /// The entry of one host pattern, itself a wildcard perhaps.
    pub(crate) fn pattern(&self, pattern: &str) -> Option<&Host> {
        self.get(key(pattern))
            .filter(|host| host.pattern() == pattern)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Host> {
        let leaves = self.nodes.iter().flat_map(|node| node.iter());
        leaves.flat_map(|leaf| leaf.iter().map(|entry| &*entry.host))
    }

    /// Puts the host of `pattern` in place, or takes it away; returns what was there.
    pub(crate) fn set(&mut self, pattern: &str, host: Option<Host>) -> Option<Arc<Host>> {
        let own = key(pattern);
        let (node, leaf, hash) = self.place(own);
        let node = self.nodes.get_mut(node)?;
        let entries = node.get(leaf)?;
        let is_own = |entry: &Entry| entry.hash == hash && key(entry.host.pattern()) == own;
        let old = entries.iter().find(|entry| is_own(entry));
        let old = old.map(|entry| Arc::clone(&entry.host));
        if old.is_none() && host.is_none() {
            return None;
        }
        let passes = |host: Option<&Host>| {
            usize::from(host.is_some_and(|host| host.passthrough().is_some()))
        };
        self.passthroughs += passes(host.as_ref());
        self.passthroughs -= passes(old.as_deref());
        let others = entries.iter().filter(|entry| !is_own(entry)).cloned();
        let new = host.map(|host| Entry {
            hash,
            host: Arc::new(host),
        });
        let next: Leaf = others.chain(new).collect();
        if let Some(place) = Arc::make_mut(node).get_mut(leaf) {
            *place = next;
        }
        old
    }

    fn get(&self, own: &str) -> Option<&Host> {
        let (node, leaf, hash) = self.place(own);
        let mut entries = self.nodes.get(node)?.get(leaf)?.iter();
        let found = entries.find(|entry| entry.hash == hash && key(entry.host.pattern()) == own);
        found.map(|entry| &*entry.host)
    }

    fn place(&self, own: &str) -> (usize, usize, u64) {
        let hash = self.hasher.hash_one(own.as_bytes());
        let [.., high, low] = hash.to_be_bytes();
        (
            usize::from(high) % FAN_OUT,
            usize::from(low) % FAN_OUT,
            hash,
        )
    }
}

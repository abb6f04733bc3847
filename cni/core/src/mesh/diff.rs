//! From what is to what is wanted.

use std::collections::BTreeSet;

use super::entry::Entry;

/// A change to a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Make it, in the place of what has its key.
    Set(Entry),
    /// Remove it.
    Remove(Entry),
}

/// Returns the changes that turn `have` into `want`, in an order in which no route leads to a gateway that
/// is not known: what is new comes first, from the forwarding database to the route, and what goes comes last,
/// the other way round.
pub fn diff(have: &BTreeSet<Entry>, want: &BTreeSet<Entry>) -> Vec<Op> {
    let new = want.difference(have);
    let mut replaced: BTreeSet<_> = new.clone().map(Entry::key).collect();
    // One of a key is replaced by the new one; a kernel may hold more of them than it should.
    let old: Vec<_> = have.difference(want).collect();
    let old = old.into_iter().rev();
    let old = old.filter(|entry| !replaced.remove(&entry.key()));
    let old = old.cloned().map(Op::Remove);
    new.cloned().map(Op::Set).chain(old).collect()
}

//! Differences.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::entry::Key;
use super::*;

/// Entries of a small world, so that keys meet.
fn entry() -> impl Strategy<Value = Entry> {
    let family = || prop_oneof![Just(Family::V4), Just(Family::V6)];
    let range = |number: u8| net(&format!("10.244.{number}.0/24"));
    prop_oneof![
        (family(), 0..3_u8, 0..3_u8, any::<bool>()).prop_map(|(tunnel, vtep, node, foreign)| {
            Entry::Forwarding(Forwarding {
                tunnel,
                vtep: mac(vtep),
                remote: ip(&format!("192.0.2.{node}")),
                foreign,
            })
        }),
        (family(), 0..3_u8, 0..3_u8).prop_map(move |(tunnel, number, vtep)| {
            Entry::Neighbour(Neighbour {
                tunnel,
                address: range(number).addr(),
                vtep: mac(vtep),
            })
        }),
        (family(), 0..3_u8, 0..2_u32, any::<bool>()).prop_map(
            move |(tunnel, number, metric, foreign)| {
                Entry::Route(Route {
                    destination: range(number),
                    metric,
                    dev: Dev::Tunnel(tunnel),
                    via: Some(range(number).addr()),
                    foreign,
                })
            }
        ),
    ]
}

/// A kernel that holds one entry of a key, as it should be.
fn wanted() -> impl Strategy<Value = BTreeMap<Key, Entry>> {
    let entries = proptest::collection::vec(entry(), 0..12);
    entries.prop_map(|entries| entries.into_iter().map(|it| (it.key(), it)).collect())
}

fn set(entries: &BTreeMap<Key, Entry>) -> BTreeSet<Entry> {
    entries.values().cloned().collect()
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_to_the_other(have in wanted(), want in wanted()) {
        let mut kernel = have.clone();
        for op in diff(&set(&have), &set(&want)) {
            match op {
                Op::Set(entry) => {
                    kernel.insert(entry.key(), entry);
                }
                Op::Remove(entry) => prop_assert_eq!(kernel.remove(&entry.key()), Some(entry)),
            }
        }
        prop_assert_eq!(kernel, want);
    }

    #[test]
    fn more_than_one_of_a_key_is_reduced_to_one(
        have in proptest::collection::btree_set(entry(), 0..12), want in wanted(),
    ) {
        let mut kernel = have.clone();
        for op in diff(&have, &set(&want)) {
            match op {
                Op::Set(entry) => {
                    let old = kernel.iter().rev().find(|it| it.key() == entry.key()).cloned();
                    old.map(|old| kernel.remove(&old));
                    kernel.insert(entry);
                }
                Op::Remove(entry) => prop_assert!(kernel.remove(&entry)),
            }
        }
        prop_assert_eq!(kernel, set(&want));
    }
}

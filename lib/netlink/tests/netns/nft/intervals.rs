//! Sets of ranges: whatever is added and deleted, what is listed is what is left.

use std::cell::RefCell;
use std::collections::BTreeSet;

use netlink::nft::{Element, Key, Nft, Port, Set, Transaction, Type, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{start, table};

/// Where ranges begin and how long they are: near each other, so that they touch, and at both ends.
fn ranges() -> impl Strategy<Value = Vec<(u16, u16)>> {
    let near = (0_u16..60, 0_u16..4);
    let last = (65_500_u16..=65_535, 0_u16..40);
    proptest::collection::vec(prop_oneof![4 => near, 1 => last], 0..40)
}

/// Those that overlap none before them, as first and last.
fn disjoint(ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    let mut taken = BTreeSet::new();
    let ranges = ranges
        .into_iter()
        .map(|(first, length)| (first, first.saturating_add(length)));
    ranges
        .filter(|(first, last)| {
            let free = (*first..=*last).all(|number| !taken.contains(&number));
            if free {
                taken.extend(*first..=*last);
            }
            free
        })
        .collect()
}

fn element(key: Type, (first, last): (u16, u16)) -> Element {
    let value = |number: u16| match key {
        Type::Ipv4 => Value::from(std::net::Ipv4Addr::from(0xffff_0000 | u32::from(number))),
        Type::Ipv6 => Value::from(std::net::Ipv6Addr::from(!0xffff_u128 | u128::from(number))),
        _ => Value::from(Port(number)),
    };
    match first == last {
        true => Element::new(Key::One(value(first))),
        false => Element::new(Key::Range(value(first), value(last))),
    }
}

fn change(nft: &mut Nft, with: impl FnOnce(&mut Transaction)) {
    let mut transaction = Transaction::new(&table());
    with(&mut transaction);
    nft.commit(transaction).unwrap();
}

#[test]
fn ranges_are_added_and_deleted_one_by_one() {
    let Some((_namespace, mut nft)) = start() else {
        return;
    };
    let keys = [Type::Port, Type::Ipv4, Type::Ipv6];
    let sets = keys.map(|key| Set::new(&format!("{key:?}"), &[key]).of_intervals());
    change(&mut nft, |transaction| {
        transaction.add_table();
        for set in &sets {
            transaction.add_set(set);
        }
    });
    let given = (0..keys.len(), ranges(), any::<u64>());
    let mut runner = TestRunner::new(Config::with_cases(64));
    let nft = RefCell::new(nft);
    let held = runner.run(&given, |(which, ranges, chosen)| {
        let elements = disjoint(ranges).into_iter();
        let elements = elements.map(|range| element(keys[which], range));
        let (gone, mut left): (Vec<_>, Vec<_>) = elements.partition(|element| {
            let index = low(element).bytes().last().unwrap() % 64;
            (chosen >> index) & 1 == 1
        });
        left.sort_by(|a, b| low(a).cmp(low(b)));
        let (mut nft, set) = (nft.borrow_mut(), &sets[which]);
        change(&mut nft, |transaction| {
            transaction.flush_set(&set.name);
            transaction.create_elements(set, left.iter().chain(&gone));
        });
        change(&mut nft, |transaction| {
            transaction.delete_elements(set, &gone);
        });
        prop_assert_eq!(nft.elements(&table(), set).unwrap(), left);
        Ok(())
    });
    held.unwrap();
}

fn low(element: &Element) -> &Value {
    match &element.key {
        Key::One(first) | Key::Range(first, _) => first,
        Key::Any => panic!("none was added"),
    }
}

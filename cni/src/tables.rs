//! A table of nftables as it is wanted, and the transaction that makes it so.

use std::collections::BTreeMap;

use netlink::Error;
use netlink::nft::{Chain, Contents, Data, Element, Key, Nft, Rule, Set, Table, Transaction};

/// How often it is tried when others change their tables meanwhile.
const TRIES: usize = 16;

/// A whole table.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) table: Table,
    /// With their rules, in order; later ones may be jumped to by earlier ones.
    pub(crate) chains: Vec<(Chain, Vec<Rule>)>,
    pub(crate) sets: Vec<(Set, Vec<Element>)>,
}

impl Wanted {
    /// Lists, compares, applies. Returns whether anything was different.
    pub(crate) fn sync(&self, nft: &mut Nft) -> Result<bool, Error> {
        let mut tries = TRIES;
        loop {
            let transaction = self.diff(nft.contents(&self.table)?.as_ref());
            if transaction.is_empty() {
                return Ok(false);
            }
            match nft.commit(transaction) {
                Err(error) if error.is_stale() && tries > 0 => tries -= 1,
                done => return done.map(|()| true),
            }
        }
    }

    /// Elements change one by one. Where the rest is different, the whole table is made anew in the same
    /// moment: that happens when another version of us begins, or somebody meddled.
    pub(crate) fn diff(&self, have: Option<&Contents>) -> Transaction {
        let mut transaction = Transaction::new(&self.table);
        match have {
            None => self.make(&mut transaction),
            Some(have) if !self.has_structure_of(have) => {
                transaction.delete_table();
                self.make(&mut transaction);
            }
            Some(have) => {
                for (set, elements) in &self.sets {
                    let filled = have.sets.iter().find(|one| one.set.name == set.name);
                    let there = filled.map_or(&[][..], |filled| &filled.elements);
                    transaction.delete_elements(set, beyond(there, elements));
                    transaction.add_elements(set, beyond(elements, there));
                }
            }
        }
        if let Some(have) = have
            && !transaction.is_empty()
        {
            transaction.only_at(have.generation);
        }
        transaction
    }

    fn make(&self, transaction: &mut Transaction) {
        transaction.add_table();
        for (set, elements) in &self.sets {
            transaction.add_set(set).create_elements(set, elements);
        }
        for (chain, _) in &self.chains {
            transaction.add_chain(chain);
        }
        for (chain, rules) in &self.chains {
            for rule in rules {
                transaction.add_rule(&chain.name, rule);
            }
        }
    }

    fn has_structure_of(&self, have: &Contents) -> bool {
        let sets = self.sets.iter().map(|(set, _)| set);
        let sets_fit = have.sets.len() == self.sets.len()
            && sets
                .into_iter()
                .all(|set| have.sets.iter().any(|one| one.set == *set));
        let chains_fit = have.chains.len() == self.chains.len()
            && self.chains.iter().all(|(chain, rules)| {
                let there = have.rules.iter().filter(|one| *one.chain == *chain.name);
                have.chains.contains(chain) && there.map(|one| &one.rule).eq(rules)
            });
        sets_fit && chains_fit
    }
}

/// Those that the others are not among, each once: a list that the kernel makes while it moves a large
/// set elsewhere may have some twice. What it adds by itself does not count.
fn beyond<'a>(elements: &'a [Element], others: &[Element]) -> Vec<&'a Element> {
    let others: BTreeMap<&Key, &Option<Data>> =
        others.iter().map(|one| (&one.key, &one.data)).collect();
    let elements: BTreeMap<&Key, &Element> = elements.iter().map(|one| (&one.key, one)).collect();
    let new = |one: &&Element| others.get(&one.key) != Some(&&one.data);
    elements.into_values().filter(new).collect()
}

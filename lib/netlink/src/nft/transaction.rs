//! Changes to nftables that happen all at once or not at all.

use std::sync::Arc;

use super::counter;
use super::element::{Element, Entry};
use super::rule::{self, Rule};
use super::set::{self, Set};
use super::table::{self, Chain, Table};
use super::value::Type;
use crate::wire::{APPEND, Attributes, CREATE, EXCLUSIVE, Message, REPLACE};

const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_DELCHAIN: u16 = 5;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_DELRULE: u16 = 8;
const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_DELSET: u16 = 11;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFT_MSG_NEWOBJ: u16 = 18;
const NFT_MSG_DELOBJ: u16 = 20;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;

/// A list of elements is one attribute, whose length has 16 bits; one element takes under 1 KiB.
const ELEMENTS_UNTIL: usize = 60 << 10;

/// What an operation is about, for words.
#[derive(Clone, Debug)]
struct Operation {
    doing: &'static str,
    table: Table,
    /// Absent where it is about the table.
    object: Option<Arc<str>>,
    /// The fields of a key, where it is about elements.
    key: Vec<Type>,
}

impl Operation {
    /// As in `adding element 10.1.2.3 to map inet penstock hosts`.
    fn describe(&self, element: Option<&Element>) -> Box<str> {
        let mut text = self.doing.to_owned();
        if let Some(element) = element {
            text = text.replacen("elements", "element", 1);
            let key = format!("element {}", element.key.describe(&self.key));
            text = text.replacen("element", &key, 1);
        }
        let table = &self.table;
        match &self.object {
            Some(object) => format!("{text} {table} {object}").into(),
            None => format!("{text} {table}").into(),
        }
    }
}

/// Changes that happen all at once or not at all, in this order.
#[derive(Clone, Debug)]
pub struct Transaction {
    table: Table,
    operations: Vec<Operation>,
    /// Each with the place of its operation.
    pub(super) messages: Vec<(usize, Message)>,
    pub(super) generation: Option<u32>,
    sets: u32,
}

impl Transaction {
    /// Changes to this table, up to [`Self::turn_to`].
    pub fn new(table: &Table) -> Self {
        Self {
            table: table.clone(),
            operations: Vec::new(),
            messages: Vec::new(),
            generation: None,
            sets: 0,
        }
    }

    /// What follows is about this table.
    pub fn turn_to(&mut self, table: &Table) -> &mut Self {
        self.table = table.clone();
        self
    }

    /// Happens only if nothing has changed since; else the error `is_stale`.
    pub fn only_at(&mut self, generation: u32) -> &mut Self {
        self.generation = Some(generation);
        self
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Makes the table, unless it is there.
    pub fn add_table(&mut self) -> &mut Self {
        let message = self.table.within(NFT_MSG_NEWTABLE, CREATE);
        self.push("adding table", None, message)
    }

    /// Removes the table, which must be there, and all in it.
    pub fn delete_table(&mut self) -> &mut Self {
        let message = self.table.within(NFT_MSG_DELTABLE, 0);
        self.push("deleting table", None, message)
    }

    /// Makes a chain, or sets the policy of the one that is there.
    pub fn add_chain(&mut self, chain: &Chain) -> &mut Self {
        let mut message = self.table.within(NFT_MSG_NEWCHAIN, CREATE);
        chain.write(&mut message);
        self.push("adding chain", Some(&chain.name), message)
    }

    /// Removes a chain and its rules. Nothing may jump to it then.
    pub fn delete_chain(&mut self, name: &str) -> &mut Self {
        let mut message = self.table.within(NFT_MSG_DELCHAIN, 0);
        table::write_chain_name(&mut message, name);
        self.push("deleting chain", Some(name), message)
    }

    /// Removes the rules of a chain.
    pub fn flush_chain(&mut self, name: &str) -> &mut Self {
        let mut message = self.table.within(NFT_MSG_DELRULE, 0);
        rule::write_place(&mut message, name, None);
        self.push("flushing chain", Some(name), message)
    }

    /// Adds a rule to the end of a chain.
    pub fn add_rule(&mut self, chain: &str, rule: &Rule) -> &mut Self {
        self.write_rule(
            "adding a rule to chain",
            CREATE | APPEND,
            (chain, None),
            rule,
        )
    }

    /// Adds a rule to the beginning of a chain.
    pub fn insert_rule(&mut self, chain: &str, rule: &Rule) -> &mut Self {
        self.write_rule("inserting a rule into chain", CREATE, (chain, None), rule)
    }

    /// Puts a rule where the one of this handle is.
    pub fn replace_rule(&mut self, chain: &str, handle: u64, rule: &Rule) -> &mut Self {
        let doing = "replacing a rule of chain";
        self.write_rule(doing, REPLACE, (chain, Some(handle)), rule)
    }

    /// Removes the rule of this handle.
    pub fn delete_rule(&mut self, chain: &str, handle: u64) -> &mut Self {
        let mut message = self.table.within(NFT_MSG_DELRULE, 0);
        rule::write_place(&mut message, chain, Some(handle));
        self.push("deleting a rule of chain", Some(chain), message)
    }

    fn write_rule(
        &mut self,
        doing: &'static str,
        flags: u16,
        (chain, handle): (&str, Option<u64>),
        rule: &Rule,
    ) -> &mut Self {
        let mut message = self.table.within(NFT_MSG_NEWRULE, flags);
        rule::write_place(&mut message, chain, handle);
        rule.write(&mut message);
        self.push(doing, Some(chain), message)
    }

    /// Makes a set or map, unless it is there.
    pub fn add_set(&mut self, set: &Set) -> &mut Self {
        self.sets += 1;
        let mut message = self.table.within(NFT_MSG_NEWSET, CREATE);
        set.write(&mut message, self.sets);
        self.push("adding set", Some(&set.name), message)
    }

    /// Removes a set or map. No rule may look into it then.
    pub fn delete_set(&mut self, name: &str) -> &mut Self {
        let mut message = self.table.within(NFT_MSG_DELSET, 0);
        set::write_name(&mut message, name);
        self.push("deleting set", Some(name), message)
    }

    /// Removes all elements.
    pub fn flush_set(&mut self, name: &str) -> &mut Self {
        let mut message = self.table.within(NFT_MSG_DELSETELEM, 0);
        set::write_name(&mut message, name);
        self.push("flushing set", Some(name), message)
    }

    /// Adds elements; those that are there are left; one that a map leads elsewhere is a fault,
    /// so delete it before.
    pub fn add_elements<'a>(
        &mut self,
        set: &Set,
        elements: impl IntoIterator<Item = &'a Element>,
    ) -> &mut Self {
        let doing = match set.noun() {
            "map" => "adding elements to map",
            _ => "adding elements to set",
        };
        self.write_elements(doing, (NFT_MSG_NEWSETELEM, CREATE), set, elements)
    }

    /// Adds elements none of which may be there.
    pub fn create_elements<'a>(
        &mut self,
        set: &Set,
        elements: impl IntoIterator<Item = &'a Element>,
    ) -> &mut Self {
        let doing = match set.noun() {
            "map" => "adding elements to map",
            _ => "adding elements to set",
        };
        let kind = (NFT_MSG_NEWSETELEM, CREATE | EXCLUSIVE);
        self.write_elements(doing, kind, set, elements)
    }

    /// Removes elements, which must be there; only their keys count.
    pub fn delete_elements<'a>(
        &mut self,
        set: &Set,
        elements: impl IntoIterator<Item = &'a Element>,
    ) -> &mut Self {
        let doing = match set.noun() {
            "map" => "deleting elements of map",
            _ => "deleting elements of set",
        };
        self.write_elements(doing, (NFT_MSG_DELSETELEM, 0), set, elements)
    }

    fn write_elements<'a>(
        &mut self,
        doing: &'static str,
        (kind, flags): (u16, u16),
        set: &Set,
        elements: impl IntoIterator<Item = &'a Element>,
    ) -> &mut Self {
        let mut elements = elements.into_iter().peekable();
        // A list without elements would be refused; and as a deletion, delete all.
        if elements.peek().is_none() {
            return self;
        }
        let place = self.operations.len();
        while elements.peek().is_some() {
            let mut message = self.table.within(kind, flags);
            set::write_name(&mut message, &set.name);
            message.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |message| {
                while message.position() < ELEMENTS_UNTIL
                    && let Some(element) = elements.next()
                {
                    element.write(set, message);
                }
            });
            self.messages.push((place, message));
        }
        self.operations.push(Operation {
            doing,
            table: self.table.clone(),
            object: Some(set.name.clone()),
            key: set.key.clone(),
        });
        self
    }

    /// Makes a counter with a name, unless it is there.
    pub fn add_counter(&mut self, name: &str) -> &mut Self {
        let mut message = self.table.within(NFT_MSG_NEWOBJ, CREATE);
        counter::write(&mut message, name);
        self.push("adding counter", Some(name), message)
    }

    /// Removes a counter. No rule may count in it then.
    pub fn delete_counter(&mut self, name: &str) -> &mut Self {
        let mut message = self.table.within(NFT_MSG_DELOBJ, 0);
        counter::write_name(&mut message, name);
        self.push("deleting counter", Some(name), message)
    }

    fn push(&mut self, doing: &'static str, object: Option<&str>, message: Message) -> &mut Self {
        self.messages.push((self.operations.len(), message));
        self.operations.push(Operation {
            doing,
            table: self.table.clone(),
            object: object.map(Into::into),
            key: Vec::new(),
        });
        self
    }

    /// Names the operation at this place and, if the kernel has pointed at one, the element.
    pub(super) fn describe(&self, place: usize, pointed: Option<&[u8]>) -> Box<str> {
        let Some(operation) = self.operations.get(place) else {
            return "changing nftables".into();
        };
        let element = pointed
            .filter(|_| !operation.key.is_empty())
            .and_then(|at| {
                let (_, element) = Attributes::new(at).next()?;
                Entry::read(Attributes::new(element))
            });
        operation.describe(element.as_ref().map(|entry| &entry.element))
    }
}

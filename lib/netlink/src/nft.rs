//! nftables: transactions of tables, chains, rules, sets and elements, and lists of all of them.
//!
//! ```text
//!  Transaction ─▶ begin, messages, end in one send ─▶ done, or nothing done and each fault named
//!  contents    ─▶ generation, lists, generation    ─▶ of one moment, else asked again
//! ```
//!
//! A table is made once and patched from then on: [`Nft::contents`] says what is there, in the words
//! that it would be made with (`as_made` leaves out what was counted), and a [`Transaction`] holds the
//! difference. [`Nft::generation`] is a cheap way to see whether somebody else has changed something.
//!
//! ```no_run
//! use std::net::Ipv4Addr;
//!
//! use netlink::nft::{
//!     Chain, ChainKind, Element, Family, Field, Hook, NatFamily, NatKind, Nft, Port, Protocol, Rule,
//!     Set, Table, Transaction, Type,
//! };
//!
//! # fn main() -> Result<(), netlink::Error> {
//! let table = Table::new(Family::Inet, "example");
//! let ports = Set::map("ports", &[Type::Protocol, Type::Port], &[Type::Ipv4, Type::Port]);
//! // inet example in: fib daddr type local dnat ip to meta l4proto . th dport map @ports
//! let rule = Rule::new()
//!     .ipv4()
//!     .to_this_host()
//!     .mapped_by(&[Field::Protocol, Field::DestinationPort], "ports")
//!     .nat_as_mapped(NatKind::Destination, NatFamily::Ip, true);
//! let pod = (Ipv4Addr::new(10, 1, 0, 7), Port(80));
//! let web = Element::mapping((Protocol::TCP, Port(8080)), pod);
//!
//! let mut nft = Nft::open()?;
//! let mut transaction = Transaction::new(&table);
//! transaction
//!     .add_table()
//!     .add_set(&ports)
//!     .add_chain(&Chain::base("in", ChainKind::Nat, Hook::Prerouting, -100))
//!     .add_rule("in", &rule)
//!     .create_elements(&ports, [&web]);
//! nft.commit(transaction)?;
//!
//! let mut transaction = Transaction::new(&table);
//! transaction.delete_elements(&ports, [&web]);
//! nft.commit(transaction)
//! # }
//! ```
//!
//! Nothing is read back before it is changed. Measured on two cores, unoptimised: 50 000 elements go
//! into a map in 0.2 s, and one more into the full map takes 26 µs, of which most is the kernel's.

mod comment;
mod commit;
mod counter;
mod element;
mod expression;
mod field;
mod rule;
mod set;
mod table;
mod transaction;
mod value;

use std::sync::Arc;

pub use element::{Data, Element, Key};
pub use expression::{
    Comparison, Count, Ct, CtState, CtStatus, Direction, Expression, FibKey, FibResult, Found,
    Header, Limit, LimitOf, Meta, NatFamily, NatKind, PortChoice, Register, Reject,
};
pub use field::Field;
pub use rule::{ListedRule, Rule};
pub use set::{Mapped, Set};
pub use table::{Base, Chain, ChainKind, Family, Hook, Table};
pub use transaction::Transaction;
pub use value::{Mark, Port, Protocol, Type, Value, Verdict};

use crate::error::Error;
use crate::namespace::Namespace;
use crate::socket::{self, Socket};
use crate::wire::{self, Attributes, Frame};
use element::Entry;
use table::{attributes, request};

const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_GETRULE: u16 = 7;
const NFT_MSG_GETSET: u16 = 10;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFT_MSG_GETGEN: u16 = 16;
const NFT_MSG_GETOBJ: u16 = 19;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_GEN_ID: u16 = 1;

/// How often the contents of a table are listed that change meanwhile.
const TRIES: usize = 16;

/// A connection to a kernel's nftables, in one namespace.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
    send_buffer: usize,
}

/// A set or map with its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// What it is.
    pub set: Set,
    /// What it holds.
    pub elements: Vec<Element>,
}

/// All that a table held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Of the rule set, for [`Transaction::only_at`].
    pub generation: u32,
    /// Its chains.
    pub chains: Vec<Chain>,
    /// Their rules, each chain's in order.
    pub rules: Vec<ListedRule>,
    /// Its sets and maps.
    pub sets: Vec<Filled>,
    /// Its counters.
    pub counters: Vec<(Arc<str>, Count)>,
}

impl Nft {
    /// To this thread's namespace.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::open(socket::Protocol::Netfilter)?;
        Ok(Self {
            socket,
            send_buffer: 0,
        })
    }

    /// To another one.
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        namespace.enter(Self::open)?
    }

    /// All tables.
    pub fn tables(&mut self) -> Result<Vec<Table>, Error> {
        let message = request(NFT_MSG_GETTABLE, 0, 0);
        let doing = || "listing tables".into();
        // One of a family that is unknown here is none of ours.
        self.socket
            .list_some(&message, &doing, |frame| Some(Table::read(frame)))
    }

    /// The chains of a table; none where there is no table.
    pub fn chains(&mut self, table: &Table) -> Result<Vec<Chain>, Error> {
        self.list(NFT_MSG_GETCHAIN, "chains", table, |frame| {
            Chain::read(frame).map(Some)
        })
    }

    /// The rules of a table, each chain's in order.
    pub fn rules(&mut self, table: &Table) -> Result<Vec<ListedRule>, Error> {
        self.list(NFT_MSG_GETRULE, "rules", table, |frame| {
            ListedRule::read(frame).map(Some)
        })
    }

    /// The sets and maps of a table that have a name of their own.
    pub fn sets(&mut self, table: &Table) -> Result<Vec<Set>, Error> {
        self.list(
            NFT_MSG_GETSET,
            "sets",
            table,
            |frame| match Set::is_anonymous(frame) {
                true => Some(None),
                false => Set::read(frame).map(Some),
            },
        )
    }

    /// The elements of a set or map.
    pub fn elements(&mut self, table: &Table, set: &Set) -> Result<Vec<Element>, Error> {
        let mut message = table.within(NFT_MSG_GETSETELEM, 0);
        set::write_name(&mut message, &set.name);
        let doing = || format!("listing elements of {} {table} {}", set.noun(), set.name).into();
        let lists = self.socket.list(&message, &doing, |frame| {
            let list = attributes(frame).inside(NFTA_SET_ELEM_LIST_ELEMENTS);
            list.map(|(_, element)| Entry::read(Attributes::new(element)))
                .collect::<Option<Vec<_>>>()
        })?;
        Ok(Entry::join(set, lists.into_iter().flatten().collect()))
    }

    /// The counters of a table.
    pub fn counters(&mut self, table: &Table) -> Result<Vec<(Arc<str>, Count)>, Error> {
        let read = |frame: &Frame<'_>| Some(counter::read(frame));
        self.list(NFT_MSG_GETOBJ, "counters", table, read)
    }

    /// The number of the rule set; it changes with every transaction in this namespace.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let doing = || "asking for the generation of nftables".into();
        let message = request(NFT_MSG_GETGEN, 0, 0);
        let read = |frame: &Frame<'_>| wire::read_be32(attributes(frame).get(NFTA_GEN_ID)?);
        let found = self.socket.query(message, &doing, read)?;
        found.ok_or_else(|| Error::Malformed { doing: doing() })
    }

    /// All that a table holds, of one moment. `None` where there is no such table.
    pub fn contents(&mut self, table: &Table) -> Result<Option<Contents>, Error> {
        for _ in 0..TRIES {
            let generation = self.generation()?;
            if !self.tables()?.contains(table) {
                return Ok(None);
            }
            let contents = match self.contents_at(table, generation) {
                Ok(contents) => contents,
                // It went while it was listed.
                Err(error) if error.is_not_there() => continue,
                Err(error) => return Err(error),
            };
            if self.generation()? == generation {
                return Ok(Some(contents));
            }
        }
        Err(Error::Torn {
            doing: format!("listing table {table}").into(),
            tries: TRIES,
        })
    }

    fn contents_at(&mut self, table: &Table, generation: u32) -> Result<Contents, Error> {
        let mut sets = Vec::new();
        for set in self.sets(table)? {
            let elements = self.elements(table, &set)?;
            sets.push(Filled { set, elements });
        }
        Ok(Contents {
            generation,
            chains: self.chains(table)?,
            rules: self.rules(table)?,
            sets,
            counters: self.counters(table)?,
        })
    }

    fn list<T>(
        &mut self,
        kind: u16,
        what: &'static str,
        table: &Table,
        read: impl Fn(&Frame<'_>) -> Option<Option<T>>,
    ) -> Result<Vec<T>, Error> {
        let doing = || format!("listing {what} of table {table}").into();
        // Chains are listed of all tables; where a list can be narrowed down, an unknown table is empty.
        let message = table.within(kind, 0);
        let read = |frame: &Frame<'_>| match table.owns(frame) {
            true => read(frame),
            false => Some(None),
        };
        match self.socket.list_some(&message, &doing, read) {
            Err(error) if error.is_not_there() => Ok(Vec::new()),
            found => found,
        }
    }
}

//! Sets and maps of nftables: what their keys and data are.

use std::sync::Arc;
use std::time::Duration;

use super::comment;
use super::expression::{Count, Expression};
use super::table::{attributes, name};
use super::value::Type;
use crate::wire::{self, Attributes, Frame, Message};

const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_TIMEOUT: u16 = 11;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_EXPR: u16 = 17;
const NFTA_SET_EXPRESSIONS: u16 = 18;
const NFTA_SET_DESC_SIZE: u16 = 1;
const NFTA_SET_DESC_CONCAT: u16 = 2;
const NFTA_SET_FIELD_LEN: u16 = 1;
pub(super) const NFTA_LIST_ELEM: u16 = 1;

const ANONYMOUS: u32 = 0x1;
const CONSTANT: u32 = 0x2;
const INTERVAL: u32 = 0x4;
const MAP: u32 = 0x8;
const TIMEOUT: u32 = 0x10;
const EVAL: u32 = 0x20;
const CONCAT: u32 = 0x80;
const EXPR: u32 = 0x100;
const VERDICT: u32 = 0xffff_ff00;

const KEY_BYTE_ORDER: u8 = 0;
const DATA_BYTE_ORDER: u8 = 1;
const COMMENT: u8 = 7;
const HOST_ORDER: u32 = 1;
const NETWORK_ORDER: u32 = 2;

/// What a key of a map leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// It is a set.
    Nothing,
    /// Values of these fields.
    Values(Vec<Type>),
    /// Verdicts.
    Verdicts,
}

/// A set or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: Arc<str>,
    /// The fields of a key.
    pub key: Vec<Type>,
    /// What a key leads to.
    pub mapped: Mapped,
    /// Keys may be ranges, which must not overlap. One field makes a tree, several make what the kernel
    /// calls pipapo.
    pub intervals: bool,
    /// Elements may go by themselves.
    pub timeouts: bool,
    /// When they go that do not say; turns `timeouts` on.
    pub timeout: Option<Duration>,
    /// Each element counts its packets.
    pub counters: bool,
    /// Rules may add elements.
    pub dynamic: bool,
    /// How many elements there may be.
    pub size: Option<u32>,
    /// What it is for.
    pub comment: Option<Box<str>>,
}

impl Set {
    /// A set of keys with these fields.
    pub fn new(name: &str, key: &[Type]) -> Self {
        Self {
            name: name.into(),
            key: key.to_vec(),
            mapped: Mapped::Nothing,
            intervals: false,
            timeouts: false,
            timeout: None,
            counters: false,
            dynamic: false,
            size: None,
            comment: None,
        }
    }

    /// A map from such keys to values.
    pub fn map(name: &str, key: &[Type], values: &[Type]) -> Self {
        Self {
            mapped: Mapped::Values(values.to_vec()),
            ..Self::new(name, key)
        }
    }

    /// A map from such keys to verdicts.
    pub fn verdicts(name: &str, key: &[Type]) -> Self {
        Self {
            mapped: Mapped::Verdicts,
            ..Self::new(name, key)
        }
    }

    /// The same, of ranges.
    #[must_use]
    pub fn of_intervals(self) -> Self {
        Self {
            intervals: true,
            ..self
        }
    }

    /// The same, each element counting.
    #[must_use]
    pub fn counting(self) -> Self {
        Self {
            counters: true,
            ..self
        }
    }

    /// `set` or `map`.
    pub(super) fn noun(&self) -> &'static str {
        match self.mapped {
            Mapped::Nothing => "set",
            Mapped::Values(_) | Mapped::Verdicts => "map",
        }
    }

    /// Whether a range is two elements, its first key and the one after its last.
    pub(super) fn is_tree(&self) -> bool {
        self.intervals && self.key.len() == 1
    }

    fn flags(&self) -> u32 {
        let flag = |set: bool, flag| if set { flag } else { 0 };
        flag(self.intervals, INTERVAL)
            | flag(self.mapped != Mapped::Nothing, MAP)
            | flag(self.timeouts || self.timeout.is_some(), TIMEOUT)
            | flag(self.dynamic, EVAL)
            | flag(self.intervals && self.key.len() > 1, CONCAT)
            | flag(self.counters, EXPR)
    }

    /// `id` tells it from other sets made in the same transaction.
    pub(super) fn write(&self, message: &mut Message, id: u32) {
        message.text(NFTA_SET_NAME, &self.name);
        message.be32(NFTA_SET_FLAGS, self.flags());
        message.be32(NFTA_SET_KEY_TYPE, Type::number(&self.key));
        message.be32(NFTA_SET_KEY_LEN, length(&self.key));
        match &self.mapped {
            Mapped::Nothing => {}
            Mapped::Values(fields) => {
                message.be32(NFTA_SET_DATA_TYPE, Type::number(fields));
                message.be32(NFTA_SET_DATA_LEN, length(fields));
            }
            Mapped::Verdicts => {
                message.be32(NFTA_SET_DATA_TYPE, VERDICT);
            }
        }
        message.be32(NFTA_SET_ID, id);
        if let Some(timeout) = self.timeout {
            message.be64(NFTA_SET_TIMEOUT, milliseconds(timeout));
        }
        self.write_description(message);
        if self.counters {
            message.nest(NFTA_SET_EXPR, |message| {
                Expression::Counter(Count::default()).write(message);
            });
        }
        self.write_user_data(message);
    }

    fn write_description(&self, message: &mut Message) {
        let concatenated = self.intervals && self.key.len() > 1;
        if self.size.is_none() && !concatenated {
            return;
        }
        message.nest(NFTA_SET_DESC, |message| {
            if let Some(size) = self.size {
                message.be32(NFTA_SET_DESC_SIZE, size);
            }
            if !concatenated {
                return;
            }
            message.nest(NFTA_SET_DESC_CONCAT, |message| {
                for field in &self.key {
                    message.nest(NFTA_LIST_ELEM, |message| {
                        message.be32(NFTA_SET_FIELD_LEN, length(&[*field]));
                    });
                }
            });
        });
    }

    /// What `nft` needs to list it in words.
    fn write_user_data(&self, message: &mut Message) {
        let mut bytes = Vec::with_capacity(16);
        let mut order = |kind, fields: &[Type]| {
            let order = match fields {
                [Type::Mark | Type::LinkName] => HOST_ORDER,
                _ => NETWORK_ORDER,
            };
            bytes.extend([kind, 4]);
            bytes.extend(order.to_ne_bytes());
        };
        order(KEY_BYTE_ORDER, &self.key);
        if let Mapped::Values(fields) = &self.mapped {
            order(DATA_BYTE_ORDER, fields);
        }
        if let Some(text) = &self.comment {
            bytes.extend(comment::encode(COMMENT, text));
        }
        message.bytes(NFTA_SET_USERDATA, &bytes);
    }

    pub(super) fn read(frame: &Frame<'_>) -> Option<Self> {
        let attributes = attributes(frame);
        let number = |kind| attributes.get(kind).and_then(wire::read_be32);
        let flags = number(NFTA_SET_FLAGS).unwrap_or(0);
        let mapped = match (flags & MAP, number(NFTA_SET_DATA_TYPE)) {
            (0, _) => Mapped::Nothing,
            (_, Some(VERDICT)) => Mapped::Verdicts,
            (_, fields) => Mapped::Values(Type::fields(fields.unwrap_or(0))),
        };
        let timeout = attributes.get(NFTA_SET_TIMEOUT).and_then(wire::read_be64);
        Some(Self {
            name: name(attributes, NFTA_SET_NAME)?,
            key: Type::fields(number(NFTA_SET_KEY_TYPE)?),
            mapped,
            intervals: flags & INTERVAL != 0,
            timeouts: flags & TIMEOUT != 0,
            timeout: timeout.map(Duration::from_millis),
            counters: counts(attributes),
            dynamic: flags & EVAL != 0,
            size: attributes
                .inside(NFTA_SET_DESC)
                .get(NFTA_SET_DESC_SIZE)
                .and_then(wire::read_be32),
            comment: comment::read(attributes.get(NFTA_SET_USERDATA), COMMENT),
        })
    }

    /// Whether an answer speaks of a set that belongs to a rule, and is listed with it by `nft`.
    pub(super) fn is_anonymous(frame: &Frame<'_>) -> bool {
        let flags = attributes(frame)
            .get(NFTA_SET_FLAGS)
            .and_then(wire::read_be32);
        flags.unwrap_or(0) & (ANONYMOUS | CONSTANT) == ANONYMOUS | CONSTANT
    }
}

fn counts(attributes: Attributes<'_>) -> bool {
    let one = attributes.get(NFTA_SET_EXPR).map(Attributes::new);
    let many = attributes.inside(NFTA_SET_EXPRESSIONS);
    one.into_iter()
        .chain(many.map(|(_, expression)| Attributes::new(expression)))
        .any(|expression| matches!(Expression::read(expression), Expression::Counter(_)))
}

/// Names the set in a request about it or about its elements.
pub(super) fn write_name(message: &mut Message, name: &str) {
    message.text(NFTA_SET_NAME, name);
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn length(fields: &[Type]) -> u32 {
    u32::try_from(Type::total(fields)).unwrap_or(u32::MAX)
}

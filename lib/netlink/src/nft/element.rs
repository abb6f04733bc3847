//! Elements of sets and maps.

use std::time::Duration;

use ipnet::IpNet;

use super::comment;
use super::expression::{Count, Expression};
use super::set::{NFTA_LIST_ELEM, Set, milliseconds};
use super::value::{Type, Value, Verdict};
use crate::wire::{self, Attributes, Message};

const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFTA_SET_ELEM_EXPRESSIONS: u16 = 11;

const INTERVAL_END: u32 = 1;
const CATCH_ALL: u32 = 2;
const COMMENT: u8 = 0;

/// What an element matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// This value.
    One(Value),
    /// All from the first to the last, both included; of a concatenation, in each field.
    Range(Value, Value),
    /// What no other element matches.
    Any,
}

/// What a key leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A value.
    Value(Value),
    /// A verdict.
    Verdict(Verdict),
}

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// What it matches.
    pub key: Key,
    /// What that leads to.
    pub data: Option<Data>,
    /// How long it stays.
    pub timeout: Option<Duration>,
    /// How long it still stays, where listed.
    pub expires: Option<Duration>,
    /// What it has counted, where listed.
    pub count: Option<Count>,
    /// What it is for.
    pub comment: Option<Box<str>>,
}

impl Element {
    /// An element of a set.
    pub fn new(key: impl Into<Key>) -> Self {
        Self {
            key: key.into(),
            data: None,
            timeout: None,
            expires: None,
            count: None,
            comment: None,
        }
    }

    /// An element of a map to values.
    pub fn mapping(key: impl Into<Key>, value: impl Into<Value>) -> Self {
        Self {
            data: Some(Data::Value(value.into())),
            ..Self::new(key)
        }
    }

    /// An element of a map to verdicts.
    pub fn deciding(key: impl Into<Key>, verdict: Verdict) -> Self {
        Self {
            data: Some(Data::Verdict(verdict)),
            ..Self::new(key)
        }
    }

    /// The same with a comment.
    #[must_use]
    pub fn commented(self, comment: &str) -> Self {
        Self {
            comment: Some(comment.into()),
            ..self
        }
    }

    /// What it was made as: a listed element without what it has counted and how long it still
    /// stays, to compare.
    #[must_use]
    pub fn as_made(self) -> Self {
        Self {
            expires: None,
            count: None,
            ..self
        }
    }

    /// One entry of a list, two where the set keeps the ends of ranges apart.
    pub(super) fn write(&self, set: &Set, message: &mut Message) {
        let (first, last) = match &self.key {
            Key::One(value) => (value, None),
            Key::Range(first, last) => (first, Some(last)),
            Key::Any => {
                message.nest(NFTA_LIST_ELEM, |message| {
                    message.be32(NFTA_SET_ELEM_FLAGS, CATCH_ALL);
                    self.write_rest(message);
                });
                return;
            }
        };
        message.nest(NFTA_LIST_ELEM, |message| {
            message.nest(NFTA_SET_ELEM_KEY, |message| first.write(message));
            // `nft` takes an element without an end for the end of another one.
            if set.intervals && !set.is_tree() {
                let last = last.unwrap_or(first);
                message.nest(NFTA_SET_ELEM_KEY_END, |message| last.write(message));
            }
            self.write_rest(message);
        });
        if !set.is_tree() {
            return;
        }
        if let Some(end) = last.unwrap_or(first).successor() {
            message.nest(NFTA_LIST_ELEM, |message| {
                message.nest(NFTA_SET_ELEM_KEY, |message| end.write(message));
                message.be32(NFTA_SET_ELEM_FLAGS, INTERVAL_END);
            });
        }
    }

    fn write_rest(&self, message: &mut Message) {
        match &self.data {
            None => {}
            Some(Data::Value(value)) => {
                message.nest(NFTA_SET_ELEM_DATA, |message| value.write(message));
            }
            Some(Data::Verdict(verdict)) => {
                message.nest(NFTA_SET_ELEM_DATA, |message| verdict.write(message));
            }
        }
        if let Some(timeout) = self.timeout {
            message.be64(NFTA_SET_ELEM_TIMEOUT, milliseconds(timeout));
        }
        if let Some(text) = &self.comment {
            message.bytes(NFTA_SET_ELEM_USERDATA, &comment::encode(COMMENT, text));
        }
    }
}

impl<T: Into<Value>> From<T> for Key {
    fn from(value: T) -> Self {
        Self::One(value.into())
    }
}

impl Key {
    /// The addresses of a network.
    pub fn net(net: impl Into<IpNet>) -> Self {
        let net = net.into();
        let (first, last) = Value::ends(net);
        match first == last {
            true => Self::One(first),
            false => Self::Range(first, last),
        }
    }

    /// In words, as in `10.1.0.0-10.1.255.255`.
    pub(super) fn describe(&self, fields: &[Type]) -> String {
        match self {
            Self::One(value) => value.describe(fields),
            Self::Range(first, last) => {
                format!("{}-{}", first.describe(fields), last.describe(fields))
            }
            Self::Any => "*".to_owned(),
        }
    }
}

/// One entry of a list as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) element: Element,
    /// It ends the range before it.
    end: bool,
}

impl Entry {
    pub(super) fn read(attributes: Attributes<'_>) -> Option<Self> {
        let flags = attributes
            .get(NFTA_SET_ELEM_FLAGS)
            .and_then(wire::read_be32);
        let flags = flags.unwrap_or(0);
        let value = |kind| Value::read(attributes.inside(kind));
        let key = match (flags & CATCH_ALL, value(NFTA_SET_ELEM_KEY)) {
            (CATCH_ALL, _) => Key::Any,
            (_, Some(first)) => match value(NFTA_SET_ELEM_KEY_END) {
                Some(last) if last != first => Key::Range(first, last),
                _ => Key::One(first),
            },
            _ => return None,
        };
        let data = attributes.inside(NFTA_SET_ELEM_DATA);
        let time = |kind| {
            let time = attributes.get(kind).and_then(wire::read_be64);
            time.map(Duration::from_millis)
        };
        let element = Element {
            key,
            data: Value::read(data)
                .map(Data::Value)
                .or_else(|| Verdict::read(data).map(Data::Verdict)),
            timeout: time(NFTA_SET_ELEM_TIMEOUT),
            expires: time(NFTA_SET_ELEM_EXPIRATION),
            count: count(attributes),
            comment: comment::read(attributes.get(NFTA_SET_ELEM_USERDATA), COMMENT),
        };
        let end = flags & INTERVAL_END != 0;
        Some(Self { element, end })
    }

    /// Entries as elements: in a tree, a key up to the end that follows it.
    pub(super) fn join(set: &Set, mut entries: Vec<Self>) -> Vec<Element> {
        if !set.is_tree() {
            return entries.into_iter().map(|entry| entry.element).collect();
        }
        // The kernel lists the larger ones first, and of two at one place the one that begins there.
        entries.sort_by(|a, b| (&a.element.key, !a.end).cmp(&(&b.element.key, !b.end)));
        let mut elements = Vec::with_capacity(entries.len() / 2);
        let mut entries = entries.into_iter().peekable();
        while let Some(Self { mut element, end }) = entries.next() {
            if end {
                continue;
            }
            if let Key::One(first) = &element.key {
                let limit = entries.peek().map(|next| &next.element.key);
                let last = match limit {
                    Some(Key::One(limit)) => limit.predecessor(),
                    _ => Value::from_bytes(&vec![0xff; first.bytes().len()]),
                };
                if last != *first {
                    element.key = Key::Range(first.clone(), last);
                }
            }
            elements.push(element);
        }
        elements
    }
}

fn count(attributes: Attributes<'_>) -> Option<Count> {
    let one = attributes.get(NFTA_SET_ELEM_EXPR).map(Attributes::new);
    let many = attributes.inside(NFTA_SET_ELEM_EXPRESSIONS);
    one.into_iter()
        .chain(many.map(|(_, expression)| Attributes::new(expression)))
        .find_map(|expression| match Expression::read(expression) {
            Expression::Counter(count) => Some(count),
            _ => None,
        })
}

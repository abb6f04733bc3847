//! Changes to a kernel: what to do with which object, in words and in bytes.

use crate::address::Address;
use crate::link::{self, LinkSettings, NewLink};
use crate::names::{LinkIndex, LinkName};
use crate::neighbour::{ForwardingEntry, Neighbour};
use crate::route::Route;
use crate::rule::Rule;
use crate::traffic::{Qdisc, Redirect};
use crate::wire::{APPEND, CREATE, EXCLUSIVE, Message, REPLACE};

/// Finds a link's name, for words.
pub(crate) type Naming<'a> = &'a dyn Fn(LinkIndex) -> LinkName;

/// What to do with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make it; it must not be there.
    Add,
    /// Make it, or make the one that is there so.
    Replace,
    /// Make one more of its kind.
    Append,
    /// Remove it; it must be there.
    Delete,
}

impl Verb {
    pub(crate) fn message(self, new: u16, delete: u16) -> Message {
        match self {
            Self::Add => Message::new(new, CREATE | EXCLUSIVE),
            Self::Replace => Message::new(new, CREATE | REPLACE),
            Self::Append => Message::new(new, CREATE | APPEND),
            Self::Delete => Message::new(delete, 0),
        }
    }

    pub(crate) fn appending(self) -> Self {
        match self {
            Self::Delete => Self::Delete,
            _ => Self::Append,
        }
    }

    fn participle(self) -> &'static str {
        match self {
            Self::Add | Self::Append => "adding",
            Self::Replace => "setting",
            Self::Delete => "deleting",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link is made.
    AddLink(Box<NewLink>),
    /// A link is changed.
    SetLink(LinkIndex, Box<LinkSettings>),
    /// A link is removed.
    DeleteLink(LinkIndex),
    /// All links of a group are removed: the kernel waits once until nobody uses any of them.
    DeleteLinkGroup(u32),
    /// An address.
    Address(Verb, Address),
    /// A route.
    Route(Verb, Box<Route>),
    /// A rule; replacing is adding here.
    Rule(Verb, Box<Rule>),
    /// A neighbour.
    Neighbour(Verb, Neighbour),
    /// An entry of a forwarding database.
    Forwarding(Verb, ForwardingEntry),
    /// A queueing discipline.
    Qdisc(Verb, Qdisc),
    /// A redirection; replacing is adding here, and adding makes one more.
    Redirect(Verb, Redirect),
}

/// What [`Change::add`], [`Change::replace`] and [`Change::delete`] take.
pub trait Object {
    /// The change.
    fn change(self, verb: Verb) -> Change;
}

impl Object for Address {
    fn change(self, verb: Verb) -> Change {
        Change::Address(verb, self)
    }
}

impl Object for Route {
    fn change(self, verb: Verb) -> Change {
        Change::Route(verb, Box::new(self))
    }
}

impl Object for Rule {
    fn change(self, verb: Verb) -> Change {
        Change::Rule(verb, Box::new(self))
    }
}

impl Object for Neighbour {
    fn change(self, verb: Verb) -> Change {
        Change::Neighbour(verb, self)
    }
}

impl Object for ForwardingEntry {
    fn change(self, verb: Verb) -> Change {
        Change::Forwarding(verb, self)
    }
}

impl Object for Qdisc {
    fn change(self, verb: Verb) -> Change {
        Change::Qdisc(verb, self)
    }
}

impl Object for Redirect {
    fn change(self, verb: Verb) -> Change {
        Change::Redirect(verb, self)
    }
}

impl Change {
    /// Makes it; it must not be there.
    pub fn add(object: impl Object) -> Self {
        object.change(Verb::Add)
    }

    /// Makes it, or makes the one that is there so.
    pub fn replace(object: impl Object) -> Self {
        object.change(Verb::Replace)
    }

    /// Removes it; it must be there.
    pub fn delete(object: impl Object) -> Self {
        object.change(Verb::Delete)
    }

    /// Makes a link, without the settings that are not for creation.
    pub fn add_link(link: NewLink) -> Self {
        Self::AddLink(Box::new(link))
    }

    /// Changes a link.
    pub fn set_link(index: LinkIndex, settings: LinkSettings) -> Self {
        Self::SetLink(index, Box::new(settings))
    }

    pub(crate) fn encode(&self) -> Message {
        match self {
            Self::AddLink(link) => link.encode(),
            Self::SetLink(index, settings) => settings.encode(*index),
            Self::DeleteLink(index) => link::encode_delete(*index),
            Self::DeleteLinkGroup(group) => link::encode_delete_group(*group),
            Self::Address(verb, address) => address.encode(*verb),
            Self::Route(verb, route) => route.encode(*verb),
            Self::Rule(verb, rule) => rule.encode(*verb),
            Self::Neighbour(verb, neighbour) => neighbour.encode(*verb),
            Self::Forwarding(verb, entry) => entry.encode(*verb),
            Self::Qdisc(verb, qdisc) => qdisc.encode(*verb),
            Self::Redirect(verb, redirect) => redirect.encode(*verb),
        }
    }

    /// As in `adding route 10.1.2.0/24 via 10.1.2.0 dev penstock.1`.
    pub(crate) fn describe(&self, names: Naming<'_>) -> Box<str> {
        let (verb, object) = match self {
            Self::AddLink(link) => (Verb::Add, link.to_string()),
            Self::SetLink(index, settings) => {
                return format!("setting link {}{settings}", names(*index)).into();
            }
            Self::DeleteLink(index) => (Verb::Delete, format!("link {}", names(*index))),
            Self::DeleteLinkGroup(group) => (Verb::Delete, format!("links of group {group}")),
            Self::Address(verb, address) => (*verb, address.describe(names)),
            Self::Route(verb, route) => (*verb, route.describe(names)),
            Self::Rule(verb, rule) => (*verb, rule.describe()),
            Self::Neighbour(verb, neighbour) => (*verb, neighbour.describe(names)),
            Self::Forwarding(verb, entry) => (*verb, entry.describe(names)),
            Self::Qdisc(verb, qdisc) => (*verb, qdisc.describe(names)),
            Self::Redirect(verb, redirect) => (*verb, redirect.describe(names)),
        };
        format!("{} {object}", verb.participle()).into()
    }
}

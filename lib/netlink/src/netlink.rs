//! A kernel's links, addresses, routes, rules, neighbours and forwarding databases: listed and changed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::address::{self, AF_INET, AF_INET6, Address};
use crate::change::Change;
use crate::error::Error;
use crate::link::{self, Link, NewLink};
use crate::names::{LinkIndex, LinkName};
use crate::namespace::Namespace;
use crate::neighbour::{self, ForwardingEntry, Neighbour};
use crate::route::{self, Route, RouteFilter};
use crate::rule::{self, Rule};
use crate::socket::{Protocol, Socket};
use crate::traffic::{self, Qdisc, Redirect};
use crate::wire::{Frame, Message};

/// A connection to the routing side of a kernel, in one namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
}

/// A change that was not made.
#[derive(Debug)]
pub struct Failure {
    /// Its place among the changes.
    pub index: usize,
    /// Why, with the operation and the object.
    pub error: Error,
}

impl Netlink {
    /// To this thread's namespace.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::open(Protocol::Route)?;
        Ok(Self { socket })
    }

    /// To another one.
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        namespace.enter(Self::open)?
    }

    /// Makes these changes in this order, many at a time. Returns those that failed; each is tried.
    #[must_use]
    pub fn apply(&mut self, changes: &[Change]) -> Vec<Failure> {
        let messages = changes.iter().map(Change::encode).collect();
        let answers = self.socket.batch(messages);
        let socket = RefCell::new((&mut self.socket, BTreeMap::new()));
        let names = |index| {
            let mut guard = socket.borrow_mut();
            let (socket, known) = &mut *guard;
            let known: &mut BTreeMap<LinkIndex, LinkName> = known;
            known
                .entry(index)
                .or_insert_with(|| name_of(socket, index))
                .clone()
        };
        let mut failures = Vec::new();
        for (index, (change, answer)) in changes.iter().zip(answers).enumerate() {
            if let Err(error) = answer.into_result(|| change.describe(&names)) {
                failures.push(Failure { index, error });
            }
        }
        failures
    }

    /// Makes all these changes, or says what the first one that failed failed at.
    pub fn apply_all(&mut self, changes: &[Change]) -> Result<(), Error> {
        match self.apply(changes).into_iter().next() {
            Some(failure) => Err(failure.error),
            None => Ok(()),
        }
    }

    /// Makes one change.
    pub fn change(&mut self, change: Change) -> Result<(), Error> {
        self.apply_all(&[change])
    }

    /// Makes a link in this connection's namespace, with all its settings, and says what it has become.
    pub fn add_link(&mut self, link: NewLink) -> Result<Link, Error> {
        let (name, later) = (link.name.clone(), link.afterwards());
        self.change(Change::add_link(link))?;
        let made = self.link_named(&name)?;
        let Some(later) = later else {
            return Ok(made);
        };
        self.change(Change::set_link(made.index, later))?;
        self.link_named(&name)
    }

    /// All links.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.list(&link::encode_list(), "listing links", Link::read)
    }

    /// The link of this name, if there is one.
    pub fn link(&mut self, name: &LinkName) -> Result<Option<Link>, Error> {
        let doing = || format!("looking for link {name}").into();
        let request = link::encode_get_name(name);
        absent_is_none(self.socket.query(request, &doing, Link::read))
    }

    /// The link of this name, which has to be there.
    pub fn link_named(&mut self, name: &LinkName) -> Result<Link, Error> {
        let doing = || format!("looking for link {name}").into();
        let found = self
            .socket
            .query(link::encode_get_name(name), &doing, Link::read)?;
        found.ok_or_else(|| Error::Malformed { doing: doing() })
    }

    /// The link of this number, if there is one.
    pub fn link_at(&mut self, index: LinkIndex) -> Result<Option<Link>, Error> {
        let doing = || format!("looking for link {index}").into();
        let request = link::encode_get_index(index);
        absent_is_none(self.socket.query(request, &doing, Link::read))
    }

    /// All addresses.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        self.list(&address::encode_list(), "listing addresses", Address::read)
    }

    /// Routes of both families.
    pub fn routes(&mut self, filter: RouteFilter) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let found = self.list(&filter.encode(family), "listing routes", Route::read);
            // A table that never held a route does not exist.
            routes.extend(absent_is_none(found.map(Some))?.into_iter().flatten());
        }
        // Older kernels send all of them.
        routes.retain(|route| filter.table.is_none_or(|table| route.table == table));
        Ok(routes)
    }

    /// The way that a packet takes, if there is one.
    pub fn route_to(
        &mut self,
        destination: IpAddr,
        mark: u32,
        incoming: Option<LinkIndex>,
    ) -> Result<Option<Route>, Error> {
        let doing = || format!("looking for the way to {destination}").into();
        let request = route::encode_lookup(destination, mark, incoming);
        self.socket.query(request, &doing, Route::read)
    }

    /// Rules of both families.
    pub fn rules(&mut self) -> Result<Vec<Rule>, Error> {
        let mut rules = Vec::new();
        for family in [AF_INET, AF_INET6] {
            rules.extend(self.list(&rule::encode_list(family), "listing rules", Rule::read)?);
        }
        Ok(rules)
    }

    /// Neighbours of both families, of one link or of all.
    pub fn neighbours(&mut self, dev: Option<LinkIndex>) -> Result<Vec<Neighbour>, Error> {
        self.neighbours_or_proxies(false, dev)
    }

    /// Those that we answer for, of one link or of all.
    pub fn proxies(&mut self, dev: Option<LinkIndex>) -> Result<Vec<Neighbour>, Error> {
        self.neighbours_or_proxies(true, dev)
    }

    fn neighbours_or_proxies(
        &mut self,
        proxies: bool,
        dev: Option<LinkIndex>,
    ) -> Result<Vec<Neighbour>, Error> {
        let mut neighbours = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let request = neighbour::encode_list(family, proxies, dev);
            neighbours.extend(self.list(&request, "listing neighbours", Neighbour::read)?);
        }
        neighbours.retain(|found| dev.is_none_or(|dev| found.dev == dev));
        Ok(neighbours)
    }

    /// The forwarding database of a link.
    pub fn forwarding(&mut self, dev: LinkIndex) -> Result<Vec<ForwardingEntry>, Error> {
        let request = neighbour::encode_list_forwarding(dev);
        let doing = "listing a forwarding database";
        let mut entries = self.list(&request, doing, ForwardingEntry::read)?;
        entries.retain(|entry| entry.dev == dev);
        Ok(entries)
    }

    /// What links send by, and keep filters in: of one link or of all.
    pub fn qdiscs(&mut self, dev: Option<LinkIndex>) -> Result<Vec<Qdisc>, Error> {
        let doing = || "listing qdiscs".into();
        let request = traffic::encode_list();
        let mut qdiscs = self.socket.list_some(&request, &doing, Qdisc::read)?;
        qdiscs.retain(|found| dev.is_none_or(|dev| found.dev == dev));
        Ok(qdiscs)
    }

    /// Where all that a link takes in is sent.
    pub fn redirects(&mut self, dev: LinkIndex) -> Result<Vec<Redirect>, Error> {
        let doing = || "listing filters".into();
        let request = traffic::encode_list_redirects(dev);
        self.socket.list_some(&request, &doing, Redirect::read)
    }

    fn list<T>(
        &mut self,
        request: &Message,
        doing: &'static str,
        read: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        self.socket.list(request, &|| doing.into(), read)
    }
}

fn absent_is_none<T>(found: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(error) if error.is_not_there() => Ok(None),
        other => other,
    }
}

/// A link's name, or its number where it has gone.
fn name_of(socket: &mut Socket, index: LinkIndex) -> LinkName {
    let request = link::encode_get_index(index);
    let found = socket.query(request, &|| "looking for a link".into(), Link::read);
    match found {
        Ok(Some(link)) => link.name,
        _ => LinkName::from_kernel(index.to_string()),
    }
}

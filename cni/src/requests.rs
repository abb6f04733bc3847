//! Requests answered: what is reserved, made and removed in which order.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use cni_core::host_ports::host_ports;
use cni_core::ipam::{AllocationError, Key, Lease, Phase};
use cni_core::spec::{Attachment, Code, Command, Config, Refusal, Request, Target};
use cni_core::talk::{Ask, Reply, TALK};
use netlink::{Error, LinkName, Namespace, Netlink};
use serde_json::Value;

use crate::book::{Book, BookError};
use crate::collect::{self, CollectError};
use crate::flows;
use crate::nat::{self, Nat, Outside};
use crate::pod::{self, Cable, Step};
use crate::removal::Remover;
use crate::reply::{self, of_book, of_kernel};
use crate::shape;

/// Told of each step that was made; what it says is whether the step counts as made.
pub(crate) type Watcher = dyn Fn(Step) -> bool + Send + Sync;

/// What answers the plugin.
pub struct Requests {
    book: Arc<Book>,
    node: Namespace,
    /// A pod's largest packet.
    // A lock and not a channel: it guards one number, written when the underlay changes.
    mtu: RwLock<u32>,
    nat: Nat,
    watcher: Arc<Watcher>,
    remover: Remover,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl Requests {
    /// Connects pods to this namespace.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn new(book: Arc<Book>, node: Namespace) -> io::Result<Self> {
        Self::watched(book, node, |_| true)
    }

    /// With somebody who is told of each step, and may say that it failed.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn watched(
        book: Arc<Book>,
        node: Namespace,
        watcher: impl Fn(Step) -> bool + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let watcher: Arc<Watcher> = Arc::new(watcher);
        let gone = Gone {
            book: Arc::clone(&book),
            node: node.clone(),
            watcher: Arc::clone(&watcher),
        };
        Ok(Self {
            book,
            nat: Nat::new(node.clone()),
            node,
            mtu: RwLock::new(1450),
            watcher,
            remover: Remover::start(move |keys| gone.remove(keys))?,
        })
    }

    /// What pods have from now on, those that are there included.
    pub fn set_mtu(&self, mtu: u32) {
        *self.mtu.write().unwrap_or_else(PoisonError::into_inner) = mtu;
        if let Err(error) = self.level(mtu) {
            tracing::warn!(
                "giving pods an MTU of {mtu}: {}",
                daemon::error_chain(&error)
            );
        }
    }

    /// How pods are seen from now on, by whom.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_outside(&self, outside: Outside) -> Result<(), Error> {
        let mut change = self.nat.begin();
        change.set_outside(outside);
        self.sync_ports(&mut change)
    }

    /// Has the node's ports lead where the book says.
    pub(crate) fn keep_ports(&self) -> Result<(), Error> {
        self.sync_ports(&mut self.nat.begin())
    }

    fn sync_ports(&self, change: &mut nat::Change<'_>) -> Result<(), Error> {
        let leases = self.book.leases();
        let ports: Vec<_> = leases.iter().flat_map(Lease::host_ports).collect();
        change.sync(&ports).map(drop)
    }

    /// Gives this MTU to the pods that have another, and were not promised one.
    fn level(&self, mtu: u32) -> Result<(), Error> {
        let mut node = Netlink::open_in(&self.node)?;
        let links: BTreeMap<_, _> = node
            .links()?
            .into_iter()
            .map(|link| (link.name.to_string(), link))
            .collect();
        for lease in self.book.leases() {
            let link = links.get(&lease.key.host_link());
            let Some(link) = link.filter(|link| link.mtu != mtu) else {
                continue;
            };
            if lease.mtu.is_some() || lease.phase != Phase::Made {
                continue;
            }
            // One that is just going harms nobody else.
            if let Err(error) = pod::set_mtu(&mut node, link.index, &lease, mtu) {
                let container = &lease.key.attachment.container;
                tracing::warn!("container {container}: {}", daemon::error_chain(&error));
            }
        }
        Ok(())
    }

    /// Answers a request. Blocks for as long as the kernel and the disk take.
    pub fn answer(&self, ask: &Ask) -> Reply {
        match self.try_answer(ask) {
            Ok(result) => Reply::Done(result),
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    /// At start: undoes what a crash cut off, and keeps the addresses of pods that the journal lost.
    ///
    /// # Errors
    /// When the kernel cannot be listed or the journal not written.
    pub fn recover(&self) -> Result<(), CollectError> {
        collect::recover(&self.book, self, &mut Netlink::open_in(&self.node)?)
    }

    /// Gives back what belongs to pods that have gone without a DEL.
    ///
    /// # Errors
    /// When the kernel cannot be listed.
    pub fn collect(&self, socket: &Path) -> Result<(), CollectError> {
        let mut node = Netlink::open_in(&self.node)?;
        collect::collect(&self.book, self, &mut node, socket)
    }

    fn try_answer(&self, ask: &Ask) -> Result<Option<Value>, Refusal> {
        if ask.talk != TALK {
            let message = format!("plugin and agent differ: {} is not {TALK}", ask.talk);
            return Err(Refusal::new(Code::TryAgain, message));
        }
        let request = Request::read(&ask.environment, ask.stdin.as_bytes())?;
        let Some(config) = request.config else {
            return Ok(None);
        };
        match request.command {
            Command::Add(target) => self.add(&config, &target).map(Some),
            Command::Del(target) => self.remove(&key(&config, &target)).map(|()| None),
            Command::Check(target) => self.check(&config, &target).map(|()| None),
            Command::Gc => self.keep_only_valid(&config).map(|()| None),
            Command::Status => self.status().map(|()| None),
            Command::Version => Ok(None),
        }
    }

    fn add(&self, config: &Config, target: &Target) -> Result<Value, Refusal> {
        let namespace = open_namespace(target)?;
        let key = key(config, target);
        if self.book.is_going(&key) {
            self.remover.settle();
        }
        if namespace == self.node && !target.own_netns {
            let message = "the container's namespace is the node's own";
            return Err(Refusal::new(Code::Namespace, message));
        }
        let runtime = &config.runtime;
        let wanted = Lease {
            key,
            netns: target.netns.clone(),
            addresses: Vec::new(),
            ports: runtime.port_mappings.clone(),
            mac: runtime.mac.map(|mac| mac.0),
            mtu: config.mtu,
            bandwidth: runtime.bandwidth,
            pod: target
                .args
                .pod()
                .map(|(space, name)| (space.to_owned(), name.to_owned())),
            phase: Phase::Making,
        };
        let lease = self.reserve(wanted, &runtime.ips)?;
        let mtu = *self.mtu.read().unwrap_or_else(PoisonError::into_inner);
        let mtu = config.mtu.unwrap_or(mtu);
        match self.make(&lease, namespace, mtu) {
            Ok(cable) => Ok(reply::outcome(config, &lease, &cable, mtu).write(config.version)),
            Err(refusal) => Err(match self.remove(&lease.key) {
                Ok(()) => {
                    self.remover.settle();
                    refusal
                }
                Err(undoing) => {
                    let details = format!("{}; undoing it: {undoing}", refusal.details);
                    refusal.with(details)
                }
            }),
        }
    }

    /// What there is not may be there in a moment, if something is going.
    fn reserve(&self, lease: Lease, asked: &[IpAddr]) -> Result<Lease, Refusal> {
        let reserved = match self.book.reserve(lease.clone(), asked) {
            Err(BookError::Allocation(_)) if self.remover.settle() => {
                self.book.reserve(lease, asked)
            }
            reserved => reserved,
        };
        reserved.map_err(of_book)
    }

    fn make(&self, lease: &Lease, namespace: Namespace, mtu: u32) -> Result<Cable, Refusal> {
        self.made(Step::Reserved)?;
        let cable = Cable::new(lease, namespace, mtu).map_err(of_kernel)?;
        let mut node = Netlink::open_in(&self.node).map_err(of_kernel)?;
        let dev = cable.connect(&mut node).map_err(of_kernel)?;
        self.made(Step::Cabled)?;
        cable.set_up_inside().map_err(of_kernel)?;
        self.made(Step::Inside)?;
        let outside = || cable.set_up_outside(&mut node, dev);
        let outside = self.node.enter(outside).and_then(|done| done);
        outside.map_err(of_kernel)?;
        self.made(Step::Outside)?;
        shape::shape(&mut node, dev, lease).map_err(of_kernel)?;
        self.made(Step::Shaped)?;
        self.open_ports(lease)?;
        self.made(Step::Opened)?;
        self.book.complete(&lease.key).map_err(of_book)?;
        self.made(Step::Completed)?;
        Ok(cable)
    }

    fn open_ports(&self, lease: &Lease) -> Result<(), Refusal> {
        let ports = host_ports(&lease.ports, &lease.addresses)
            .map_err(|missing| Refusal::new(Code::Config, missing.to_string()))?;
        if ports.is_empty() {
            return Ok(());
        }
        let mut change = self.nat.begin();
        match change.open(&ports) {
            // Somebody meddled with the table; the book knows what is right, these ports included.
            Err(error) if error.is_not_there() || error.is_already_there() => {
                self.sync_ports(&mut change)
            }
            done => done,
        }
        .map_err(of_kernel)?;
        drop(change);
        flows::turn(&self.node, &ports).map_err(of_kernel)
    }

    /// The node's ports lead elsewhere before anybody can have them.
    fn go(&self, key: &Key) -> Result<bool, Refusal> {
        let lease = self.book.lease(key);
        let ports = lease.map(|lease| lease.host_ports()).unwrap_or_default();
        if ports.is_empty() {
            return self.book.go(key).map_err(of_book);
        }
        let mut change = self.nat.begin();
        change.close(&ports).map_err(of_kernel)?;
        self.book.go(key).map_err(of_book)
    }

    fn made(&self, step: Step) -> Result<(), Refusal> {
        match (self.watcher)(step) {
            true => Ok(()),
            false => Err(Refusal::new(Code::Internal, format!("{step:?} failed"))),
        }
    }

    /// Whatever there is of an attachment goes, soon and surely. Its lease goes last, so that nobody gets an
    /// address that still leads to another's pod.
    pub(crate) fn remove(&self, key: &Key) -> Result<(), Refusal> {
        if self.go(key)? {
            self.made(Step::Going)?;
            self.remover.push(key.clone());
            return Ok(());
        }
        let mut node = Netlink::open_in(&self.node).map_err(of_kernel)?;
        let names = links(key).map_err(of_kernel)?;
        pod::remove(&mut node, &names).map_err(of_kernel)
    }

    /// Waits until what is going has gone, as far as the kernel lets it.
    pub fn settle(&self) {
        self.remover.settle();
    }

    fn check(&self, config: &Config, target: &Target) -> Result<(), Refusal> {
        let key = key(config, target);
        let Some(lease) = self
            .book
            .lease(&key)
            .filter(|lease| lease.phase == Phase::Made)
        else {
            let message = "nothing was made for this interface of this container";
            return Err(Refusal::new(Code::UnknownContainer, message));
        };
        let different = |message: String| Err(Refusal::new(Code::Different, message));
        let previous = config.previous.clone().unwrap_or_default();
        for address in &lease.addresses {
            if !previous.ips.iter().any(|ip| ip.address.addr() == *address) {
                return different(format!("prevResult lacks {address}"));
            }
        }
        let namespace = open_namespace(target)?;
        let cable = Cable::new(&lease, namespace, 0).map_err(of_kernel)?;
        let mut node = Netlink::open_in(&self.node).map_err(of_kernel)?;
        let found = cable.find_difference(&mut node).map_err(of_kernel)?;
        let found = match found {
            None => shape::find_difference(&mut node, &lease).map_err(of_kernel)?,
            found => found,
        };
        match found {
            Some(what) => different(what),
            None => Ok(()),
        }
    }

    /// Goes on after a fault and tells all of them.
    fn keep_only_valid(&self, config: &Config) -> Result<(), Refusal> {
        let mut faults = Vec::new();
        for lease in self.book.leases() {
            let key = lease.key;
            if key.network != config.name || config.valid_attachments.contains(&key.attachment) {
                continue;
            }
            if let Err(refusal) = self.remove(&key) {
                let Attachment { container, ifname } = &key.attachment;
                faults.push(format!("{container} {ifname}: {refusal}"));
            }
        }
        match faults.is_empty() {
            true => Ok(()),
            false => {
                Err(Refusal::new(Code::Io, "not all could be removed").with(faults.join("; ")))
            }
        }
    }

    fn status(&self) -> Result<(), Refusal> {
        if self.book.ranges().is_empty() {
            let message = AllocationError::NoRange.to_string();
            return Err(Refusal::new(Code::Unavailable, message));
        }
        let mut full = self.book.full();
        if full.is_some() && self.remover.settle() {
            full = self.book.full();
        }
        match full {
            Some(range) => {
                let message = AllocationError::Full(range).to_string();
                Err(Refusal::new(Code::Unavailable, message))
            }
            None => Ok(()),
        }
    }
}

/// What removes cables and then gives back their leases.
struct Gone {
    book: Arc<Book>,
    node: Namespace,
    watcher: Arc<Watcher>,
}

impl Gone {
    /// What the kernel does not let go stays in the book as going, and the next minute tries again.
    fn remove(&self, keys: &[Key]) {
        let removed = self.remove_links(keys);
        if let Err(error) = &removed {
            tracing::warn!("removing interfaces: {}", daemon::error_chain(error));
        }
        let gone = removed.unwrap_or_default();
        if gone.is_empty() || !(self.watcher)(Step::Removed) {
            return;
        }
        let leases = gone.iter().filter_map(|key| self.book.lease(key));
        let addresses: Vec<IpAddr> = leases.flat_map(|lease| lease.addresses).collect();
        if let Err(error) = flows::forget(&self.node, &addresses) {
            tracing::warn!("forgetting connections: {}", daemon::error_chain(&error));
        }
        match self.book.release(&gone) {
            Ok(()) => drop((self.watcher)(Step::Released)),
            Err(error) => tracing::warn!("giving back addresses: {}", daemon::error_chain(&error)),
        }
    }

    /// Returns those whose links are no more.
    fn remove_links(&self, keys: &[Key]) -> Result<Vec<Key>, Error> {
        let mut node = Netlink::open_in(&self.node)?;
        let names: Result<Vec<_>, _> = keys.iter().map(links).collect();
        let names = names?;
        let removed = pod::remove(&mut node, names.as_flattened());
        let mut gone = Vec::with_capacity(keys.len());
        for (key, [host, slow]) in keys.iter().zip(&names) {
            if node.link(host)?.is_none() && node.link(slow)?.is_none() {
                gone.push(key.clone());
            }
        }
        match gone.len() == keys.len() {
            true => Ok(gone),
            false => removed.map(|()| gone),
        }
    }
}

/// What an attachment may have on the node.
fn links(key: &Key) -> Result<[LinkName; 2], Error> {
    Ok([
        LinkName::new(&key.host_link())?,
        LinkName::new(&key.slow_link())?,
    ])
}

fn key(config: &Config, target: &Target) -> Key {
    Key {
        network: config.name.clone(),
        attachment: target.attachment.clone(),
    }
}

fn open_namespace(target: &Target) -> Result<Namespace, Refusal> {
    Namespace::open(target.netns.as_ref()).map_err(|error| {
        let message = format!("{:?} is not a network namespace", target.netns);
        Refusal::new(Code::Namespace, message).with(error.to_string())
    })
}

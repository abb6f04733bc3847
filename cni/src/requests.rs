//! Requests answered: what is reserved, made and removed in which order.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use cni_core::ipam::{AllocationError, Key, Lease};
use cni_core::spec::{
    Attachment, Bandwidth, Code, Command, Config, Interface, Ip, Outcome, PortMapping, Refusal,
    Request, Route, Target,
};
use cni_core::talk::{Ask, Reply, TALK};
use netlink::{Error, LinkName, Namespace, Netlink};
use serde_json::Value;

use crate::book::{Book, BookError};
use crate::collect::{self, CollectError};
use crate::pod::{self, Cable, Step};

/// Told of each step that was made; an error stands for the step's having failed.
type Watcher = dyn Fn(Step) -> Result<(), Stop> + Send + Sync;

/// How a watched step ends an ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The step failed: what was made is undone.
    Failed,
    /// The process ended there: nothing more is done.
    Killed,
}

/// What answers the plugin.
pub struct Requests {
    book: Arc<Book>,
    node: Namespace,
    /// A pod's largest packet.
    // A lock and not a channel: it guards one number, written when the underlay changes.
    mtu: RwLock<u32>,
    watcher: Box<Watcher>,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl Requests {
    /// Connects pods to this namespace.
    pub fn new(book: Arc<Book>, node: Namespace) -> Self {
        Self {
            book,
            node,
            mtu: RwLock::new(1450),
            watcher: Box::new(|_| Ok(())),
        }
    }

    /// With somebody who is told of each step of ADD, and may end it there.
    #[must_use]
    pub fn watched(
        mut self,
        watcher: impl Fn(Step) -> Result<(), Stop> + Send + Sync + 'static,
    ) -> Self {
        self.watcher = Box::new(watcher);
        self
    }

    /// What pods get from now on.
    pub fn set_mtu(&self, mtu: u32) {
        *self.mtu.write().unwrap_or_else(PoisonError::into_inner) = mtu;
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
        if namespace == self.node && !target.own_netns {
            let message = "the container's namespace is the node's own";
            return Err(Refusal::new(Code::Namespace, message));
        }
        let inside = LinkName::new(&target.attachment.ifname).map_err(kernel)?;
        if pod::has_link(&namespace, &inside).map_err(kernel)? {
            let message = format!("the container has an interface {inside} already");
            return Err(Refusal::new(Code::InterfaceExists, message));
        }
        let runtime = &config.runtime;
        refuse_unserved(&runtime.port_mappings, runtime.bandwidth)?;
        let wanted = Lease {
            key: key(config, target),
            netns: target.netns.clone(),
            addresses: Vec::new(),
            ports: runtime.port_mappings.clone(),
            mac: runtime.mac.map(|mac| mac.0),
            bandwidth: runtime.bandwidth,
            pod: target
                .args
                .pod()
                .map(|(space, name)| (space.to_owned(), name.to_owned())),
            complete: false,
        };
        let lease = self.book.reserve(wanted, &runtime.ips).map_err(of_book)?;
        let mtu = *self.mtu.read().unwrap_or_else(PoisonError::into_inner);
        let mtu = config.mtu.unwrap_or(mtu);
        match self.make(&lease, namespace, mtu) {
            Ok(cable) => Ok(outcome(config, &lease, &cable, mtu).write(config.version)),
            Err(Broken::Killed) => Err(Refusal::new(Code::TryAgain, "the agent has ended")),
            Err(Broken::Refused(refusal)) => Err(match self.remove(&lease.key) {
                Ok(()) => refusal,
                Err(undoing) => {
                    let details = format!("{}; undoing it: {undoing}", refusal.details);
                    refusal.with(details)
                }
            }),
        }
    }

    fn make(&self, lease: &Lease, namespace: Namespace, mtu: u32) -> Result<Cable, Broken> {
        self.made(Step::Reserved)?;
        let cable = Cable::new(lease, namespace, mtu)?;
        let mut node = Netlink::open_in(&self.node)?;
        let dev = cable.connect(&mut node)?;
        self.made(Step::Cabled)?;
        cable.set_up_inside()?;
        self.made(Step::Inside)?;
        self.node.enter(|| cable.set_up_outside(&mut node, dev))??;
        self.made(Step::Outside)?;
        self.book.complete(&lease.key).map_err(of_book)?;
        self.made(Step::Completed)?;
        Ok(cable)
    }

    fn made(&self, step: Step) -> Result<(), Broken> {
        (self.watcher)(step).map_err(|stop| match stop {
            Stop::Failed => {
                let message = format!("{step:?} was made to fail");
                Broken::Refused(Refusal::new(Code::Internal, message))
            }
            Stop::Killed => Broken::Killed,
        })
    }

    /// Removes whatever there is of an attachment. The lease goes last, so that nobody gets an address
    /// that still leads to another's pod.
    pub(crate) fn remove(&self, key: &Key) -> Result<(), Refusal> {
        let host = LinkName::new(&key.host_link()).map_err(kernel)?;
        let mut node = Netlink::open_in(&self.node).map_err(kernel)?;
        pod::remove(&mut node, &host).map_err(kernel)?;
        self.book.release(key).map_err(of_book)
    }

    fn check(&self, config: &Config, target: &Target) -> Result<(), Refusal> {
        let key = key(config, target);
        let Some(lease) = self.book.lease(&key).filter(|lease| lease.complete) else {
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
        let cable = Cable::new(&lease, namespace, 0).map_err(kernel)?;
        let mut node = Netlink::open_in(&self.node).map_err(kernel)?;
        match cable.find_difference(&mut node).map_err(kernel)? {
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
        match self.book.full() {
            Some(range) => {
                let message = AllocationError::Full(range).to_string();
                Err(Refusal::new(Code::Unavailable, message))
            }
            None => Ok(()),
        }
    }
}

/// Why a pod was not connected.
enum Broken {
    Refused(Refusal),
    Killed,
}

impl From<Refusal> for Broken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Refused(kernel(error))
    }
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

/// A port that leads nowhere, or a limit that limits nothing, must not look like success.
fn refuse_unserved(ports: &[PortMapping], bandwidth: Bandwidth) -> Result<(), Refusal> {
    let what = match ports.first() {
        Some(port) => format!("portMappings with the value {port:?}"),
        None if bandwidth != Bandwidth::default() => {
            format!("bandwidth with the value {bandwidth:?}")
        }
        None => return Ok(()),
    };
    let message = format!("{what} is not supported");
    Err(Refusal::new(Code::UnsupportedField, message))
}

fn outcome(config: &Config, lease: &Lease, cable: &Cable, mtu: u32) -> Outcome {
    let interface = |name: &LinkName, mac: netlink::Mac, sandbox: &str| Interface {
        name: name.to_string(),
        mac: mac.to_string(),
        mtu: Some(mtu),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    };
    let ip = |address: &std::net::IpAddr| Ip {
        interface: Some(1),
        address: (*address).into(),
        gateway: Some(pod::gateway(*address)),
    };
    let route = |address: &std::net::IpAddr| {
        Route::new(pod::anywhere(*address), Some(pod::gateway(*address)))
    };
    let made = Outcome {
        interfaces: vec![
            interface(&cable.host, cable.host_mac, ""),
            interface(&cable.inside, cable.pod_mac, &lease.netns),
        ],
        ips: lease.addresses.iter().map(ip).collect(),
        routes: lease.addresses.iter().map(route).collect(),
        dns: config
            .runtime
            .dns
            .clone()
            .unwrap_or_else(|| config.dns.clone()),
    };
    match &config.previous {
        Some(previous) => made.after(previous.clone()),
        None => made,
    }
}

fn of_book(error: BookError) -> Refusal {
    let code = match &error {
        BookError::Journal(_) => Code::Io,
        BookError::Allocation(error) => match error {
            AllocationError::NoRange => Code::TryAgain,
            AllocationError::Full(_) => Code::PoolFull,
            AllocationError::Outside(_) | AllocationError::TwoOfOne(..) => Code::Config,
            AllocationError::Taken(_) => Code::AddressTaken,
            AllocationError::Repeated(_) => Code::InterfaceExists,
            AllocationError::PortTaken { .. } => Code::HostPortTaken,
        },
    };
    let details = std::error::Error::source(&error).map(ToString::to_string);
    Refusal::new(code, error.to_string()).with(details.unwrap_or_default())
}

/// A namespace that vanishes in the middle is the container's fault, not the kernel's.
fn kernel(error: Error) -> Refusal {
    let code = match &error {
        Error::Namespace { .. } => Code::Namespace,
        error
            if error.errno().is_some_and(|errno| {
                io::Error::from(errno).kind() == io::ErrorKind::AlreadyExists
            }) =>
        {
            Code::InterfaceExists
        }
        _ => Code::Kernel,
    };
    Refusal::new(code, error.to_string())
}

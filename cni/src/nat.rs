//! Addresses rewritten: the node's ports lead to pods, and pods reach the world as their node.
//!
//! ```text
//!  prerouting, output ─ to this host ─▶ hostports ─ bound4, ports4, bound6, ports6 ─▶ the pod
//!  postrouting ─ a pod to itself, localhost to a pod ─▶ the node's address
//!              └ marked by kube-proxy, between pods ─▶ left; pod to outside ─▶ the node's address
//! ```
//! Clients keep their addresses. One table, which nobody else writes; elements come and go with pods.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cni_core::host_ports::HostPort;
use cni_core::ipam::HOST_LINK;
use cni_core::spec::Transport;
use ipnet::IpNet;
use netlink::nft::{
    Chain, ChainKind, CtStatus, Element, Family, Field, Hook, Key, NatFamily, NatKind, Nft, Port,
    PortChoice, Protocol, Rule, Set, Table, Transaction, Type, Value,
};
use netlink::{Error, Namespace};

use crate::tables::Wanted;

/// What is rewritten besides the node's ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// The ranges of this node's pods.
    pub local: Vec<IpNet>,
    /// The ranges of all pods of the cluster.
    pub cluster: Vec<IpNet>,
    /// Whether pods reach others as their node.
    pub masquerade: bool,
}

/// The table of one node.
#[derive(Debug)]
pub(crate) struct Nat {
    node: Namespace,
    // A lock and not a channel: it keeps a list of all ports and a change of one apart, and whoever
    // changes one waits for the kernel in any case.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    outside: Option<Outside>,
    /// Kept open: to close it is to wait until nobody uses any more what was deleted.
    nft: Option<Nft>,
}

/// A change of ports in the making: nobody else makes one meanwhile.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    node: &'a Namespace,
    state: MutexGuard<'a, State>,
}

impl Nat {
    pub(crate) fn new(node: Namespace) -> Self {
        let state = Mutex::default();
        Self { node, state }
    }

    pub(crate) fn begin(&self) -> Change<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let node = &self.node;
        Change { node, state }
    }
}

impl Change<'_> {
    /// What comes after a fault has a socket of its own.
    fn with<T>(&mut self, work: impl FnOnce(&mut Nft) -> Result<T, Error>) -> Result<T, Error> {
        let mut nft = match self.state.nft.take() {
            Some(nft) => nft,
            None => Nft::open_in(self.node)?,
        };
        let done = work(&mut nft);
        if done.is_ok() {
            self.state.nft = Some(nft);
        }
        done
    }

    pub(crate) fn set_outside(&mut self, outside: Outside) {
        self.state.outside = Some(outside);
    }

    /// Makes the table what it should be with these ports, if that is known. Returns whether it was not.
    pub(crate) fn sync(&mut self, ports: &[HostPort]) -> Result<bool, Error> {
        let Some(outside) = &self.state.outside else {
            return Ok(false);
        };
        let wanted = wanted(outside, ports);
        self.with(|nft| wanted.sync(nft))
    }

    /// Has ports lead to a pod; those that do so already are left.
    pub(crate) fn open(&mut self, ports: &[HostPort]) -> Result<(), Error> {
        let mut transaction = Transaction::new(&table());
        for (set, element) in &elements(ports) {
            transaction.add_elements(set, [element]);
        }
        self.with(|nft| nft.commit(transaction))
    }

    /// Has ports lead nowhere; those that do so already are left.
    pub(crate) fn close(&mut self, ports: &[HostPort]) -> Result<(), Error> {
        let elements = elements(ports);
        let without = |elements: &[(Set, Element)]| {
            let mut transaction = Transaction::new(&table());
            for (set, element) in elements {
                transaction.delete_elements(set, [element]);
            }
            transaction
        };
        match self.with(|nft| nft.commit(without(&elements))) {
            Err(error) if error.is_not_there() => {}
            done => return done,
        }
        for element in elements.chunks(1) {
            match self.with(|nft| nft.commit(without(element))) {
                Err(error) if error.is_not_there() => {}
                done => done?,
            }
        }
        Ok(())
    }
}

fn table() -> Table {
    Table::new(Family::Inet, "penstock-nat")
}

/// The words of one family.
struct Words {
    is_ipv4: bool,
    loopback: IpNet,
    multicast: IpNet,
    address: Type,
    source: Field,
    destination: Field,
    nat: NatFamily,
    ports: &'static str,
    bound: &'static str,
    hairpin: &'static str,
    local: &'static str,
    cluster: &'static str,
}

const IPV4: Words = Words {
    is_ipv4: true,
    loopback: net(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    multicast: net(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
    address: Type::Ipv4,
    source: Field::Source4,
    destination: Field::Destination4,
    nat: NatFamily::Ip,
    ports: "ports4",
    bound: "bound4",
    hairpin: "hairpin4",
    local: "local4",
    cluster: "cluster4",
};

const IPV6: Words = Words {
    is_ipv4: false,
    loopback: net(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    multicast: net(IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
    address: Type::Ipv6,
    source: Field::Source6,
    destination: Field::Destination6,
    nat: NatFamily::Ip6,
    ports: "ports6",
    bound: "bound6",
    hairpin: "hairpin6",
    local: "local6",
    cluster: "cluster6",
};

const fn net(address: IpAddr, length: u8) -> IpNet {
    IpNet::new_assert(address, length)
}

impl Words {
    fn of(address: IpAddr) -> &'static Self {
        match address {
            IpAddr::V4(_) => &IPV4,
            IpAddr::V6(_) => &IPV6,
        }
    }

    fn rule(&self) -> Rule {
        match self.is_ipv4 {
            true => Rule::new().ipv4(),
            false => Rule::new().ipv6(),
        }
    }

    fn ports(&self) -> Set {
        let key = [Type::Protocol, Type::Port];
        Set::map(self.ports, &key, &[self.address, Type::Port])
    }

    fn bound(&self) -> Set {
        let key = [self.address, Type::Protocol, Type::Port];
        Set::map(self.bound, &key, &[self.address, Type::Port])
    }

    fn hairpin(&self) -> Set {
        Set::new(self.hairpin, &[self.address, self.address])
    }

    fn ranges(&self, name: &str) -> Set {
        Set::new(name, &[self.address]).of_intervals()
    }

    fn lead(&self) -> [Rule; 2] {
        let any = [Field::Protocol, Field::DestinationPort];
        let one = [self.destination, Field::Protocol, Field::DestinationPort];
        let lead = |fields: &[Field], map| {
            let rule = self.rule().mapped_by(fields, map);
            rule.nat_as_mapped(NatKind::Destination, self.nat, true)
        };
        [lead(&one, self.bound), lead(&any, self.ports)]
    }

    /// What would come back to its sender by another way than it left.
    fn turn_back(&self) -> [Rule; 2] {
        let led = || self.rule().with_status(CtStatus::DESTINATION_NAT);
        let both = [self.source, self.destination];
        [
            led()
                .one_of(&both, self.hairpin)
                .masquerade(PortChoice::Keep)
                .commented("a pod that reaches itself through its node"),
            led()
                .within(self.source, self.loopback)
                .masquerade(PortChoice::Keep)
                .commented("localhost to a pod"),
        ]
    }

    /// Flannel's, in its order.
    fn masquerade(&self) -> [Rule; 4] {
        let (source, destination) = ([self.source], [self.destination]);
        let to_the_world = self.rule().one_of(&source, self.cluster);
        [
            self.rule()
                .one_of(&source, self.local)
                .one_of(&destination, self.cluster)
                .back(),
            self.rule().one_of(&destination, self.local).back(),
            to_the_world
                .outside(self.destination, self.multicast)
                .masquerade(PortChoice::FullyRandom)
                .commented("pods to the world"),
            self.rule()
                .none_of(&source, self.cluster)
                .one_of(&destination, self.cluster)
                .masquerade(PortChoice::FullyRandom)
                .commented("others to pods of other nodes"),
        ]
    }
}

fn wanted(outside: &Outside, ports: &[HostPort]) -> Wanted {
    let both = [&IPV4, &IPV6];
    let nat = |name, hook, priority| Chain::base(name, ChainKind::Nat, hook, priority);
    let lead = vec![Rule::new().to_this_host().jump("hostports")];
    let mut postrouting: Vec<Rule> = both.iter().flat_map(|words| words.turn_back()).collect();
    if outside.masquerade {
        let marked = Rule::new().with_bits(Field::Mark, KUBE_PROXY).back();
        postrouting.push(marked.commented("masqueraded by kube-proxy"));
        postrouting.extend(both.iter().flat_map(|words| words.masquerade()));
    }
    let pods = Value::from_bytes(HOST_LINK.as_bytes());
    let guard = Rule::new()
        .when(Field::IncomingName, pods)
        .ipv4()
        .within(Field::Destination4, IPV4.loopback)
        .drop();
    let raw = Chain::base("guard", ChainKind::Filter, Hook::Prerouting, -300);
    let chains = vec![
        (
            Chain::new("hostports"),
            both.iter().flat_map(|words| words.lead()).collect(),
        ),
        (nat("prerouting", Hook::Prerouting, -100), lead.clone()),
        (nat("output", Hook::Output, -100), lead),
        (nat("postrouting", Hook::Postrouting, 100), postrouting),
        // Links that lead to host ports take packets for localhost, those of such connections.
        (raw, vec![guard.commented("pods to the node's localhost")]),
    ];
    let mut sets: Vec<(Set, Vec<Element>)> = Vec::new();
    for words in both {
        sets.extend([words.ports(), words.bound(), words.hairpin()].map(|set| (set, Vec::new())));
        for (name, nets) in [
            (words.local, &outside.local),
            (words.cluster, &outside.cluster),
        ] {
            let nets = nets
                .iter()
                .filter(|net| net.addr().is_ipv4() == words.is_ipv4);
            // The kernel refuses ranges that overlap.
            let nets = IpNet::aggregate(&nets.copied().collect());
            let elements = nets.into_iter().map(|net| Element::new(Key::net(net)));
            sets.push((words.ranges(name), elements.collect()));
        }
    }
    for (set, element) in elements(ports) {
        let filled = sets.iter_mut().find(|(one, _)| one.name == set.name);
        filled.expect("each has been pushed above").1.push(element);
    }
    Wanted {
        table: table(),
        chains,
        sets,
    }
}

/// What these ports put into which set, each once.
fn elements(ports: &[HostPort]) -> Vec<(Set, Element)> {
    let mut elements = Vec::with_capacity(2 * ports.len());
    let mut pods: Vec<IpAddr> = ports.iter().map(|port| port.pod).collect();
    pods.sort_unstable();
    pods.dedup();
    for pod in pods {
        let pair = Value::concat(&[pod.into(), pod.into()]);
        elements.push((Words::of(pod).hairpin(), Element::new(pair)));
    }
    for port in ports {
        let words = Words::of(port.pod);
        let target = Value::concat(&[port.pod.into(), Port(port.pod_port).into()]);
        let protocol = match port.protocol {
            Transport::Tcp => Protocol::TCP,
            Transport::Udp => Protocol::UDP,
            Transport::Sctp => Protocol::SCTP,
        };
        let (protocol, number) = (protocol.into(), Port(port.host_port).into());
        elements.push(match port.host_ip {
            Some(host) => {
                let key = Value::concat(&[host.into(), protocol, number]);
                (words.bound(), Element::mapping(key, target))
            }
            None => {
                let key = Value::concat(&[protocol, number]);
                (words.ports(), Element::mapping(key, target))
            }
        });
    }
    elements
}

/// The mark by which kube-proxy says that it masquerades.
const KUBE_PROXY: u32 = 0x4000;

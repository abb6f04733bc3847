//! A kernel: links, addresses, routes, rules, neighbours, forwarding databases, nftables, conntrack,
//! sysctls and namespaces, over blocking netlink sockets.
//!
//! ```text
//!  Change ─▶ Message ─▶ Socket::batch ─▶ one answer each ─▶ Error with the object's name
//!  list   ─▶ Message ─▶ Socket::list  ─▶ whole and consistent, else asked again
//! ```
//!
//! | connection | to |
//! |---|---|
//! | [`Netlink`] | links, addresses, routes, rules, neighbours, forwarding databases, qdiscs |
//! | [`Monitor`] | changes of these |
//! | [`nft::Nft`] | nftables |
//! | [`PacketLog`] | packets that its rules log |
//! | [`conntrack::Conntrack`] | tracked connections |
//! | [`Ethtool`] | offloads of links |
//! | [`Generic`] | any other family, by its name |
//!
//! Every call returns at once, for the kernel answers within the system call: an agent calls from a
//! thread of its own or through `spawn_blocking`, and a plugin needs no runtime.

mod address;
mod change;
pub mod conntrack;
mod error;
mod generic;
mod link;
mod monitor;
mod names;
mod namespace;
mod neighbour;
mod netlink;
pub mod nft;
mod packet_log;
mod route;
mod rule;
mod socket;
mod sysctl;
mod traffic;
pub mod wire;

pub use address::Address;
pub use change::{Change, Object, Verb};
pub use error::{Error, Refusal};
pub use generic::{Ethtool, Generic};
pub use link::{Link, LinkKind, LinkSettings, ListedKind, NewLink, Peer, Tunnel, Vxlan};
pub use monitor::{Event, Monitor, Topic};
pub use names::{LinkIndex, LinkName, Mac};
pub use namespace::{Namespace, NamespaceId};
pub use neighbour::{ForwardingEntry, Neighbour};
pub use netlink::{Failure, Netlink};
pub use packet_log::{Logged, Packet, PacketLog};
pub use route::{Hop, LOCAL_TABLE, MAIN_TABLE, Route, RouteFilter, RouteKind, Scope};
pub use rule::{Rule, RuleAction};
pub use socket::{Answer, Protocol, Socket};
pub use sysctl::Sysctl;
pub use traffic::{Qdisc, QdiscKind, Redirect, TokenBucket};

//! Pod networking, done: the node agent `cni-agent`, which the plugin `penstock-cni` asks.
//!
//! ```text
//!  plugin ──socket──▶ server ──▶ requests ──▶ book (ledger + journal) ──▶ pod (netlink) ──▶ removal
//!  Node ─────watch──▶ node ────▶ Network ───▶ book, conflist, and each part
//!  kernel ──monitor─▶ underlay ─▶ MTU ───────▶ pods that are there, and those to come
//!  Nodes ────watch──▶ mesh ────▶ tunnels, routes, neighbours, FDB; this Node's annotations
//!  a minute ────────▶ collect ─▶ leases whose namespace has gone
//! ```

mod agent;
mod book;
mod collect;
mod files;
mod flows;
mod forward;
mod journal;
mod mesh;
mod metrics;
mod nat;
mod node;
mod pod;
mod removal;
mod reply;
mod requests;
mod server;
mod settings;
mod shape;
mod tables;
mod underlay;

pub use agent::{RunError, run};
pub use book::{Book, BookError};
pub use collect::CollectError;
pub use nat::Outside;
pub use pod::Step;
pub use requests::Requests;
pub use settings::{AgentArgs, Backend, Cli, Command, MeshArgs, RunArgs};

//! A topology on this machine: network namespaces as machines, with cables and shared links between them.
//!
//! ```no_run
//! use loadtest::lab::Lab;
//! use std::process::Command;
//!
//! # fn main() -> Result<(), loadtest::lab::LabError> {
//! let lab = Lab::new()?;
//! let (a, b, outside) = (lab.machine("a")?, lab.machine("b")?, lab.machine("outside")?);
//! let router = lab.router("router")?;
//! let lan = lab.switch("lan")?;
//! a.plug(&lan, "eth0", &["192.0.2.1/24", "2001:db8::1/64"])?;
//! b.plug(&lan, "eth0", &["192.0.2.2/24", "2001:db8::2/64"])?;
//! router.plug(&lan, "lan", &["192.0.2.254/24", "2001:db8::fe/64"])?;
//! router.cable("wan", &["198.51.100.1/24"], &outside, "eth0", &["198.51.100.9/24"])?;
//! a.route("0.0.0.0/0", "192.0.2.254")?;
//! outside.route("192.0.2.0/24", "198.51.100.1")?;
//! let listener = b.enter(|| std::net::TcpListener::bind("192.0.2.2:80"))?;
//! let server = a.spawn(Command::new("busybox").args(["httpd", "-f"]))?;
//! # drop((listener, server));
//! # Ok(())
//! # }
//! ```
//!
//! Everything goes when its handle does. What a killed process leaves behind is told by its name, and swept
//! by the next lab, programs included. Labs of several processes and threads do not touch each other.

mod machine;
mod owner;
mod program;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use netlink::{LinkKind, LinkName, LinkSettings, Namespace, NewLink};

pub use machine::Machine;
pub use program::Running;

use machine::read_link_name;
use owner::Owner;

/// Why something was not made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] netlink::Error),
    /// A program cannot be started, or looked at.
    #[error("running a program")]
    Program(#[from] io::Error),
    /// The caller's text means nothing.
    #[error("{0:?} is no address, or no prefix")]
    Address(String),
}

/// Makes machines and what is between them.
#[derive(Debug)]
pub struct Lab {
    /// Of the names of its namespaces.
    prefix: String,
}

impl Lab {
    /// An empty one. What dead owners left is swept first.
    ///
    /// # Errors
    /// Where there are no network namespaces, or no rights to make them.
    pub fn new() -> Result<Self, LabError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        owner::sweep()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{}-{number}", Owner::this_process()?);
        // Found out here rather than at the first machine.
        drop(Namespace::new()?);
        Ok(Self { prefix })
    }

    /// A machine that has a loopback and nothing else.
    ///
    /// # Errors
    /// When the lab has one of this name, or the kernel refuses.
    pub fn machine(&self, name: &str) -> Result<Machine, LabError> {
        Machine::new(format!("{}-{name}", self.prefix))
    }

    /// A machine that forwards packets of both families.
    ///
    /// # Errors
    /// As [`Lab::machine`].
    pub fn router(&self, name: &str) -> Result<Machine, LabError> {
        let machine = self.machine(name)?;
        machine.forward()?;
        Ok(machine)
    }

    /// A shared link that machines can be plugged into.
    ///
    /// # Errors
    /// As [`Lab::machine`].
    pub fn switch(&self, name: &str) -> Result<Switch, LabError> {
        let machine = self.machine(name)?;
        let up = LinkSettings {
            up: Some(true),
            ..LinkSettings::default()
        };
        let bridge = NewLink::new(read_link_name(BRIDGE)?, LinkKind::Bridge).with(up);
        machine.netlink()?.add_link(bridge)?;
        Ok(Switch {
            machine,
            next: AtomicU64::new(0),
        })
    }
}

/// A shared link: a bridge in a namespace of its own.
#[derive(Debug)]
pub struct Switch {
    machine: Machine,
    next: AtomicU64,
}

impl Switch {
    /// Where its ports are, to be taken down or looked at.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    fn next_port(&self) -> Result<LinkName, LabError> {
        read_link_name(&format!("p{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    fn connect(&self, port: &LinkName) -> Result<(), LabError> {
        let mut netlink = self.machine.netlink()?;
        let bridge = netlink.link_named(&read_link_name(BRIDGE)?)?.index;
        let port = netlink.link_named(port)?.index;
        let settings = LinkSettings {
            up: Some(true),
            master: Some(Some(bridge)),
            ..LinkSettings::default()
        };
        netlink.change(netlink::Change::set_link(port, settings))?;
        Ok(())
    }
}

const BRIDGE: &str = "bridge";

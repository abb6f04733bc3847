//! Generic netlink: parts of the kernel that are asked for by name, as `ethtool`, `IPVS`, `wireguard`.
//!
//! ```no_run
//! use netlink::wire::{self, ACK};
//! use netlink::{Error, Generic};
//!
//! # fn main() -> Result<(), Error> {
//! const IPVS_CMD_GET_INFO: u8 = 15;
//! const IPVS_INFO_ATTR_VERSION: u16 = 1;
//! let mut ipvs = Generic::open("IPVS")?;
//! let message = ipvs.message(IPVS_CMD_GET_INFO, ACK);
//! let doing = || "asking for the version of IPVS".into();
//! let version = ipvs.socket().query(message, &doing, |frame| {
//!     Generic::attributes(frame).get(IPVS_INFO_ATTR_VERSION).and_then(wire::read_u32)
//! })?;
//! # drop(version);
//! # Ok(())
//! # }
//! ```

mod ethtool;

use crate::error::Error;
use crate::namespace::Namespace;
use crate::socket::{Protocol, Socket};
use crate::wire::{self, Attributes, Frame, Message};

pub use ethtool::Ethtool;

/// `GENL_ID_CTRL`.
const CONTROL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_VERSION: u16 = 3;
/// `struct genlmsghdr`.
const FIXED: usize = 4;

/// A connection to a part of the kernel that has registered a name, in one namespace.
#[derive(Debug)]
pub struct Generic {
    socket: Socket,
    family: u16,
    version: u8,
}

impl Generic {
    /// To this thread's namespace. What the kernel has not is an error that `is_not_there`; it loads a
    /// module for it where it has one.
    pub fn open(name: &str) -> Result<Self, Error> {
        let mut socket = Socket::open(Protocol::Generic)?;
        let doing = || format!("looking for the netlink family {name}").into();
        let mut message = request(CONTROL, CTRL_CMD_GETFAMILY, 2, 0);
        message.text(CTRL_ATTR_FAMILY_NAME, name);
        let found = socket.query(message, &doing, |frame| {
            let attributes = Self::attributes(frame);
            let version = attributes.get(CTRL_ATTR_VERSION).and_then(wire::read_u8);
            let family = wire::read_u16(attributes.get(CTRL_ATTR_FAMILY_ID)?)?;
            Some((family, version.unwrap_or(1)))
        })?;
        let (family, version) = found.ok_or_else(|| Error::Malformed { doing: doing() })?;
        Ok(Self {
            socket,
            family,
            version,
        })
    }

    /// To another one.
    pub fn open_in(namespace: &Namespace, name: &str) -> Result<Self, Error> {
        namespace.enter(|| Self::open(name))?
    }

    /// A request with this command of the family's.
    pub fn message(&self, command: u8, flags: u16) -> Message {
        request(self.family, command, self.version, flags)
    }

    /// What sends it.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// The attributes of an answer.
    pub fn attributes<'a>(frame: &Frame<'a>) -> Attributes<'a> {
        Attributes::after(frame.body, FIXED)
    }

    /// Which of the family's an answer is.
    pub fn command(frame: &Frame<'_>) -> Option<u8> {
        wire::read_u8(frame.body)
    }
}

fn request(family: u16, command: u8, version: u8, flags: u16) -> Message {
    let mut message = Message::new(family, flags);
    message.fixed(&[command, version, 0, 0]);
    message
}

//! What a link leaves to its other end or to hardware.

use std::collections::BTreeMap;

use super::Generic;
use crate::error::Error;
use crate::names::LinkName;
use crate::namespace::Namespace;
use crate::wire::{self, Attributes, Message};

const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_MSG_FEATURES_SET: u8 = 12;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_HW: u16 = 2;
const ETHTOOL_A_FEATURES_WANTED: u16 = 3;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_NAME: u16 = 2;
const ETHTOOL_A_HEADER_FLAGS: u16 = 3;
const ETHTOOL_FLAG_OMIT_REPLY: u32 = 2;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
const ETHTOOL_A_BITSET_BIT_VALUE: u16 = 3;

/// A connection to the settings of links, in one namespace.
#[derive(Debug)]
pub struct Ethtool {
    generic: Generic,
}

impl Ethtool {
    /// Checksums of what is sent, which a tunnel's or a cable's other end or hardware fills in.
    pub const TX_CHECKSUM: &str = "tx-checksum-ip-generic";

    /// To this thread's namespace.
    pub fn open() -> Result<Self, Error> {
        let generic = Generic::open("ethtool")?;
        Ok(Self { generic })
    }

    /// To another one.
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        namespace.enter(Self::open)?
    }

    /// The features of a link that can be turned on and off, under the names that `ethtool -k` shows,
    /// and whether they are on.
    pub fn features(&mut self, link: &LinkName) -> Result<BTreeMap<Box<str>, bool>, Error> {
        let doing = || format!("listing features of link {link}").into();
        let message = self.request(ETHTOOL_MSG_FEATURES_GET, link, 0);
        let found = self.generic.socket().query(message, &doing, |frame| {
            let attributes = Generic::attributes(frame);
            let set = |kind| bits(attributes.inside(kind));
            let mut features: BTreeMap<_, _> = set(ETHTOOL_A_FEATURES_HW)
                .map(|name| (name, false))
                .collect();
            for name in set(ETHTOOL_A_FEATURES_ACTIVE) {
                features.entry(name).and_modify(|on| *on = true);
            }
            Some(features)
        })?;
        found.ok_or_else(|| Error::Malformed { doing: doing() })
    }

    /// Turns a feature of a link on or off. One that cannot be changed stays as it is, and that is no
    /// error.
    pub fn set(&mut self, link: &LinkName, feature: &str, on: bool) -> Result<(), Error> {
        let doing = || {
            let to = if on { "on" } else { "off" };
            format!("turning {to} {feature} of link {link}").into()
        };
        let mut message = self.request(ETHTOOL_MSG_FEATURES_SET, link, ETHTOOL_FLAG_OMIT_REPLY);
        message.nest(ETHTOOL_A_FEATURES_WANTED, |message| {
            message.nest(ETHTOOL_A_BITSET_BITS, |message| {
                message.nest(ETHTOOL_A_BITSET_BITS_BIT, |message| {
                    message.text(ETHTOOL_A_BITSET_BIT_NAME, feature);
                    if on {
                        message.flag(ETHTOOL_A_BITSET_BIT_VALUE);
                    }
                });
            });
        });
        let unread = |_: &wire::Frame<'_>| Some(());
        self.generic.socket().query(message, &doing, unread)?;
        Ok(())
    }

    fn request(&self, command: u8, link: &LinkName, flags: u32) -> Message {
        let mut message = self.generic.message(command, 0);
        message.nest(ETHTOOL_A_FEATURES_HEADER, |message| {
            message.text(ETHTOOL_A_HEADER_DEV_NAME, link.as_str());
            message.u32(ETHTOOL_A_HEADER_FLAGS, flags);
        });
        message
    }
}

/// The names in a list of bits that are set.
fn bits(set: Attributes<'_>) -> impl Iterator<Item = Box<str>> {
    set.inside(ETHTOOL_A_BITSET_BITS).filter_map(|(_, bit)| {
        let name = Attributes::new(bit).get(ETHTOOL_A_BITSET_BIT_NAME)?;
        Some(wire::read_text(name).into_boxed_str())
    })
}

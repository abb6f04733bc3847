//! One NetworkPolicy's rules: which peers and which ports they let through.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Selector;

/// Protocols that a rule can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, which is meant where a rule names none.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Addresses within a block, but for some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The whole block.
    pub cidr: IpNet,
    /// Parts of it that are not meant.
    pub except: Vec<IpNet>,
}

impl Block {
    /// Whether the address is meant.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(&address) && !self.except.iter().any(|part| part.contains(&address))
    }
}

/// Whom a rule lets through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Pods; without a namespace selector those of the policy's own namespace.
    Pods {
        /// Which namespaces they live in.
        namespaces: Option<Selector>,
        /// Which of the pods there.
        pods: Selector,
    },
    /// Addresses.
    Block(Block),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_its_addresses_but_for_the_excepted() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let block = Block {
            cidr: net("10.0.0.0/8"),
            except: vec![net("10.1.0.0/16"), net("10.2.3.4/32")],
        };
        let table = [
            ("10.0.0.1", true),
            ("10.1.255.255", false),
            ("10.2.3.4", false),
            ("10.2.3.5", true),
            ("11.0.0.1", false),
            ("::ffff:10.0.0.1", false),
        ];
        for (address, expected) in table {
            assert_eq!(
                block.contains(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }
}

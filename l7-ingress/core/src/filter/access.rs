//! Who may come in by address.

use std::net::IpAddr;

use http::StatusCode;
use ipnet::IpNet;

use super::{Answer, Verdict};

/// Networks, to look addresses up in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRanges(Box<[IpNet]>);

impl SourceRanges {
    /// These networks, in any order.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        let networks = networks.into_iter().map(|network| network.trunc());
        Self(IpNet::aggregate(&networks.collect()).into())
    }

    /// Whether an address is in one of them; IPv4 within IPv6 is IPv4.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Who may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// These alone.
    pub allow: Option<SourceRanges>,
    /// Not these, even if they are among the others.
    pub deny: Option<SourceRanges>,
}

impl Sources {
    /// As nginx's rules `deny …; allow …; deny all`: who is on no list is neither let in nor kept out where
    /// only some are kept out, so that `satisfy any` needs something else.
    pub(super) fn judge<'r>(&self, address: IpAddr) -> Verdict<'r> {
        let on =
            |list: &Option<SourceRanges>| list.as_ref().is_some_and(|list| list.contain(address));
        if on(&self.deny) {
            return Verdict::Answer(Answer::status(StatusCode::FORBIDDEN));
        }
        match &self.allow {
            None => Verdict::Continue,
            Some(_) if on(&self.allow) => Verdict::Granted,
            Some(_) => Verdict::Answer(Answer::status(StatusCode::FORBIDDEN)),
        }
    }
}

//! How fast a pod may be.
//!
//! ```text
//!  to the pod    the node's end of its cable sends through a token bucket
//!  from the pod  what that end takes in goes through another link, which sends through one
//! ```
//! Nothing of it is in the pod, which might undo it.

use std::time::Duration;

use cni_core::ipam::Lease;
use cni_core::spec::{Bandwidth, Rate};
use netlink::{
    Change, Error, LinkIndex, LinkKind, LinkName, LinkSettings, Netlink, NewLink, Qdisc, QdiscKind,
    Redirect, TokenBucket,
};

/// Slows down a pod as its lease says. Nothing of the kind is there yet.
pub(crate) fn shape(node: &mut Netlink, host: LinkIndex, lease: &Lease) -> Result<(), Error> {
    if let Some(rate) = lease.bandwidth.ingress {
        node.change(Change::add(Qdisc::shaping(host, bucket(rate))))?;
    }
    let Some(rate) = lease.bandwidth.egress else {
        return Ok(());
    };
    let up = LinkSettings {
        up: Some(true),
        ..LinkSettings::default()
    };
    let link = NewLink::new(LinkName::new(&lease.key.slow_link())?, LinkKind::Ifb);
    let slow = node.add_link(link.with(up))?.index;
    let redirect = Redirect {
        dev: host,
        to: slow,
        priority: 1,
    };
    node.apply_all(&[
        Change::add(Qdisc::shaping(slow, bucket(rate))),
        Change::add(Qdisc::clsact(host)),
        Change::add(redirect),
    ])
}

/// What is not as it was made, if anything.
pub(crate) fn find_difference(node: &mut Netlink, lease: &Lease) -> Result<Option<String>, Error> {
    if lease.bandwidth == Bandwidth::default() {
        return Ok(None);
    }
    let host = LinkName::new(&lease.key.host_link())?;
    let host = node.link_named(&host)?.index;
    if let Some(rate) = lease.bandwidth.ingress
        && !is_shaped(node, host, rate)?
    {
        return Ok(Some(format!(
            "what the pod receives is not held to {} bit/s",
            rate.bits
        )));
    }
    let Some(rate) = lease.bandwidth.egress else {
        return Ok(None);
    };
    if let Some(slow) = node.link(&LinkName::new(&lease.key.slow_link())?)? {
        let mut redirects = node.redirects(host)?.into_iter();
        if redirects.any(|found| found.to == slow.index) && is_shaped(node, slow.index, rate)? {
            return Ok(None);
        }
    }
    Ok(Some(format!(
        "what the pod sends is not held to {} bit/s",
        rate.bits
    )))
}

fn is_shaped(node: &mut Netlink, dev: LinkIndex, rate: Rate) -> Result<bool, Error> {
    let wanted = QdiscKind::TokenBucket(bucket(rate).as_listed());
    Ok(node
        .qdiscs(Some(dev))?
        .iter()
        .any(|found| found.kind == wanted))
}

fn bucket(rate: Rate) -> TokenBucket {
    let burst = match rate.burst {
        // What runtimes say who know of none.
        NO_BURST => rate.bits / 10,
        burst => burst,
    };
    let burst = u32::try_from(burst / 8).unwrap_or(u32::MAX);
    TokenBucket::new(rate.bits.div_ceil(8), burst.max(LARGEST_FRAME), PATIENCE)
}

const NO_BURST: u64 = 0xffff_ffff;
/// A bucket that never holds a whole frame lets none through.
const LARGEST_FRAME: u32 = 9216;
/// How long a packet may wait, as in the reference plugins.
const PATIENCE: Duration = Duration::from_millis(25);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_hold_a_frame_and_are_not_endless() {
        for (bits, burst, want) in [
            (8_000_000, 800_000, (1_000_000, 100_000)),
            (8_000_000, NO_BURST, (1_000_000, 100_000)),
            (64_001, 8, (8001, LARGEST_FRAME)),
            (u64::MAX, u64::MAX, (u64::MAX / 8 + 1, u32::MAX)),
        ] {
            let bucket = bucket(Rate { bits, burst });
            assert_eq!((bucket.rate, bucket.burst), want, "{bits} {burst}");
        }
    }
}

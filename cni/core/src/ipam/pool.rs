//! One range: addresses never given out come first, then those that have been free for longest.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::State;

#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) range: IpNet,
    /// The first address that was perhaps never given out.
    fresh: u128,
    last: u128,
    /// In order of release. An entry counts only if the address is still that release's.
    released: VecDeque<(IpAddr, u64)>,
}

impl Pool {
    pub(super) fn new(range: IpNet) -> Self {
        let width: u32 = if range.addr().is_ipv4() { 32 } else { 128 };
        let bits = width.saturating_sub(range.prefix_len().into());
        let start = to_number(range.network());
        let end = start | 1_u128.checked_shl(bits).map_or(u128::MAX, |size| size - 1);
        let (fresh, last) = match (bits, range) {
            // Single addresses and pairs have neither network nor broadcast address.
            (0 | 1, _) => (start, end),
            // The first is the overlay's own (its VTEP), the second that of a bridge where there is one.
            (_, IpNet::V4(_)) => (start + 2, end - 1),
            (_, IpNet::V6(_)) => (start + 2, end),
        };
        Self {
            range,
            fresh,
            last,
            released: VecDeque::new(),
        }
    }

    /// Whether an address may be given out.
    pub(super) fn serves(&self, address: IpAddr) -> bool {
        let first = to_number(self.range.network());
        let bits_left = self.last != first && self.last - first > 1;
        let low = if bits_left { first + 2 } else { first };
        self.range.contains(&address) && (low..=self.last).contains(&to_number(address))
    }

    pub(super) fn give_back(&mut self, address: IpAddr, at: u64) {
        if self.serves(address) {
            self.released.push_back((address, at));
        }
    }

    /// The next free address, which stays free. What is passed over here is never looked at again, so
    /// that all calls together cost as much as the addresses that were ever taken.
    pub(super) fn next(&mut self, state: impl Fn(IpAddr) -> Option<State>) -> Option<IpAddr> {
        while self.fresh <= self.last {
            let address = self.address_of(self.fresh);
            if state(address).is_none() {
                return Some(address);
            }
            let Some(next) = self.fresh.checked_add(1) else {
                break;
            };
            self.fresh = next;
        }
        while let Some((address, at)) = self.released.front() {
            if state(*address) == Some(State::Released(*at)) {
                return Some(*address);
            }
            self.released.pop_front();
        }
        None
    }

    fn address_of(&self, number: u128) -> IpAddr {
        match self.range {
            IpNet::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            IpNet::V6(_) => Ipv6Addr::from_bits(number).into(),
        }
    }
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

//! Rendezvous hashing: of all endpoints, a key's is the one that weighs most for it.
//!
//! An endpoint that goes gives its keys to all the others in equal parts, and no other key moves; one that comes
//! takes an equal part of each. Nothing is random and nothing is kept: all replicas agree, before and after a restart.
//! A ring would save the look at every endpoint, a few nanoseconds each, and spread keys less evenly.

use std::net::{IpAddr, SocketAddr};

/// What a request is hashed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// The number of an endpoint, made of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u64);

impl Number {
    /// The number of the endpoint at `address`.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        let mut hash = Hash::new();
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => hash.write(&ip.octets()),
            IpAddr::V6(ip) => hash.write(&ip.octets()),
        }
        hash.write(&address.port().to_be_bytes());
        Self(hash.finish())
    }
}

/// How much an endpoint weighs for a key.
#[must_use]
pub const fn weight(key: Key, endpoint: Number) -> u64 {
    mix(key.0 ^ endpoint.0)
}

/// FNV-1a with a finish that spreads it. The same in every build, unlike the hashes of maps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash(u64);

impl Hash {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) const fn finish(self) -> u64 {
        mix(self.0)
    }
}

/// The finish of SplitMix64: every bit of the input turns half of the output's.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn endpoints(count: u8) -> Vec<Number> {
        let address = |last| Number::of(([10, 0, 0, last], 8080).into());
        (0..count).map(address).collect()
    }

    fn keys() -> impl Iterator<Item = Key> {
        (0..20_000_u32).map(|number| {
            let mut hash = Hash::new();
            hash.write(format!("/path/{number}").as_bytes());
            Key(hash.finish())
        })
    }

    fn winner(key: Key, endpoints: &[Number]) -> Number {
        let best = endpoints.iter().max_by_key(|number| weight(key, **number));
        *best.unwrap()
    }

    #[test]
    fn keys_are_spread_evenly() {
        for count in [2, 3, 10, 50] {
            let endpoints = endpoints(count);
            let mut shares: BTreeMap<Number, f64> = BTreeMap::new();
            for key in keys() {
                *shares.entry(winner(key, &endpoints)).or_default() += 1.0;
            }
            let fair = 20_000.0 / f64::from(count);
            // Five standard deviations of a binomial distribution.
            let slack = 5.0 * fair.sqrt();
            for (number, share) in &shares {
                assert!(
                    (share - fair).abs() < slack,
                    "{number:?} of {count}: {share}"
                );
            }
            assert_eq!(shares.len(), usize::from(count));
        }
    }

    #[test]
    fn only_the_keys_of_an_endpoint_that_goes_move_and_they_spread() {
        let before = endpoints(10);
        let gone = before[4];
        let after: Vec<_> = before.iter().copied().filter(|own| *own != gone).collect();
        let mut taken: BTreeMap<Number, u32> = BTreeMap::new();
        for key in keys() {
            let (was, is) = (winner(key, &before), winner(key, &after));
            match was == gone {
                true => *taken.entry(is).or_default() += 1,
                false => assert_eq!(was, is, "{key:?} moved for nothing"),
            }
        }
        assert_eq!(taken.len(), after.len(), "all take a part");
        let most = taken.values().max().unwrap();
        assert!(*most < 330, "a fair part is 222: {taken:?}");
    }

    #[test]
    fn numbers_and_weights_are_the_same_for_ever() {
        let number = Number::of("10.1.2.3:80".parse().unwrap());
        let mapped = Number::of("[::ffff:10.1.2.3]:80".parse().unwrap());
        assert_eq!(number, mapped);
        assert_ne!(number, Number::of("10.1.2.3:81".parse().unwrap()));
        assert_eq!(number, Number(GOLDEN));
    }

    /// Cookies in browsers hold it.
    const GOLDEN: u64 = 0xf0db_5287_b165_3a5e;
}

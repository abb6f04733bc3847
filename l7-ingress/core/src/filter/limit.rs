//! How many requests a client may send: nginx's leaky bucket, in thousandths of a request.
//!
//! What has been counted is kept by whoever calls: a [`Zone`] is plain data without a clock.

use std::net::IpAddr;
use std::time::Duration;

use super::SourceRanges;
use crate::compile::Map;

/// One request.
const REQUEST: u64 = 1000;
/// What an index of [`Zone`]'s list is where there is none.
const NONE: u32 = u32::MAX;

/// What one client may ask of the paths of an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests per second, and per minute.
    pub rates: [Option<Rate>; 2],
    /// Requests at the same time.
    pub connections: Option<u32>,
    /// Clients that are not limited.
    pub exempt: Option<SourceRanges>,
    /// The status of refusals: of what is too fast, and of what is too many.
    pub status: [http::StatusCode; 2],
}

impl Limits {
    /// Whether any request has to be counted.
    #[must_use]
    pub fn count_requests(&self) -> bool {
        self.rates.iter().any(Option::is_some)
    }
}

/// How fast a bucket leaks, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Thousandths of a request that leave it per second.
    pub leak: u64,
    /// Thousandths of a request that it holds beside the one that comes in.
    pub burst: u64,
}

impl Rate {
    /// So many requests per second.
    #[must_use]
    pub const fn per_second(requests: u32, burst: u64) -> Self {
        Self {
            leak: requests as u64 * REQUEST,
            burst: burst.saturating_mul(REQUEST),
        }
    }

    /// So many requests per minute; nginx cuts off what is less than a thousandth per second.
    #[must_use]
    pub const fn per_minute(requests: u32, burst: u64) -> Self {
        Self {
            leak: requests as u64 * REQUEST / 60,
            burst: burst.saturating_mul(REQUEST),
        }
    }

    /// The level after one more request, unless it would not fit.
    fn pour(self, level: u64, since: Duration) -> Option<u64> {
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let leaked = self.leak.saturating_mul(millis) / 1000;
        let next = (level + REQUEST).saturating_sub(leaked);
        (next <= self.burst).then_some(next)
    }
}

/// What is known of the clients of one Ingress: so many of them at most, the most recent ones.
#[derive(Debug)]
pub struct Zone {
    known: Map<IpAddr, u32>,
    clients: Vec<Client>,
    /// The most recent one.
    first: u32,
    last: u32,
    most: u32,
}

#[derive(Debug)]
struct Client {
    address: IpAddr,
    levels: [u64; 2],
    /// When the levels were, since a time that the caller knows.
    at: Duration,
    newer: u32,
    older: u32,
}

impl Zone {
    /// A zone for this many clients, at least one.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self {
            known: Map::default(),
            clients: Vec::new(),
            first: NONE,
            last: NONE,
            most: most.clamp(1, NONE - 1),
        }
    }

    /// How many clients it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Whether a request may come in at `now`; then it is counted, and else nothing is.
    ///
    /// A client that is not known gets in: its first request fills nothing, so that burst and one more are taken at
    /// once.
    pub fn admit(&mut self, now: Duration, address: IpAddr, rates: &[Option<Rate>; 2]) -> bool {
        let Some(&place) = self.known.get(&address) else {
            self.insert(now, address);
            return true;
        };
        self.unlink(place);
        self.link(place);
        let client = &mut self.clients[place as usize];
        let since = now.saturating_sub(client.at);
        let mut levels = client.levels;
        for (level, rate) in levels.iter_mut().zip(rates) {
            let Some(rate) = rate else { continue };
            match rate.pour(*level, since) {
                Some(next) => *level = next,
                None => return false,
            }
        }
        client.levels = levels;
        client.at = client.at.max(now);
        true
    }

    fn insert(&mut self, now: Duration, address: IpAddr) {
        let client = Client {
            address,
            levels: [0; 2],
            at: now,
            newer: NONE,
            older: NONE,
        };
        let count = u32::try_from(self.clients.len()).unwrap_or(NONE);
        let place = if count < self.most {
            self.clients.push(client);
            count
        } else {
            let oldest = self.last;
            self.unlink(oldest);
            let old = std::mem::replace(&mut self.clients[oldest as usize], client);
            self.known.remove(&old.address);
            oldest
        };
        self.known.insert(address, place);
        self.link(place);
    }

    fn link(&mut self, place: u32) {
        let next = std::mem::replace(&mut self.first, place);
        self.clients[place as usize].newer = NONE;
        self.clients[place as usize].older = next;
        match next {
            NONE => self.last = place,
            next => self.clients[next as usize].newer = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let Client { newer, older, .. } = self.clients[place as usize];
        match newer {
            NONE => self.first = older,
            newer => self.clients[newer as usize].older = older,
        }
        match older {
            NONE => self.last = newer,
            older => self.clients[older as usize].newer = newer,
        }
    }
}

/// How fast a response may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that are sent as fast as they can be.
    pub after: u64,
}

impl Pace {
    /// When, after the first byte, the next one may be sent if `sent` bytes have been.
    #[must_use]
    pub fn due(&self, sent: u64) -> Duration {
        let slow = u128::from(sent.saturating_sub(self.after));
        let nanos = slow * 1_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const fn second(requests: u32, burst: u64) -> [Option<Rate>; 2] {
        [Some(Rate::per_second(requests, burst)), None]
    }

    /// How many of `count` requests at once get in.
    fn at_once(zone: &mut Zone, now: u64, rates: &[Option<Rate>; 2], count: u32) -> u32 {
        (0..count)
            .map(|_| u32::from(zone.admit(millis(now), client(1), rates)))
            .sum()
    }

    #[test]
    fn burst_and_one_more_come_in_at_once_and_then_as_many_as_leak_out() {
        let (mut zone, rates) = (Zone::new(8), second(5, 25));
        assert_eq!(at_once(&mut zone, 0, &rates, 100), 26);
        assert_eq!(at_once(&mut zone, 199, &rates, 100), 0);
        assert_eq!(at_once(&mut zone, 200, &rates, 100), 1);
        assert_eq!(at_once(&mut zone, 1200, &rates, 100), 5);
        assert_eq!(at_once(&mut zone, 1_000_000, &rates, 100), 26);
    }

    #[test]
    fn the_pace_over_ten_minutes_is_the_rate_however_requests_come() {
        for every in [1, 7, 50, 199, 1000] {
            let (mut zone, rates) = (Zone::new(8), second(3, 15));
            let times = (0..600_000).step_by(every);
            let admitted = times
                .filter(|now| zone.admit(millis(*now), client(1), &rates))
                .count();
            let offered = 600_000 / every;
            let wanted = offered.min(3 * 600 + 16);
            assert!(
                admitted.abs_diff(wanted) <= wanted / 100,
                "every {every} ms: {admitted} instead of {wanted}"
            );
        }
    }

    #[test]
    fn a_minute_lets_in_what_nginx_rounds_it_to() {
        let rates = [None, Some(Rate::per_minute(10, 50))];
        assert_eq!(rates[1].unwrap().leak, 166);
        let mut zone = Zone::new(8);
        assert_eq!(at_once(&mut zone, 0, &rates, 100), 51);
        assert_eq!(at_once(&mut zone, 6000, &rates, 100), 0);
        assert_eq!(at_once(&mut zone, 6100, &rates, 100), 1);
    }

    #[test]
    fn a_request_that_one_rate_refuses_is_not_counted_by_the_other() {
        let rates = [
            Some(Rate::per_second(1, 0)),
            Some(Rate::per_minute(6000, 3)),
        ];
        let mut zone = Zone::new(8);
        assert_eq!(at_once(&mut zone, 0, &rates, 50), 1);
        assert_eq!(at_once(&mut zone, 1000, &rates, 50), 1);
    }

    #[test]
    fn clients_do_not_share_and_the_one_that_was_longest_away_is_forgotten() {
        let (mut zone, rates) = (Zone::new(3), second(1, 0));
        for number in [1, 2, 3] {
            assert!(zone.admit(millis(0), client(number), &rates));
        }
        assert!(!zone.admit(millis(0), client(1), &rates), "it is known");
        assert!(zone.admit(millis(0), client(4), &rates), "2 is forgotten");
        assert_eq!(zone.len(), 3);
        assert!(!zone.admit(millis(0), client(1), &rates));
        assert!(!zone.admit(millis(0), client(3), &rates));
        assert!(zone.admit(millis(0), client(2), &rates));
        assert!(zone.admit(millis(0), client(4), &rates), "2 took its place");
        assert_eq!(zone.len(), 3);
    }

    #[test]
    fn a_response_is_as_slow_as_its_pace() {
        let pace = Pace {
            rate: 1024,
            after: 4096,
        };
        assert_eq!(pace.due(4096), Duration::ZERO);
        assert_eq!(pace.due(4096 + 512), millis(500));
        assert_eq!(pace.due(4096 + 10 * 1024), millis(10_000));
    }
}

//! The token bucket filter: a rate, a burst and a queue.

use std::fmt;
use std::time::Duration;

use crate::wire::{self, Attributes, Message};

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// `struct tc_tbf_qopt`: two `struct tc_ratespec`, then limit, buffer, mtu.
const PARAMETERS: usize = 36;
const TC_LINKLAYER_ETHERNET: u8 = 1;
/// A tick of `struct tc_tbf_qopt` is 64 ns (`PSCHED_SHIFT`).
const TICK_SHIFT: u32 = 6;
const NANOSECONDS: u64 = 1_000_000_000;

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// Bytes in a second.
    pub rate: u64,
    /// Bytes at once. Packets that are larger are lost, so never less than the MTU and its header.
    pub burst: u32,
    /// Bytes that may wait, the burst included; what is beyond is lost.
    pub limit: u32,
}

impl TokenBucket {
    /// One in which a packet waits no longer than this.
    pub fn new(rate: u64, burst: u32, patience: Duration) -> Self {
        let waiting = u128::from(rate) * patience.as_nanos() / u128::from(NANOSECONDS);
        let limit = u128::from(burst) + waiting;
        Self {
            rate,
            burst,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        }
    }

    /// As the kernel lists it, to compare: it keeps a burst as the time that it takes.
    #[must_use]
    pub fn as_listed(self) -> Self {
        Self {
            burst: burst(self.ticks(), self.rate),
            ..self
        }
    }

    /// The time that the burst takes at this rate, as in `psched_l2t_ns`, and cut off as it is listed.
    fn ticks(self) -> u32 {
        let (mut factor, mut shift) = (NANOSECONDS, 0);
        let rate = self.rate.max(1);
        // As long as the quotient has less than 32 bits (`psched_ratecfg_precompute__`).
        while (factor / rate) & (1 << 31) == 0 && factor & (1 << 63) == 0 {
            factor <<= 1;
            shift += 1;
        }
        let nanoseconds = (u64::from(self.burst).wrapping_mul(factor / rate)) >> shift;
        let [a, b, c, d, ..] = (nanoseconds >> TICK_SHIFT).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    pub(super) fn write(self, message: &mut Message) {
        let mut parameters = [0; PARAMETERS];
        parameters[1] = TC_LINKLAYER_ETHERNET;
        let rate = u32::try_from(self.rate).unwrap_or(u32::MAX);
        parameters[8..12].copy_from_slice(&rate.to_ne_bytes());
        parameters[24..28].copy_from_slice(&self.limit.to_ne_bytes());
        parameters[28..32].copy_from_slice(&self.ticks().to_ne_bytes());
        message.bytes(TCA_TBF_PARMS, &parameters);
        if rate == u32::MAX {
            message.u64(TCA_TBF_RATE64, self.rate);
        }
        message.u32(TCA_TBF_BURST, self.burst);
    }

    pub(super) fn read(options: Attributes<'_>) -> Option<Self> {
        let parameters = options.get(TCA_TBF_PARMS)?;
        let number = |at: usize| wire::read_u32(parameters.get(at..)?);
        let rate = match options.get(TCA_TBF_RATE64).and_then(wire::read_u64) {
            Some(rate) => rate,
            None => number(8)?.into(),
        };
        Some(Self {
            rate,
            burst: burst(number(28)?, rate),
            limit: number(24)?,
        })
    }
}

/// The bytes of so many ticks, rounded.
fn burst(ticks: u32, rate: u64) -> u32 {
    let nanoseconds = u128::from(ticks) << TICK_SHIFT;
    let bytes =
        (nanoseconds * u128::from(rate) + u128::from(NANOSECONDS / 2)) / u128::from(NANOSECONDS);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// As in `rate 1250000 B/s burst 32768 B`.
impl fmt::Display for TokenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rate {} B/s burst {} B", self.rate, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_waits_no_longer_than_was_said() {
        let patience = Duration::from_millis(25);
        let check = |rate, burst, limit| {
            assert_eq!(TokenBucket::new(rate, burst, patience).limit, limit);
        };
        check(1_250_000, 32_768, 32_768 + 31_250);
        check(1, 1500, 1500);
        check(u64::MAX, 1500, u32::MAX);
    }

    #[test]
    fn bursts_are_listed_to_the_byte_where_ticks_are_short() {
        for rate in [1, 125_000, 1_250_000, 125_000_000] {
            let bucket = TokenBucket::new(rate, 32_768, Duration::ZERO);
            // At one byte a second, that time has more ticks than are listed.
            assert_eq!(bucket.as_listed() == bucket, rate > 1, "{bucket}");
        }
        // No rate, no division by it.
        let none = TokenBucket::new(0, 1500, Duration::ZERO).as_listed();
        assert_eq!(none.burst, 0);
    }
}

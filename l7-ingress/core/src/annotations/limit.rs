//! `limit-rps`, `limit-rpm`, `limit-connections`, `limit-rate` and what goes with them.

use http::StatusCode;

use super::access;
use super::reader::{Effect, Reader};
use crate::filter::{Limits, Pace, Rate};

/// ingress-nginx's `limit-burst-multiplier`.
const BURST: u32 = 5;
/// The unit of `limit-rate`.
const KIBIBYTE: u64 = 1024;

/// What one client may ask for; nothing and less than nothing are no limits.
pub(super) fn read(reader: &mut Reader<'_>, status: [StatusCode; 2]) -> Option<Box<Limits>> {
    let per_second = number(reader, "limit-rps");
    let per_minute = number(reader, "limit-rpm");
    let connections = number(reader, "limit-connections");
    let factor = number(reader, "limit-burst-multiplier").unwrap_or(BURST);
    let names = ["limit-allowlist", "limit-whitelist"];
    let exempt = access::ranges(reader, names, Effect::Skip);
    let burst = |limit: u32| u64::from(limit) * u64::from(factor);
    let limits = Limits {
        rates: [
            per_second.map(|limit| Rate::per_second(limit, burst(limit))),
            per_minute.map(|limit| Rate::per_minute(limit, burst(limit))),
        ],
        connections,
        exempt,
        status,
    };
    (limits.count_requests() || connections.is_some()).then(|| Box::new(limits))
}

/// How fast responses are sent.
pub(super) fn pace(reader: &mut Reader<'_>, default: Option<Pace>) -> Option<Pace> {
    let rate = reader.integer("limit-rate");
    let after = reader.integer("limit-rate-after");
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0).saturating_mul(KIBIBYTE);
    let rate = rate.map_or_else(|| default.map_or(0, |pace| pace.rate), bytes);
    let after = after.map_or_else(|| default.map_or(0, |pace| pace.after), bytes);
    (rate > 0).then_some(Pace { rate, after })
}

fn number(reader: &mut Reader<'_>, name: &'static str) -> Option<u32> {
    let number = reader.integer(name)?;
    let number = u32::try_from(number.clamp(0, i64::from(u32::MAX))).unwrap_or(u32::MAX);
    (number > 0).then_some(number)
}

//! What is remembered of answers: `auth-cache-key`, `auth-cache-duration`, and what the answers say themselves, as
//! nginx's cache reads it.

use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, EXPIRES, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::configmap;
use crate::expression::Expression;

/// What is remembered, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caching {
    /// What tells requests apart, beside their host and path.
    pub key: Expression,
    /// The first that fits counts.
    pub lifetimes: Box<[Lifetime]>,
}

/// How long answers of some statuses are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Which; `None` for all.
    pub statuses: Option<Box<[u16]>>,
    /// How long.
    pub time: Duration,
}

/// For how long an answer may be used, and for what requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// From its arrival on.
    pub time: Duration,
    /// Fields of requests that have to be the same.
    varies: Box<[(HeaderName, Box<[HeaderValue]>)]>,
}

/// nginx's statuses where none are named.
const USUAL: [u16; 3] = [200, 301, 302];
/// The longest time.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl Lifetime {
    /// Where nothing is said.
    pub(crate) fn usual() -> Box<[Self]> {
        [Self {
            statuses: Some([200, 202, 401].into()),
            time: Duration::from_secs(300),
        }]
        .into()
    }

    /// Reads `200 202 401 5m, 403 1m`.
    ///
    /// # Errors
    /// For anything else, with words that say so.
    pub(crate) fn list(text: &str) -> Result<Box<[Self]>, String> {
        let parts = text.split(',').map(str::trim);
        let parts = parts.filter(|part| !part.is_empty()).map(Self::one);
        let lifetimes: Box<[Self]> = parts.collect::<Result<_, _>>()?;
        match lifetimes.is_empty() {
            true => Ok(Self::usual()),
            false => Ok(lifetimes),
        }
    }

    fn one(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is no list of statuses and a time, such as 200 401 5m");
        let (mut statuses, mut all, mut time) = (Vec::new(), false, None);
        for word in text.split_ascii_whitespace() {
            let is_status = word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
            match word {
                _ if time.is_none() && is_status => {
                    statuses.push(word.parse().map_err(|_| fault())?);
                }
                "any" if time.is_none() => all = true,
                _ => {
                    let more = duration(word).ok_or_else(fault)?;
                    time = Some(time.unwrap_or(Duration::ZERO).saturating_add(more));
                }
            }
        }
        let time = time.ok_or_else(fault)?.min(LONGEST);
        if statuses.is_empty() {
            statuses = USUAL.into();
        }
        let statuses = (!all).then(|| statuses.into());
        Ok(Self { statuses, time })
    }
}

/// A number and a unit; months and years are nginx's, of 30 and 365 days.
fn duration(word: &str) -> Option<Duration> {
    const DAY: u64 = 86_400;
    let days = |digits: &str, days: u64| {
        let number: u64 = digits.parse().ok()?;
        Some(Duration::from_secs(number.saturating_mul(days * DAY)))
    };
    if let Some(months) = word.strip_suffix('M') {
        return days(months, 30);
    }
    if let Some(years) = word.strip_suffix('y') {
        return days(years, 365);
    }
    match word.ends_with(|c: char| c.is_ascii_alphabetic()) {
        true => configmap::time(word).ok(),
        false => None,
    }
}

impl Default for Caching {
    fn default() -> Self {
        Self {
            key: Expression::default(),
            lifetimes: Lifetime::usual(),
        }
    }
}

impl Caching {
    /// For how long an answer to `asked` may be used; `None` if it may not be.
    #[must_use]
    pub fn freshness(
        &self,
        asked: &HeaderMap,
        (status, headers): (StatusCode, &HeaderMap),
        now: SystemTime,
    ) -> Option<Freshness> {
        if headers.contains_key(SET_COOKIE) {
            return None;
        }
        let mut varies = Vec::new();
        for name in words(headers, &VARY) {
            // `*` is no name: such an answer holds for one request.
            let name: HeaderName = name.parse().ok().filter(|_| name != "*")?;
            let values = asked.get_all(&name).iter().cloned().collect();
            varies.push((name, values));
        }
        let time = match said(headers, now) {
            Said::Time(time) => time,
            Said::Nothing => {
                let fits = |lifetime: &&Lifetime| {
                    let statuses = lifetime.statuses.as_ref();
                    statuses.is_none_or(|statuses| statuses.contains(&status.as_u16()))
                };
                self.lifetimes.iter().find(fits)?.time
            }
        };
        let varies = varies.into();
        (!time.is_zero()).then_some(Freshness { time, varies })
    }
}

impl Freshness {
    /// Bytes that it takes to remember it.
    #[must_use]
    pub fn size(&self) -> usize {
        let varies = self.varies.iter();
        let values = varies.flat_map(|(_, values)| values.iter().map(HeaderValue::len));
        values.sum()
    }

    /// Whether the answer is one to these fields too.
    #[must_use]
    pub fn fits(&self, asked: &HeaderMap) -> bool {
        let mut varies = self.varies.iter();
        varies.all(|(name, values)| asked.get_all(name).iter().eq(values.iter()))
    }
}

/// What an answer says of the time that it holds for.
enum Said {
    Nothing,
    Time(Duration),
}

/// `X-Accel-Expires` first, then `Cache-Control`, then `Expires`.
fn said(headers: &HeaderMap, now: SystemTime) -> Said {
    let accelerated = headers.get("x-accel-expires");
    if let Some(text) = accelerated.and_then(|text| text.to_str().ok()) {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let time = match text.trim().strip_prefix('@') {
            Some(seconds) => seconds.parse().ok().and_then(at).map(|at| until(at, now)),
            None => text.trim().parse().ok().map(Duration::from_secs),
        };
        if let Some(time) = time {
            return Said::Time(time.min(LONGEST));
        }
    }
    let mut age = None;
    for word in words(headers, &CACHE_CONTROL) {
        let word = word.to_ascii_lowercase();
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        match name {
            "no-cache" | "no-store" | "private" => return Said::Time(Duration::ZERO),
            "s-maxage" => age = value.parse().ok(),
            "max-age" if age.is_none() => age = value.parse().ok(),
            _ => {}
        }
    }
    if let Some(seconds) = age {
        return Said::Time(Duration::from_secs(seconds).min(LONGEST));
    }
    let Some(expires) = headers.get(EXPIRES) else {
        return Said::Nothing;
    };
    let at = expires.to_str().ok();
    let at = at.and_then(|text| httpdate::parse_http_date(text).ok());
    // What is no date has expired (RFC 9111 §5.3).
    Said::Time(at.map_or(Duration::ZERO, |at| until(at, now).min(LONGEST)))
}

fn until(at: SystemTime, now: SystemTime) -> Duration {
    at.duration_since(now).unwrap_or_default()
}

/// What stands between the commas of a field.
fn words<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter();
    let texts = lines.map(|line| line.to_str().unwrap_or("*"));
    let words = texts.flat_map(|text| text.split(',')).map(str::trim);
    words.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn lifetimes_are_lists_of_statuses_and_a_time() {
        let read = |text: &str| {
            let list = Lifetime::list(text).ok()?;
            let all = list
                .iter()
                .map(|one| (one.statuses.clone(), one.time.as_secs()));
            Some(all.collect::<Vec<_>>())
        };
        let some = |statuses: &[u16]| Some(statuses.into());
        assert_eq!(read("200 202 5m"), Some(vec![(some(&[200, 202]), 300)]));
        assert_eq!(read(""), Some(vec![(some(&[200, 202, 401]), 300)]));
        assert_eq!(read("1h 30m"), Some(vec![(some(&[200, 301, 302]), 5400)]));
        let two = vec![(some(&[401]), 1), (None, 2_592_000)];
        assert_eq!(read("401 1s, any 1M,"), Some(two));
        for bad in ["200", "5m 200", "200 5", "200 5x", "two 5m", "200 -5m"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_and_the_annotation_say() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let caching = Caching {
            key: Expression::default(),
            lifetimes: Lifetime::list("200 401 5m, 403 1m").unwrap(),
        };
        let check = |status: u16, said: &[(&str, &str)], expect: Option<u64>| {
            let status = StatusCode::from_u16(status).unwrap();
            let kept = caching.freshness(&HeaderMap::new(), (status, &fields(said)), now);
            assert_eq!(kept.map(|kept| kept.time.as_secs()), expect, "{said:?}");
        };
        check(200, &[], Some(300));
        check(401, &[], Some(300));
        check(403, &[], Some(60));
        check(500, &[], None);
        check(200, &[("set-cookie", "a=b")], None);
        check(200, &[("cache-control", "no-cache")], None);
        check(200, &[("cache-control", "public, max-age=7")], Some(7));
        check(200, &[("cache-control", "max-age=7, s-maxage=9")], Some(9));
        check(200, &[("cache-control", "max-age=0")], None);
        check(500, &[("cache-control", "max-age=7")], Some(7));
        check(
            200,
            &[("cache-control", "private"), ("x-accel-expires", "3")],
            Some(3),
        );
        check(200, &[("x-accel-expires", "0")], None);
        check(200, &[("x-accel-expires", "@1000000004")], Some(4));
        check(
            200,
            &[("expires", "Sun, 09 Sep 2001 01:46:50 GMT")],
            Some(10),
        );
        check(200, &[("expires", "-1")], None);
        check(200, &[("vary", "*")], None);
        check(200, &[("vary", "Cookie")], Some(300));
    }

    #[test]
    fn an_answer_that_varies_fits_equal_requests_alone() {
        let caching = Caching {
            key: Expression::default(),
            lifetimes: Lifetime::list("").unwrap(),
        };
        let joe = fields(&[("cookie", "joe"), ("accept", "a")]);
        let answer = fields(&[("vary", "Cookie, X-Other")]);
        let now = SystemTime::UNIX_EPOCH;
        let kept = caching
            .freshness(&joe, (StatusCode::OK, &answer), now)
            .unwrap();
        assert!(kept.fits(&joe));
        assert!(kept.fits(&fields(&[("cookie", "joe")])));
        for other in [
            &[("cookie", "ann")][..],
            &[("cookie", "joe"), ("x-other", "")],
            &[],
        ] {
            assert!(!kept.fits(&fields(other)), "{other:?}");
        }
    }
}

//! Canaries: an Ingress with `canary` takes a part of the requests of another one's path.
//!
//! Who is asked, and in this order: the session, a field of the request, a cookie, chance. The first one that has
//! something to say decides.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use model::ObjectName;
use regex::bytes::Regex;

use super::affinity::{Affinity, CanaryBehavior};
use super::{HashBy, Upstream};
use crate::expression::cookie_of_any_case;
use crate::filter::compile_expression;
use crate::{Backend, Resolution, Route};

/// The least that weights are out of.
const WHOLE: u32 = 100;

/// The other backend of a route.
#[derive(Debug)]
pub struct Canary {
    /// The Ingress that asks for it.
    pub ingress: ObjectName,
    /// Where it does, as in `spec.rules[0].http.paths[1]`.
    pub field: Arc<str>,
    /// Where its requests go.
    pub backend: Arc<Backend>,
    /// Which requests are its own.
    pub rules: Arc<CanaryRules>,
    /// What decides about its endpoint.
    pub hash: Option<Box<HashBy>>,
}

/// Which requests a canary takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanaryRules {
    pub(crate) field: Option<(HeaderName, FieldTest)>,
    pub(crate) cookie: Option<Box<str>>,
    pub(crate) share: Share,
    pub(crate) affinity: CanaryBehavior,
}

/// What a request's field has to say.
#[derive(Clone, Debug)]
pub(crate) enum FieldTest {
    /// `always` or `never`.
    Word,
    /// That.
    Value(Box<str>),
    /// Something that this matches.
    Pattern(Regex),
    /// An expression that cannot be matched: whoever sends the field stays with the main backend.
    Broken,
}

/// So many requests out of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The canary's.
    pub weight: u32,
    /// Of all.
    pub total: u32,
}

/// Whether a request is the canary's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is.
    Canary(Decider),
    /// It is not.
    Main(Decider),
    /// That is left to chance.
    Chance(Share),
}

/// Who decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// The session's cookie.
    Session,
    /// A field of the request.
    Field,
    /// A cookie of the request.
    Cookie,
    /// The canary has no endpoint.
    Endpoints,
}

/// Where a request goes, and what decides about the endpoint there.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'r> {
    /// The Service port.
    pub backend: &'r Arc<Backend>,
    /// The cookie that decides.
    pub affinity: Option<&'r Affinity>,
    pub(super) hash: Option<&'r HashBy>,
}

impl Route {
    /// Whether a request is the canary's. `random` gives a number below another one, each with the same chance.
    #[must_use]
    pub fn takes_canary(&self, headers: &HeaderMap, random: impl FnOnce(u32) -> u32) -> bool {
        let Some(canary) = &self.canary else {
            return false;
        };
        match canary.turn(self, headers) {
            Turn::Canary(_) => true,
            Turn::Main(_) => false,
            Turn::Chance(share) => random(share.total) < share.weight,
        }
    }

    /// Where the canary's requests go, or the others.
    #[must_use]
    pub fn destination(&self, canary: bool) -> Destination<'_> {
        let Upstream { affinity, hash, .. } = &self.policy.upstream;
        match self.canary.as_deref().filter(|_| canary) {
            None => Destination {
                backend: &self.backend,
                affinity: affinity.as_deref(),
                hash: hash.as_deref(),
            },
            Some(canary) => Destination {
                backend: &canary.backend,
                affinity: affinity
                    .as_deref()
                    .filter(|_| canary.rules.affinity == CanaryBehavior::Sticky),
                hash: canary.hash.as_deref(),
            },
        }
    }
}

impl Canary {
    /// Whether a request of `route` is the canary's.
    #[must_use]
    pub fn turn(&self, route: &Route, headers: &HeaderMap) -> Turn {
        let affinity = route.policy.upstream.affinity.as_deref();
        let affinity = affinity.filter(|_| self.rules.affinity == CanaryBehavior::Sticky);
        let pinned = affinity.and_then(|affinity| affinity.pinned_backend(headers));
        let leads_to = |backend| pinned.is_some_and(|own| own == Affinity::number_of(backend));
        if leads_to(&route.backend) {
            return Turn::Main(Decider::Session);
        }
        if self.is_empty() {
            return Turn::Main(Decider::Endpoints);
        }
        if leads_to(&self.backend) {
            return Turn::Canary(Decider::Session);
        }
        self.rules.turn(headers)
    }

    fn is_empty(&self) -> bool {
        let endpoints = self.backend.endpoints();
        let is_known = !matches!(endpoints.resolution, Resolution::Dns { .. });
        is_known && endpoints.addresses.is_empty()
    }
}

impl CanaryRules {
    /// What is left to chance.
    #[must_use]
    pub const fn share(&self) -> Share {
        self.share
    }

    fn turn(&self, headers: &HeaderMap) -> Turn {
        if let Some((name, test)) = &self.field
            && let Some(turn) = test.turn(headers, name)
        {
            return turn;
        }
        let cookie = self.cookie.as_deref();
        match cookie.and_then(|name| cookie_of_any_case(headers, name)) {
            Some("always") => Turn::Canary(Decider::Cookie),
            Some("never") => Turn::Main(Decider::Cookie),
            _ => Turn::Chance(self.share),
        }
    }
}

impl FieldTest {
    /// # Errors
    /// Why the expression cannot be matched, in words.
    pub(crate) fn pattern(text: &str) -> Result<Self, String> {
        compile_expression(text, false).map(Self::Pattern)
    }

    fn turn(&self, headers: &HeaderMap, name: &HeaderName) -> Option<Turn> {
        let mut values = headers.get_all(name).iter();
        let first = values.next()?.as_bytes();
        let mut all = Vec::new();
        // As nginx joins fields of one name.
        for value in values {
            if all.is_empty() {
                all.extend_from_slice(first);
            }
            all.extend_from_slice(b", ");
            all.extend_from_slice(value.as_bytes());
        }
        let value = if all.is_empty() { first } else { &all };
        let takes = match self {
            Self::Word => match value {
                b"always" => true,
                b"never" => return Some(Turn::Main(Decider::Field)),
                _ => false,
            },
            Self::Value(wanted) => wanted.as_bytes() == value,
            Self::Pattern(pattern) => pattern.is_match(value),
            Self::Broken => return Some(Turn::Main(Decider::Field)),
        };
        takes.then_some(Turn::Canary(Decider::Field))
    }
}

impl PartialEq for FieldTest {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Word, Self::Word) | (Self::Broken, Self::Broken) => true,
            (Self::Value(own), Self::Value(other)) => own == other,
            (Self::Pattern(own), Self::Pattern(other)) => own.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for FieldTest {}

impl Share {
    /// What `canary-weight` and `canary-weight-total` say: a total below 100 is 100.
    pub(crate) fn new(weight: i64, total: i64) -> Self {
        let total = u32::try_from(total.max(0)).unwrap_or(u32::MAX).max(WHOLE);
        let weight = u32::try_from(weight.max(0)).unwrap_or(u32::MAX).min(total);
        Self { weight, total }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn rules(test: FieldTest) -> CanaryRules {
        CanaryRules {
            field: Some((HeaderName::from_static("x-canary"), test)),
            cookie: Some("Canary".into()),
            share: Share::new(20, 0),
            ..CanaryRules::default()
        }
    }

    #[track_caller]
    fn check(test: FieldTest, fields: &[(&'static str, &'static str)], want: Turn) {
        assert_eq!(rules(test).turn(&headers(fields)), want, "{fields:?}");
    }

    #[test]
    fn a_field_decides_before_a_cookie_and_a_cookie_before_chance() {
        use Decider::{Cookie, Field};
        let chance = Turn::Chance(Share {
            weight: 20,
            total: 100,
        });
        for (test, fields, want) in [
            (FieldTest::Word, &[][..], chance),
            (
                FieldTest::Word,
                &[("x-canary", "always")],
                Turn::Canary(Field),
            ),
            (
                FieldTest::Word,
                &[("x-canary", "never"), ("cookie", "Canary=always")],
                Turn::Main(Field),
            ),
            (FieldTest::Word, &[("x-canary", "Always")], chance),
            (FieldTest::Word, &[("x-canary", "")], chance),
            (
                FieldTest::Word,
                &[("x-canary", "always"), ("x-canary", "never")],
                chance,
            ),
            (
                FieldTest::Word,
                &[("x-canary", "1"), ("cookie", "a=b; canary=always")],
                Turn::Canary(Cookie),
            ),
            (
                FieldTest::Word,
                &[("cookie", "Canary=never")],
                Turn::Main(Cookie),
            ),
            (FieldTest::Word, &[("cookie", "Canary=maybe")], chance),
            (
                FieldTest::Value("DE".into()),
                &[("x-canary", "DE")],
                Turn::Canary(Field),
            ),
            (
                FieldTest::Value("DE".into()),
                &[("x-canary", "never")],
                chance,
            ),
            (
                FieldTest::Value("DE".into()),
                &[("x-canary", "de"), ("cookie", "Canary=always")],
                Turn::Canary(Cookie),
            ),
            (
                FieldTest::pattern("^D.$").unwrap(),
                &[("x-canary", "DK")],
                Turn::Canary(Field),
            ),
            (
                FieldTest::pattern("^D.$").unwrap(),
                &[("x-canary", "dk")],
                chance,
            ),
            (
                FieldTest::pattern("^D.$").unwrap(),
                &[("x-canary", "always")],
                chance,
            ),
            (
                FieldTest::Broken,
                &[("x-canary", "x"), ("cookie", "Canary=always")],
                Turn::Main(Field),
            ),
            (
                FieldTest::Broken,
                &[("cookie", "Canary=always")],
                Turn::Canary(Cookie),
            ),
        ] {
            check(test, fields, want);
        }
    }

    #[test]
    fn shares_are_out_of_a_hundred_at_least() {
        let share = |weight, total| {
            let Share { weight, total } = Share::new(weight, total);
            (weight, total)
        };
        assert_eq!(share(0, 100), (0, 100));
        assert_eq!(share(30, 50), (30, 100), "less than a hundred is a hundred");
        assert_eq!(share(100, 200), (100, 200));
        assert_eq!(share(500, 200), (200, 200));
        assert_eq!(share(-1, -5), (0, 100));
        assert_eq!(share(i64::MAX, i64::MAX), (u32::MAX, u32::MAX));
    }
}

//! Which requests of a route go to the backend of a canary Ingress.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::affinity::{Affinity, CanaryBehavior};
use super::expression::cookie;
use crate::Route;
use crate::filter::Pattern;

/// What a canary Ingress asks for. The rules are tried in the order of the fields; the first one that says something
/// decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Canary {
    /// `canary-by-header`, and what its values mean.
    pub header: Option<(HeaderName, Wanted)>,
    /// `canary-by-cookie`: a cookie that says `always` or `never`.
    pub cookie: Option<Box<str>>,
    /// `canary-weight`: so many of `total` requests.
    pub weight: u32,
    /// `canary-weight-total`, at least 100.
    pub total: u32,
}

/// What the values of the header mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `always` and `never` are what they say.
    AlwaysOrNever,
    /// `canary-by-header-value`: this one leads to the canary.
    Value(Box<str>),
    /// `canary-by-header-pattern`: those in which it is found do.
    Pattern(Pattern),
}

impl Canary {
    /// What the request says of its own: whether it goes to the canary, `None` if that is left to chance.
    #[must_use]
    pub fn told(&self, headers: &HeaderMap) -> Option<bool> {
        let by_header = self.header.as_ref().and_then(|(name, wanted)| {
            let value = headers.get(name)?.as_bytes();
            match wanted {
                Wanted::AlwaysOrNever => always_or_never(value),
                Wanted::Value(wanted) => (value == wanted.as_bytes()).then_some(true),
                Wanted::Pattern(pattern) => pattern.is_found_in(value).then_some(true),
            }
        });
        by_header.or_else(|| {
            let name = self.cookie.as_ref()?;
            always_or_never(cookie(headers, name)?.as_bytes())
        })
    }
}

fn always_or_never(value: &[u8]) -> Option<bool> {
    match value {
        b"always" => Some(true),
        b"never" => Some(false),
        _ => None,
    }
}

/// The route that stands beside another one with the same rules and filters, and leads to the canary's backend.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// Which requests take it.
    pub canary: Canary,
    /// What they take.
    pub route: Arc<Route>,
}

impl Alternative {
    /// Whether a request of `main` takes it; `random` draws a number below its argument.
    #[must_use]
    pub fn takes(
        &self,
        main: &Route,
        headers: &HeaderMap,
        random: impl FnOnce(u32) -> u32,
    ) -> bool {
        self.told(main, headers)
            .unwrap_or_else(|| random(self.canary.total) < self.canary.weight)
    }

    /// Whether it does by what the request says; `None` if that is left to chance.
    ///
    /// A session stays where it began: unless its Ingress wants that otherwise, no rule is asked then.
    #[must_use]
    pub fn told(&self, main: &Route, headers: &HeaderMap) -> Option<bool> {
        let affinity = main.policy.upstream.affinity.as_deref();
        let sticky = affinity.filter(|affinity| affinity.canary == CanaryBehavior::Sticky);
        let pinned = sticky.and_then(|affinity| affinity.pinned_backend(headers));
        let leads_to = |route: &Route| pinned == Some(Affinity::number_of(&route.backend));
        if pinned.is_some() && leads_to(main) {
            return Some(false);
        }
        if pinned.is_some() && leads_to(&self.route) {
            return Some(true);
        }
        self.canary.told(headers)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    fn by_header(wanted: Wanted) -> Canary {
        Canary {
            header: Some((HeaderName::from_static("x-canary"), wanted)),
            cookie: Some("canary".into()),
            weight: 0,
            total: 100,
        }
    }

    #[test]
    fn the_header_comes_before_the_cookie() {
        let canary = by_header(Wanted::AlwaysOrNever);
        let cases = [
            ("", "", None),
            ("always", "", Some(true)),
            ("never", "", Some(false)),
            ("Always", "", None),
            ("", "canary=always", Some(true)),
            ("", "a=b; canary=never", Some(false)),
            ("never", "canary=always", Some(false)),
            ("maybe", "canary=always", Some(true)),
        ];
        for (header, cookie, want) in cases {
            let sent = headers(&[("x-canary", header), ("cookie", cookie)]);
            assert_eq!(canary.told(&sent), want, "{header:?}, {cookie:?}");
        }
    }

    #[test]
    fn a_value_of_its_own_replaces_always_and_never() {
        let canary = by_header(Wanted::Value("beta".into()));
        let cases = [
            ("beta", Some(true)),
            ("always", None),
            ("never", None),
            ("betamax", None),
        ];
        for (value, want) in cases {
            assert_eq!(canary.told(&headers(&[("x-canary", value)])), want);
        }
    }

    #[test]
    fn a_pattern_is_found_anywhere() {
        let canary = by_header(Wanted::Pattern(Pattern::anywhere("^[0-9]+-b").unwrap()));
        for (value, want) in [("12-beta", Some(true)), ("x12-b", None), ("always", None)] {
            assert_eq!(canary.told(&headers(&[("x-canary", value)])), want);
        }
    }
}

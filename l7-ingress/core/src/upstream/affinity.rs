//! Session affinity: a cookie that brings a client back to its endpoint.
//!
//! The cookie's value is `KEY|BACKEND`, both of them made of what every replica knows, so that all replicas read it
//! alike, before and after a restart. In mode `balanced` the key is a random one that is hashed to an endpoint; in mode
//! `persistent` it is the number of the endpoint itself.

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderValue, USER_AGENT};

use super::Choice;
use super::rendezvous::{Hash, Key, Number};
use crate::Backend;
use crate::expression::cookie;

/// The cookie of an Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// What the cookie holds.
    pub mode: Mode,
    /// Its name.
    pub name: Box<str>,
    /// The paths that it is sent back for; `None` for the route's own.
    pub path: Option<Box<str>>,
    /// The domain that it is sent back to; `None` for the host alone.
    pub domain: Option<Box<str>>,
    /// When it expires, in seconds from now.
    pub expires: Option<i64>,
    /// The same, as newer browsers read it.
    pub max_age: Option<i64>,
    /// When other sites may make browsers send it.
    pub same_site: Option<SameSite>,
    /// Whether browsers that misread `SameSite=None` are spared it.
    pub same_site_none_if_understood: bool,
    /// Whether it is `Secure` even over HTTP.
    pub is_secure: bool,
    /// Whether a client whose endpoint failed stays with the one that answered instead.
    pub changes_on_failure: bool,
}

/// `affinity-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// New endpoints get a part of the sessions that there are.
    #[default]
    Balanced,
    /// A session stays where it is for as long as that is there.
    Persistent,
}

/// `affinity-canary-behavior`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CanaryBehavior {
    /// The cookie brings a client back to the canary, or keeps it away.
    #[default]
    Sticky,
    /// The canary's rules are asked for every request.
    Legacy,
}

/// The attribute of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// From everywhere.
    None,
    /// When a link is followed.
    Lax,
    /// Never.
    Strict,
}

/// What one response's cookie depends on.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'r> {
    /// The request's fields.
    pub headers: &'r HeaderMap,
    /// Whether the client uses HTTPS.
    pub https: bool,
    /// The path of the route.
    pub path: &'r str,
    /// Where the session leads to.
    pub backend: &'r Backend,
}

impl Affinity {
    /// Which endpoint a request wants.
    pub(super) fn choose(&self, headers: &HeaderMap, random: impl FnOnce() -> u64) -> Choice {
        let pin = self.pin(headers).map(|(key, _)| key);
        match (self.mode, pin) {
            (Mode::Balanced, Some(text)) => Choice::Key(Self::key(text)),
            (Mode::Balanced, None) => Choice::Key(Self::key_of(random())),
            (Mode::Persistent, Some(text)) => match u64::from_str_radix(text, 16) {
                Ok(number) => Choice::Endpoint(Number(number)),
                Err(_) => Choice::Any,
            },
            (Mode::Persistent, None) => Choice::Any,
        }
    }

    /// The Service port that the request's cookie leads to: see [`Self::number_of`].
    #[must_use]
    pub fn pinned_backend(&self, headers: &HeaderMap) -> Option<u64> {
        let (_, backend) = self.pin(headers)?;
        u64::from_str_radix(backend, 16).ok()
    }

    /// The number of a Service port, as cookies hold it.
    #[must_use]
    pub fn number_of(backend: &Backend) -> u64 {
        let mut hash = Hash::new();
        hash.write(backend.upstream_name.as_bytes());
        hash.finish()
    }

    fn pin<'h>(&self, headers: &'h HeaderMap) -> Option<(&'h str, &'h str)> {
        let value = cookie(headers, &self.name).filter(|value| !value.is_empty())?;
        Some(value.split_once('|').unwrap_or((value, "")))
    }

    /// What a session of this number is hashed to.
    #[must_use]
    pub fn key_of(number: u64) -> Key {
        Self::key(&hexadecimal(number))
    }

    fn key(text: &str) -> Key {
        let mut hash = Hash::new();
        hash.write(text.as_bytes());
        Key(hash.finish())
    }

    /// The `Set-Cookie` of a session; `now` is the time of day. `number` is the endpoint's in mode `persistent`, the
    /// random one in mode `balanced`.
    #[must_use]
    pub fn set(&self, number: u64, of: &Setting<'_>, now: SystemTime) -> Option<HeaderValue> {
        let key = hexadecimal(number);
        let backend = hexadecimal(Self::number_of(of.backend));
        let mut text = format!("{}={key}|{backend}", self.name);
        if let Some(seconds) = self.expires {
            let at = shifted(now, seconds);
            text.push_str(&format!("; Expires={}", httpdate::fmt_http_date(at)));
        }
        if let Some(seconds) = self.max_age {
            text.push_str(&format!("; Max-Age={seconds}"));
        }
        if let Some(domain) = &self.domain {
            text.push_str("; Domain=");
            text.push_str(domain);
        }
        text.push_str("; Path=");
        text.push_str(self.path.as_deref().unwrap_or(of.path));
        if self.is_secure || of.https {
            text.push_str("; Secure");
        }
        text.push_str("; HttpOnly");
        match self.same_site {
            Some(SameSite::None)
                if self.same_site_none_if_understood && misreads_none(of.headers) => {}
            Some(SameSite::None) => text.push_str("; SameSite=None"),
            Some(SameSite::Lax) => text.push_str("; SameSite=Lax"),
            Some(SameSite::Strict) => text.push_str("; SameSite=Strict"),
            None => {}
        }
        HeaderValue::try_from(text).ok()
    }
}

/// The text of a number in cookies.
fn hexadecimal(number: u64) -> String {
    format!("{number:016x}")
}

/// Within what HTTP can write: the years 1970 to 9999.
fn shifted(now: SystemTime, seconds: i64) -> SystemTime {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let now = now.duration_since(SystemTime::UNIX_EPOCH);
    let by = Duration::from_secs(seconds.unsigned_abs());
    let now = now.unwrap_or_default();
    let then = match seconds < 0 {
        true => now.saturating_sub(by),
        false => now.saturating_add(by),
    };
    SystemTime::UNIX_EPOCH + then.min(LAST)
}

/// Browsers that take `SameSite=None` for `Strict`, or drop such a cookie: Chrome 51 to 66, those of iOS 12, Safari of
/// macOS 10.14 (<https://www.chromium.org/updates/same-site/incompatible-clients/>).
fn misreads_none(headers: &HeaderMap) -> bool {
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    let Some(agent) = agent else {
        return false;
    };
    let apple = [
        "iPhone; CPU iPhone OS 12_",
        "iPad; CPU OS 12_",
        "iPod touch; CPU iPhone OS 12_",
    ];
    if apple.iter().any(|text| agent.contains(text)) {
        return true;
    }
    let is_chrome = agent.contains("Chrome/") || agent.contains("Chromium/");
    if agent.contains("Mac OS X 10_14") && agent.contains("Version/") && !is_chrome {
        return agent.contains("Safari/");
    }
    let version = ["Chrome/", "Chromium/"].iter().find_map(|name| {
        let (_, rest) = agent.split_once(name)?;
        let end = rest.find(|c: char| !c.is_ascii_digit());
        rest.get(..end.unwrap_or(rest.len()))?.parse::<u32>().ok()
    });
    version.is_some_and(|version| (51..=66).contains(&version))
}

#[cfg(test)]
mod tests {
    use model::{ObjectName, PortRef};

    use super::*;
    use crate::{BackendId, EndpointSet, Manner, Resolution};

    fn plain(mode: Mode) -> Affinity {
        Affinity {
            mode,
            name: "STICKY".into(),
            path: None,
            domain: None,
            expires: None,
            max_age: None,
            same_site: None,
            same_site_none_if_understood: false,
            is_secure: false,
            changes_on_failure: false,
        }
    }

    fn backend() -> Backend {
        Backend::new(
            BackendId(0),
            (ObjectName::new("shop", "web"), PortRef::Number(80)),
            (Manner::default(), None),
            EndpointSet::empty(Resolution::Missing),
        )
    }

    fn set(affinity: &Affinity, https: bool, agent: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let setting = Setting {
            headers: &headers,
            https,
            path: "/cart",
            backend: &backend(),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let value = affinity.set(0xab, &setting, now).unwrap();
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_cookie_says_what_its_annotations_say() {
        let number = hexadecimal(Affinity::number_of(&backend()));
        let start = format!("STICKY=00000000000000ab|{number}");
        let affinity = plain(Mode::Persistent);
        assert_eq!(
            set(&affinity, false, ""),
            format!("{start}; Path=/cart; HttpOnly")
        );
        assert_eq!(
            set(&affinity, true, ""),
            format!("{start}; Path=/cart; Secure; HttpOnly")
        );
        let affinity = Affinity {
            path: Some("/".into()),
            domain: Some("example.com".into()),
            expires: Some(60),
            max_age: Some(61),
            same_site: Some(SameSite::Strict),
            is_secure: true,
            ..affinity
        };
        assert_eq!(
            set(&affinity, false, ""),
            format!(
                "{start}; Expires=Sun, 06 Nov 1994 08:50:37 GMT; Max-Age=61; Domain=example.com; Path=/; Secure; \
                 HttpOnly; SameSite=Strict"
            )
        );
    }

    #[test]
    fn browsers_that_misread_same_site_none_are_spared_it_on_request() {
        let chrome = |version: &'static str| match version {
            "old" => "Mozilla/5.0 (X11; Linux) AppleWebKit/537.36 Chrome/60.0.1 Safari/537.36",
            _ => "Mozilla/5.0 (X11; Linux) AppleWebKit/537.36 Chrome/120.0.0 Safari/537.36",
        };
        let iphone =
            "Mozilla/5.0 (iPhone; CPU iPhone OS 12_1 like Mac OS X) Version/12.0 Safari/604.1";
        let mojave = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_1) Version/12.0 Safari/605.1.15";
        let mut affinity = Affinity {
            same_site: Some(SameSite::None),
            ..plain(Mode::Balanced)
        };
        assert!(set(&affinity, false, chrome("old")).ends_with("SameSite=None"));
        affinity.same_site_none_if_understood = true;
        for agent in [chrome("old"), iphone, mojave] {
            assert!(
                set(&affinity, false, agent).ends_with("HttpOnly"),
                "{agent}"
            );
        }
        for agent in [chrome("new"), ""] {
            assert!(
                set(&affinity, false, agent).ends_with("SameSite=None"),
                "{agent}"
            );
        }
    }

    #[test]
    fn a_cookie_leads_back_whoever_made_it() {
        let choose = |mode, text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", format!("x=1; STICKY={text}").parse().unwrap());
            plain(mode).choose(&headers, || panic!("the session has its key"))
        };
        let own = choose(Mode::Persistent, "00000000000000ab|00000000000000cd");
        assert_eq!(own, Choice::Endpoint(Number(0xab)));
        assert_eq!(choose(Mode::Persistent, "1614.2.3|4"), Choice::Any);
        let nginx = "1614956343.118.39.255|1a2b";
        assert_eq!(
            choose(Mode::Balanced, nginx),
            choose(Mode::Balanced, "1614956343.118.39.255")
        );
        let fresh = plain(Mode::Balanced).choose(&HeaderMap::new(), || 7);
        assert_eq!(fresh, choose(Mode::Balanced, "0000000000000007|1"));
    }

    #[test]
    fn expiry_stays_within_what_a_date_can_say() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        assert_eq!(shifted(now, i64::MIN), SystemTime::UNIX_EPOCH);
        assert_eq!(
            httpdate::fmt_http_date(shifted(now, i64::MAX)),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
    }
}

//! Who may come in is asked of another server: `auth-url`. What it is told, and what becomes of its answer.

mod answer;
mod keep;

use std::borrow::Cow;

use http::header::{
    CONTENT_LENGTH, COOKIE, EXPECT, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LOCATION, RANGE, TRAILER,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::{Answer, Facts, Verdict};
use crate::expression::{Expression, Registers, Seen};
use crate::forwarded;
use crate::global::{Global, KeepAlive};
use crate::{PathType, Route, Url, UrlTemplate};

pub use answer::Heard;
pub use keep::{Caching, Freshness, Lifetime};

/// How another server is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// Where; `None` where what should say it says nothing: it lets nobody in.
    pub url: Option<UrlTemplate>,
    /// How; `None` is GET, and two fields less.
    pub method: Option<Method>,
    /// Where clients are sent whom it does not know.
    pub signin: Option<Expression>,
    /// Fields of its answer that endpoints get in place of the client's.
    pub told: Box<[HeaderName]>,
    /// What `X-Auth-Request-Redirect` says.
    pub redirect: Expression,
    /// Fields that it gets in place of others; an empty value takes one away.
    pub fields: Box<[(HeaderName, Expression)]>,
    /// What is remembered of its answers.
    pub caching: Option<Caching>,
    /// How connections to it are kept, where that is said.
    pub keep_alive: Option<Kept>,
    /// Whether its cookies are set whatever becomes of the request.
    pub always_sets_cookies: bool,
}

/// Idle connections of one worker to one server, where nothing is said.
const USUAL_CONNECTIONS: usize = 32;

/// `auth-keepalive` and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Idle connections of one worker.
    pub connections: usize,
    /// Requests of one connection.
    pub requests: u32,
    /// How long one may idle.
    pub idle: std::time::Duration,
}

/// What is asked about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking<'e> {
    /// How.
    pub method: Method,
    /// Where.
    pub url: Cow<'e, Url>,
    /// With these fields; `Host` is the URL's unless it is among them.
    pub fields: HeaderMap,
}

impl External {
    /// What is asked about a request; `None` where it makes no URL and no field values of what they are written with.
    #[must_use]
    pub fn asking(
        &self,
        (global, route): (&Global, &Route),
        facts: &Facts<'_>,
        request_id: &str,
    ) -> Option<Asking<'_>> {
        let url = self.url.as_ref()?.of(route, facts, request_id).ok()?;
        let mut fields = passed(global, facts.head);
        self.say(&mut fields, facts, request_id)?;
        let own = Registers::of(request_id);
        let seen = Seen {
            facts: Some(facts),
            route: Some(route),
            own: Some(&own),
            answer: None,
        };
        let redirect = self.redirect.value(&seen).ok()?;
        set(&mut fields, "x-auth-request-redirect", &redirect)?;
        for (name, value) in &self.fields {
            let value = HeaderValue::try_from(value.value(&seen).ok()?).ok()?;
            match value.is_empty() {
                true => fields.remove(name),
                false => fields.insert(name.clone(), value),
            };
        }
        Some(Asking {
            method: self.method.clone().unwrap_or(Method::GET),
            url,
            fields,
        })
    }

    fn say(&self, fields: &mut HeaderMap, facts: &Facts<'_>, request_id: &str) -> Option<()> {
        let (target, told) = (facts.target(), facts.forwarded);
        // The connection's, whatever a proxy in front says.
        let scheme = if facts.tls { "https" } else { "http" };
        let original = format!("{scheme}://{}{target}", facts.authority);
        let mut say = |name, value: &str| set(fields, name, value.as_bytes());
        say("x-request-id", request_id)?;
        say("x-original-url", &original)?;
        say("x-original-method", facts.head.method.as_str())?;
        say("x-sent-from", "nginx-ingress-controller")?;
        say("x-real-ip", &told.real_ip_text)?;
        say("x-forwarded-for", &told.forwarded_for)?;
        if self.method.is_some() {
            say("x-original-uri", target)?;
            say("x-scheme", told.scheme)?;
        }
        Some(())
    }

    /// How its connections are kept.
    #[must_use]
    pub fn keep_alive(&self, all: KeepAlive) -> KeepAlive {
        match self.keep_alive {
            None => KeepAlive {
                connections: all.connections.min(USUAL_CONNECTIONS),
                ..all
            },
            Some(own) => KeepAlive {
                connections: own.connections,
                requests: own.requests,
                idle: own.idle,
                age: all.age,
            },
        }
    }

    /// What becomes of a request of which the server said this; `None` where it said nothing.
    #[must_use]
    pub fn judge<'r>(&self, heard: Option<&Heard>) -> Verdict<'r> {
        let fault = StatusCode::INTERNAL_SERVER_ERROR;
        let Some(heard) = heard else {
            return Verdict::Answer(Answer::status(fault));
        };
        match heard.status {
            status if status.is_success() => Verdict::Granted,
            StatusCode::UNAUTHORIZED => Verdict::Answer(heard.challenge()),
            StatusCode::FORBIDDEN => Verdict::Answer(Answer::status(StatusCode::FORBIDDEN)),
            _ => Verdict::Answer(Answer::status(fault)),
        }
    }

    /// What is answered in place of 401: where to sign in.
    pub(super) fn signin(&self, route: &Route, facts: &Facts<'_>) -> Option<Answer> {
        let target = self.signin.as_ref()?.value(&Seen {
            facts: Some(facts),
            route: Some(route),
            ..Seen::default()
        });
        let target = target
            .ok()
            .and_then(|target| String::from_utf8(target).ok());
        let target = target.map(|target| match target.starts_with('/') {
            true => super::here(route, facts, &target),
            false => target,
        });
        let location = target.and_then(|target| HeaderValue::try_from(target).ok());
        Some(match location {
            Some(location) => Answer::status(StatusCode::FOUND).with(LOCATION, location),
            None => Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
        })
    }

    /// Sets what endpoints are told of the answer; what it does not say, they are not told at all, whatever the client
    /// says: not even under a name that some of them take for the same, as CGI does.
    pub fn tell(
        &self,
        heard: Option<&Heard>,
        client: &HeaderMap,
        told: &mut Vec<(HeaderName, HeaderValue)>,
    ) {
        told.retain(|(name, _)| !self.told.contains(name));
        let is_alike = |name: &&HeaderName| self.told.iter().any(|own| alike(own, name));
        for name in client.keys().filter(is_alike) {
            told.push((name.clone(), HeaderValue::from_static("")));
        }
        let heard = heard.filter(|heard| heard.status.is_success());
        for name in &self.told {
            let said = heard.and_then(|heard| heard.told(name)).cloned();
            let nothing = || HeaderValue::from_static("");
            told.push((name.clone(), said.unwrap_or_else(nothing)));
        }
    }

    /// What answers are remembered under: the host, the path and the server that it is asked of, and what the key says.
    #[must_use]
    pub fn key(&self, route: &Route, facts: &Facts<'_>, request_id: &str) -> Option<Box<[u8]>> {
        let own = Registers::of(request_id);
        let value = self.caching.as_ref()?.key.value(&Seen {
            facts: Some(facts),
            route: Some(route),
            own: Some(&own),
            answer: None,
        });
        let kind: &[u8] = match route.path_type {
            PathType::Exact => b"=",
            PathType::Prefix => b"^",
        };
        let mut key = Vec::new();
        let method = self.method.as_ref().map_or("", Method::as_str);
        for part in [
            route.host.as_bytes(),
            route.path.as_bytes(),
            kind,
            self.url.as_ref()?.text().as_bytes(),
            method.as_bytes(),
            &value.ok()?,
        ] {
            // With their lengths: no two lists of parts are one key.
            key.extend_from_slice(&part.len().to_le_bytes());
            key.extend_from_slice(part);
        }
        Some(key.into())
    }
}

/// Whether two names are different, and are the same where all but letters and digits are one.
fn alike(one: &HeaderName, other: &HeaderName) -> bool {
    let (one, other) = (one.as_str().as_bytes(), other.as_str().as_bytes());
    let same =
        |(a, b): (&u8, &u8)| a == b || !a.is_ascii_alphanumeric() && !b.is_ascii_alphanumeric();
    one != other && one.len() == other.len() && one.iter().zip(other).all(same)
}

fn set(fields: &mut HeaderMap, name: &'static str, value: &[u8]) -> Option<()> {
    let value = HeaderValue::from_bytes(value).ok()?;
    match value.is_empty() {
        true => fields.remove(name),
        false => fields.insert(name, value),
    };
    Some(())
}

/// What is about the request's body, or about the endpoint's answer: it would make another answer of the server's.
const UNASKED: [HeaderName; 10] = [
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    TRAILER,
];

/// The client's fields, without those of its hop and its body, and without those that say where the request came from:
/// they are ours to say.
fn passed(global: &Global, head: &Parts) -> HeaderMap {
    let believed = global.forwarded.use_forwarded_headers;
    let headers = &head.headers;
    let listed: Vec<&str> = headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(forwarded::connection_fields)
        .collect();
    let is_kept = |name: &HeaderName| {
        let text = name.as_str();
        !(forwarded::is_hop_by_hop(text)
            || UNASKED.contains(name)
            || listed.iter().any(|own| own.eq_ignore_ascii_case(text))
            || global.drops_underscores && text.contains('_')
            || text.starts_with("x-original-")
            || text.starts_with("ssl-client-")
            || text.starts_with("x-forwarded-") && !believed
            || matches!(text, "x-forwarded-proto" | "x-scheme" | "forwarded"))
    };
    let mut fields = HeaderMap::with_capacity(headers.len() + 8);
    for (name, value) in headers.iter().filter(|(name, _)| is_kept(name)) {
        fields.append(name.clone(), value.clone());
    }
    if head.version > Version::HTTP_11
        && let Some(cookie) = whole(headers, &COOKIE, b"; ")
    {
        fields.insert(COOKIE, cookie);
    }
    fields
}

/// The lines of a field as one.
fn whole(headers: &HeaderMap, name: &HeaderName, between: &[u8]) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.next().is_none() {
        return Some(first.clone());
    }
    let lines: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    HeaderValue::from_bytes(&lines.join(between)).ok()
}

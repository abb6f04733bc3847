//! Redirects.

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use super::{Answer, Facts};
use crate::{Route, host};

/// Sends every request elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 300 to 308.
    pub status: StatusCode,
    /// The absolute URL.
    pub location: HeaderValue,
}

impl Redirect {
    pub(super) fn answer(&self) -> Answer {
        Answer::status(self.status).with(LOCATION, self.location.clone())
    }
}

/// `https://HOST/TARGET`, less one trailing slash unless it is to be kept.
pub(super) fn to_https(route: &Route, facts: &Facts<'_>) -> Option<Answer> {
    let status = route.https_redirect?;
    if facts.forwarded.scheme != "http" {
        return None;
    }
    let target = facts.target();
    let target = match route.policy.keep_trailing_slash {
        true => target,
        false => target.strip_suffix('/').unwrap_or(target),
    };
    // What a trusted proxy in front was asked for, if there is one.
    let host = host::canonical(facts.forwarded.host);
    let host = host.as_deref().unwrap_or(facts.host);
    let location = format!("https://{host}{target}");
    let location = HeaderValue::try_from(location);
    Some(location.map_or_else(
        |_| Answer::status(StatusCode::BAD_REQUEST),
        |location| Answer::status(status).with(LOCATION, location),
    ))
}

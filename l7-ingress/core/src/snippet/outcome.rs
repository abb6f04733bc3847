//! What scripts have made of a request, as far as its response is concerned.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::fields::{Added, Field, More, Output, is_framing};
use crate::configmap;
use crate::expression::{Answered, Expression, Seen, TooLong};

/// What is done to a response: what it takes of the request is put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome(Output);

/// `expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Nothing is said.
    Off,
    /// So long ago that nobody keeps it.
    Epoch,
    /// For ever.
    Max,
    /// So much later.
    After(Duration),
    /// So much earlier: not to be kept.
    Before(Duration),
}

impl Time {
    pub(super) fn read(word: &str) -> Option<Self> {
        Some(match word {
            "off" => Self::Off,
            "epoch" => Self::Epoch,
            "max" => Self::Max,
            "0" => Self::After(Duration::ZERO),
            _ => match word.strip_prefix('-') {
                Some(before) => Self::Before(configmap::time(before).ok()?),
                None => {
                    let after = word.strip_prefix('+').unwrap_or(word);
                    Self::After(configmap::time(after).ok()?)
                }
            },
        })
    }

    fn apply(self, now: SystemTime, headers: &mut HeaderMap) {
        /// 2037-12-31 23:55:55, as nginx has it.
        const LAST: Duration = Duration::from_secs(2_145_916_555);
        let (at, keep) = match self {
            Self::Off => return,
            Self::Epoch => (Some(UNIX_EPOCH + Duration::from_secs(1)), None),
            Self::Max => (Some(UNIX_EPOCH + LAST), Some(315_360_000)),
            Self::After(time) => (now.checked_add(time), Some(time.as_secs())),
            Self::Before(time) => (now.checked_sub(time), None),
        };
        let at = at.unwrap_or(now).clamp(UNIX_EPOCH, UNIX_EPOCH + LAST);
        let keep = match keep {
            Some(seconds) => format!("max-age={seconds}"),
            None => "no-cache".to_owned(),
        };
        for (name, value) in [
            (EXPIRES, httpdate::fmt_http_date(at)),
            (CACHE_CONTROL, keep),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

impl Outcome {
    /// Puts in what is known by now.
    pub(super) fn new(output: &Output, seen: &Seen<'_>) -> Result<Self, TooLong> {
        let mut bound = output.clone();
        for Added { value, .. } in &mut bound.added {
            *value = value.bind(seen)?;
        }
        for More { value, .. } in &mut bound.more {
            *value = value.bind(seen)?;
        }
        Ok(Self(bound))
    }

    /// Takes what is hidden out of an endpoint's response, once it has been looked at.
    pub fn take(&mut self, status: StatusCode, endpoint: &str, headers: &mut HeaderMap) {
        let answered = Answered {
            status,
            fields: headers,
            endpoint: Some(endpoint),
        };
        let seen = Seen {
            answer: Some(&answered),
            ..Seen::default()
        };
        if let Ok(bound) = Self::new(&self.0, &seen) {
            *self = bound;
        }
        for name in &self.0.hidden {
            headers.remove(name);
        }
    }

    /// Changes the response: what is set or cleared comes before what is added, as nginx's filters are ordered.
    pub fn apply(&self, status: StatusCode, now: SystemTime, headers: &mut HeaderMap) {
        for more in &self.0.more {
            if more.is_for(status, headers) {
                more.apply(status, headers);
            }
        }
        let usual = is_usual(status);
        if let Some(time) = self.0.expires.filter(|_| usual) {
            time.apply(now, headers);
        }
        for added in &self.0.added {
            if usual || added.always {
                added.apply(status, headers);
            }
        }
    }
}

/// Those that `add_header` is about, unless it says `always`.
const fn is_usual(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308
    )
}

/// The value of a field; none that holds what no field may.
fn value(expression: &Expression, status: StatusCode, fields: &HeaderMap) -> Option<HeaderValue> {
    let answered = Answered {
        status,
        fields,
        endpoint: None,
    };
    let seen = Seen {
        answer: Some(&answered),
        ..Seen::default()
    };
    HeaderValue::try_from(expression.value(&seen).ok()?).ok()
}

impl Added {
    fn apply(&self, status: StatusCode, headers: &mut HeaderMap) {
        let Some(value) = value(&self.value, status, headers) else {
            return;
        };
        let replaces = self.name == ETAG || self.name == LAST_MODIFIED;
        match (value.is_empty(), replaces) {
            (true, true) => {
                headers.remove(&self.name);
            }
            (true, false) => {}
            (false, true) => {
                headers.insert(self.name.clone(), value);
            }
            (false, false) => {
                headers.append(self.name.clone(), value);
            }
        }
    }
}

impl More {
    fn is_for(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        if !self.statuses.is_empty() && !self.statuses.contains(&status.as_u16()) {
            return false;
        }
        if self.types.is_empty() {
            return true;
        }
        let own = headers.get(CONTENT_TYPE).and_then(|own| own.to_str().ok());
        let own = own.unwrap_or_default().split(';').next();
        let own = own.unwrap_or_default().trim();
        self.types.iter().any(|of| own.eq_ignore_ascii_case(of))
    }

    fn apply(&self, status: StatusCode, headers: &mut HeaderMap) {
        match &self.field {
            Field::Start(start) => {
                let names = headers
                    .keys()
                    .filter(|name| name.as_str().starts_with(&**start));
                let names: Vec<HeaderName> = names.cloned().collect();
                for name in names.iter().filter(|name| !is_framing(name)) {
                    headers.remove(name);
                }
            }
            Field::Name(name) => match value(&self.value, status, headers) {
                None => {}
                Some(value) if value.is_empty() => {
                    headers.remove(name);
                }
                Some(value) => {
                    headers.insert(name.clone(), value);
                }
            },
        }
    }
}

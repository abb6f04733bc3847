//! When a request is tried once more.

use std::time::Duration;

use http::StatusCode;

/// `proxy-next-upstream`, `-tries` and `-timeout`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// After what.
    pub on: Conditions,
    /// How often at most, the first try included; 0 for once per endpoint, `None` for as often as all may.
    pub tries: Option<usize>,
    /// For how long after the request's start a try may begin; `None` for ever.
    pub timeout: Option<Duration>,
}

/// What may happen to a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Condition {
    /// No connection, or a broken one.
    Error,
    /// Nothing in time.
    Timeout,
    /// A response that is none.
    InvalidHeader,
    /// A response with this status, and so on.
    Http403,
    /// 404
    Http404,
    /// 429
    Http429,
    /// 500
    Http500,
    /// 502
    Http502,
    /// 503
    Http503,
    /// 504
    Http504,
    /// Not a condition: repeats even what may then be executed twice (RFC 9110 §9.2.2).
    NonIdempotent,
}

impl Condition {
    const BY_NAME: [(&str, Self); 11] = [
        ("error", Self::Error),
        ("timeout", Self::Timeout),
        ("invalid_header", Self::InvalidHeader),
        ("http_403", Self::Http403),
        ("http_404", Self::Http404),
        ("http_429", Self::Http429),
        ("http_500", Self::Http500),
        ("http_502", Self::Http502),
        ("http_503", Self::Http503),
        ("http_504", Self::Http504),
        ("non_idempotent", Self::NonIdempotent),
    ];

    const fn of(status: StatusCode) -> Option<Self> {
        Some(match status.as_u16() {
            403 => Self::Http403,
            404 => Self::Http404,
            429 => Self::Http429,
            500 => Self::Http500,
            502 => Self::Http502,
            503 => Self::Http503,
            504 => Self::Http504,
            _ => return None,
        })
    }
}

/// A set of [`Condition`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions(u16);

/// `error timeout`.
impl Default for Conditions {
    fn default() -> Self {
        Self::NONE.with(Condition::Error).with(Condition::Timeout)
    }
}

impl Conditions {
    /// `off`.
    pub const NONE: Self = Self(0);

    const STATUSES: Self = Self::NONE
        .with(Condition::Http403)
        .with(Condition::Http404)
        .with(Condition::Http429)
        .with(Condition::Http500)
        .with(Condition::Http502)
        .with(Condition::Http503)
        .with(Condition::Http504);

    /// This one too.
    #[must_use]
    pub const fn with(self, condition: Condition) -> Self {
        Self(self.0 | 1 << condition as u16)
    }

    /// Whether this one is in it.
    #[must_use]
    pub const fn holds(self, condition: Condition) -> bool {
        self.0 & (1 << condition as u16) != 0
    }

    /// Whether a response with this status is as good as none.
    #[must_use]
    pub fn rejects(self, status: StatusCode) -> bool {
        Condition::of(status).is_some_and(|condition| self.holds(condition))
    }

    /// Whether there is such a status.
    #[must_use]
    pub const fn rejects_any(self) -> bool {
        self.0 & Self::STATUSES.0 != 0
    }

    /// Reads nginx's words; `off` means none, whatever else is there.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut read = Self::NONE;
        let mut is_off = false;
        for word in text.split_whitespace() {
            let known = Condition::BY_NAME.iter().find(|(name, _)| *name == word);
            match known {
                Some((_, condition)) => read = read.with(*condition),
                None if word == "off" => is_off = true,
                None => return Err(format!("{word:?} is no condition of proxy_next_upstream")),
            }
        }
        Ok(if is_off { Self::NONE } else { read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_nginx_reads_them() {
        let read = |text| Conditions::read(text).unwrap();
        assert_eq!(read("error timeout"), Conditions::default());
        assert_eq!(read("error off http_502"), Conditions::NONE);
        let some = read("http_502 non_idempotent");
        assert!(some.rejects(StatusCode::BAD_GATEWAY) && some.rejects_any());
        assert!(!some.rejects(StatusCode::NOT_FOUND) && !some.holds(Condition::Error));
        assert!(some.holds(Condition::NonIdempotent));
        assert!(!Conditions::default().rejects_any());
        assert!(Conditions::read("error, timeout").is_err());
    }
}

//! Cross-origin requests.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    CONTENT_TYPE, ORIGIN,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::Answer;

/// What pages of other origins may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages.
    pub origins: Origins,
    /// Whether with cookies.
    pub credentials: bool,
    /// By which methods.
    pub methods: HeaderValue,
    /// With which request fields.
    pub headers: HeaderValue,
    /// Which response fields they may read beside the harmless ones.
    pub expose: Option<HeaderValue>,
    /// For how many seconds a browser may remember this.
    pub max_age: HeaderValue,
}

/// A set of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// Those that match one of these.
    Some(Box<[OriginPattern]>),
}

/// `https://shop.example`, or `https://*.shop.example` with one label for the star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// What stands before the star; the whole without one.
    before: Box<str>,
    /// What stands after it.
    after: Option<Box<str>>,
}

impl OriginPattern {
    /// A pattern, in any case.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.split_once('*') {
            Some((before, after)) => Self {
                before: before.into(),
                after: Some(after.into()),
            },
            None => Self {
                before: text.into(),
                after: None,
            },
        }
    }

    fn matches(&self, origin: &[u8]) -> bool {
        let Some(after) = &self.after else {
            return origin.eq_ignore_ascii_case(self.before.as_bytes());
        };
        let Some((before, rest)) = origin.split_at_checked(self.before.len()) else {
            return false;
        };
        let Some(label) = rest.len().checked_sub(after.len()) else {
            return false;
        };
        let (label, end) = rest.split_at(label);
        before.eq_ignore_ascii_case(self.before.as_bytes())
            && end.eq_ignore_ascii_case(after.as_bytes())
            && !label.is_empty()
            && label
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    }
}

impl Cors {
    /// The origin that is told that it may; `*` where all may.
    fn allowed(&self, head: &Parts) -> Option<HeaderValue> {
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::Some(patterns) => {
                let origin = head.headers.get(ORIGIN)?;
                let mut patterns = patterns.iter();
                let matches = patterns.any(|pattern| pattern.matches(origin.as_bytes()));
                matches.then(|| origin.clone())
            }
        }
    }

    /// OPTIONS of an origin that may: answered here, for the endpoint may know nothing of it.
    pub(super) fn preflight(&self, head: &Parts) -> Option<Answer> {
        if head.method != Method::OPTIONS {
            return None;
        }
        self.allowed(head)?;
        let answer = Answer {
            page: false,
            ..Answer::status(StatusCode::NO_CONTENT)
        };
        let plain = HeaderValue::from_static("text/plain charset=UTF-8");
        Some(answer.with(CONTENT_TYPE, plain))
    }

    /// Says on a response what pages of the request's origin may do; whatever the endpoint says is overwritten.
    pub(super) fn respond(&self, head: &Parts, headers: &mut HeaderMap) {
        let Some(origin) = self.allowed(head) else {
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        if let Some(expose) = &self.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        let matches =
            |pattern: &str, origin: &str| OriginPattern::new(pattern).matches(origin.as_bytes());
        for (pattern, origin, wanted) in [
            ("https://a.test", "https://a.test", true),
            ("https://A.test", "HTTPS://a.TEST", true),
            ("https://a.test", "http://a.test", false),
            ("https://a.test", "https://a.test:8080", false),
            ("https://a.test", "https://evil.test/https://a.test", false),
            ("https://a.test", "https://a.test.evil.test", false),
            ("https://*.a.test", "https://x-1.a.test", true),
            ("https://*.a.test", "https://a.test", false),
            ("https://*.a.test", "https://.a.test", false),
            ("https://*.a.test", "https://x.y.a.test", false),
            ("https://*.a.test", "https://evil.test/.a.test", false),
            ("https://*.a.test:80", "https://x.a.test:80", true),
            ("https://*.a.test:80", "https://x.a.test", false),
            ("null", "null", true),
            ("null", "https://evil.null", false),
        ] {
            assert_eq!(matches(pattern, origin), wanted, "{pattern} {origin}");
        }
    }
}

//! What is changed of an endpoint's response: where it redirects to, and for whom its cookies are.

use std::borrow::Cow;

use http::header::{LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use regex::bytes::Regex;

use super::rewrite::{Template, compile};

/// `proxy-redirect-*`, `proxy-cookie-domain`, `proxy-cookie-path`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxied {
    /// Of `Location` and `Refresh`.
    pub(crate) redirect: Option<Replacement>,
    /// Of `Set-Cookie`'s attribute.
    pub(crate) cookie_domain: Option<Replacement>,
    /// Of `Set-Cookie`'s attribute.
    pub(crate) cookie_path: Option<Replacement>,
}

/// What is put in place of what.
#[derive(Clone, Debug)]
pub(crate) enum Replacement {
    /// What the text begins with.
    Start(Box<str>, Box<str>),
    /// The whole text but for a leading dot, whatever the case of its letters.
    Domain(Box<str>, Box<str>),
    /// The whole text, if the expression matches a part of it.
    Match(Regex, Template),
}

impl PartialEq for Replacement {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Start(from, to), Self::Start(others, its))
            | (Self::Domain(from, to), Self::Domain(others, its)) => from == others && to == its,
            (Self::Match(from, to), Self::Match(others, its)) => {
                from.as_str() == others.as_str() && to == its
            }
            _ => false,
        }
    }
}

impl Eq for Replacement {}

impl Replacement {
    /// What begins with `from`; a `~` before an expression, `~*` before one that does not tell upper from lower case.
    ///
    /// # Errors
    /// Why the expression is none, in words.
    pub(crate) fn start(from: &str, to: &str) -> Result<Self, String> {
        match from.strip_prefix('~') {
            Some(pattern) => Self::matching(pattern, to, false),
            None => Ok(Self::Start(from.into(), to.into())),
        }
    }

    /// A domain; after a `~` an expression, which for domains never tells upper from lower case.
    ///
    /// # Errors
    /// Why the expression is none, in words.
    pub(crate) fn domain(from: &str, to: &str) -> Result<Self, String> {
        match from.strip_prefix('~') {
            Some(pattern) => Self::matching(pattern, to, true),
            None => Ok(Self::Domain(from.trim_start_matches('.').into(), to.into())),
        }
    }

    fn matching(pattern: &str, to: &str, any_case: bool) -> Result<Self, String> {
        let (pattern, any_case) = match pattern.strip_prefix('*') {
            Some(pattern) => (pattern, true),
            None => (pattern, any_case),
        };
        Ok(Self::Match(
            compile(pattern, any_case)?,
            Template::captures(to)?,
        ))
    }

    fn apply(&self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Start(from, to) => {
                let rest = text.strip_prefix(from.as_bytes())?;
                Some([to.as_bytes(), rest].concat())
            }
            Self::Domain(from, to) => {
                let bare = text.strip_prefix(b".").unwrap_or(text);
                let is_same = bare.eq_ignore_ascii_case(from.as_bytes());
                is_same.then(|| to.as_bytes().to_vec())
            }
            Self::Match(pattern, to) => to.expand(&pattern.captures(text)?).ok(),
        }
    }
}

impl Proxied {
    /// Changes the fields of an endpoint's response.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Some(redirect) = &self.redirect {
            change(headers, &LOCATION, |value| redirect.apply(value));
            change(headers, &REFRESH, |value| refresh(redirect, value));
        }
        if self.cookie_domain.is_some() || self.cookie_path.is_some() {
            change(headers, &SET_COOKIE, |value| self.cookie(value));
        }
    }

    /// RFC 6265 §4.1.1: attributes follow the first semicolon.
    fn cookie(&self, value: &[u8]) -> Option<Vec<u8>> {
        let mut changed = false;
        let mut parts = value.split(|byte| *byte == b';').map(Cow::Borrowed);
        let mut cookie: Vec<Cow<'_, [u8]>> = parts.next().into_iter().collect();
        for part in parts {
            let new = self.attribute(&part);
            changed |= new.is_some();
            cookie.push(new.map_or(part, Cow::Owned));
        }
        changed.then(|| cookie.join(&b';'))
    }

    fn attribute(&self, part: &[u8]) -> Option<Vec<u8>> {
        let equals = part.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (part.get(..equals)?, part.get(equals + 1..)?);
        let replacement = match name.trim_ascii() {
            name if name.eq_ignore_ascii_case(b"domain") => self.cookie_domain.as_ref(),
            name if name.eq_ignore_ascii_case(b"path") => self.cookie_path.as_ref(),
            _ => None,
        };
        let value = replacement?.apply(value.trim_ascii())?;
        // A semicolon would begin an attribute of its own.
        (!value.contains(&b';')).then(|| [name, b"=", &value].concat())
    }
}

/// `5; url=http://…`.
fn refresh(redirect: &Replacement, value: &[u8]) -> Option<Vec<u8>> {
    const URL: &[u8] = b"url=";
    let windows = value.windows(URL.len());
    let place = windows
        .into_iter()
        .position(|part| part.eq_ignore_ascii_case(URL))?;
    let (before, url) = value.split_at_checked(place + URL.len())?;
    Some([before, &redirect.apply(url)?].concat())
}

/// Changes every line of a field; what would become no field value stays as it is.
fn change(headers: &mut HeaderMap, name: &HeaderName, new: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let http::header::Entry::Occupied(mut lines) = headers.entry(name) else {
        return;
    };
    for line in lines.iter_mut() {
        let value = new(line.as_bytes());
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            *line = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change_of(from: &Replacement, text: &str) -> Option<String> {
        from.apply(text.as_bytes())
            .map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn texts_are_replaced_as_nginx_replaces_them() {
        let start = |from, to| Replacement::start(from, to).unwrap();
        let domain = |from, to| Replacement::domain(from, to).unwrap();
        for (replacement, text, want) in [
            (start("/one/", "/"), "/one/two", Some("/two")),
            (start("/one/", "/"), "/One/two", None),
            (start("~^/(a+)/", "/$1$1"), "/aa/b", Some("/aaaa")),
            (start("~/A", "/b"), "/a", None),
            (start("~*/A", "/b"), "/a", Some("/b")),
            (
                domain("localhost", "example.org"),
                ".LocalHost",
                Some("example.org"),
            ),
            (
                domain(".localhost", "example.org"),
                "localhost",
                Some("example.org"),
            ),
            (domain("localhost", "example.org"), "a.localhost", None),
            (
                domain(r"~\.([a-z]+)\.org$", "$1.org"),
                "www.FOO.org",
                Some("FOO.org"),
            ),
        ] {
            assert_eq!(change_of(&replacement, text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn cookies_keep_all_but_what_is_replaced() {
        let proxied = Proxied {
            redirect: None,
            cookie_domain: Some(Replacement::domain("a.test", "b.test").unwrap()),
            cookie_path: Some(Replacement::start("~^/(.*)$", "/$1").unwrap()),
        };
        let check = |cookie: &str, want: Option<&str>| {
            let got = proxied.cookie(cookie.as_bytes());
            let got = got.map(|cookie| String::from_utf8(cookie).unwrap());
            assert_eq!(got.as_deref(), want, "{cookie}");
        };
        check("x=domain=a.test; Secure", None);
        check("x=1;domain=a.test;Secure", Some("x=1;domain=b.test;Secure"));
        check("x=1; Domain = .A.test", Some("x=1; Domain =b.test"));
        check("x=1", None);
    }
}

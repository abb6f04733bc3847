//! URLs that the proxy asks by itself, and texts with variables that become one.

use std::borrow::Cow;

use percent_encoding::percent_encode_byte;
use thiserror::Error;

use crate::expression::{Expression, Known, Registers, Seen, TooLong};
use crate::filter::Facts;
use crate::host::{self, HostError};
use crate::{Route, UnknownVariable};

/// Where the proxy sends a request of its own, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether TLS is spoken.
    pub is_https: bool,
    /// Canonical, without port; IPv6 addresses in brackets.
    pub host: Box<str>,
    /// The scheme's where none is written.
    pub port: u16,
    /// Path and query, as they stand in a request's first line.
    pub target: Box<str>,
}

/// Why a text is no URL that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Or one that is not spoken.
    #[error("begins with neither http:// nor https://")]
    Scheme,
    /// What stands between the scheme and the path is no `HOST[:PORT]`.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A variable of it is not known.
    #[error(transparent)]
    Variable(#[from] UnknownVariable),
    /// It became too long.
    #[error(transparent)]
    Long(#[from] TooLong),
}

impl Url {
    /// Reads a URL. What may not stand in a request's target is percent-encoded; a fragment is left out.
    ///
    /// # Errors
    /// When it is none that can be asked.
    pub fn parse(text: &[u8]) -> Result<Self, UrlError> {
        let (is_https, rest) = split_scheme(text).ok_or(UrlError::Scheme)?;
        let end = rest.iter().position(|byte| b"/?#".contains(byte));
        let (authority, target) = rest.split_at(end.unwrap_or(rest.len()));
        let authority = std::str::from_utf8(authority).map_err(|_| HostError::Character)?;
        let (host, port) = host::split(authority)?;
        let usual = if is_https { 443 } else { 80 };
        Ok(Self {
            is_https,
            host: host.into(),
            port: port.unwrap_or(usual),
            target: read_target(target).into(),
        })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, usual) = if self.is_https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != usual {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.target)
    }
}

fn split_scheme(text: &[u8]) -> Option<(bool, &[u8])> {
    let starts = |start: &[u8]| {
        let (own, rest) = text.split_at_checked(start.len())?;
        own.eq_ignore_ascii_case(start).then_some(rest)
    };
    let secure = starts(b"https://").map(|rest| (true, rest));
    secure.or_else(|| Some((false, starts(b"http://")?)))
}

fn read_target(text: &[u8]) -> String {
    let end = text.iter().position(|byte| *byte == b'#');
    let text = &text[..end.unwrap_or(text.len())];
    let mut target = String::with_capacity(text.len() + 1);
    if !text.starts_with(b"/") {
        target.push('/');
    }
    for &byte in text {
        match byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            true => target.push(char::from(byte)),
            false => target.push_str(percent_encode_byte(byte)),
        }
    }
    target
}

/// A URL that may depend on the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    text: Box<str>,
    expression: Expression,
    /// Where it does not.
    fixed: Option<Url>,
}

impl UrlTemplate {
    /// Reads a URL with variables of the request and of its route.
    ///
    /// # Errors
    /// When it is one for no request: a host that variables make is judged once it is made.
    pub fn read(text: &str) -> Result<Self, UrlError> {
        let expression = Expression::read(text, Known::Routes)?;
        let fixed = match expression.literal() {
            Some(literal) => Some(Url::parse(literal)?),
            None => {
                // What stands before the path, unless variables make it.
                let plain = text.replacen("$scheme://", "http://", 1);
                let (_, rest) = split_scheme(plain.as_bytes()).ok_or(UrlError::Scheme)?;
                let start = plain.len() - rest.len();
                let end = plain[start..].find(['/', '?', '#']);
                let (origin, _) = plain.split_at(end.map_or(plain.len(), |end| start + end));
                if !origin.contains('$') || origin.contains("..") {
                    Url::parse(origin.as_bytes())?;
                }
                None
            }
        };
        Ok(Self {
            text: text.into(),
            expression,
            fixed,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The URL for a request of this route and number.
    ///
    /// # Errors
    /// When what variables stand for makes it none.
    pub fn of(
        &self,
        route: &Route,
        facts: &Facts<'_>,
        request_id: &str,
    ) -> Result<Cow<'_, Url>, UrlError> {
        if let Some(fixed) = &self.fixed {
            return Ok(Cow::Borrowed(fixed));
        }
        let own = Registers::of(request_id);
        let seen = Seen {
            facts: Some(facts),
            route: Some(route),
            own: Some(&own),
            answer: None,
        };
        // What follows a `#` would be lost: nobody who writes a variable means that.
        let text = self.expression.value_with(&seen, |to, bytes| {
            for &byte in bytes {
                match byte {
                    b'#' => to.extend_from_slice(b"%23"),
                    byte => to.push(byte),
                }
            }
        })?;
        Url::parse(&text).map(Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_a_scheme_a_host_and_a_target() {
        let read = |text: &str| {
            let url = Url::parse(text.as_bytes()).ok()?;
            let scheme = if url.is_https { "https" } else { "http" };
            Some(format!("{scheme} {} {} {}", url.host, url.port, url.target))
        };
        for (text, expect) in [
            ("http://a.test", "http a.test 80 /"),
            ("HTTPS://A.test./x", "https a.test 443 /x"),
            ("http://a.test:8080?q=1", "http a.test 8080 /?q=1"),
            ("http://[::1]:81/x?y#z", "http [::1] 81 /x?y"),
            ("http://127.0.0.1/a b", "http 127.0.0.1 80 /a%20b"),
            ("http://a.test/\r\nX: y", "http a.test 80 /%0D%0AX:%20y"),
            ("http://a.test/%41\u{e9}", "http a.test 80 /%41%C3%A9"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expect), "{text}");
        }
        for bad in [
            "",
            "a.test/x",
            "ftp://a.test/",
            "//a.test/",
            "http:///x",
            "https://invalid..auth.url",
            "http://user@a.test/",
            "http://a b/",
            "http://a.test:99999/",
            "http://a\r\n.test/",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_template_is_refused_where_no_request_can_mend_it() {
        for good in [
            "http://a.test/$request_uri",
            "http://$host/x",
            "$scheme://$host:8080/oauth2/auth",
            "https://auth.$namespace.svc.cluster.local?u=$arg_user",
        ] {
            assert!(UrlTemplate::read(good).is_ok(), "{good}");
        }
        for bad in [
            "$host/x",
            "ftp://$host/",
            "http://a..b/$request_uri",
            "http://a..$host/",
            "http:///$request_uri",
            "http://a.test/$nothing",
            "http://a.test/$status",
        ] {
            assert!(UrlTemplate::read(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_url_is_one_line_to_one_host(text in "(https?://)?[ -~\\r\\n\\t\u{e9}]{0,40}") {
            if let Ok(url) = Url::parse(text.as_bytes()) {
                proptest::prop_assert!(url.target.starts_with('/'));
                proptest::prop_assert!(url.target.bytes().all(|byte| byte.is_ascii_graphic()));
                proptest::prop_assert_eq!(&*host::canonical(&url.host).unwrap(), &*url.host);
                let again = Url::parse(url.to_string().as_bytes());
                proptest::prop_assert_eq!(again.as_ref(), Ok(&url));
            }
        }
    }
}

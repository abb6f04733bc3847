//! Paths that are regular expressions, and what they are rewritten to.
//!
//! What is matched and captured is the normalised path, read as bytes. What comes of it is put together anew: no dot
//! segment, no line end and no query can be made of captures.

use http::StatusCode;
use percent_encoding::percent_encode_byte;
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::{Answer, Facts};
use crate::Route;
use crate::snippet::State;

/// Bytes that one compiled expression, and its cache, may take.
const MAX_PATTERN: usize = 256 * 1024;
/// How deep an expression may nest.
const MAX_NESTING: u32 = 50;
/// Bytes of a rewritten path.
const MAX_PATH: usize = 32 * 1024;

/// A path of a host whose paths are regular expressions: `^PATH`, whatever the case of its letters, and whatever
/// follows the match.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// # Errors
    /// Why it cannot be matched, in words.
    pub(crate) fn new(path: &str) -> Result<Self, String> {
        compile(&format!("^{path}"), true).map(Self)
    }

    /// What its groups match, the whole first.
    pub(crate) fn groups(&self, path: &str) -> Option<Vec<Vec<u8>>> {
        let captures = self.0.captures(path.as_bytes())?;
        let groups = captures.iter();
        let bytes = |group: Option<regex::bytes::Match<'_>>| {
            group.map_or_else(Vec::new, |group| group.as_bytes().to_vec())
        };
        Some(groups.map(bytes).collect())
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        self.0.is_match(path.as_bytes())
    }
}

/// Compiles what somebody wrote in an annotation or a path: within bounds, bytes for characters.
///
/// # Errors
/// Why it cannot be matched, in words.
pub(crate) fn compile(pattern: &str, any_case: bool) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    builder
        .unicode(false)
        .case_insensitive(any_case)
        .nest_limit(MAX_NESTING)
        .size_limit(MAX_PATTERN)
        .dfa_size_limit(MAX_PATTERN);
    builder.build().map_err(|error| match error {
        regex::Error::Syntax(text) => {
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
        _ => "it is too large".to_owned(),
    })
}

/// `rewrite-target` and `x-forwarded-prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The whole new path.
    pub(crate) target: Template,
    /// What `X-Forwarded-Prefix` says.
    pub(crate) prefix: Option<Template>,
}

impl Rewrite {
    /// Whether it does anything for a route of this path.
    pub(crate) fn changes(&self, path: &str) -> bool {
        &*self.target.text != path
    }
}

/// A text in which `$1` to `$9` stand for what the path's groups matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    text: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Group(usize),
}

impl Template {
    /// Reads letters, digits, `-._~/:` and `$1` to `$9`.
    ///
    /// # Errors
    /// What else there is, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:$".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err(format!(
                "{text:?} holds something else than letters, digits and -._~/:$"
            ));
        }
        Self::captures(text)
    }

    /// Reads any text with `$1` to `$9`.
    ///
    /// # Errors
    /// Which other variable there is, in words.
    pub(crate) fn captures(text: &str) -> Result<Self, String> {
        let mut pieces = text.split('$');
        let mut parts = Vec::new();
        let first = pieces.next().unwrap_or_default();
        if !first.is_empty() {
            parts.push(Part::Text(first.into()));
        }
        for piece in pieces {
            let digit = piece
                .bytes()
                .next()
                .filter(|byte| (b'1'..=b'9').contains(byte));
            let Some(digit) = digit else {
                return Err(format!("{text:?}: no variable is known but $1 to $9"));
            };
            parts.push(Part::Group(usize::from(digit - b'0')));
            let rest = piece.get(1..).unwrap_or_default();
            if !rest.is_empty() {
                parts.push(Part::Text(rest.into()));
            }
        }
        Ok(Self {
            text: text.into(),
            parts: parts.into(),
        })
    }

    pub(super) fn expand(&self, captures: &Captures<'_>) -> Result<Vec<u8>, Answer> {
        let mut expanded = Vec::new();
        for part in &self.parts {
            let bytes = match part {
                Part::Text(text) => text.as_bytes(),
                Part::Group(group) => captures
                    .get(*group)
                    .map_or(&[][..], |group| group.as_bytes()),
            };
            if expanded.len() + bytes.len() > MAX_PATH {
                return Err(Answer::status(StatusCode::URI_TOO_LONG));
            }
            expanded.extend_from_slice(bytes);
        }
        Ok(expanded)
    }
}

/// What a backend gets in place of what the client wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Path and query.
    pub target: String,
    /// `X-Forwarded-Prefix`.
    pub prefix: Option<String>,
}

/// Rewrites the request's target where its route asks for it.
///
/// # Errors
/// The answer to a path that would become another one than its Ingress means (400), or too long (414).
fn rewrite(route: &Route, facts: &Facts<'_>) -> Result<Option<Rewritten>, Answer> {
    let (Some(rewrite), Some(pattern)) = (route.rewrite(), &route.pattern) else {
        return Ok(None);
    };
    let Some(captures) = pattern.0.captures(facts.path.as_bytes()) else {
        return Ok(None);
    };
    let bad = || Answer::status(StatusCode::BAD_REQUEST);
    let mut target = tidy(&rewrite.target.expand(&captures)?).ok_or_else(bad)?;
    push_query(&mut target, facts);
    let prefix = rewrite.prefix.as_ref();
    let prefix = prefix.map(|prefix| {
        let mut text = String::new();
        encode(&mut text, &prefix.expand(&captures)?);
        Ok(text)
    });
    Ok(Some(Rewritten {
        target,
        prefix: prefix.transpose()?,
    }))
}

/// The target that scripts have made, where it is not the client's; their `break` keeps the route's own rewriting away.
///
/// # Errors
/// As [`rewrite`].
pub fn target(
    route: &Route,
    facts: &Facts<'_>,
    state: Option<&State>,
) -> Result<Option<Rewritten>, Answer> {
    let Some(state) = state else {
        return rewrite(route, facts);
    };
    let facts = &state.facts(facts);
    if !state.stopped()
        && let Some(rewritten) = rewrite(route, facts)?
    {
        return Ok(Some(rewritten));
    }
    if state.place().is_none() {
        return Ok(None);
    }
    let bad = || Answer::status(StatusCode::BAD_REQUEST);
    let mut target = tidy(facts.path.as_bytes()).ok_or_else(bad)?;
    push_query(&mut target, facts);
    let prefix = None;
    Ok(Some(Rewritten { target, prefix }))
}

fn push_query(target: &mut String, facts: &Facts<'_>) {
    if let Some(query) = facts.query {
        target.push('?');
        target.push_str(query);
    }
}

/// The path as it may stand in a request: absolute, without empty segments. None with dot segments, which only
/// captures that were put together in an unlucky way can bring.
pub(crate) fn tidy(path: &[u8]) -> Option<String> {
    let mut tidy = String::with_capacity(path.len() + 1);
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" => {}
            b"." | b".." => return None,
            segment => {
                tidy.push('/');
                encode(&mut tidy, segment);
            }
        }
    }
    if tidy.is_empty() || path.ends_with(b"/") {
        tidy.push('/');
    }
    Some(tidy)
}

/// Percent-encodes all that may not stand in a path (RFC 3986 §3.3).
pub(crate) fn encode(to: &mut String, bytes: &[u8]) {
    for (place, &byte) in bytes.iter().enumerate() {
        let plain = byte.is_ascii_alphanumeric()
            || b"-._~!$&'()*+,;=:@/".contains(&byte)
            || byte == b'%' && is_normal(bytes.get(place + 1..place + 3));
        if plain {
            to.push(char::from(byte));
        } else {
            to.push_str(percent_encode_byte(byte));
        }
    }
}

/// Whether these digits follow a `%` in a normalised path. Captures may cut one in two: what is glued together from
/// such pieces is not to be decoded by the backend.
fn is_normal(digits: Option<&[u8]>) -> bool {
    let [high, low] = digits.unwrap_or_default() else {
        return false;
    };
    let hex = |digit: u8| char::from(digit).to_digit(16);
    let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
        return false;
    };
    matches!(high << 4 | low, 0..0x20 | 0x25 | 0x7f..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(path: &str, target: &str, request: &str) -> Option<String> {
        let pattern = Pattern::new(path).unwrap();
        let captures = pattern.0.captures(request.as_bytes())?;
        tidy(&Template::parse(target).unwrap().expand(&captures).ok()?)
    }

    #[test]
    fn captures_become_a_path_and_nothing_else() {
        for (path, target, request, want) in [
            ("/foo", "/", "/foo/bar", Some("/")),
            ("/foo(/|$)(.*)", "/$2", "/foo", Some("/")),
            ("/foo(/|$)(.*)", "/$2", "/FOO/Bar/", Some("/Bar/")),
            ("/(.*)", "$1", "/a b", Some("/a%20b")),
            ("/(a)(b)?", "/$2$1$9", "/a", Some("/a")),
            ("/(.*)", "/$10", "/x", Some("/x0")),
            ("/foo(.*)", "/$1", "/foo/bar", Some("/bar")),
            ("/foo(.*)", "/$1", "/foo?x#y", Some("/%3Fx%23y")),
            ("/foo(.*)", "/static/$1", "/foo../secret", None),
            ("/foo(.*)", "/static/.$1", "/foo./secret", None),
            ("/foo(.*)", "/$1", "/foo/%0D%0AX: y", Some("/%0D%0AX:%20y")),
            ("/(..)5(.*)", "/$1e$2", "/%25", Some("/%252e")),
            ("/(.)(.)", "/$2", "/é", Some("/%A9")),
            ("/(.*)", "/$1", "/a%252e", Some("/a%252e")),
            ("/(.*)", "/$1", r"/a\..\b", Some("/a%5C..%5Cb")),
        ] {
            let got = expand(path, target, request);
            assert_eq!(got.as_deref(), want, "{path} {target} {request}");
        }
    }

    #[test]
    fn a_rewritten_path_has_a_bound() {
        let path = format!("/{}", "a".repeat(MAX_PATH / 2 + 1));
        assert_eq!(expand("/(.*)", "/$1$1", &path), None);
    }

    #[test]
    fn what_the_engine_cannot_do_is_refused_with_a_reason() {
        for (bad, why) in [
            ("/(?!admin)", "look-around"),
            (r"/(a)\1", "backreferences"),
            ("/(a", "unclosed group"),
            ("/(a{1000}){1000}", "too large"),
        ] {
            let error = Pattern::new(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        for bad in ["/$x", "/$", "/$0", "/a b", "/a\r\nb", "/\"", "/;", "/${1}"] {
            assert!(Template::parse(bad).is_err(), "{bad:?}");
        }
    }
}

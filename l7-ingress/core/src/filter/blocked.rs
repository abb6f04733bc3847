//! Who is kept out of all hosts: by address, by what it calls itself, by where it comes from.

use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, StatusCode};
use regex::bytes::Regex;

use super::rewrite::compile;
use super::{Answer, Facts, SourceRanges};

/// `block-cidrs`, `block-user-agents`, `block-referers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Addresses.
    pub sources: Option<SourceRanges>,
    /// What `User-Agent` says.
    pub agents: Box<[Text]>,
    /// What `Referer` says.
    pub referers: Box<[Text]>,
}

/// What a field says, as nginx's `map` compares it.
#[derive(Clone, Debug)]
pub enum Text {
    /// This, whatever the case of its letters.
    Whole(Box<str>),
    /// What the expression matches a part of.
    Match(Regex),
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(own), Self::Whole(other)) => own == other,
            (Self::Match(own), Self::Match(other)) => own.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for Text {}

impl Text {
    /// A text; after `~` an expression, after `~*` one that does not tell upper from lower case.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        match text.strip_prefix('~') {
            None => Ok(Self::Whole(text.into())),
            Some(pattern) => {
                let bare = pattern.strip_prefix('*');
                compile(bare.unwrap_or(pattern), bare.is_some())
                    .map(Self::Match)
                    .map_err(|why| format!("{text:?} is no regular expression: {why}"))
            }
        }
    }

    /// Whether a value is that.
    #[must_use]
    pub fn is(&self, value: &[u8]) -> bool {
        match self {
            Self::Whole(text) => text.as_bytes().eq_ignore_ascii_case(value),
            Self::Match(pattern) => pattern.is_match(value),
        }
    }
}

impl Blocked {
    pub(super) fn judge(&self, facts: &Facts<'_>) -> Option<Answer> {
        let headers = &facts.head.headers;
        let address = facts.forwarded.real_ip;
        let sources = self.sources.as_ref();
        let is_blocked = sources.is_some_and(|sources| sources.contain(address))
            || says(headers, &USER_AGENT, &self.agents)
            || says(headers, &REFERER, &self.referers);
        is_blocked.then(|| Answer::status(StatusCode::FORBIDDEN))
    }
}

fn says(headers: &HeaderMap, name: &HeaderName, texts: &[Text]) -> bool {
    let value = || headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    !texts.is_empty() && texts.iter().any(|text| text.is(value()))
}

//! Which responses are compressed, and how.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, USER_AGENT, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::Text;

/// `use-gzip`, `enable-brotli` and what goes with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// Comes first where a client takes both.
    pub brotli: Option<Coding>,
    /// Of RFC 1952.
    pub gzip: Option<Coding>,
    /// Clients that get nothing compressed by gzip: what `User-Agent` says.
    pub not_for: Vec<Text>,
}

/// What is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coding {
    /// How hard it is tried.
    pub level: u32,
    /// The shortest body, where its length is known.
    pub shortest: u64,
    /// Media types, beside `text/html`; `*` for all.
    pub types: Vec<Box<str>>,
}

/// How a body is compressed, and how hard it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `br`
    Brotli(u32),
    /// `gzip`
    Gzip(u32),
}

impl Coding {
    fn suits(&self, media_type: &str, length: Option<u64>) -> bool {
        let is_own = |own: &str| own == "*" || own.eq_ignore_ascii_case(media_type);
        length.is_none_or(|length| length >= self.shortest)
            && (media_type.eq_ignore_ascii_case("text/html")
                || self.types.iter().any(|own| is_own(own)))
    }
}

impl Compression {
    /// Decides about a response, and changes its fields. `length` is the one of its body, where that is known.
    pub fn choose(
        &self,
        asked: &Parts,
        status: StatusCode,
        headers: &mut HeaderMap,
        length: Option<u64>,
    ) -> Option<Encoding> {
        // What nginx compresses, and RFC 9110 §7.7.
        let is_whole = [StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
        if !is_whole.contains(&status)
            || headers.contains_key(CONTENT_ENCODING)
            || says(headers, &CACHE_CONTROL, "no-transform")
            || length == Some(0)
        {
            return None;
        }
        let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let suits = |coding: &&Coding| coding.suits(media_type, length);
        let brotli = self.brotli.as_ref().filter(suits);
        let gzip = self.gzip.as_ref().filter(suits);
        if brotli.is_none() && gzip.is_none() {
            return None;
        }
        // Caches are told even where this client takes nothing.
        if !says(headers, &VARY, "accept-encoding") && !says(headers, &VARY, "*") {
            headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if asked.method == Method::HEAD || asked.version < Version::HTTP_11 {
            return None;
        }
        let takes = |coding| accepts(&asked.headers, coding);
        let encoding = match (brotli, gzip) {
            (Some(coding), _) if takes("br") => Encoding::Brotli(coding.level),
            (_, Some(coding)) if takes("gzip") && !self.is_not_for(asked) => {
                Encoding::Gzip(coding.level)
            }
            _ => return None,
        };
        announce(encoding, headers);
        Some(encoding)
    }

    fn is_not_for(&self, asked: &Parts) -> bool {
        let agent = asked.headers.get(USER_AGENT).map(HeaderValue::as_bytes);
        agent.is_some_and(|agent| self.not_for.iter().any(|text| text.is(agent)))
    }
}

fn announce(encoding: Encoding, headers: &mut HeaderMap) {
    let name = match encoding {
        Encoding::Brotli(_) => "br",
        Encoding::Gzip(_) => "gzip",
    };
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    // What is compressed is the same, and not byte by byte (RFC 9110 §8.8.1).
    if let Some(tag) = headers.get_mut(ETAG)
        && tag.as_bytes().starts_with(b"\"")
        && let Ok(weak) = HeaderValue::try_from([b"W/", tag.as_bytes()].concat())
    {
        *tag = weak;
    }
}

/// Whether a list holds this element.
fn says(headers: &HeaderMap, name: &http::HeaderName, element: &str) -> bool {
    let values = headers.get_all(name).iter();
    let mut texts = values.filter_map(|value| value.to_str().ok());
    texts.any(|text| {
        text.split(',')
            .any(|part| part.trim().eq_ignore_ascii_case(element))
    })
}

/// RFC 9110 §12.5.3: the coding by name, else `*`; a weight of 0 refuses it.
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut any = false;
    for element in texts.flat_map(|text| text.split(',')) {
        let mut parts = element.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
        });
        if name.eq_ignore_ascii_case(coding) {
            return !refused;
        }
        any |= name == "*" && !refused;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_accepted_by_name_and_weight() {
        for (text, want) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*", true),
            ("*;q=0", false),
            ("identity, br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, text.parse().unwrap());
            assert_eq!(accepts(&headers, "gzip"), want, "{text:?}");
        }
    }
}

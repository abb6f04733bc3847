//! Text with nginx's variables in it, such as `$request_uri` and `${scheme}${host}`, parsed once.

use http::{HeaderMap, HeaderName};

use super::rendezvous::{Hash, Key};
use crate::filter::Facts;

/// Text with variables in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(Box<[Piece]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Variable(Variable),
}

/// What a request is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Variable {
    RequestUri,
    Uri,
    Args,
    Method,
    Scheme,
    Host,
    RemoteAddr,
    /// `http_NAME`
    Field(HeaderName),
    /// `cookie_NAME`
    Cookie(Box<str>),
    /// `arg_NAME`
    Argument(Box<str>),
}

/// There is no such variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("${0} is no variable that is known here")]
pub struct UnknownVariable(Box<str>);

impl Expression {
    /// Reads an expression. A `$` that begins no name is itself.
    ///
    /// # Errors
    /// For the first variable that is not known.
    pub fn parse(text: &str) -> Result<Self, UnknownVariable> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, after) = rest.split_at(dollar);
            let (name, left) = name(&after[1..]);
            if name.is_empty() {
                let (literal, left) = rest.split_at(dollar + 1);
                push(&mut pieces, literal);
                rest = left;
                continue;
            }
            push(&mut pieces, before);
            pieces.push(Piece::Variable(Variable::read(name)?));
            rest = left;
        }
        push(&mut pieces, rest);
        Ok(Self(pieces.into()))
    }

    /// What it says of a request.
    #[must_use]
    pub fn text(&self, facts: &Facts<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(own) => text.extend_from_slice(own.as_bytes()),
                Piece::Variable(variable) => {
                    variable.of(facts, |bytes| text.extend_from_slice(bytes));
                }
            }
        }
        text
    }

    /// The hash of what it says of a request.
    pub(crate) fn key(&self, facts: &Facts<'_>) -> Key {
        let mut hash = Hash::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => hash.write(text.as_bytes()),
                Piece::Variable(variable) => variable.of(facts, |bytes| hash.write(bytes)),
            }
        }
        Key(hash.finish())
    }
}

fn push(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
}

/// The name at the start of what follows a `$`, and what is left after it.
fn name(text: &str) -> (&str, &str) {
    if let Some(inner) = text.strip_prefix('{') {
        return inner.split_once('}').unwrap_or(("", text));
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    text.split_at(end.unwrap_or(text.len()))
}

impl Variable {
    fn read(name: &str) -> Result<Self, UnknownVariable> {
        let unknown = || UnknownVariable(name.into());
        Ok(match name {
            "request_uri" => Self::RequestUri,
            "uri" | "document_uri" => Self::Uri,
            "args" | "query_string" => Self::Args,
            "request_method" => Self::Method,
            "scheme" => Self::Scheme,
            "host" => Self::Host,
            "remote_addr" | "binary_remote_addr" | "the_real_ip" => Self::RemoteAddr,
            _ => {
                let (kind, own) = name.split_once('_').ok_or_else(unknown)?;
                match kind {
                    _ if own.is_empty() => return Err(unknown()),
                    "http" => {
                        let field = own.replace('_', "-").parse().map_err(|_| unknown())?;
                        Self::Field(field)
                    }
                    "cookie" => Self::Cookie(own.into()),
                    "arg" => Self::Argument(own.into()),
                    _ => return Err(unknown()),
                }
            }
        })
    }

    /// Gives its value in pieces; nothing where the request has none.
    fn of(&self, facts: &Facts<'_>, mut write: impl FnMut(&[u8])) {
        let head = facts.head;
        match self {
            Self::RequestUri => write(facts.target().as_bytes()),
            Self::Uri => write(facts.path.as_bytes()),
            Self::Args => write(head.uri.query().unwrap_or_default().as_bytes()),
            Self::Method => write(head.method.as_str().as_bytes()),
            Self::Scheme => write(facts.forwarded.scheme.as_bytes()),
            Self::Host => write(facts.host.as_bytes()),
            Self::RemoteAddr => write(facts.forwarded.real_ip_text.as_bytes()),
            Self::Field(name) => {
                for (place, value) in head.headers.get_all(name).iter().enumerate() {
                    if place > 0 {
                        write(b", ");
                    }
                    write(value.as_bytes());
                }
            }
            Self::Cookie(name) => {
                write(cookie(&head.headers, name).unwrap_or_default().as_bytes());
            }
            Self::Argument(name) => {
                let mut pairs = head.uri.query().unwrap_or_default().split('&');
                let found = pairs.find_map(|pair| {
                    let (key, value) = pair.split_once('=')?;
                    key.eq_ignore_ascii_case(name).then_some(value)
                });
                write(found.unwrap_or_default().as_bytes());
            }
        }
    }
}

/// The value of the first cookie of this name.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    find_cookie(headers, |own| own == name)
}

/// The same for a name whose case does not matter, as in nginx's variables.
pub(super) fn cookie_of_any_case<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    find_cookie(headers, |own| own.eq_ignore_ascii_case(name))
}

fn find_cookie(headers: &HeaderMap, is_wanted: impl Fn(&str) -> bool) -> Option<&str> {
    let fields = headers.get_all(http::header::COOKIE).iter();
    let texts = fields.filter_map(|field| field.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        is_wanted(key.trim()).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_text_and_variables() {
        let read = |text| Expression::parse(text).unwrap().0.to_vec();
        let text = |text: &str| Piece::Text(text.into());
        assert_eq!(
            read("$request_uri"),
            [Piece::Variable(Variable::RequestUri)]
        );
        let field = Variable::Field(HeaderName::from_static("x-tenant"));
        assert_eq!(
            read("a${http_x_tenant}b$host"),
            [
                text("a"),
                Piece::Variable(field),
                text("b"),
                Piece::Variable(Variable::Host)
            ]
        );
        assert_eq!(read("5$"), [text("5$")]);
        assert_eq!(read("plain"), [text("plain")]);
    }

    #[test]
    fn an_unknown_variable_is_named() {
        for (text, name) in [
            ("$host$geoip_city", "geoip_city"),
            ("${http_}", "http_"),
            ("$nothing", "nothing"),
        ] {
            let unknown = Expression::parse(text).unwrap_err();
            assert_eq!(unknown, UnknownVariable(name.into()), "{text}");
        }
    }

    #[test]
    fn cookies_are_found_in_any_field() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=1; b=two".parse().unwrap());
        headers.append("cookie", "c=3;b=other".parse().unwrap());
        assert_eq!(cookie(&headers, "b"), Some("two"));
        assert_eq!(cookie(&headers, "c"), Some("3"));
        assert_eq!(cookie(&headers, "d"), None);
    }
}

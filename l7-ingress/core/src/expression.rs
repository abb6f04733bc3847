//! Text with nginx's variables in it, such as `$request_uri` and `${scheme}${host}`, parsed once.
//!
//! One type for all that ask: `upstream-hash-by`, fields that ConfigMaps set, snippets. Who reads the text says which
//! variables it may hold; a variable that has no value where it is asked for is empty.

use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName, StatusCode, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Route;
use crate::filter::{Credentials, Facts};
use crate::upstream::{Hash, Key};

/// The longest text that an expression may become.
const MAX_TEXT: usize = 32 * 1024;

/// All but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Text with variables in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expression(Box<[Piece]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    Variable(Variable),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// What a request says.
    Request(OfRequest),
    /// What its route says.
    Route(OfRoute),
    /// What its answer says.
    Answer(OfAnswer),
    /// What a script has set.
    Own(Box<str>),
    /// What the last regular expression's group matched.
    Group(usize),
    /// The number of the request, for logs.
    RequestId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OfRequest {
    Target,
    /// The same as a part of a query.
    EscapedTarget,
    Path,
    Query,
    /// `?` if there is a query.
    QuestionMark,
    Method,
    /// Its first line.
    Line,
    Protocol,
    Scheme,
    /// `on` over TLS.
    Https,
    Host,
    /// `http_host`
    Authority,
    Port,
    /// Of the Basic scheme, whether the password is right or not.
    User,
    RemoteAddr,
    /// The client's `X-Forwarded-For` with its address.
    ForwardedFor,
    /// `http_NAME`
    Field(HeaderName),
    /// `cookie_NAME`
    Cookie(Box<str>),
    /// `arg_NAME`
    Argument(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfRoute {
    Host,
    Path,
    Namespace,
    Ingress,
    Service,
    Port,
    /// `NAMESPACE-SERVICE-PORT`
    Upstream,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OfAnswer {
    Status,
    /// `sent_http_NAME`
    Field(HeaderName),
    /// `upstream_http_NAME`
    EndpointsField(HeaderName),
    /// `upstream_addr`
    Endpoint,
    EndpointsStatus,
}

/// There is no such variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("${0} is no variable that is known here")]
pub struct UnknownVariable(Box<str>);

/// A text would be longer than any may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a text with variables is longer than {MAX_TEXT} bytes")]
pub struct TooLong;

/// What variables are taken from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen<'s> {
    pub(crate) facts: Option<&'s Facts<'s>>,
    pub(crate) route: Option<&'s Route>,
    pub(crate) own: Option<&'s Registers>,
    pub(crate) answer: Option<&'s Answered<'s>>,
}

/// What a script has found out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registers {
    values: Vec<(Box<str>, Vec<u8>)>,
    pub(crate) groups: Vec<Vec<u8>>,
    pub(crate) request_id: Box<str>,
}

/// An answer, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its fields as they stand.
    pub fields: &'a HeaderMap,
    /// Whose it is, as long as it is an endpoint's alone.
    pub endpoint: Option<&'a str>,
}

impl Registers {
    /// Where no script runs.
    pub(crate) fn of(request_id: &str) -> Self {
        Self {
            request_id: request_id.into(),
            ..Self::default()
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: Vec<u8>) {
        match self.values.iter_mut().find(|(own, _)| **own == *name) {
            Some((_, old)) => *old = value,
            None => self.values.push((name.into(), value)),
        }
    }

    fn get(&self, name: &str) -> &[u8] {
        let found = self.values.iter().find(|(own, _)| **own == *name);
        found.map_or(&[], |(_, value)| value)
    }
}

/// Which variables a text may hold.
#[derive(Clone, Copy)]
pub(crate) enum Known<'k> {
    /// What a request says.
    Requests,
    /// And what its route says, and its number.
    Routes,
    /// All, and those that `0` holds for.
    Scripts(&'k dyn Fn(&str) -> bool),
}

impl Expression {
    /// Reads an expression that is about requests. A `$` that begins no name is itself.
    ///
    /// # Errors
    /// For the first variable that is not known.
    pub fn parse(text: &str) -> Result<Self, UnknownVariable> {
        Self::read(text, Known::Requests)
    }

    /// The same with these variables.
    pub(crate) fn read(text: &str, known: Known<'_>) -> Result<Self, UnknownVariable> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, after) = rest.split_at(dollar);
            let after = after.strip_prefix('$').unwrap_or(after);
            let (name, left) = name(after, known);
            push(&mut pieces, before.as_bytes());
            if name.is_empty() {
                push(&mut pieces, b"$");
                rest = after;
                continue;
            }
            pieces.push(Piece::Variable(Variable::read(name, known)?));
            rest = left;
        }
        push(&mut pieces, rest.as_bytes());
        Ok(Self(pieces.into()))
    }

    /// Whether it is the same for all requests.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        match &*self.0 {
            [] => Some(&[]),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What it begins with, as far as that is the same for all requests; `$scheme` counts as `http`.
    pub(crate) fn beginning(&self) -> &[u8] {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            Some(Piece::Variable(Variable::Request(OfRequest::Scheme))) => b"http://",
            _ => &[],
        }
    }

    /// What it says of a request.
    #[must_use]
    pub fn text(&self, facts: &Facts<'_>) -> Vec<u8> {
        let seen = Seen {
            facts: Some(facts),
            ..Seen::default()
        };
        self.value(&seen).unwrap_or_default()
    }

    /// What it says.
    pub(crate) fn value(&self, seen: &Seen<'_>) -> Result<Vec<u8>, TooLong> {
        self.value_with(seen, |to, bytes| to.extend_from_slice(bytes))
    }

    /// What it says, with what variables stand for written by `escape`.
    pub(crate) fn value_with(
        &self,
        seen: &Seen<'_>,
        escape: impl Fn(&mut Vec<u8>, &[u8]),
    ) -> Result<Vec<u8>, TooLong> {
        let mut text = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(own) => text.extend_from_slice(own),
                Piece::Variable(variable) => variable.of(seen, |bytes| escape(&mut text, bytes)),
            }
            if text.len() > MAX_TEXT {
                return Err(TooLong);
            }
        }
        Ok(text)
    }

    /// The same with what is known now put in, to be asked again once more is.
    pub(crate) fn bind(&self, seen: &Seen<'_>) -> Result<Self, TooLong> {
        let (mut pieces, mut length) = (Vec::new(), 0);
        for piece in &self.0 {
            match piece {
                Piece::Variable(variable) if variable.is_seen(seen) => {
                    variable.of(seen, |bytes| {
                        length += bytes.len();
                        push(&mut pieces, bytes);
                    });
                }
                Piece::Variable(_) => pieces.push(piece.clone()),
                Piece::Text(text) => {
                    length += text.len();
                    push(&mut pieces, text);
                }
            }
            if length > MAX_TEXT {
                return Err(TooLong);
            }
        }
        Ok(Self(pieces.into()))
    }

    /// The hash of what it says of a request.
    pub(crate) fn key(&self, facts: &Facts<'_>) -> Key {
        let mut hash = Hash::new();
        let seen = Seen {
            facts: Some(facts),
            ..Seen::default()
        };
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => hash.write(text),
                Piece::Variable(variable) => variable.of(&seen, |bytes| hash.write(bytes)),
            }
        }
        Key(hash.finish())
    }
}

/// Adds text, to the text before it if there is one.
fn push(pieces: &mut Vec<Piece>, text: &[u8]) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => *last = [last, text].concat().into(),
        _ => pieces.push(Piece::Text(text.into())),
    }
}

/// The name at the start of what follows a `$`, and what is left after it. A group has one digit.
fn name<'t>(text: &'t str, known: Known<'_>) -> (&'t str, &'t str) {
    if let Some(inner) = text.strip_prefix('{') {
        return inner.split_once('}').unwrap_or(("", text));
    }
    let digit = text.starts_with(|c: char| c.is_ascii_digit());
    if digit && matches!(known, Known::Scripts(_)) {
        return text.split_at(1);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    text.split_at(end.unwrap_or(text.len()))
}

impl Variable {
    fn read(name: &str, known: Known<'_>) -> Result<Self, UnknownVariable> {
        if let Some(variable) = OfRequest::read(name) {
            return Ok(Self::Request(variable));
        }
        let unknown = || Err(UnknownVariable(name.into()));
        if let Known::Requests = known {
            return unknown();
        }
        if let Some(variable) = OfRoute::read(name) {
            return Ok(Self::Route(variable));
        }
        if let "request_id" | "req_id" = name {
            return Ok(Self::RequestId);
        }
        let Known::Scripts(is_own) = known else {
            return unknown();
        };
        if let Ok(group @ 1..=9) = name.parse() {
            return Ok(Self::Group(group));
        }
        if let Some(variable) = OfAnswer::read(name) {
            return Ok(Self::Answer(variable));
        }
        match is_own(name) {
            true => Ok(Self::Own(name.into())),
            false => unknown(),
        }
    }

    /// Whether a name is one of those that have a value of their own.
    pub(crate) fn is_built_in(name: &str) -> bool {
        Self::read(name, Known::Scripts(&|_| false)).is_ok()
    }

    /// Whether it has its value by now.
    const fn is_seen(&self, seen: &Seen<'_>) -> bool {
        match self {
            Self::Request(_) => seen.facts.is_some(),
            Self::Route(_) => seen.route.is_some(),
            Self::Own(_) | Self::Group(_) | Self::RequestId => seen.own.is_some(),
            Self::Answer(variable) => match seen.answer {
                Some(answer) => variable.is_of_endpoint() == answer.endpoint.is_some(),
                None => false,
            },
        }
    }

    /// Gives its value in pieces; nothing where there is none.
    fn of(&self, seen: &Seen<'_>, mut write: impl FnMut(&[u8])) {
        match self {
            Self::Request(variable) => {
                if let Some(facts) = seen.facts {
                    variable.of(facts, write);
                }
            }
            Self::Route(variable) => {
                if let Some(route) = seen.route {
                    variable.of(route, write);
                }
            }
            Self::Answer(variable) => {
                if let Some(answer) = seen.answer {
                    variable.of(answer, write);
                }
            }
            Self::Own(name) => write(seen.own.map_or(&[], |own| own.get(name))),
            Self::Group(group) => {
                let group = seen.own.and_then(|own| own.groups.get(*group));
                write(group.map_or(&[], |group| group));
            }
            Self::RequestId => {
                write(seen.own.map_or(&[], |own| own.request_id.as_bytes()));
            }
        }
    }
}

impl OfRequest {
    fn read(name: &str) -> Option<Self> {
        Some(match name {
            "request_uri" => Self::Target,
            "escaped_request_uri" => Self::EscapedTarget,
            "uri" | "document_uri" => Self::Path,
            "args" | "query_string" => Self::Query,
            "is_args" => Self::QuestionMark,
            "request_method" => Self::Method,
            "request" => Self::Line,
            "server_protocol" => Self::Protocol,
            "scheme" | "pass_access_scheme" => Self::Scheme,
            "https" => Self::Https,
            "host" => Self::Host,
            "http_host" | "best_http_host" => Self::Authority,
            "server_port" | "pass_server_port" | "pass_port" => Self::Port,
            "remote_user" => Self::User,
            "remote_addr" | "binary_remote_addr" | "the_real_ip" | "realip_remote_addr" => {
                Self::RemoteAddr
            }
            "proxy_add_x_forwarded_for" | "full_x_forwarded_for" => Self::ForwardedFor,
            "content_type" => Self::Field(http::header::CONTENT_TYPE),
            "content_length" => Self::Field(http::header::CONTENT_LENGTH),
            _ => {
                let (kind, own) = name.split_once('_')?;
                match kind {
                    _ if own.is_empty() => return None,
                    "http" => Self::Field(field(own)?),
                    "cookie" => Self::Cookie(own.into()),
                    "arg" => Self::Argument(own.into()),
                    _ => return None,
                }
            }
        })
    }

    fn of(&self, facts: &Facts<'_>, mut write: impl FnMut(&[u8])) {
        let head = facts.head;
        match self {
            Self::Target => write(facts.target().as_bytes()),
            Self::EscapedTarget => {
                for piece in utf8_percent_encode(facts.target(), COMPONENT) {
                    write(piece.as_bytes());
                }
            }
            Self::Path => write(facts.path.as_bytes()),
            Self::Query => write(facts.query.unwrap_or_default().as_bytes()),
            Self::QuestionMark => match facts.query {
                None | Some("") => {}
                Some(_) => write(b"?"),
            },
            Self::Method => write(head.method.as_str().as_bytes()),
            Self::Line => {
                for part in [head.method.as_str(), " ", facts.target(), " "] {
                    write(part.as_bytes());
                }
                write(protocol(head.version));
            }
            Self::Protocol => write(protocol(head.version)),
            Self::Scheme => write(facts.forwarded.scheme.as_bytes()),
            Self::Https => write(if facts.tls { b"on" } else { b"" }),
            Self::Host => write(facts.host.as_bytes()),
            Self::Authority => write(facts.authority.as_bytes()),
            Self::Port => write(facts.forwarded.port.as_bytes()),
            Self::User => {
                if let Some(credentials) = Credentials::read(head) {
                    write(credentials.user());
                }
            }
            Self::RemoteAddr => write(facts.forwarded.real_ip_text.as_bytes()),
            Self::ForwardedFor => {
                let field = HeaderName::from_static("x-forwarded-for");
                fields(&head.headers, &field, b", ", &mut write);
                if head.headers.contains_key(&field) {
                    write(b", ");
                }
                write(facts.forwarded.real_ip_text.as_bytes());
            }
            Self::Field(name) if *name == HOST => write(facts.authority.as_bytes()),
            Self::Field(name) if *name == COOKIE => {
                fields(&head.headers, name, b"; ", &mut write);
            }
            Self::Field(name) => fields(&head.headers, name, b", ", &mut write),
            Self::Cookie(name) => {
                let value = cookie_of_any_case(&head.headers, name);
                write(value.unwrap_or_default().as_bytes());
            }
            Self::Argument(name) => {
                let mut pairs = facts.query.unwrap_or_default().split('&');
                let found = pairs.find_map(|pair| {
                    let (key, value) = pair.split_once('=')?;
                    key.eq_ignore_ascii_case(name).then_some(value)
                });
                write(found.unwrap_or_default().as_bytes());
            }
        }
    }
}

impl OfRoute {
    fn read(name: &str) -> Option<Self> {
        Some(match name {
            "server_name" => Self::Host,
            "location_path" => Self::Path,
            "namespace" => Self::Namespace,
            "ingress_name" => Self::Ingress,
            "service_name" => Self::Service,
            "service_port" => Self::Port,
            "proxy_upstream_name" | "proxy_host" => Self::Upstream,
            _ => return None,
        })
    }

    fn of(self, route: &Route, mut write: impl FnMut(&[u8])) {
        let backend = &route.backend;
        match self {
            Self::Host => write(route.host.as_bytes()),
            Self::Path => write(route.path.as_bytes()),
            Self::Namespace => write(route.ingress.namespace.as_bytes()),
            Self::Ingress => write(route.ingress.name.as_bytes()),
            Self::Service => write(backend.service.name.as_bytes()),
            Self::Port => write(backend.port.to_string().as_bytes()),
            Self::Upstream => write(backend.upstream_name.as_bytes()),
        }
    }
}

impl OfAnswer {
    fn read(name: &str) -> Option<Self> {
        let named = |prefix: &str| field(name.strip_prefix(prefix)?);
        Some(match name {
            "status" => Self::Status,
            "upstream_addr" => Self::Endpoint,
            "upstream_status" => Self::EndpointsStatus,
            _ => match named("upstream_http_") {
                Some(field) => Self::EndpointsField(field),
                None => Self::Field(named("sent_http_")?),
            },
        })
    }

    const fn is_of_endpoint(&self) -> bool {
        matches!(
            self,
            Self::EndpointsField(_) | Self::Endpoint | Self::EndpointsStatus
        )
    }

    fn of(&self, answer: &Answered<'_>, mut write: impl FnMut(&[u8])) {
        match self {
            _ if self.is_of_endpoint() != answer.endpoint.is_some() => {}
            Self::Status | Self::EndpointsStatus => write(answer.status.as_str().as_bytes()),
            Self::Endpoint => write(answer.endpoint.unwrap_or_default().as_bytes()),
            Self::Field(name) | Self::EndpointsField(name) => {
                fields(answer.fields, name, b", ", &mut write);
            }
        }
    }
}

/// The field that a variable's name ends with.
fn field(name: &str) -> Option<HeaderName> {
    name.replace('_', "-").parse().ok()
}

/// The lines of a field, joined.
fn fields(headers: &HeaderMap, name: &HeaderName, comma: &[u8], write: &mut impl FnMut(&[u8])) {
    for (place, value) in headers.get_all(name).iter().enumerate() {
        if place > 0 {
            write(comma);
        }
        write(value.as_bytes());
    }
}

const fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        _ => b"HTTP/1.1",
    }
}

/// The value of the first cookie of this name.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    find_cookie(headers, |own| own == name)
}

/// The same for a name whose case does not matter, as in nginx's variables.
pub(crate) fn cookie_of_any_case<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    find_cookie(headers, |own| own.eq_ignore_ascii_case(name))
}

fn find_cookie(headers: &HeaderMap, is_wanted: impl Fn(&str) -> bool) -> Option<&str> {
    let fields = headers.get_all(COOKIE).iter();
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
        let text = |text: &str| Piece::Text(text.as_bytes().into());
        let request = |variable| Piece::Variable(Variable::Request(variable));
        assert_eq!(read("$request_uri"), [request(OfRequest::Target)]);
        let field = OfRequest::Field(HeaderName::from_static("x-tenant"));
        assert_eq!(
            read("a${http_x_tenant}b$host"),
            [
                text("a"),
                request(field),
                text("b"),
                request(OfRequest::Host)
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

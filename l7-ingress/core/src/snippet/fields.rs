//! Directives about fields: of responses, and of the request that the endpoint gets.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE, TRAILER, UPGRADE,
};

use super::Fault;
use super::outcome::Time;
use super::read::Reading;
use super::syntax::Directive;
use super::wishes::only;
use crate::expression::Expression;
use crate::forwarded::is_hop_by_hop;

/// What a level says of responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) added: Vec<Added>,
    pub(super) more: Vec<More>,
    pub(super) hidden: Vec<HeaderName>,
    pub(super) expires: Option<Time>,
    pub(super) default_type: Option<HeaderValue>,
}

/// `add_header`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) name: HeaderName,
    pub(super) value: Expression,
    /// Whatever the status.
    pub(super) always: bool,
}

/// `more_set_headers`, `more_clear_headers`, for one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct More {
    pub(super) field: Field,
    /// An empty one takes the field away.
    pub(super) value: Expression,
    /// Of responses with one of these statuses; of all, if there are none.
    pub(super) statuses: Box<[u16]>,
    /// Of responses of one of these types; of all, if there are none.
    pub(super) types: Box<[Box<str>]>,
}

/// Which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Name(HeaderName),
    /// All whose names begin so.
    Start(Box<str>),
}

/// `proxy_set_header`: what the endpoint gets in place of whatever else there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: HeaderName,
    pub(super) value: Expression,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This, and what follows on the same level.
    pub(super) fn then(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.added.extend(other.added.iter().cloned());
        all.more.extend(other.more.iter().cloned());
        all.hidden.extend(other.hidden.iter().cloned());
        all.expires = other.expires.or(all.expires);
        all.default_type = other.default_type.clone().or(all.default_type);
        all
    }

    /// This, and what it has of the level around it.
    pub(super) fn within(&self, outer: &Self) -> Self {
        let mut all = self.clone();
        if all.added.is_empty() {
            all.added.clone_from(&outer.added);
        }
        if all.hidden.is_empty() {
            all.hidden.clone_from(&outer.hidden);
        }
        all.more = outer.more.iter().chain(&self.more).cloned().collect();
        all.expires = all.expires.or(outer.expires);
        all.default_type = all.default_type.or_else(|| outer.default_type.clone());
        all
    }

    /// Takes a directive in, if it is one of these.
    pub(super) fn read(
        &mut self,
        directive: &Directive,
        reading: &Reading<'_>,
    ) -> Result<bool, Fault> {
        match directive.name.as_str() {
            "add_header" => self.added.push(added(directive, reading)?),
            "more_set_headers" => more(directive, &mut self.more, |field| {
                let (name, value) = field.split_once(':').unwrap_or((field, ""));
                let name = response_field(directive, name.trim())?;
                let value = reading.field_value(directive, value.trim_start())?;
                Ok((Field::Name(name), value))
            })?,
            "more_clear_headers" => more(directive, &mut self.more, |field| {
                let field = field.trim_end_matches(':').trim();
                let field = match field.strip_suffix('*') {
                    Some(start) => {
                        let start = response_field(directive, start)?;
                        Field::Start(start.as_str().into())
                    }
                    None => Field::Name(response_field(directive, field)?),
                };
                Ok((field, Expression::default()))
            })?,
            "expires" => self.expires = Some(expires(directive)?),
            "default_type" => {
                let word = only(directive)?;
                let value = HeaderValue::from_str(word);
                let value = value.map_err(|_| directive.fault(format!("{word:?} is no type")))?;
                self.default_type = Some(value);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn added(directive: &Directive, reading: &Reading<'_>) -> Result<Added, Fault> {
    let (name, value, always) = match &*directive.words {
        [name, value] => (name, value, false),
        [name, value, always] if always == "always" => (name, value, true),
        _ => return Err(directive.fault("a name, a value and perhaps \"always\" expected")),
    };
    Ok(Added {
        name: response_field(directive, name)?,
        value: reading.field_value(directive, value)?,
        always,
    })
}

/// The fields of a directive of the module headers-more, with its options `-s` and `-t`.
fn more(
    directive: &Directive,
    to: &mut Vec<More>,
    field: impl Fn(&str) -> Result<(Field, Expression), Fault>,
) -> Result<(), Fault> {
    let (mut statuses, mut types) = (Vec::new(), Vec::new());
    let mut fields = Vec::new();
    let mut words = directive.words.iter();
    let is_end = |c: char| c == ' ' || c == ',';
    while let Some(word) = words.next() {
        let mut parts = || {
            let list = words.next().ok_or_else(|| {
                let what = format!("a list is expected after {word}");
                directive.fault(what)
            })?;
            Ok(list.split(is_end).filter(|part| !part.is_empty()))
        };
        match word.as_str() {
            "-s" => {
                for part in parts()? {
                    let status = part.parse().ok().filter(|code| (100..=999).contains(code));
                    let fault = || directive.fault(format!("{part:?} is no status"));
                    statuses.push(status.ok_or_else(fault)?);
                }
            }
            "-t" => types.extend(parts()?.map(|part| part.to_ascii_lowercase().into())),
            option if option.starts_with('-') => {
                let what = format!("the option {option} is not known; -s and -t are");
                return Err(directive.fault(what));
            }
            text => fields.push(field(text)?),
        }
    }
    if fields.is_empty() {
        return Err(directive.fault("a field is expected"));
    }
    to.extend(fields.into_iter().map(|(field, value)| More {
        field,
        value,
        statuses: statuses.clone().into(),
        types: types.clone().into(),
    }));
    Ok(())
}

/// `proxy_set_header`, `more_set_input_headers`; `None` for what is so in any case.
pub(super) fn told(
    directive: &Directive,
    (name, value): (&str, &str),
    reading: &Reading<'_>,
) -> Result<Option<Told>, Fault> {
    let field = name_of(directive, name)?;
    // Upgrades pass, and connections are kept: what people write so that they are.
    let usual = match field {
        CONNECTION => [
            "upgrade",
            "Upgrade",
            "",
            "keep-alive",
            "$connection_upgrade",
        ]
        .contains(&value),
        UPGRADE => value == "$http_upgrade",
        CONTENT_LENGTH => value == "$content_length",
        _ => false,
    };
    if usual {
        return Ok(None);
    }
    if is_hop_by_hop(field.as_str()) || [CONTENT_LENGTH, EXPECT, TE, TRAILER].contains(&field) {
        return Err(directive.fault(format!("{name} is for the proxy to set")));
    }
    let value = reading.field_value(directive, value)?;
    if field == HOST
        && let Some(host) = value.literal()
    {
        let host = str::from_utf8(host).unwrap_or_default();
        let canonical = crate::host::canonical(host);
        canonical.map_err(|error| directive.fault(format!("{host:?}: {error}")))?;
    }
    Ok(Some(Told { name: field, value }))
}

/// A field that is hidden.
pub(super) fn hidden(directive: &Directive) -> Result<HeaderName, Fault> {
    response_field(directive, only(directive)?)
}

/// A field that may be changed in responses: not one that says where they end.
fn response_field(directive: &Directive, name: &str) -> Result<HeaderName, Fault> {
    let field = name_of(directive, name)?;
    match is_framing(&field) {
        true => Err(directive.fault(format!("{name} is for the proxy to set"))),
        false => Ok(field),
    }
}

/// Whether a field of a response says where it ends, or is of this hop.
pub(super) fn is_framing(name: &HeaderName) -> bool {
    is_hop_by_hop(name.as_str()) || [CONTENT_LENGTH, TRAILER].contains(name)
}

/// A `$` could stand in a name, but whoever writes it expects to see a variable.
fn name_of(directive: &Directive, name: &str) -> Result<HeaderName, Fault> {
    let parsed = name.parse().ok().filter(|_| !name.contains('$'));
    parsed.ok_or_else(|| directive.fault(format!("{name:?} is no field name")))
}

fn expires(directive: &Directive) -> Result<Time, Fault> {
    let word = only(directive)?;
    Time::read(word).ok_or_else(|| {
        let what = format!("{word:?} is neither a time nor epoch, max or off");
        directive.fault(what)
    })
}

//! Label and field selectors: how they are written and what they match.

use serde_json::Value;

use crate::{object::Object, registry::ResourceType, status::Status};

/// What a list or watch selects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    path: String,
    equal: bool,
    value: String,
}

impl Selection {
    /// Parses both selectors of a request.
    pub(crate) fn parse(
        resource: &ResourceType,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, Status> {
        let labels = parse_labels(labels.unwrap_or_default())
            .map_err(|why| Status::bad_request(format!("unable to parse requirement: {why}")))?;
        let fields = parse_fields(fields.unwrap_or_default()).map_err(Status::bad_request)?;
        let known = fields_of(resource);
        for it in &fields {
            if !known.contains(&it.path.as_str()) && !is_common(&it.path) {
                return Err(Status::bad_request(format!(
                    "field label not supported: {}",
                    it.path
                )));
            }
        }
        Ok(Self { labels, fields })
    }

    /// The same selection, of one name only.
    pub(crate) fn named(mut self, name: &str) -> Self {
        let path = "metadata.name".to_owned();
        self.fields.push(FieldRequirement {
            path,
            equal: true,
            value: name.to_owned(),
        });
        self
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Object) -> bool {
        self.labels
            .iter()
            .all(|it| it.test.holds(object.facts.label(&it.key)))
            && self.fields.iter().all(|it| it.holds(object))
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|text| text.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|it| values.iter().any(|one| one == it)),
            Self::NotIn(values) => value.is_none_or(|it| values.iter().all(|one| one != it)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Greater(bound) => number().is_some_and(|it| it > *bound),
            Self::Less(bound) => number().is_some_and(|it| it < *bound),
        }
    }
}

impl FieldRequirement {
    fn holds(&self, object: &Object) -> bool {
        let found = match self.path.as_str() {
            "metadata.name" => &*object.key.name,
            "metadata.namespace" => &*object.key.namespace,
            path => object
                .facts
                .fields
                .iter()
                .find(|(name, _)| *name == path)
                .map_or("", |(_, value)| value.as_ref()),
        };
        (found == self.value) == self.equal
    }
}

/// The fields beyond name and namespace that may select objects of this type.
pub(crate) fn fields_of(resource: &ResourceType) -> &'static [&'static str] {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("" | "events.k8s.io", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => &[],
    }
}

/// The text that a field selector compares, if the object has it.
pub(crate) fn field_text(object: &Value, path: &str) -> Option<Box<str>> {
    let path = match path {
        "source" => "source.component",
        path => path,
    };
    let value = path
        .split('.')
        .try_fold(object, |value, member| value.get(member));
    match value {
        Some(Value::String(text)) => Some(text.as_str().into()),
        Some(Value::Bool(flag)) => Some(flag.to_string().into()),
        Some(Value::Number(number)) => Some(number.to_string().into()),
        // A flag that is not written is false.
        None if matches!(path, "spec.unschedulable" | "spec.hostNetwork") => Some("false".into()),
        _ => None,
    }
}

fn is_common(path: &str) -> bool {
    matches!(path, "metadata.name" | "metadata.namespace")
}

fn parse_fields(text: &str) -> Result<Vec<FieldRequirement>, String> {
    let terms = split_escaped(text);
    terms
        .iter()
        .filter(|term| !term.is_empty())
        .map(|term| parse_field(term))
        .collect()
}

fn parse_field(term: &str) -> Result<FieldRequirement, String> {
    let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
        (path, false, value)
    } else if let Some((path, value)) = term.split_once("==") {
        (path, true, value)
    } else if let Some((path, value)) = term.split_once('=') {
        (path, true, value)
    } else {
        return Err(format!(
            "invalid selector: {term:?}; can't understand {term:?}"
        ));
    };
    let value = unescape(value).ok_or_else(|| format!("invalid field selector: {term:?}"))?;
    Ok(FieldRequirement {
        path: path.to_owned(),
        equal,
        value,
    })
}

/// Splits at commas that no backslash escapes.
fn split_escaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\\' => escaped = !escaped,
            b',' if !escaped => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => escaped = false,
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Undoes `\\`, `\,` and `\=`; any other escape is a fault.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => out.push(
                chars
                    .next()
                    .filter(|next| matches!(next, '\\' | ',' | '='))?,
            ),
            ',' | '=' => return None,
            char => out.push(char),
        }
    }
    Some(out)
}

/// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
fn parse_labels(text: &str) -> Result<Vec<Requirement>, String> {
    let mut tokens = Tokens { rest: text };
    let mut requirements = Vec::new();
    if tokens.peek() == Token::End {
        return Ok(requirements);
    }
    loop {
        requirements.push(parse_requirement(&mut tokens)?);
        match tokens.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => {}
            other => return Err(format!("found {other}, expected: ',' or 'end of string'")),
        }
    }
}

fn parse_requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    if tokens.peek() == Token::Symbol("!") {
        tokens.next();
        return Ok(Requirement {
            key: parse_key(tokens)?,
            test: Test::Absent,
        });
    }
    let key = parse_key(tokens)?;
    let test = match tokens.peek() {
        Token::End | Token::Symbol(",") => {
            return Ok(Requirement {
                key,
                test: Test::Exists,
            });
        }
        _ => match tokens.next() {
            Token::Symbol("=" | "==") => Test::In(vec![parse_value(tokens)?]),
            Token::Symbol("!=") => Test::NotIn(vec![parse_value(tokens)?]),
            Token::Symbol(">") => Test::Greater(parse_bound(tokens)?),
            Token::Symbol("<") => Test::Less(parse_bound(tokens)?),
            Token::Word("in") => Test::In(parse_set(tokens)?),
            Token::Word("notin") => Test::NotIn(parse_set(tokens)?),
            other => {
                return Err(format!(
                    "found {other}, expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        },
    };
    Ok(Requirement { key, test })
}

fn parse_key(tokens: &mut Tokens<'_>) -> Result<String, String> {
    match tokens.next() {
        Token::Word(key) => match crate::names::label_key(key) {
            Ok(()) => Ok(key.to_owned()),
            Err(why) => Err(format!("key: Invalid value: {key:?}: {why}")),
        },
        other => Err(format!("found {other}, expected: identifier")),
    }
}

fn parse_value(tokens: &mut Tokens<'_>) -> Result<String, String> {
    match tokens.peek() {
        Token::Word(value) => {
            tokens.next();
            match crate::names::label_value(value) {
                Ok(()) => Ok(value.to_owned()),
                Err(why) => Err(format!("values[0]: Invalid value: {value:?}: {why}")),
            }
        }
        // `a=` selects the empty value.
        Token::End | Token::Symbol("," | ")") => Ok(String::new()),
        other @ Token::Symbol(_) => Err(format!("found {other}, expected: identifier")),
    }
}

fn parse_bound(tokens: &mut Tokens<'_>) -> Result<i64, String> {
    let value = parse_value(tokens)?;
    value
        .parse()
        .map_err(|_| format!("values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"))
}

fn parse_set(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    match tokens.next() {
        Token::Symbol("(") => {}
        other => return Err(format!("found {other}, expected: '('")),
    }
    let mut values = Vec::new();
    loop {
        values.push(parse_value(tokens)?);
        match tokens.next() {
            Token::Symbol(")") => return Ok(values),
            Token::Symbol(",") => {}
            other => return Err(format!("found {other}, expected: ',' or ')'")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'a str),
    End,
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(text) | Self::Symbol(text) => write!(f, "'{text}'"),
            Self::End => f.write_str("''"),
        }
    }
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Token<'a> {
        Tokens { rest: self.rest }.next()
    }

    fn next(&mut self) -> Token<'a> {
        self.rest = self.rest.trim_start();
        for symbol in ["==", "!=", "=", "!", ",", "(", ")", ">", "<"] {
            if let Some(rest) = self.rest.strip_prefix(symbol) {
                let token = &self.rest[..symbol.len()];
                self.rest = rest;
                return Token::Symbol(token);
            }
        }
        let end = self
            .rest
            .find(|char: char| char.is_whitespace() || "=!,()<>".contains(char))
            .unwrap_or(self.rest.len());
        if end == 0 {
            return Token::End;
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Token::Word(word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::object::{Draft, Key};

    fn object() -> Object {
        let value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "n", "labels": {"app": "web", "tier": "", "n": "5"}},
            "spec": {"nodeName": "node,1"},
        });
        Draft::new(&value, &["spec.nodeName", "status.phase"]).at(Key::new("n", "a"), 1)
    }

    #[test]
    fn label_selectors() {
        // https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
        for (text, expect) in [
            ("", Ok(true)),
            ("app=web", Ok(true)),
            ("app==web", Ok(true)),
            (" app = web , !gone ", Ok(true)),
            ("app!=web", Ok(false)),
            ("gone!=web", Ok(true)),
            ("app in (web, db)", Ok(true)),
            ("app notin (web)", Ok(false)),
            ("gone notin (web)", Ok(true)),
            ("gone in (web)", Ok(false)),
            ("app", Ok(true)),
            ("!app", Ok(false)),
            ("tier=", Ok(true)),
            ("tier in (,x)", Ok(true)),
            ("n>4,n<6", Ok(true)),
            ("n>5", Ok(false)),
            ("app>5", Ok(false)),
            ("app=a=b", Err(())),
            ("app in web", Err(())),
            ("app in (web", Err(())),
            ("app,", Err(())),
            ("n>x", Err(())),
            ("-a=b", Err(())),
            ("a=-b", Err(())),
            ("a/b/c=d", Err(())),
        ] {
            let found = parse_labels(text).map(|labels| {
                Selection {
                    labels,
                    fields: Vec::new(),
                }
                .matches(&object())
            });
            assert_eq!(found.map_err(|_| ()), expect, "{text:?}");
        }
    }

    #[test]
    fn field_selectors() {
        for (text, expect) in [
            ("metadata.name=a", Ok(true)),
            ("metadata.name!=a", Ok(false)),
            ("metadata.name==a,metadata.namespace=n", Ok(true)),
            (r"spec.nodeName=node\,1", Ok(true)),
            ("status.phase=", Ok(true)),
            ("status.phase!=Running", Ok(true)),
            ("spec.nodeName", Err(())),
            (r"spec.nodeName=a\b", Err(())),
        ] {
            let found = parse_fields(text).map(|fields| {
                Selection {
                    labels: Vec::new(),
                    fields,
                }
                .matches(&object())
            });
            assert_eq!(found.map_err(|_| ()), expect, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}", likely in "[a-z!=,()<> \\\\in-]{0,30}") {
            for text in [&text, &likely] {
                let _ = parse_labels(text);
                let _ = parse_fields(text);
            }
        }
    }
}

//! Decoding: a document becomes an object of its type, or every field at fault is named.

use serde_json::Value;

use super::{Limits, List, ListKind, Map, Schema, Shape, Struct};
use crate::{base64, status::Cause};

/// What decoding finds.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Values of a wrong type, and missing ones.
    pub(crate) causes: Vec<Cause>,
    /// Paths of fields that the type does not have; they were dropped.
    pub(crate) unknown: Vec<String>,
}

/// Decodes the object in place: drops nulls and unknown fields, fills in a custom type's defaults.
pub(crate) fn decode(schema: &Schema, object: &mut Value) -> Findings {
    let mut decoder = Decoder {
        schema,
        findings: Findings::default(),
        path: String::new(),
    };
    decoder.value(&schema.root, object);
    decoder.findings
}

struct Decoder<'a> {
    schema: &'a Schema,
    findings: Findings,
    path: String,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, shape: &'a Shape, value: &mut Value) {
        match shape {
            Shape::Named(_) => self.value(self.schema.resolve(shape), value),
            Shape::Limited(limited) => {
                self.value(&limited.0, value);
                self.limits(&limited.1, value);
            }
            Shape::Struct(it) => self.structure(it, value),
            Shape::Map(it) => self.map(it, value),
            Shape::List(it) => self.list(it, value),
            shape => self.scalar(shape, value),
        }
    }

    fn scalar(&mut self, shape: &Shape, value: &Value) {
        let (good, wanted) = match shape {
            Shape::Text => (value.is_string(), "string"),
            Shape::Boolean => (value.is_boolean(), "boolean"),
            Shape::Integer => (is_integer(value), "integer"),
            Shape::Short => {
                let fits = value.as_i64().is_some_and(|it| i32::try_from(it).is_ok());
                (fits, "integer (32 bits)")
            }
            Shape::Number => (value.is_number(), "number"),
            Shape::IntOrText => (value.is_number() || value.is_string(), "integer or string"),
            Shape::Bytes => return self.bytes(value),
            Shape::Time => return self.time(value),
            _ => (true, ""),
        };
        if !good {
            self.cause(Cause::wrong_type(self.path.as_str(), value, wanted));
        }
    }

    fn bytes(&mut self, value: &Value) {
        match value.as_str() {
            Some(text) if base64::is_valid(text) => {}
            // The value may be a secret: it is not repeated.
            Some(_) => self.cause(Cause::invalid(
                self.path.as_str(),
                "…",
                "illegal base64 data",
            )),
            None => self.cause(Cause::wrong_type(self.path.as_str(), value, "string")),
        }
    }

    fn time(&mut self, value: &Value) {
        match value.as_str() {
            Some(text) if text.parse::<jiff::Timestamp>().is_ok() => {}
            Some(text) => {
                let why = "must be a time as RFC 3339 writes it";
                self.cause(Cause::invalid(self.path.as_str(), text, why));
            }
            None => self.cause(Cause::wrong_type(self.path.as_str(), value, "string")),
        }
    }

    fn structure(&mut self, shape: &'a Struct, value: &mut Value) {
        let Value::Object(members) = value else {
            return self.cause(Cause::wrong_type(self.path.as_str(), value, "object"));
        };
        members
            .retain(|key, value| !value.is_null() || shape.nullable.iter().any(|it| **it == **key));
        for (key, default) in &shape.defaults {
            if !members.contains_key(&**key) {
                members.insert(key.to_string(), default.clone());
            }
        }
        let mut unknown = Vec::new();
        for (key, value) in members.iter_mut() {
            match shape.fields.get(key.as_str()) {
                _ if value.is_null() => {}
                Some(shape) => self.within_field(key, |it| it.value(shape, value)),
                None if shape.open => {}
                None => unknown.push(key.clone()),
            }
        }
        for key in unknown {
            members.remove(&key);
            self.within_field(&key, |it| it.findings.unknown.push(it.path.clone()));
        }
        for key in &shape.required {
            if !members.contains_key(&**key) && self.must_be_there(shape, key) {
                self.within_field(key, |it| it.cause(Cause::required(it.path.as_str(), "")));
            }
        }
    }

    /// Go decodes a missing list, map or flag as an empty one, and a status is as its writer
    /// likes; all else that is required is also checked by the API server.
    fn must_be_there(&self, shape: &Struct, key: &str) -> bool {
        let shape = shape.fields.get(key).map(|it| self.schema.resolve(it));
        let forgiven = matches!(
            shape,
            None | Some(Shape::List(_) | Shape::Map(_) | Shape::Boolean | Shape::Any)
        );
        self.schema.custom || !(forgiven || self.path.starts_with("status") || key == "metadata")
    }

    fn map(&mut self, shape: &'a Map, value: &mut Value) {
        let Value::Object(members) = value else {
            return self.cause(Cause::wrong_type(self.path.as_str(), value, "object"));
        };
        members.retain(|_, value| !value.is_null());
        for (key, value) in members {
            self.within(&format!("[{key}]"), |it| it.value(&shape.item, value));
        }
    }

    fn list(&mut self, shape: &'a List, value: &mut Value) {
        let Value::Array(items) = value else {
            return self.cause(Cause::wrong_type(self.path.as_str(), value, "array"));
        };
        for (at, item) in items.iter_mut().enumerate() {
            self.within(&format!("[{at}]"), |it| it.value(&shape.item, item));
        }
        self.duplicates(shape, items);
    }

    /// Items that server-side apply could not tell apart.
    fn duplicates(&mut self, shape: &List, items: &[Value]) {
        if shape.kind == ListKind::Atomic {
            return;
        }
        let keys: Vec<String> = items.iter().map(|item| shape.kind.key_of(item)).collect();
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].contains(key) {
                self.within(&format!("[{at}]"), |it| {
                    it.cause(Cause::duplicate(it.path.as_str(), key));
                });
            }
        }
    }

    fn limits(&mut self, limits: &Limits, value: &Value) {
        if !limits.allowed.is_empty() && !limits.allowed.contains(value) {
            let allowed: Vec<&str> = limits.allowed.iter().filter_map(Value::as_str).collect();
            let found = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            self.cause(Cause::unsupported(self.path.as_str(), &found, &allowed));
        }
        let number = value.as_f64();
        let length = value
            .as_str()
            .and_then(|it| u64::try_from(it.chars().count()).ok());
        for (bad, why) in [
            (below(number, limits.minimum), "is smaller than the minimum"),
            (below(limits.maximum, number), "is greater than the maximum"),
            (below(length, limits.min_length), "is too short"),
            (below(limits.max_length, length), "is too long"),
        ] {
            if bad {
                self.cause(Cause::invalid(self.path.as_str(), value, why));
            }
        }
    }

    fn within_field(&mut self, key: &str, inner: impl FnOnce(&mut Self)) {
        let step = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!(".{key}")
        };
        self.within(&step, inner);
    }

    fn within(&mut self, step: &str, inner: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        inner(self);
        self.path.truncate(length);
    }

    fn cause(&mut self, cause: Cause) {
        self.findings.causes.push(cause);
    }
}

impl ListKind {
    /// What tells an item apart, as text.
    pub(crate) fn key_of(&self, item: &Value) -> String {
        match self {
            Self::Atomic | Self::Set => item.to_string(),
            Self::Keyed(keys) => {
                let member = |key: &str| match item.get(key) {
                    // The one key with a default.
                    None if key == "protocol" => Value::from("TCP"),
                    None => Value::Null,
                    Some(value) => value.clone(),
                };
                let members = keys.iter().map(|key| (key.to_string(), member(key)));
                let members = members.filter(|(_, value)| !value.is_null());
                Value::Object(members.collect()).to_string()
            }
        }
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn below<T: PartialOrd>(value: Option<T>, bound: Option<T>) -> bool {
    matches!((value, bound), (Some(value), Some(bound)) if value < bound)
}

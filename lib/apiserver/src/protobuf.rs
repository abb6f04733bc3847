//! The protobuf bodies of `kubectl create namespace|configmap|secret|service|ingress|…`.
//!
//! These commands, unlike `-f`, know no other format. Only what they write is known here; a message
//! with any other field is refused rather than understood by half.
//!
//! The envelope is `k8s\0` and a `runtime.Unknown`; field numbers are those of the
//! `generated.proto` files of `k8s.io/api`.

use serde_json::{Map, Value, json};

use crate::base64;

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Decodes an object; none if it is not one of the known kind.
pub(crate) fn object(body: &[u8]) -> Option<Value> {
    let envelope = message(body.strip_prefix(b"k8s\0")?, UNKNOWN)?;
    let kind = envelope["typeMeta"]["kind"].as_str()?;
    let fields = OBJECTS.iter().find(|(name, _)| *name == kind)?.1;
    let raw = fields_of(body.strip_prefix(b"k8s\0")?)?
        .into_iter()
        .find(|it| it.number == 2)?;
    let mut object = message(raw.bytes()?, fields)?;
    object["apiVersion"] = envelope["typeMeta"]["apiVersion"].clone();
    object["kind"] = kind.into();
    Some(object)
}

/// A field of a message: number, name, what it holds.
type Field = (u64, &'static str, Holds);

#[derive(Clone, Copy)]
enum Holds {
    Text,
    Texts,
    Number,
    Flag,
    One(&'static [Field]),
    /// A message whose members JSON shows as members of this one.
    Inline(&'static [Field]),
    Many(&'static [Field]),
    /// Text by text.
    TextMap,
    /// Bytes, written as base64, by text.
    BytesMap,
    IntOrText,
    /// What a new object has no say in.
    Ignored,
}

/// Decodes a message. Empty values are what the sender left out.
fn message(bytes: &[u8], fields: &[Field]) -> Option<Value> {
    let mut object = Map::new();
    for field in fields_of(bytes)? {
        let (_, name, holds) = fields.iter().find(|it| it.0 == field.number)?;
        let value = match holds {
            Holds::Ignored => continue,
            Holds::Text | Holds::Texts => Value::from(field.text()?),
            Holds::Number => Value::from(field.number()?),
            Holds::Flag => Value::from(field.number()? != 0),
            Holds::One(fields) | Holds::Inline(fields) | Holds::Many(fields) => {
                message(field.bytes()?, fields)?
            }
            Holds::IntOrText => int_or_text(field.bytes()?)?,
            Holds::TextMap | Holds::BytesMap => entry(field.bytes()?, *holds)?,
        };
        match (holds, value) {
            (Holds::Texts | Holds::Many(_), value) => {
                let list = object.entry(*name).or_insert_with(|| json!([]));
                list.as_array_mut()?.push(value);
            }
            (Holds::TextMap | Holds::BytesMap, Value::Object(entry)) => {
                let map = object.entry(*name).or_insert_with(|| json!({}));
                map.as_object_mut()?.extend(entry);
            }
            (Holds::Inline(_), Value::Object(members)) => object.extend(members),
            (_, value) if value == "" || value == 0 || value == false => {}
            (_, value) => drop(object.insert((*name).to_owned(), value)),
        }
    }
    Some(Value::Object(object))
}

fn entry(bytes: &[u8], holds: Holds) -> Option<Value> {
    let (mut key, mut value) = (String::new(), String::new());
    for field in fields_of(bytes)? {
        match (field.number, holds) {
            (1, _) => key = field.text()?,
            (2, Holds::BytesMap) => value = base64::encode(field.bytes()?),
            (2, _) => value = field.text()?,
            _ => return None,
        }
    }
    Some(json!({ key: value }))
}

fn int_or_text(bytes: &[u8]) -> Option<Value> {
    let value = message(
        bytes,
        &[
            (1, "type", Holds::Number),
            (2, "int", Holds::Number),
            (3, "text", Holds::Text),
        ],
    )?;
    let (member, empty) = if value["type"] == 1 {
        ("text", json!(""))
    } else {
        ("int", json!(0))
    };
    Some(value.get(member).cloned().unwrap_or(empty))
}

/// A field as it is on the wire.
struct Raw<'a> {
    number: u64,
    value: Wire<'a>,
}

enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Raw<'a> {
    fn bytes(&self) -> Option<&'a [u8]> {
        match self.value {
            Wire::Bytes(bytes) => Some(bytes),
            Wire::Varint(_) => None,
        }
    }

    fn text(&self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    fn number(&self) -> Option<i64> {
        match self.value {
            // Negative numbers are written as their two's complement.
            Wire::Varint(value) => Some(value.cast_signed()),
            Wire::Bytes(_) => None,
        }
    }
}

/// Splits a message into its fields; no field is longer than the message.
fn fields_of(mut bytes: &[u8]) -> Option<Vec<Raw<'_>>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Wire::Bytes(value)
            }
            _ => return None,
        };
        fields.push(Raw {
            number: tag >> 3,
            value,
        });
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

const UNKNOWN: &[Field] = &[
    (
        1,
        "typeMeta",
        Holds::One(&[(1, "apiVersion", Holds::Text), (2, "kind", Holds::Text)]),
    ),
    (2, "raw", Holds::Ignored),
    (3, "contentEncoding", Holds::Text),
    (4, "contentType", Holds::Text),
];

const META: Holds = Holds::One(&[
    (1, "name", Holds::Text),
    (2, "generateName", Holds::Text),
    (3, "namespace", Holds::Text),
    (4, "selfLink", Holds::Ignored),
    (5, "uid", Holds::Text),
    (6, "resourceVersion", Holds::Text),
    (7, "generation", Holds::Ignored),
    (8, "creationTimestamp", Holds::Ignored),
    (11, "labels", Holds::TextMap),
    (12, "annotations", Holds::TextMap),
    (14, "finalizers", Holds::Texts),
]);

const OBJECTS: &[(&str, &[Field])] = &[
    (
        "ConfigMap",
        &[
            (1, "metadata", META),
            (2, "data", Holds::TextMap),
            (3, "binaryData", Holds::BytesMap),
            (4, "immutable", Holds::Flag),
        ],
    ),
    (
        "Ingress",
        &[
            (1, "metadata", META),
            (2, "spec", Holds::One(INGRESS)),
            (3, "status", Holds::Ignored),
        ],
    ),
    (
        "Namespace",
        &[
            (1, "metadata", META),
            (2, "spec", Holds::Ignored),
            (3, "status", Holds::Ignored),
        ],
    ),
    (
        "Secret",
        &[
            (1, "metadata", META),
            (2, "data", Holds::BytesMap),
            (3, "type", Holds::Text),
            (4, "stringData", Holds::TextMap),
            (5, "immutable", Holds::Flag),
        ],
    ),
    (
        "Service",
        &[
            (1, "metadata", META),
            (2, "spec", Holds::One(SERVICE)),
            (3, "status", Holds::Ignored),
        ],
    ),
    ("ServiceAccount", &[(1, "metadata", META)]),
];

const SERVICE: &[Field] = &[
    (
        1,
        "ports",
        Holds::Many(&[
            (1, "name", Holds::Text),
            (2, "protocol", Holds::Text),
            (3, "port", Holds::Number),
            (4, "targetPort", Holds::IntOrText),
            (5, "nodePort", Holds::Number),
            (6, "appProtocol", Holds::Text),
        ]),
    ),
    (2, "selector", Holds::TextMap),
    (3, "clusterIP", Holds::Text),
    (4, "type", Holds::Text),
    (5, "externalIPs", Holds::Texts),
    (7, "sessionAffinity", Holds::Text),
    (8, "loadBalancerIP", Holds::Text),
    (9, "loadBalancerSourceRanges", Holds::Texts),
    (10, "externalName", Holds::Text),
    (11, "externalTrafficPolicy", Holds::Text),
    (12, "healthCheckNodePort", Holds::Number),
    (13, "publishNotReadyAddresses", Holds::Flag),
    (21, "loadBalancerClass", Holds::Text),
];

const INGRESS: &[Field] = &[
    (1, "defaultBackend", BACKEND),
    (
        2,
        "tls",
        Holds::Many(&[(1, "hosts", Holds::Texts), (2, "secretName", Holds::Text)]),
    ),
    (
        3,
        "rules",
        Holds::Many(&[
            (1, "host", Holds::Text),
            (
                2,
                "",
                Holds::Inline(&[(1, "http", Holds::One(&[(1, "paths", Holds::Many(PATH))]))]),
            ),
        ]),
    ),
    (4, "ingressClassName", Holds::Text),
];

const PATH: &[Field] = &[
    (1, "path", Holds::Text),
    (2, "backend", BACKEND),
    (3, "pathType", Holds::Text),
];

const BACKEND: Holds = Holds::One(&[(
    4,
    "service",
    Holds::One(&[
        (1, "name", Holds::Text),
        (
            2,
            "port",
            Holds::One(&[(1, "name", Holds::Text), (2, "number", Holds::Number)]),
        ),
    ]),
)]);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend_from_slice(bytes);
        field
    }

    fn envelope(kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [
            b"k8s\0".to_vec(),
            field(1, &meta),
            field(2, raw),
            field(3, b""),
            field(4, b""),
        ]
        .concat()
    }

    #[test]
    fn a_secret() {
        let entry = [field(1, b"key"), field(2, b"value")].concat();
        let meta = [
            field(1, b"name"),
            field(2, b""),
            field(3, b"ns"),
            field(8, b""),
        ]
        .concat();
        let raw = [field(1, &meta), field(2, &entry), field(3, b"Opaque")].concat();
        let expect = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "name", "namespace": "ns"},
            "data": {"key": "dmFsdWU="}, "type": "Opaque",
        });
        assert_eq!(object(&envelope("Secret", &raw)), Some(expect));
        assert_eq!(
            object(&envelope("Secret", &field(9, b""))),
            None,
            "an unknown field"
        );
        assert_eq!(object(&envelope("Gadget", &raw)), None, "an unknown kind");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            raw in prop::collection::vec(0_u8..40, 0..64),
        ) {
            object(&bytes);
            for kind in ["Service", "Ingress", "ConfigMap"] {
                object(&envelope(kind, &raw));
            }
        }
    }
}

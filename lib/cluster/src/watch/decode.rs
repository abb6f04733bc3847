//! Decodes what the API sends, object by object: one that is malformed hides no other.

use std::borrow::Cow;

use kube::Resource;
use kube::core::Status;
use model::ObjectName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Malformed;
use super::known::Version;

/// One page of a list, its objects not yet decoded.
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    #[serde(default)]
    pub(super) metadata: PageMeta,
    #[serde(borrow, default)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta {
    pub(super) resource_version: Option<String>,
    #[serde(rename = "continue")]
    pub(super) continue_token: Option<String>,
}

/// One line of a watch.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

/// What has to be legible in every object.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow)]
    metadata: HeadMeta<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMeta<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource_version: Option<Cow<'a, str>>,
}

impl<'a> Head<'a> {
    pub(super) fn read(raw: &'a RawValue) -> serde_json::Result<Self> {
        serde_json::from_str(raw.get())
    }

    pub(super) fn name(&self) -> ObjectName {
        ObjectName::new(
            self.metadata.namespace.as_deref().unwrap_or_default(),
            self.metadata.name.as_deref().unwrap_or_default(),
        )
    }

    pub(super) fn version(&self) -> Version {
        Version::of(
            self.metadata.uid.as_deref().unwrap_or_default(),
            self.resource_version(),
        )
    }

    pub(super) fn resource_version(&self) -> &str {
        self.metadata
            .resource_version
            .as_deref()
            .unwrap_or_default()
    }
}

/// Decodes one object; only one that is malformed is read twice, to find the field at fault.
pub(super) fn object<K: Resource + DeserializeOwned>(raw: &RawValue) -> Result<K, Malformed> {
    serde_json::from_str(raw.get()).map_err(|error| {
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        let located = serde_path_to_error::deserialize::<_, K>(&mut deserializer).err();
        let field = located.map_or_else(String::new, |error| error.path().to_string());
        Malformed {
            field,
            message: without_position(&error.to_string()).to_owned(),
        }
    })
}

/// The status that an ERROR line carries.
pub(super) fn status(raw: &RawValue) -> Status {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// Line and column are those of the wire, where nobody can look.
fn without_position(message: &str) -> &str {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(message, _)| message)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::networking::v1::Ingress;

    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn a_malformed_object_names_the_field() {
        let check = |json: &str, field: &str, message: &str| {
            let malformed = object::<Ingress>(&raw(json)).unwrap_err();
            let want = Malformed {
                field: field.to_owned(),
                message: message.to_owned(),
            };
            assert_eq!(malformed, want);
        };
        check(
            r#"{"spec":{"rules":[{"http":{"paths":[{"path":5}]}}]}}"#,
            "spec.rules[0].http.paths[0].path",
            "invalid type: integer `5`, expected a string",
        );
        check(
            r#"{"metadata":{"labels":{"a":true}}}"#,
            "metadata.labels.a",
            "invalid type: boolean `true`, expected a string",
        );
    }

    #[test]
    fn the_head_of_a_malformed_object_is_legible() {
        let json = r#"{"spec":7,"metadata":{"name":"a\u002db","namespace":"n","labels":3,
                       "uid":"u","resourceVersion":"9"}}"#;
        let raw = raw(json);
        let head = Head::read(&raw).unwrap();
        assert_eq!(head.name(), ObjectName::new("n", "a-b"));
        assert_eq!(head.version(), Version::of("u", "9"));
    }
}

//! What is kept of ConfigMaps.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core_v1;

/// What is kept of a `v1` ConfigMap: its texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigData(Arc<BTreeMap<Box<str>, Box<str>>>);

/// Longer ones hold no settings: applications keep their files in ConfigMaps.
const LONGEST: usize = 64 << 10;

/// In every namespace, put there by Kubernetes; nobody's settings.
const ROOT_CERTIFICATE: &str = "kube-root-ca.crt";

impl ConfigData {
    /// Reads a ConfigMap; one that cannot hold settings is `None`.
    #[must_use]
    pub fn read(object: &core_v1::ConfigMap) -> Option<Self> {
        let data = object.data.as_ref();
        let length: usize = data
            .into_iter()
            .flatten()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let is_root = object.metadata.name.as_deref() == Some(ROOT_CERTIFICATE);
        if is_root || length > LONGEST {
            return None;
        }
        let texts = data.into_iter().flatten();
        let texts = texts.map(|(key, value)| (key.as_str().into(), value.as_str().into()));
        Some(Self(Arc::new(texts.collect())))
    }

    /// The text of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(AsRef::as_ref)
    }

    /// All, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

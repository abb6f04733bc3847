//! What is kept of Secrets: what an Ingress can name.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core_v1;

/// The chain of a certificate.
pub(crate) const CERTIFICATE: &str = "tls.crt";
/// The key of a certificate.
pub(crate) const KEY: &str = "tls.key";
/// Those whose certificates are believed.
pub(crate) const AUTHORITIES: &str = "ca.crt";
/// Certificates that are believed no more.
pub(crate) const REVOKED: &str = "ca.crl";
/// Users and the hashes of their passwords, a line for each.
pub(crate) const PASSWORD_FILE: &str = "auth";

/// The keys that are kept however long their values are. The others can only be users whose value is the hash of
/// their password.
const KEPT: [&str; 5] = [CERTIFICATE, KEY, AUTHORITIES, REVOKED, PASSWORD_FILE];
/// The longest hash that is kept: no format makes longer ones.
const LONGEST_HASH: usize = 1024;

/// Secrets that other programs keep for themselves, many and large.
const FOREIGN: [&str; 5] = [
    "bootstrap.kubernetes.io/token",
    "helm.sh/release.v1",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/service-account-token",
];

/// What is kept of a `v1` Secret.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct SecretData(BTreeMap<Box<str>, Box<[u8]>>);

/// Says what is there; never prints a value.
impl std::fmt::Debug for SecretData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl SecretData {
    /// Reads a Secret; one that no Ingress can want is `None`.
    #[must_use]
    pub fn read(object: &core_v1::Secret) -> Option<Self> {
        let kind = object.type_.as_deref().unwrap_or_default();
        if FOREIGN.contains(&kind) {
            return None;
        }
        let binary = object.data.iter().flatten();
        let binary = binary.map(|(name, ByteString(bytes))| (name, bytes.as_slice()));
        let text = object.string_data.iter().flatten();
        let text = text.map(|(name, text)| (name, text.as_bytes()));
        // `stringData` wins where both are set, as on an API server.
        let kept = binary
            .chain(text)
            .filter(|(name, value)| KEPT.contains(&name.as_str()) || value.len() <= LONGEST_HASH);
        let kept: BTreeMap<_, _> = kept
            .map(|(name, value)| (name.as_str().into(), value.into()))
            .collect();
        (!kept.is_empty()).then_some(Self(kept))
    }

    /// The value of one key.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(AsRef::as_ref)
    }

    /// Every key with its value, sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Drops what has been read.
    pub(crate) fn forget(&mut self, keys: &[&str]) {
        self.0.retain(|key, _| !keys.contains(&&**key));
    }
}

/// What an Ingress wants of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Use {
    /// `tls.crt` with `tls.key`: to serve, or to show to endpoints.
    Certificate,
    /// `ca.crt`, with or without `ca.crl`.
    Authorities,
    /// `auth`: a password file.
    PasswordFile,
    /// Every key is a user, its value the hash of the password.
    PasswordMap,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, data: &[(&str, usize)]) -> Option<SecretData> {
        let data = data
            .iter()
            .map(|(key, length)| ((*key).to_owned(), ByteString(vec![b'x'; *length])));
        SecretData::read(&core_v1::Secret {
            type_: Some(kind.to_owned()),
            data: Some(data.collect()),
            ..core_v1::Secret::default()
        })
    }

    #[test]
    fn what_no_ingress_can_want_is_not_kept() {
        let long = LONGEST_HASH + 1;
        let keys = |data: SecretData| data.0.into_keys().map(String::from).collect::<Vec<_>>();
        let kept = |kind: &str, data: &[(&str, usize)]| read(kind, data).map(keys);
        let all = kept(
            "Opaque",
            &[("auth", long), ("ca.crl", long), ("joe", 9), ("blob", long)],
        );
        assert_eq!(
            all,
            Some(["auth", "ca.crl", "joe"].map(String::from).to_vec())
        );
        assert_eq!(kept("Opaque", &[("blob", long)]), None);
        assert_eq!(kept("Opaque", &[]), None);
        for kind in FOREIGN {
            assert_eq!(kept(kind, &[("auth", 9)]), None, "{kind}");
        }
    }

    #[test]
    fn a_value_is_never_printed() {
        let data = read("Opaque", &[("auth", 3)]).unwrap();
        assert_eq!(format!("{data:?}"), r#"{"auth"}"#);
    }
}

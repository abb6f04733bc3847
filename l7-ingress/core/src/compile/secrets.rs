//! The Secrets that Ingresses name: parsed once, and the last good certificate kept.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;
use model::ObjectName;

use super::names::Map;
use super::users::{IngressId, Users};
use crate::certificate::{Certificate, CertificateError, SecretData};

/// The Secrets of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Map<ObjectName, Secret>);

#[derive(Debug, Default)]
struct Secret {
    users: Users,
    /// Whether it is the controller's default certificate.
    is_default: bool,
    latest: Latest,
    /// Of the latest data.
    fingerprint: u64,
    good: Option<Arc<Certificate>>,
}

/// The version that the cluster holds.
#[derive(Debug, Default)]
enum Latest {
    /// There is none.
    #[default]
    Absent,
    /// Nobody uses it yet: most Secrets of a cluster are never parsed.
    Unread(Box<SecretData>),
    /// It is the good one.
    Good,
    Broken(CertificateError),
}

/// The certificate of a Secret as it stands.
pub(crate) enum Lookup<'a> {
    /// The latest version is good.
    Good(&'a Arc<Certificate>),
    /// It does not exist; perhaps it once did.
    Absent(Option<&'a Arc<Certificate>>),
    /// It cannot be used; perhaps an older version could.
    Broken(&'a CertificateError, Option<&'a Arc<Certificate>>),
}

impl Secret {
    fn is_used(&self) -> bool {
        self.is_default || !self.users.is_empty()
    }

    fn read(&mut self, name: &ObjectName) {
        if let Latest::Unread(data) = &self.latest {
            self.latest = match Certificate::read(name, data) {
                Ok(certificate) => {
                    self.good = Some(Arc::new(certificate));
                    Latest::Good
                }
                Err(error) => Latest::Broken(error),
            };
        }
    }
}

impl Secrets {
    /// Takes a version in; returns whether what is served may change.
    pub(crate) fn set(&mut self, name: &ObjectName, data: Option<SecretData>) -> bool {
        let Some(data) = data else {
            let Some(secret) = self.0.get_mut(name) else {
                return false;
            };
            let was = std::mem::take(&mut secret.latest);
            self.sweep(name);
            return !matches!(was, Latest::Absent);
        };
        let fingerprint = fingerprint(&data);
        let secret = self.0.entry(name.clone()).or_default();
        if secret.fingerprint == fingerprint && !matches!(secret.latest, Latest::Absent) {
            return false;
        }
        secret.fingerprint = fingerprint;
        secret.latest = Latest::Unread(Box::new(data));
        if secret.is_used() {
            secret.read(name);
        }
        true
    }

    pub(crate) fn add_user(&mut self, name: &ObjectName, id: IngressId) {
        let secret = self.0.entry(name.clone()).or_default();
        secret.users.insert(id);
        secret.read(name);
    }

    pub(crate) fn remove_user(&mut self, name: &ObjectName, id: IngressId) {
        if let Some(secret) = self.0.get_mut(name) {
            secret.users.remove(id);
            self.sweep(name);
        }
    }

    /// Makes it the one of the controller's default certificate.
    pub(crate) fn set_default(&mut self, name: &ObjectName) {
        self.0.entry(name.clone()).or_default().is_default = true;
    }

    pub(crate) fn users(&self, name: &ObjectName) -> impl Iterator<Item = IngressId> {
        let secret = self.0.get(name).into_iter();
        secret.flat_map(|secret| secret.users.iter())
    }

    pub(crate) fn lookup(&self, name: &ObjectName) -> Lookup<'_> {
        let Some(secret) = self.0.get(name) else {
            return Lookup::Absent(None);
        };
        match (&secret.latest, &secret.good) {
            (Latest::Good, Some(good)) => Lookup::Good(good),
            (Latest::Broken(error), good) => Lookup::Broken(error, good.as_ref()),
            (Latest::Absent | Latest::Unread(_) | Latest::Good, good) => {
                Lookup::Absent(good.as_ref())
            }
        }
    }

    /// The certificates in use, in no order that means anything.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        let used = self.0.values().filter(|secret| secret.is_used());
        used.filter_map(|secret| secret.good.as_ref())
    }

    fn sweep(&mut self, name: &ObjectName) {
        let unused = |secret: &Secret| !secret.is_used() && matches!(secret.latest, Latest::Absent);
        if self.0.get(name).is_some_and(unused) {
            self.0.remove(name);
        }
    }
}

/// Tells versions apart, so that a resync parses nothing. Whoever could make two of their own Secrets collide
/// would only keep their own old certificate.
fn fingerprint(data: &SecretData) -> u64 {
    FixedState::default().hash_one(data)
}

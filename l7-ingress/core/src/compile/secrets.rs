//! The Secrets that Ingresses name: parsed once for each use, and the last good version of each kept.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;
use model::ObjectName;

use super::names::Map;
use super::users::{IngressId, Users};
use crate::authorities::{Authorities, AuthoritiesError};
use crate::certificate::{Certificate, CertificateError};
use crate::passwords::{PasswordError, Passwords};
use crate::secret::{CERTIFICATE, KEY, SecretData, Use};

/// The Secrets of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Map<ObjectName, Secret>);

#[derive(Debug, Default)]
struct Secret {
    users: Users,
    /// Whether it is the controller's default certificate.
    is_default: bool,
    /// What it is used for: a bit for each [`Use`]. Most Secrets of a cluster are never parsed.
    uses: u8,
    /// The version that the cluster holds, less what was parsed of it; `None` if there is none.
    data: Option<Box<SecretData>>,
    /// Of the latest data.
    fingerprint: u64,
    certificate: View<Certificate, CertificateError>,
    authorities: View<Authorities, AuthoritiesError>,
    password_file: View<Passwords, PasswordError>,
    password_map: View<Passwords, PasswordError>,
}

/// A Secret as one use sees it.
#[derive(Debug)]
struct View<T, E> {
    /// The latest version; `None` if there is none, or nobody wanted it yet.
    latest: Option<Result<(), Box<E>>>,
    good: Option<Arc<T>>,
}

impl<T, E> Default for View<T, E> {
    fn default() -> Self {
        Self {
            latest: None,
            good: None,
        }
    }
}

impl<T, E> View<T, E> {
    fn read(&mut self, read: impl FnOnce() -> Result<T, E>) {
        if self.latest.is_none() {
            self.latest = Some(read().map_err(Box::new).map(|good| {
                self.good = Some(Arc::new(good));
            }));
        }
    }

    fn lookup(&self) -> Lookup<'_, T, E> {
        match (&self.latest, &self.good) {
            (Some(Ok(())), Some(good)) => Lookup::Good(good),
            (Some(Err(error)), good) => Lookup::Broken(error, good.as_ref()),
            (_, good) => Lookup::Absent(good.as_ref()),
        }
    }
}

/// What a Secret holds as it stands.
pub(crate) enum Lookup<'a, T, E> {
    /// The latest version is good.
    Good(&'a Arc<T>),
    /// It does not exist; perhaps it once did.
    Absent(Option<&'a Arc<T>>),
    /// It cannot be used; perhaps an older version could.
    Broken(&'a E, Option<&'a Arc<T>>),
}

impl Secret {
    fn is_used(&self) -> bool {
        self.is_default || !self.users.is_empty()
    }

    fn wants(&self, wanted: Use) -> bool {
        self.uses & (1 << wanted as u8) != 0
    }

    /// Parses what is wanted and was not parsed yet.
    fn read(&mut self, name: &ObjectName) {
        let (certificate, authorities) =
            (self.wants(Use::Certificate), self.wants(Use::Authorities));
        let (file, map) = (self.wants(Use::PasswordFile), self.wants(Use::PasswordMap));
        let Some(data) = &mut self.data else {
            return;
        };
        let has_certificate = data.get(CERTIFICATE).is_some() || data.get(KEY).is_some();
        if certificate && has_certificate && self.certificate.latest.is_none() {
            self.certificate.read(|| Certificate::read(name, data));
            // It is in memory once, parsed.
            data.forget(&[CERTIFICATE, KEY]);
        }
        if authorities {
            self.authorities.read(|| Authorities::read(data));
        }
        if file {
            self.password_file.read(|| Passwords::read_file(data));
        }
        if map {
            self.password_map.read(|| Ok(Passwords::read_map(data)));
        }
    }

    /// Takes the parsed versions for old ones.
    fn outdate(&mut self) {
        self.certificate.latest = None;
        self.authorities.latest = None;
        self.password_file = View::default();
        self.password_map = View::default();
    }
}

impl Secrets {
    /// Takes a version in; returns whether what is served may change.
    pub(crate) fn set(&mut self, name: &ObjectName, data: Option<SecretData>) -> bool {
        let Some(data) = data else {
            let Some(secret) = self.0.get_mut(name) else {
                return false;
            };
            let was = secret.data.take();
            secret.outdate();
            self.sweep(name);
            return was.is_some();
        };
        let fingerprint = fingerprint(&data);
        let secret = self.0.entry(name.clone()).or_default();
        if secret.fingerprint == fingerprint && secret.data.is_some() {
            return false;
        }
        secret.fingerprint = fingerprint;
        secret.data = Some(Box::new(data));
        secret.outdate();
        if secret.is_used() {
            secret.read(name);
        }
        true
    }

    pub(crate) fn add_user(&mut self, name: &ObjectName, wanted: Use, id: IngressId) {
        let secret = self.0.entry(name.clone()).or_default();
        secret.users.insert(id);
        secret.uses |= 1 << wanted as u8;
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
        let secret = self.0.entry(name.clone()).or_default();
        secret.is_default = true;
        secret.uses |= 1 << Use::Certificate as u8;
    }

    pub(crate) fn users(&self, name: &ObjectName) -> impl Iterator<Item = IngressId> {
        let secret = self.0.get(name).into_iter();
        secret.flat_map(|secret| secret.users.iter())
    }

    /// `tls.crt` with `tls.key`, for whoever is a user as [`Use::Certificate`].
    pub(crate) fn certificate(
        &self,
        name: &ObjectName,
    ) -> Lookup<'_, Certificate, CertificateError> {
        let secret = self.0.get(name);
        secret.map_or(Lookup::Absent(None), |secret| secret.certificate.lookup())
    }

    /// `ca.crt` with `ca.crl`, for whoever is a user as [`Use::Authorities`].
    pub(crate) fn authorities(
        &self,
        name: &ObjectName,
    ) -> Lookup<'_, Authorities, AuthoritiesError> {
        let secret = self.0.get(name);
        secret.map_or(Lookup::Absent(None), |secret| secret.authorities.lookup())
    }

    /// Users and their passwords, for whoever is a user as this. There is no last good version: whoever was taken
    /// off the list has to stay out.
    pub(crate) fn passwords(
        &self,
        name: &ObjectName,
        wanted: Use,
    ) -> Lookup<'_, Passwords, PasswordError> {
        let secret = self.0.get(name);
        secret.map_or(Lookup::Absent(None), |secret| match wanted {
            Use::PasswordMap => secret.password_map.lookup(),
            _ => secret.password_file.lookup(),
        })
    }

    /// The certificates in use, in no order that means anything.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        let used = self.0.values().filter(|secret| secret.is_used());
        used.filter_map(|secret| secret.certificate.good.as_ref())
    }

    fn sweep(&mut self, name: &ObjectName) {
        let unused = |secret: &Secret| !secret.is_used() && secret.data.is_none();
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

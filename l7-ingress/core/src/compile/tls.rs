//! Chooses the certificates of one host pattern.
//!
//! As ingress-nginx does it: of the oldest Ingress that has a `tls` entry for the host, the entries that list
//! it, else those without hosts and those whose certificate is valid for it. Beyond it, one certificate per kind
//! of key is kept, so that ECDSA and RSA can be served side by side; the others come from the same
//! namespace only, so that nobody else can slip one under a name.

use std::sync::Arc;

use model::{Kind, ObjectName, ObjectRef, Problem, Severity};
use rustls::sign::CertifiedKey;

use super::accept::{Accepted, AcceptedTls};
use super::host::Scope;
use super::secrets::Lookup;
use crate::certificate::Certificate;
use crate::table::wildcard_of;

/// What was chosen.
#[derive(Default)]
pub(super) struct Chosen {
    /// Whether there is an entry, with or without a usable certificate.
    pub(super) has_entry: bool,
    pub(super) certificates: Vec<Arc<Certificate>>,
}

impl Chosen {
    /// What handshakes are served with; without a usable one, the default certificate.
    pub(super) fn keys(&self) -> Option<Vec<Arc<CertifiedKey>>> {
        let keys = self.certificates.iter();
        let keys = || {
            keys.map(|certificate| Arc::clone(&certificate.key))
                .collect()
        };
        self.has_entry.then(keys)
    }
}

/// The certificates for `pattern`. `ingresses` come oldest first.
pub(super) fn choose(scope: &mut Scope<'_>, pattern: &str, ingresses: &[&Arc<Accepted>]) -> Chosen {
    let mut chosen = Chosen::default();
    if pattern.is_empty() {
        return chosen;
    }
    let mut owner: Option<&ObjectName> = None;
    for ingress in ingresses {
        for (index, entry) in entries(scope, pattern, ingress) {
            chosen.has_entry = true;
            let owner = *owner.get_or_insert(&ingress.name);
            let Some(certificate) = certificate(scope, pattern, ingress, (index, entry)) else {
                continue;
            };
            let held = chosen.certificates.iter();
            let mut held = held.filter(|held| held.algorithm == certificate.algorithm);
            let other = held.next().map(|held| held.secret.clone());
            let field = || format!("spec.tls[{index}].secretName");
            match other {
                Some(other) if other == certificate.secret => {}
                Some(other) => {
                    let message = format!(
                        "{pattern} is already served with the certificate of Secret {other}"
                    );
                    scope.warn(&ingress.name, field(), "CertificateConflict", message);
                }
                None if owner.namespace != ingress.name.namespace => {
                    let message = format!("the certificate of {pattern} is set by Ingress {owner}");
                    scope.warn(&ingress.name, field(), "CertificateConflict", message);
                }
                None => chosen.certificates.push(certificate),
            }
        }
    }
    chosen
}

/// The entries of one Ingress that speak of `pattern`.
fn entries<'i>(
    scope: &Scope<'_>,
    pattern: &str,
    ingress: &'i Accepted,
) -> Vec<(usize, &'i AcceptedTls)> {
    let lists = |entry: &AcceptedTls, name: &str| {
        let place = entry.hosts.binary_search_by(|host| (**host).cmp(name));
        place.is_ok()
    };
    let all = || ingress.tls.iter().enumerate();
    let listed: Vec<_> = all().filter(|(_, entry)| lists(entry, pattern)).collect();
    if !listed.is_empty() || ingress.rules_for(pattern).is_empty() {
        return listed;
    }
    let speaks = |entry: &AcceptedTls| {
        let wild = wildcard_of(pattern).map(|rest| format!("*{rest}"));
        entry.hosts.is_empty()
            || wild.is_some_and(|wild| lists(entry, &wild))
            || covers(scope, pattern, ingress, entry)
    };
    all().filter(|(_, entry)| speaks(entry)).collect()
}

fn covers(scope: &Scope<'_>, pattern: &str, ingress: &Accepted, entry: &AcceptedTls) -> bool {
    let Some(secret) = secret_of(ingress, entry) else {
        return false;
    };
    let good = match scope.secrets.certificate(&secret) {
        Lookup::Good(certificate) => Some(certificate),
        Lookup::Absent(last) | Lookup::Broken(_, last) => last,
    };
    good.is_some_and(|certificate| certificate.covers(pattern))
}

fn secret_of(ingress: &Accepted, entry: &AcceptedTls) -> Option<ObjectName> {
    Some(ObjectName {
        namespace: Arc::clone(&ingress.name.namespace),
        name: Arc::clone(entry.secret.as_ref()?),
    })
}

/// The certificate of one entry, if it can be served for `pattern`.
fn certificate(
    scope: &mut Scope<'_>,
    pattern: &str,
    ingress: &Accepted,
    (index, entry): (usize, &AcceptedTls),
) -> Option<Arc<Certificate>> {
    let secret = secret_of(ingress, entry)?;
    let field = format!("spec.tls[{index}].secretName");
    let instead = |last: Option<&Arc<Certificate>>| match last {
        Some(_) => "its last good certificate goes on being served",
        None => "the default certificate is served",
    };
    let found = match scope.secrets.certificate(&secret) {
        Lookup::Good(certificate) => Some(certificate),
        Lookup::Absent(last) => {
            let what = format!("Secret {secret} does not exist or holds no tls.crt and tls.key");
            let message = format!("{what}; {}", instead(last));
            scope.warn(&ingress.name, field.clone(), "SecretNotFound", message);
            last
        }
        Lookup::Broken(error, last) => {
            let at = error.field();
            let message = format!("{at} of Secret {secret} {error}; {}", instead(last));
            scope.warn(&ingress.name, field.clone(), "InvalidCertificate", message);
            scope.problems.push(Problem {
                object: ObjectRef::new(Kind::Secret, secret.clone()),
                field: at,
                reason: "InvalidCertificate",
                message: format!("{error}; {}", instead(last)),
                severity: Severity::Error,
            });
            last
        }
    };
    let certificate = Arc::clone(found?);
    if !certificate.is_ordered {
        scope.problems.push(Problem {
            object: ObjectRef::new(Kind::Secret, secret.clone()),
            field: "data[tls.crt]".to_owned(),
            reason: "CertificateChainOrder",
            message: "a certificate was not issued by the one after it; clients may refuse it"
                .to_owned(),
            severity: Severity::Warning,
        });
    }
    if certificate.covers(pattern) {
        return Some(certificate);
    }
    let names = certificate.names().join(", ");
    let message = format!(
        "the certificate of Secret {secret} is not valid for {pattern}, only for {names:?}; the default certificate is served"
    );
    scope.warn(&ingress.name, field, "CertificateMismatch", message);
    None
}

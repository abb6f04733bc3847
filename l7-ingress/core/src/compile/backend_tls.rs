//! TLS towards the endpoints of a host: what its Ingresses ask for, with what their Secrets hold.
//!
//! As in ingress-nginx, what the oldest Ingress of a host asks for holds for the paths of the others that ask for nothing
//! (unless `proxy-ssl-location-only` is set), but for those of its own namespace alone: nobody else's endpoints are shown its
//! certificate.

use std::sync::Arc;

use model::{Kind, ObjectName, ObjectRef, Problem, Severity};

use super::accept::Accepted;
use super::host::{Scope, serves};
use super::secrets::Lookup;
use crate::authorities::Authorities;
use crate::backend_tls::{Terms, TlsWish};
use crate::certificate::Certificate;

/// What the Ingresses of one host ask for; empty for most.
#[derive(Default)]
pub(super) struct HostTls {
    /// By Ingress, the oldest first.
    own: Vec<(ObjectName, Result<Own, String>)>,
    /// Whose holds for the others.
    shared: Option<usize>,
}

struct Own {
    terms: Arc<Terms>,
    has_authorities: bool,
}

impl HostTls {
    /// What is asked for by an Ingress, or on its behalf.
    pub(super) fn terms(&self, ingress: &ObjectName) -> Option<&Arc<Terms>> {
        let mut own = self.own.iter();
        let own = match own.find(|(name, _)| name == ingress) {
            Some((_, own)) => own.as_ref().ok()?,
            None => {
                let (owner, shared) = self.own.get(self.shared?)?;
                let shared = shared.as_ref().ok()?;
                (owner.namespace == ingress.namespace).then_some(shared)?
            }
        };
        Some(&own.terms)
    }

    /// Why an Ingress cannot have what it asks for.
    pub(super) fn fault(&self, ingress: &ObjectName) -> Option<&str> {
        let mut own = self.own.iter();
        let (_, own) = own.find(|(name, _)| name == ingress)?;
        own.as_ref().err().map(String::as_str)
    }
}

impl Scope<'_> {
    /// Finds out what the Ingresses of `host` ask for.
    pub(super) fn read_tls(&mut self, host: &str, ingresses: &[&Arc<Accepted>]) {
        for ingress in ingresses {
            let is_read = self.tls.own.iter().any(|(name, _)| *name == ingress.name);
            if let Some(wish) = &ingress.annotations.backend_tls
                && !is_read
            {
                let own = self.own_tls(wish);
                self.tls.own.push((ingress.name.clone(), own));
            }
        }
        if self.settings.tls_by_path || self.tls.own.is_empty() {
            return;
        }
        let is_main = |name: &ObjectName| {
            let mut all = ingresses.iter();
            all.any(|ingress| ingress.name == *name && serves(ingress, host))
        };
        let good = self.tls.own.iter().enumerate();
        let good = good.filter_map(|(place, (name, own))| {
            let own = own.as_ref().ok()?;
            is_main(name).then_some((place, own.has_authorities))
        });
        let good: Vec<_> = good.collect();
        let first = good.iter().find(|(_, has_authorities)| *has_authorities);
        self.tls.shared = first.or_else(|| good.first()).map(|(place, _)| *place);
    }

    fn own_tls(&mut self, wish: &TlsWish) -> Result<Own, String> {
        let certificate = self.shown_certificate(&wish.secret)?;
        let authorities = self.trusted_authorities(&wish.secret)?;
        if certificate.is_none() && authorities.is_none() {
            return Err(format!(
                "Secret {} does not exist or holds neither tls.crt with tls.key nor ca.crt",
                wish.secret
            ));
        }
        let has_authorities = authorities.is_some();
        let terms = Terms::new(wish.clone(), certificate, authorities)?;
        Ok(Own {
            terms: Arc::new(terms),
            has_authorities,
        })
    }

    /// What is shown to endpoints; a Secret may have authorities alone.
    fn shown_certificate(
        &mut self,
        secret: &ObjectName,
    ) -> Result<Option<Arc<Certificate>>, String> {
        let (error, last) = match self.secrets.certificate(secret) {
            Lookup::Good(certificate) => return Ok(Some(Arc::clone(certificate))),
            Lookup::Absent(_) => return Ok(None),
            Lookup::Broken(error, last) => (error, last),
        };
        let (field, last) = (error.field(), last.cloned());
        self.last_good((secret, field, error.to_string()), last)
    }

    /// What endpoints, or clients, are verified by.
    pub(super) fn trusted_authorities(
        &mut self,
        secret: &ObjectName,
    ) -> Result<Option<Arc<Authorities>>, String> {
        let (error, last) = match self.secrets.authorities(secret) {
            Lookup::Good(authorities) => return Ok(Some(Arc::clone(authorities))),
            Lookup::Absent(_) => return Ok(None),
            Lookup::Broken(error, _) if error.is_absence() => return Ok(None),
            Lookup::Broken(error, last) => (error, last),
        };
        let (field, last) = (error.field(), last.cloned());
        self.last_good((secret, field, error.to_string()), last)
    }

    /// What cannot be read leaves in force what could, as in ingress-nginx.
    fn last_good<T>(
        &mut self,
        (secret, field, error): (&ObjectName, String, String),
        last: Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(last) = last else {
            return Err(format!("{field} of Secret {secret} {error}"));
        };
        self.problems.push(Problem {
            object: ObjectRef::new(Kind::Secret, secret.clone()),
            field,
            reason: "InvalidCertificate",
            message: format!("{error}; its last good version goes on being used"),
            severity: Severity::Error,
        });
        Ok(Some(last))
    }
}

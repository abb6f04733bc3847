//! Bundles of certificate authorities: from PEM to what a verifier is made of.

mod trust;

use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use thiserror::Error;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate, X509Error};

use self::trust::Trust;
use crate::secret::{AUTHORITIES, REVOKED, SecretData};

/// Why a Secret holds no usable bundle. Whoever wrote the Secret is at fault.
#[derive(Debug, Error)]
pub(crate) enum AuthoritiesError {
    #[error("is missing")]
    NoField,
    #[error("is no PEM: {1}")]
    Pem(&'static str, #[source] pem::Error),
    #[error("holds no section of its kind")]
    Empty(&'static str),
    #[error("certificate {0} is no X.509: {1}")]
    X509(usize, #[source] x509_parser::nom::Err<X509Error>),
    #[error("list {0} is no X.509: {1}")]
    List(usize, #[source] x509_parser::nom::Err<X509Error>),
    #[error("certificate {0} cannot be an authority's: {1}")]
    Anchor(usize, #[source] webpki::Error),
    #[error("list {0} cannot be used: {1}")]
    Unusable(usize, #[source] webpki::Error),
}

impl AuthoritiesError {
    /// Whether there is no bundle at all.
    pub(crate) const fn is_absence(&self) -> bool {
        matches!(self, Self::NoField)
    }

    /// The field at fault.
    pub(crate) fn field(&self) -> String {
        let name = match self {
            Self::Pem(name, _) | Self::Empty(name) => name,
            Self::NoField | Self::X509(..) | Self::Anchor(..) => AUTHORITIES,
            Self::List(..) | Self::Unusable(..) => REVOKED,
        };
        format!("data[{name}]")
    }
}

/// Who is believed, and what is believed no more.
#[derive(Debug)]
pub struct Authorities {
    /// At least one.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// Empty where the Secret has no `ca.crl`.
    pub(crate) revoked: Vec<CertificateRevocationListDer<'static>>,
    pub(crate) trust: Trust,
    /// How handshakes are done with their clients. Made once for each version of a Secret, so that tickets and sessions
    /// of one are no good for another.
    handshakes: OnceLock<[Arc<ServerConfig>; 2]>,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates && self.revoked == other.revoked
    }
}

impl Eq for Authorities {}

impl Authorities {
    /// Parses a Secret's `ca.crt`, and `ca.crl` if it is there.
    ///
    /// # Errors
    /// If the former is missing or either is broken.
    pub(crate) fn read(data: &SecretData) -> Result<Self, AuthoritiesError> {
        let bundle = data.get(AUTHORITIES).ok_or(AuthoritiesError::NoField)?;
        let certificates = sections::<CertificateDer<'static>>(AUTHORITIES, bundle)?;
        for (index, der) in certificates.iter().enumerate() {
            X509Certificate::from_der(der).map_err(|error| AuthoritiesError::X509(index, error))?;
        }
        let lists = data.get(REVOKED);
        let lists =
            lists.map(|lists| sections::<CertificateRevocationListDer<'static>>(REVOKED, lists));
        let revoked = lists.transpose()?.unwrap_or_default();
        for (index, der) in revoked.iter().enumerate() {
            CertificateRevocationList::from_der(der)
                .map_err(|error| AuthoritiesError::List(index, error))?;
        }
        Ok(Self {
            trust: Trust::new(&certificates, &revoked)?,
            certificates,
            revoked,
            handshakes: OnceLock::new(),
        })
    }

    /// How handshakes are done with clients that are asked for a certificate: with HTTP/2, and without. Whoever asks
    /// first makes it.
    pub fn handshakes(
        &self,
        make: impl FnOnce() -> [Arc<ServerConfig>; 2],
    ) -> &[Arc<ServerConfig>; 2] {
        self.handshakes.get_or_init(make)
    }

    /// The names of those who are believed (RFC 8446 §4.2.4).
    #[must_use]
    pub fn names(&self) -> Vec<rustls::DistinguishedName> {
        let anchors = self.trust.anchors.iter();
        anchors
            .map(|anchor| rustls::DistinguishedName::in_sequence(&anchor.subject))
            .collect()
    }
}

fn sections<T: PemObject>(field: &'static str, text: &[u8]) -> Result<Vec<T>, AuthoritiesError> {
    let all: Result<Vec<T>, _> = T::pem_slice_iter(text).collect();
    let all = all.map_err(|error| AuthoritiesError::Pem(field, error))?;
    match all.is_empty() {
        true => Err(AuthoritiesError::Empty(field)),
        false => Ok(all),
    }
}

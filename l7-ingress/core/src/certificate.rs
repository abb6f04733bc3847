//! TLS Secrets: from PEM to a certificate that rustls can serve, or show to an endpoint.

use std::sync::Arc;

use model::ObjectName;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureAlgorithm};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::oid_registry::{OID_SIG_ED25519, OID_X509_SERIALNUMBER};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Error};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::AttributeTypeAndValue;

use crate::secret::{CERTIFICATE, KEY, SecretData};

/// Why a Secret holds no usable certificate. Whoever wrote the Secret is at fault.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    #[error("is missing")]
    NoField(&'static str),
    #[error("is no PEM: {0}")]
    Pem(&'static str, #[source] pem::Error),
    #[error("holds no CERTIFICATE section")]
    Empty,
    #[error("certificate {0} is no X.509: {1}")]
    X509(usize, #[source] x509_parser::nom::Err<X509Error>),
    #[error("cannot be used: {0}")]
    Key(#[source] rustls::Error),
    #[error("does not belong to the first certificate of tls.crt")]
    Mismatch,
}

impl CertificateError {
    /// The field at fault.
    pub(crate) fn field(&self) -> String {
        let name = match self {
            Self::NoField(name) | Self::Pem(name, _) => name,
            Self::Empty | Self::X509(..) => CERTIFICATE,
            Self::Key(_) | Self::Mismatch => KEY,
        };
        format!("data[{name}]")
    }
}

/// What names a certificate, and who made it, in the words of ingress-nginx's metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateIdentity {
    /// Its serial number, decimal.
    pub serial: Box<str>,
    /// The serial number in its issuer's name, mostly none, and its own.
    pub identifier: Box<str>,
    /// The first organization of its issuer.
    pub issuer_organization: Box<str>,
    /// Its issuer's common name.
    pub issuer_common_name: Box<str>,
    /// `RSA`, `ECDSA`, `Ed25519`
    pub key_algorithm: &'static str,
}

impl CertificateIdentity {
    fn of(leaf: &X509Certificate<'_>) -> Self {
        let issuer = leaf.issuer();
        let text = |value: Option<&AttributeTypeAndValue<'_>>| {
            let text = value.and_then(|value| value.as_str().ok());
            text.unwrap_or_default().into()
        };
        let numbers = issuer.iter_by_oid(&OID_X509_SERIALNUMBER).next();
        let numbers: Box<str> = text(numbers);
        let serial = leaf.tbs_certificate.serial.to_str_radix(10);
        Self {
            identifier: format!("{numbers}-{serial}").into(),
            serial: serial.into(),
            issuer_organization: text(issuer.iter_organization().next()),
            issuer_common_name: text(issuer.iter_common_name().next()),
            key_algorithm: match leaf.public_key().parsed() {
                Ok(PublicKey::RSA(_)) => "RSA",
                Ok(PublicKey::EC(_)) => "ECDSA",
                _ if leaf.public_key().algorithm.algorithm == OID_SIG_ED25519 => "Ed25519",
                _ => "unknown",
            },
        }
    }
}

/// A certificate chain with its key, and what selection and metrics need of it.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) secret: ObjectName,
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) algorithm: SignatureAlgorithm,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
    pub(crate) identity: Arc<CertificateIdentity>,
    /// Whether each certificate was issued by the one after it.
    pub(crate) is_ordered: bool,
    names: Box<[Box<str>]>,
}

impl Certificate {
    /// Parses a Secret's certificate chain and key, and proves that they belong together.
    ///
    /// # Errors
    /// If either is missing or broken, or they do not match.
    pub(crate) fn read(secret: &ObjectName, data: &SecretData) -> Result<Self, CertificateError> {
        let pem = |field: &'static str| move |error| CertificateError::Pem(field, error);
        let field = |field| data.get(field).ok_or(CertificateError::NoField(field));
        let chain = field(CERTIFICATE)?;
        let key = field(KEY)?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(pem(CERTIFICATE))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(pem(KEY))?;
        let facts = Facts::read(&chain)?;
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateError::Mismatch
            }
            error => CertificateError::Key(error),
        })?;
        Ok(Self {
            secret: secret.clone(),
            algorithm: key.key.algorithm(),
            key: Arc::new(key),
            not_after: facts.not_after,
            identity: Arc::new(facts.identity),
            is_ordered: facts.is_ordered,
            names: facts.names,
        })
    }

    /// Whether it is valid for a host pattern; a wildcard is covered by the same wildcard only.
    pub(crate) fn covers(&self, pattern: &str) -> bool {
        self.names.iter().any(|name| {
            let wild = || {
                let (_, rest) = pattern.split_once('.')?;
                Some(name.strip_prefix("*.")? == rest)
            };
            **name == *pattern || wild().unwrap_or(false)
        })
    }

    /// The names that it is valid for.
    pub(crate) fn names(&self) -> &[Box<str>] {
        &self.names
    }
}

struct Facts {
    not_after: i64,
    identity: CertificateIdentity,
    is_ordered: bool,
    names: Box<[Box<str>]>,
}

impl Facts {
    fn read(chain: &[CertificateDer<'_>]) -> Result<Self, CertificateError> {
        let parsed = chain
            .iter()
            .enumerate()
            .map(|(index, der)| match X509Certificate::from_der(der) {
                Ok((_, certificate)) => Ok(certificate),
                Err(error) => Err(CertificateError::X509(index, error)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let leaf = parsed.first().ok_or(CertificateError::Empty)?;
        Ok(Self {
            not_after: leaf.validity().not_after.timestamp(),
            identity: CertificateIdentity::of(leaf),
            is_ordered: parsed.windows(2).all(|pair| match pair {
                [subject, issuer] => subject.issuer().as_raw() == issuer.subject().as_raw(),
                _ => true,
            }),
            names: names(leaf),
        })
    }
}

/// Lower case. The common name counts only where there is no subject alternative name, as ingress-nginx
/// has it (RFC 6125 §6.4.4).
fn names(leaf: &X509Certificate<'_>) -> Box<[Box<str>]> {
    let lower = |name: &str| name.to_ascii_lowercase().into();
    let alternative = leaf.subject_alternative_name().ok().flatten();
    if let Some(extension) = alternative {
        let general = extension.value.general_names.iter();
        return general
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(lower(name)),
                _ => None,
            })
            .collect();
    }
    let common = leaf.subject().iter_common_name();
    common
        .filter_map(|name| name.as_str().ok())
        .map(lower)
        .collect()
}

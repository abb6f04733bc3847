//! Certificates of clients: what a host asks for, what is made of one, and what endpoints are told of it.
//!
//! As in nginx, a handshake succeeds whatever the client shows: its requests are judged. They are judged by the
//! authorities of the host that they ask for, at the moment; so neither a session that is resumed nor a connection
//! that outlives a Secret carries an identity over that is believed no more.

mod name;

use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use regex::bytes::Regex;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Authorities;
use crate::filter::{Answer, Verdict};

pub use name::Presented;

/// What `auth-tls-verify-client` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// No certificate.
    Off,
    /// One that the authorities have signed.
    #[default]
    On,
    /// The same or none.
    Optional,
    /// Any or none.
    OptionalNoCa,
}

/// What `auth-tls-*` annotations ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What is asked for.
    pub verify: Verify,
    /// How many authorities may stand between a certificate and the ones that are believed.
    pub depth: usize,
    /// Where clients without a good certificate are sent.
    pub error_page: Option<HeaderValue>,
    /// Whether endpoints get the certificate.
    pub passes: bool,
    /// What a client's name has to hold.
    pub name: Option<Subject>,
}

/// `auth-tls-match-cn`: matched against the whole name, wherever in it.
#[derive(Clone, Debug)]
pub struct Subject(Regex);

impl Subject {
    /// # Errors
    /// Why it is none, in words.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        match text.starts_with("CN=") {
            true => crate::filter::compile_expression(text, false).map(Self),
            false => Err(format!("{text:?} does not begin with CN=")),
        }
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Subject {}

/// What a host asks of its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// What its annotations say.
    pub wish: Wish,
    /// Who is believed; nobody is let in where that is not known.
    pub authorities: Option<Arc<Authorities>>,
    /// Where the paths begin that are not redirected to HTTPS either: whoever signs servers' certificates has none.
    pub(crate) open: Box<[Box<str>]>,
}

/// What is made of a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// There is none.
    None,
    /// It is good.
    Success,
    /// It is not.
    Failed(Fault),
}

/// What nginx's `$ssl_client_verify` says.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("NONE"),
            Self::Success => f.write_str("SUCCESS"),
            Self::Failed(fault) => write!(f, "FAILED:{fault}"),
        }
    }
}

/// What is wrong with a certificate, in OpenSSL's words: endpoints read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody who is believed has signed it.
    #[error("unable to verify the first certificate")]
    UnknownIssuer,
    /// The same: it has signed itself.
    #[error("self-signed certificate")]
    SelfSigned,
    /// It is too old.
    #[error("certificate has expired")]
    Expired,
    /// It is too new.
    #[error("certificate is not yet valid")]
    NotYetValid,
    /// It was taken back.
    #[error("certificate revoked")]
    Revoked,
    /// Whether it was taken back is not known.
    #[error("unable to get certificate CRL")]
    NoCrl,
    /// The same, for the list is too old.
    #[error("CRL has expired")]
    CrlExpired,
    /// Too many authorities stand in between.
    #[error("certificate chain too long")]
    TooLong,
    /// It is for something else.
    #[error("unsupported certificate purpose")]
    Purpose,
    /// It is broken.
    #[error("certificate signature failure")]
    Broken,
}

impl Fault {
    /// Whether it is only that nobody who is believed has signed the certificate.
    const fn is_of_issuer(self) -> bool {
        matches!(self, Self::UnknownIssuer | Self::SelfSigned)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownIssuer | Error::CaUsedAsEndEntity => Self::UnknownIssuer,
            Error::CertExpired { .. } => Self::Expired,
            Error::CertNotValidYet { .. } => Self::NotYetValid,
            Error::CertRevoked => Self::Revoked,
            Error::UnknownRevocationStatus => Self::NoCrl,
            Error::CrlExpired { .. } => Self::CrlExpired,
            Error::MaximumPathDepthExceeded | Error::PathLenConstraintViolated => Self::TooLong,
            Error::RequiredEkuNotFoundContext(_) => Self::Purpose,
            _ => Self::Broken,
        }
    }
}

/// The answer of nginx to a client whose certificate is not good.
const BAD: &str = "The SSL certificate error";
/// The same where there is none.
const MISSING: &str = "No required SSL certificate was sent";
const UNAUTHORIZED: &str = "client certificate unauthorized";

impl ClientAuth {
    /// Whether clients are asked for a certificate.
    #[must_use]
    pub const fn asks(&self) -> bool {
        !matches!(self.wish.verify, Verify::Off) && self.authorities.is_some()
    }

    /// What is made of a certificate and those that came with it.
    #[must_use]
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Judgement {
        let Some(authorities) = self.authorities.as_ref().filter(|_| self.asks()) else {
            return Judgement::None;
        };
        if chain.is_empty() {
            return Judgement::None;
        }
        match verify(authorities, chain, self.wish.depth, now) {
            Ok(()) => Judgement::Success,
            Err(fault) => Judgement::Failed(fault),
        }
    }

    /// What becomes of a request on a TLS connection whose client asked for `server_name` at first; `None` if that was no
    /// host that is known.
    #[must_use]
    pub fn admit<'r>(
        &self,
        host: &str,
        server_name: Option<&str>,
        judgement: Judgement,
    ) -> Verdict<'r> {
        if server_name.is_some_and(|name| name != host) {
            // RFC 9110 §15.5.20
            return Verdict::Answer(Answer::status(StatusCode::MISDIRECTED_REQUEST));
        }
        let is_good = match (self.wish.verify, judgement) {
            (Verify::Off, _) | (_, Judgement::Success) => true,
            (Verify::On, Judgement::None) => false,
            (_, Judgement::None) => true,
            (verify, Judgement::Failed(fault)) => {
                verify == Verify::OptionalNoCa && fault.is_of_issuer()
            }
        };
        match is_good {
            true => Verdict::Continue,
            false => Verdict::Answer(self.refusal(judgement)),
        }
    }

    /// Whether it matters whose certificate a client has shown.
    pub(crate) const fn names(&self) -> bool {
        self.wish.name.is_some() && self.asks()
    }

    /// What becomes of a client whose certificate has this subject; of one without a certificate, it is empty.
    #[must_use]
    pub fn admit_name<'r>(&self, subject: &str) -> Verdict<'r> {
        let is_known = match &self.wish.name {
            _ if self.authorities.is_none() => {
                return Verdict::Answer(Answer::status(StatusCode::FORBIDDEN));
            }
            None => true,
            Some(name) => name.0.is_match(subject.as_bytes()),
        };
        match is_known {
            true => Verdict::Continue,
            false => {
                let answer = Answer::status(StatusCode::FORBIDDEN);
                let kind = HeaderValue::from_static("text/html");
                Verdict::Answer(answer.body(kind, UNAUTHORIZED.into()))
            }
        }
    }

    /// Whether a request in the clear for a path of an Ingress is kept out: nobody can show a certificate there.
    pub(crate) fn admit_plain<'r>(&self, path: &str) -> Verdict<'r> {
        let is_open = self.open.iter().any(|start| path.starts_with(&**start));
        match self.wish.verify == Verify::On && !is_open {
            true => Verdict::Answer(self.refusal(Judgement::None)),
            false => Verdict::Continue,
        }
    }

    fn refusal(&self, judgement: Judgement) -> Answer {
        match &self.wish.error_page {
            Some(page) => {
                let answer = Answer::status(StatusCode::FOUND);
                answer.with(http::header::LOCATION, page.clone())
            }
            None => Answer {
                detail: Some(match judgement {
                    Judgement::Failed(_) => BAD,
                    _ => MISSING,
                }),
                ..Answer::status(StatusCode::BAD_REQUEST)
            },
        }
    }
}

fn verify(
    authorities: &Authorities,
    chain: &[CertificateDer<'_>],
    depth: usize,
    now: UnixTime,
) -> Result<(), Fault> {
    let (leaf, rest) = chain.split_first().ok_or(Fault::Broken)?;
    if authorities.certificates.contains(leaf) {
        return believed_itself(leaf, now);
    }
    let usage = (KeyUsage::client_auth(), depth);
    let parsed = EndEntityCert::try_from(leaf).map_err(Fault::from);
    let judged = parsed.and_then(|end| Ok(authorities.trust.verify(&end, rest, usage, now)?));
    judged.map_err(|fault| match fault {
        Fault::UnknownIssuer if is_self_signed(leaf) => Fault::SelfSigned,
        fault => fault,
    })
}

/// A client's own certificate may stand among the authorities', as OpenSSL has it: nothing signs it but itself.
fn believed_itself(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Fault> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| Fault::Broken)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < leaf.validity().not_before.timestamp() {
        return Err(Fault::NotYetValid);
    }
    if now > leaf.validity().not_after.timestamp() {
        return Err(Fault::Expired);
    }
    let usage = leaf.extended_key_usage().map_err(|_| Fault::Broken)?;
    match usage.is_none_or(|usage| usage.value.any || usage.value.client_auth) {
        true => Ok(()),
        false => Err(Fault::Purpose),
    }
}

fn is_self_signed(leaf: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(leaf)
        .is_ok_and(|(_, leaf)| leaf.subject().as_raw() == leaf.issuer().as_raw())
}

#[cfg(test)]
mod tests;

//! Whether an endpoint's certificate is believed.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use thiserror::Error;
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::authorities::Authorities;

/// Why nobody can be verified by some authorities. Whoever wrote the Secret is at fault.
#[derive(Debug, Error)]
pub(super) enum VerifierError {
    #[error("certificate {0} of ca.crt cannot be an authority's: {1}")]
    Anchor(usize, #[source] webpki::Error),
    #[error("list {0} of ca.crl cannot be used: {1}")]
    List(usize, #[source] webpki::Error),
}

/// Believes what some authorities have signed.
#[derive(Debug)]
pub(super) struct Verified {
    algorithms: WebPkiSupportedAlgorithms,
    anchors: Vec<TrustAnchor<'static>>,
    lists: Vec<CertRevocationList<'static>>,
    depth: usize,
}

impl Verified {
    /// `depth` is how many certificates may stand between the endpoint's and an authority's.
    pub(super) fn new(authorities: &Authorities, depth: usize) -> Result<Self, VerifierError> {
        let anchors = authorities.certificates.iter().enumerate();
        let anchors = anchors.map(|(index, certificate)| {
            let anchor = webpki::anchor_from_trusted_cert(certificate);
            let anchor = anchor.map(|anchor| anchor.to_owned());
            anchor.map_err(|error| VerifierError::Anchor(index, error))
        });
        let lists = authorities.revoked.iter().enumerate();
        let lists = lists.map(|(index, list)| {
            let list = BorrowedCertRevocationList::from_der(list).and_then(|list| list.to_owned());
            list.map(CertRevocationList::from)
                .map_err(|error| VerifierError::List(index, error))
        });
        Ok(Self {
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
            anchors: anchors.collect::<Result<_, _>>()?,
            lists: lists.collect::<Result<_, _>>()?,
            depth,
        })
    }

    fn verify(
        &self,
        (leaf, others): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let leaf = EndEntityCert::try_from(leaf)?;
        let lists: Vec<_> = self.lists.iter().collect();
        // As nginx does where it has a list: every authority on the way needs one that is not out of date.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let is_short = |path: &VerifiedPath<'_>| {
            let between = path.intermediate_certificates().count();
            let is_short = between <= self.depth;
            is_short
                .then_some(())
                .ok_or(webpki::Error::PathLenConstraintViolated)
        };
        leaf.verify_for_usage(
            self.algorithms.all,
            &self.anchors,
            others,
            now,
            KeyUsage::server_auth(),
            revocation,
            Some(&is_short),
        )?;
        leaf.verify_is_valid_for_subject_name(name)
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify((end_entity, intermediates), server_name, now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|error| rustls::Error::InvalidCertificate(cause(error)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The kinds that have an alert of their own (RFC 8446 §6.2).
fn cause(error: webpki::Error) -> CertificateError {
    match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::CertNotValidForName(_) => CertificateError::NotValidForName,
        webpki::Error::CertRevoked => CertificateError::Revoked,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}

/// Takes any certificate: pods have certificates that nobody signed for their address, and
/// ingress-nginx verifies none unless proxy-ssl-verify is on.
#[derive(Debug)]
pub(super) struct Unverified(WebPkiSupportedAlgorithms);

impl Unverified {
    pub(super) const fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

//! Who is believed, as a verifier wants it: the same for clients and for endpoints.

use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, TrustAnchor,
    UnixTime,
};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use super::AuthoritiesError;

/// Believes what some authorities have signed.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    lists: Vec<CertRevocationList<'static>>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

impl Trust {
    pub(super) fn new(
        certificates: &[CertificateDer<'_>],
        revoked: &[CertificateRevocationListDer<'_>],
    ) -> Result<Self, AuthoritiesError> {
        let anchors = certificates.iter().enumerate().map(|(index, certificate)| {
            let anchor = webpki::anchor_from_trusted_cert(certificate);
            let anchor = anchor.map(|anchor| anchor.to_owned());
            anchor.map_err(|error| AuthoritiesError::Anchor(index, error))
        });
        let lists = revoked.iter().enumerate().map(|(index, list)| {
            let list = BorrowedCertRevocationList::from_der(list).and_then(|list| list.to_owned());
            list.map(CertRevocationList::from)
                .map_err(|error| AuthoritiesError::Unusable(index, error))
        });
        Ok(Self {
            anchors: anchors.collect::<Result<_, _>>()?,
            lists: lists.collect::<Result<_, _>>()?,
            algorithms: aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .all,
        })
    }

    /// Whether a certificate is believed; `depth` is how many may stand between it and an authority's.
    pub(crate) fn verify(
        &self,
        leaf: &EndEntityCert<'_>,
        others: &[CertificateDer<'_>],
        (usage, depth): (KeyUsage, usize),
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
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
            (between <= depth)
                .then_some(())
                .ok_or(webpki::Error::PathLenConstraintViolated)
        };
        leaf.verify_for_usage(
            self.algorithms,
            &self.anchors,
            others,
            now,
            usage,
            revocation,
            Some(&is_short),
        )?;
        Ok(())
    }
}

//! Authorities of a test's own, and servers that ask their clients for certificates.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use serde_json::{Value, json};

use super::Pem;

/// An authority.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) certificate: String,
    /// The certificates up to the one above, which is in no chain.
    chain: String,
}

/// What a certificate may be beside good.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flaws {
    pub(crate) expired: bool,
    /// Serial number; a random one if 0.
    pub(crate) serial: u64,
    /// Whose it is, of `Acme, Inc.`; somebody's if empty.
    pub(crate) name: &'static str,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let (params, key) = (params(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
            chain: String::new(),
        }
    }

    /// One that this has signed.
    pub(crate) fn below(&self, name: &str) -> Self {
        let (params, key) = (params(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            chain: certificate.clone() + &self.chain,
            certificate,
        }
    }

    /// A new certificate for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Pem {
        self.issue_with(names, Flaws::default())
    }

    pub(crate) fn issue_with(&self, names: &[&str], flaws: Flaws) -> Pem {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if flaws.expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        if !flaws.name.is_empty() {
            params.distinguished_name = DistinguishedName::new();
            let own = &mut params.distinguished_name;
            own.push(DnType::OrganizationName, "Acme, Inc.");
            own.push(DnType::CommonName, flaws.name);
        }
        if flaws.serial > 0 {
            params.serial_number = Some(SerialNumber::from(flaws.serial));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pem {
            certificate: certificate.pem() + &self.chain,
            key: key.serialize_pem(),
        }
    }

    /// The list of those that are believed no more.
    pub(crate) fn revoke(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A server with this certificate that asks its clients for one of this authority's.
    pub(crate) fn asking(
        &self,
        pem: &Pem,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        roots.add(own).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let chain = CertificateDer::pem_slice_iter(pem.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap()
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A Secret with what is not empty of `tls.crt` with `tls.key`, `ca.crt` and `ca.crl`.
pub(crate) fn credentials(
    name: &str,
    pem: Option<&Pem>,
    (trusted, revoked): (&str, &str),
) -> Value {
    let (certificate, key) = pem.map_or(("", ""), |pem| (&pem.certificate, &pem.key));
    let fields = [
        ("tls.crt", certificate),
        ("tls.key", key),
        ("ca.crt", trusted),
        ("ca.crl", revoked),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let data: serde_json::Map<_, _> = fields
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": "default" },
        "stringData": data,
    })
}

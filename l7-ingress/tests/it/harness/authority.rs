//! A certificate authority that only the clients of the tests trust.

use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    SignatureAlgorithm,
};
use rustls::client::EchMode;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// An authority and what it needs to sign.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

/// A certificate and its key, as a Secret holds them.
#[derive(Clone, Debug)]
pub(crate) struct Pem {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

impl Pem {
    /// The certificate as handshakes carry it.
    pub(crate) fn der(&self) -> Vec<u8> {
        use rustls::pki_types::pem::PemObject as _;
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        der.unwrap().to_vec()
    }

    /// The certificates of the file as handshakes carry them.
    pub(crate) fn chain(&self) -> Vec<Vec<u8>> {
        use rustls::pki_types::pem::PemObject as _;
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        chain.map(|one| one.unwrap().to_vec()).collect()
    }

    /// A server with this certificate that offers these protocols.
    pub(crate) fn server(&self, protocols: &[&str]) -> ServerConfig {
        use rustls::pki_types::pem::PemObject as _;
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        config.alpn_protocols = names(protocols);
        config
    }
}

fn names(protocols: &[&str]) -> Vec<Vec<u8>> {
    let bytes = |protocol: &&str| protocol.as_bytes().to_vec();
    protocols.iter().map(bytes).collect()
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(params.self_signed(&key).unwrap().der().clone())
            .unwrap();
        Self {
            issuer: Issuer::new(params, key),
            roots: Arc::new(roots),
        }
    }

    /// A new ECDSA certificate for these names.
    pub(crate) fn issue(names: &[&str]) -> Pem {
        Self::issue_with(&PKCS_ECDSA_P256_SHA256, names)
    }

    /// A new certificate for these names, with a key of this algorithm.
    pub(crate) fn issue_with(algorithm: &'static SignatureAlgorithm, names: &[&str]) -> Pem {
        Self::signed(algorithm, names, &AUTHORITY.issuer)
    }

    fn signed(
        algorithm: &'static SignatureAlgorithm,
        names: &[&str],
        issuer: &Issuer<'static, KeyPair>,
    ) -> Pem {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        Pem {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A new certificate by an authority of its own, which this one has signed and which is in the
    /// chain.
    pub(crate) fn issue_below(names: &[&str]) -> Pem {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let subject = DnType::CommonName;
        params.distinguished_name.push(subject, "intermediate");
        let key = KeyPair::generate().unwrap();
        let between = params.signed_by(&key, &AUTHORITY.issuer).unwrap();
        let issuer = Issuer::new(params, key);
        let mut pem = Self::signed(&PKCS_ECDSA_P256_SHA256, names, &issuer);
        pem.certificate.push_str(&between.pem());
        pem
    }

    /// A client that trusts this authority alone and offers these protocols.
    pub(crate) fn client(
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        Self::client_with(provider, versions, protocols)
    }

    /// The same that shows a certificate where it is asked for one.
    pub(crate) fn client_showing(
        versions: &[&'static SupportedProtocolVersion],
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(Arc::clone(&AUTHORITY.roots))
            .with_client_auth_cert(chain, key)
            .unwrap()
    }

    /// The same that pretends to encrypt its ClientHello, as browsers do (GREASE).
    pub(crate) fn client_greased(mode: EchMode) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_ech(mode)
            .unwrap()
            .with_root_certificates(Arc::clone(&AUTHORITY.roots))
            .with_no_client_auth()
    }

    /// The same with cryptography of its own.
    pub(crate) fn client_with(
        provider: Arc<CryptoProvider>,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(Arc::clone(&AUTHORITY.roots))
            .with_no_client_auth();
        config.alpn_protocols = names(protocols);
        config
    }
}

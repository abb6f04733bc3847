//! TLS towards clients: which certificate a handshake gets, and the default one.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use l7_ingress_core::{Authorities, Table};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureAlgorithm, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

/// The cryptography: X25519MLKEM768, X25519, P-256, P-384; TLS 1.3 and 1.2.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The configuration of all workers' handshakes. Tickets opened by one worker are good for all.
///
/// # Errors
/// When the system has no randomness.
pub(crate) fn server_config(
    provider: Arc<CryptoProvider>,
    table: Arc<ArcSwap<Table>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver { table }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // One is enough to resume; each costs a write.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// A server's name as the table knows it.
pub(crate) fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// How handshakes are done with clients that are asked for a certificate: as without, and with tickets and sessions of
/// their own.
pub(crate) fn with_clients<'a>(
    authorities: &'a Authorities,
    without: [&Arc<ServerConfig>; 2],
) -> &'a [Arc<ServerConfig>; 2] {
    authorities.handshakes(|| {
        let verifier = Arc::new(AnyClient {
            names: authorities.names(),
            provider: provider(),
        });
        // Without randomness there is no handshake either; then nothing is resumed.
        let ticketer = aws_lc_rs::Ticketer::new();
        let sessions = ServerSessionMemoryCache::new(SESSIONS);
        without.map(|config| {
            let mut own = ServerConfig::builder_with_provider(Arc::clone(&verifier.provider))
                .with_safe_default_protocol_versions()
                .expect("the provider has cipher suites for TLS 1.2 and 1.3")
                .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
                .with_cert_resolver(Arc::clone(&config.cert_resolver));
            own.alpn_protocols.clone_from(&config.alpn_protocols);
            own.send_tls13_tickets = config.send_tls13_tickets;
            own.session_storage = Arc::clone(&sessions) as _;
            if let Ok(ticketer) = &ticketer {
                own.ticketer = Arc::clone(ticketer);
            }
            Arc::new(own)
        })
    })
}

/// Sessions without tickets that are kept for clients of one Secret.
const SESSIONS: usize = 256;

/// Takes any certificate that its client has the key of: requests are judged, not handshakes.
#[derive(Debug)]
struct AnyClient {
    names: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Finds certificates in the table of the moment, so that a new one needs no new listener.
struct Resolver {
    table: Arc<ArcSwap<Table>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(canonical);
        let table = self.table.load();
        choose(
            table.certificates(name.as_deref()),
            hello.signature_schemes(),
        )
    }
}

/// ECDSA if the client can verify it, for it costs a fraction of RSA; else the first that it can.
fn choose(
    candidates: &[Arc<CertifiedKey>],
    schemes: &[SignatureScheme],
) -> Option<Arc<CertifiedKey>> {
    let usable = || {
        candidates
            .iter()
            .filter(|candidate| candidate.key.choose_scheme(schemes).is_some())
    };
    usable()
        .find(|candidate| candidate.key.algorithm() == SignatureAlgorithm::ECDSA)
        .or_else(|| usable().next())
        .or_else(|| candidates.first())
        .cloned()
}

/// Why there is no default certificate.
#[derive(Debug, thiserror::Error)]
pub enum DefaultCertificateError {
    /// It could not be made.
    #[error("the default certificate could not be made")]
    Make(#[from] rcgen::Error),
    /// The TLS library does not take it.
    #[error("the default certificate cannot be used")]
    Use(#[from] rustls::Error),
}

/// Makes the certificate for names that nobody has configured. It has a subject alternative name:
/// clients of the conformance suite read it.
pub(crate) fn default_certificate(
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, DefaultCertificateError> {
    let made = rcgen::generate_simple_self_signed(vec!["ingress.local".to_owned()])?;
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let chain = vec![made.cert.der().clone()];
    Ok(Arc::new(CertifiedKey::from_der(chain, key, provider)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecdsa_is_preferred_and_rsa_only_clients_get_rsa() {
        let provider = provider();
        let made = |algorithm| {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
            let chain = vec![params.self_signed(&key).unwrap().der().clone()];
            let key = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
            Arc::new(CertifiedKey::from_der(chain, key, &provider).unwrap())
        };
        let ecdsa = made(&rcgen::PKCS_ECDSA_P256_SHA256);
        let rsa = made(&rcgen::PKCS_RSA_SHA256);
        let both = [Arc::clone(&rsa), Arc::clone(&ecdsa)];
        let schemes = [
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::ECDSA_NISTP256_SHA256,
        ];
        assert!(Arc::ptr_eq(&choose(&both, &schemes).unwrap(), &ecdsa));
        assert!(Arc::ptr_eq(&choose(&both, &schemes[..1]).unwrap(), &rsa));
        assert!(choose(&[], &schemes).is_none());
    }
}

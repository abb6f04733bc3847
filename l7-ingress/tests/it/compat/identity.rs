//! What clients of cases show of themselves, and the Secrets that know them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde_json::Value;

use crate::harness::{Answer, Ca, Connection, Flaws, Pem, Proxy, Request, credentials, soon};

/// The serial number of the certificate that was taken back.
const REVOKED: u64 = 7;

/// Certificates by name: `alice`, `bob`, `expired` and `revoked` of one authority, `below` and `deep` with one and two more in
/// between, `stranger` of nobody's authority, `self` of nobody.
pub(super) struct Identities(BTreeMap<&'static str, Pem>);

impl Identities {
    /// With the Secrets `clients`, the same with a list of who was taken back as `clients-crl`, `clients-self` that knows `self`
    /// alone, and those that are no good: `clients-bad` and `clients-bad-crl`.
    pub(super) fn new(objects: &mut Vec<Value>) -> Self {
        let (ca, strangers) = (Ca::new("clients"), Ca::new("strangers"));
        let named = |name| Flaws {
            name,
            ..Flaws::default()
        };
        let expired = Flaws {
            expired: true,
            ..named("expired")
        };
        let revoked = Flaws {
            serial: REVOKED,
            ..named("revoked")
        };
        let below = ca.below("below");
        let deep = below.below("deep");
        let own = own("self");
        let (trusted, list) = (&*ca.certificate, ca.revoke(&[REVOKED]));
        objects.extend([
            credentials("clients", None, (trusted, "")),
            credentials("clients-crl", None, (trusted, &list)),
            credentials("clients-self", None, (&own.certificate, "")),
            credentials("clients-bad", None, ("x", "")),
            credentials("clients-bad-crl", None, (trusted, "x")),
        ]);
        Self(BTreeMap::from([
            ("alice", ca.issue_with(&[], named("alice"))),
            ("bob", ca.issue_with(&[], named("bob"))),
            ("expired", ca.issue_with(&[], expired)),
            ("revoked", ca.issue_with(&[], revoked)),
            ("below", below.issue_with(&[], named("below"))),
            ("deep", deep.issue_with(&[], named("deep"))),
            ("stranger", strangers.issue_with(&[], named("stranger"))),
            ("self", own),
        ]))
    }

    /// Sends a request over TLS of its own, which asks for the name `sni`, or for none where it is empty.
    pub(super) async fn send(
        &self,
        proxy: &Proxy,
        (shows, sni, http2): (Option<&str>, &str, bool),
        request: Request,
    ) -> Answer {
        let mut config = self.client(shows);
        config.enable_sni = !sni.is_empty();
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let name = if sni.is_empty() { "none.test" } else { sni };
        let stream = proxy.handshake(name, config).await.unwrap();
        let mut connection = match http2 {
            true => Connection::http2(stream).await,
            false => Connection::http1(stream).await,
        };
        soon(name, connection.send(request)).await.unwrap()
    }

    fn client(&self, shows: Option<&str>) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let Some(name) = shows else {
            return config.with_no_client_auth();
        };
        let pem = self
            .0
            .get(name)
            .unwrap_or_else(|| panic!("nobody is {name}"));
        let chain = CertificateDer::pem_slice_iter(pem.certificate.as_bytes());
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
        config.with_client_auth_cert(chain, key).unwrap()
    }
}

fn own(name: &str) -> Pem {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    Pem {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

/// Some cases ask for hosts that have no certificate.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
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
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

//! TLS towards endpoints: what is shown to them, what is asked of them, and the configuration that handshakes are done with.
//!
//! A [`BackendTls`] has a number of its own, which connections are kept by: what was opened as one is never used as
//! another, and a change of any part of it, such as a renewed certificate, is another.

mod verify;

use std::net::IpAddr;
use std::sync::Arc;

use model::ObjectName;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedProtocolVersion};
use rustls_pki_types::ServerName;

use self::verify::{Unverified, Verified};
use crate::BackendProtocol;
use crate::authorities::Authorities;
use crate::certificate::Certificate;

/// Sessions that are kept for being resumed, where all of them are with servers of one name; rustls keeps eight tickets
/// of each server.
const SESSIONS: usize = 8;

/// What an Ingress asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsWish {
    /// Where the certificate and the authorities are.
    pub(crate) secret: ObjectName,
    /// The name that the endpoint's certificate is to be for; `None` for the Service's.
    pub(crate) name: Option<ServerName<'static>>,
    /// Whether the name is sent to it.
    pub(crate) sends_name: bool,
    /// How many certificates may stand between the endpoint's and the authority's; `None` takes any certificate.
    pub(crate) depth: Option<usize>,
    /// At least one.
    pub(crate) versions: Versions,
    /// Below TLS 1.3, the preferred one first; `None` for all.
    pub(crate) suites: Option<Box<[CipherSuite]>>,
}

/// The versions of TLS that may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) tls12: bool,
    pub(crate) tls13: bool,
}

impl Versions {
    pub(crate) const ALL: Self = Self {
        tls12: true,
        tls13: true,
    };

    pub(crate) const fn is_empty(self) -> bool {
        !self.tls12 && !self.tls13
    }
}

/// What an Ingress asks for, with what its Secret holds.
#[derive(Debug)]
pub(crate) struct Terms {
    wish: TlsWish,
    certificate: Option<Arc<Certificate>>,
    /// Where they are asked: the others may change as they like.
    authorities: Option<Arc<Authorities>>,
    verifier: Option<Arc<Verified>>,
}

/// The verifier is made of the rest.
impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        // A chain belongs to one key.
        let chain = |terms: &Self| terms.certificate.as_ref().map(|own| own.key.cert.clone());
        self.wish == other.wish
            && self.authorities == other.authorities
            && chain(self) == chain(other)
    }
}

impl Eq for Terms {}

impl Terms {
    /// # Errors
    /// If the endpoint's certificate could not be verified as asked for.
    pub(crate) fn new(
        wish: TlsWish,
        certificate: Option<Arc<Certificate>>,
        authorities: Option<Arc<Authorities>>,
    ) -> Result<Self, String> {
        let Some(depth) = wish.depth else {
            return Ok(Self {
                wish,
                certificate,
                authorities: None,
                verifier: None,
            });
        };
        let Some(authorities) = authorities else {
            let secret = &wish.secret;
            return Err(format!(
                "Secret {secret} has no ca.crt that endpoints could be verified by"
            ));
        };
        let verifier = Verified::new(Arc::clone(&authorities), depth);
        Ok(Self {
            wish,
            certificate,
            authorities: Some(authorities),
            verifier: Some(Arc::new(verifier)),
        })
    }

    /// The Ingress's own name for endpoints.
    pub(crate) const fn name(&self) -> Option<&ServerName<'static>> {
        self.wish.name.as_ref()
    }
}

/// A number that no two [`BackendTls`] of one process's life share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlsId(u64);

/// How TLS is spoken to the endpoints of a [`Backend`](crate::Backend).
#[derive(Debug)]
pub struct BackendTls {
    id: TlsId,
    /// `None` for the address.
    name: Option<ServerName<'static>>,
    terms: Option<Arc<Terms>>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Default for BackendTls {
    /// As no Ingress asks for it: nothing is shown, any certificate is taken.
    fn default() -> Self {
        Self {
            id: TlsId::default(),
            name: None,
            terms: None,
            http1: config(None, b"http/1.1"),
            http2: config(None, b"h2"),
        }
    }
}

impl BackendTls {
    /// For what the proxy asks by itself: any certificate is taken, and the server is asked for by its name.
    #[must_use]
    pub fn of_server(name: ServerName<'static>) -> Self {
        let named = |application: &[u8]| {
            let mut config = ClientConfig::clone(&config(None, application));
            config.enable_sni = true;
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            Arc::new(config)
        };
        Self {
            id: TlsId::default(),
            name: Some(name),
            terms: None,
            http1: named(b"http/1.1"),
            http2: named(b"h2"),
        }
    }

    /// `number` is not that of another.
    pub(crate) fn new(number: u64, terms: &Arc<Terms>, name: ServerName<'static>) -> Self {
        Self {
            // 0 is the default's.
            id: TlsId(number + 1),
            name: Some(name),
            terms: Some(Arc::clone(terms)),
            http1: config(Some(terms), b"http/1.1"),
            http2: config(Some(terms), b"h2"),
        }
    }

    /// Whether it is what `terms` with endpoints of this name ask for.
    pub(crate) fn is(&self, terms: &Arc<Terms>, name: &ServerName<'_>) -> bool {
        let own = self.terms.as_ref();
        self.name.as_ref() == Some(name)
            && own.is_some_and(|own| Arc::ptr_eq(own, terms) || own == terms)
    }

    /// What is shown and asked for, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let Some(terms) = &self.terms else {
            return "without a certificate, unverified".to_owned();
        };
        let shown = match &terms.certificate {
            Some(_) => format!("with the certificate of Secret {}", terms.wish.secret),
            None => "without a certificate".to_owned(),
        };
        let name = self.name.as_ref().map(ServerName::to_str);
        match terms.wish.depth {
            Some(_) => format!("{shown}, verified as {}", name.unwrap_or_default()),
            None => format!("{shown}, unverified"),
        }
    }

    /// What connections are kept by.
    #[must_use]
    pub const fn id(&self) -> TlsId {
        self.id
    }

    /// The name of the endpoint at this address.
    #[must_use]
    pub fn name(&self, address: IpAddr) -> ServerName<'static> {
        let own = self.name.clone();
        own.unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }

    /// What handshakes are done with, if this is spoken over TLS.
    #[must_use]
    pub const fn config(&self, protocol: BackendProtocol) -> Option<&Arc<ClientConfig>> {
        match protocol {
            BackendProtocol::Http | BackendProtocol::H2c => None,
            BackendProtocol::Https => Some(&self.http1),
            BackendProtocol::H2Tls => Some(&self.http2),
        }
    }
}

fn config(terms: Option<&Arc<Terms>>, application: &[u8]) -> Arc<ClientConfig> {
    let wish = terms.map(|terms| &terms.wish);
    let provider = Arc::new(provider(wish.and_then(|wish| wish.suites.as_deref())));
    let verifier: Arc<dyn ServerCertVerifier> =
        match terms.and_then(|terms| terms.verifier.as_ref()) {
            Some(verifier) => Arc::clone(verifier) as Arc<dyn ServerCertVerifier>,
            None => Arc::new(Unverified::new(&provider)),
        };
    let versions = versions(wish.map_or(Versions::ALL, |wish| wish.versions));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .expect("a version is spoken only if it has suites")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let certificate = terms.and_then(|terms| terms.certificate.as_ref());
    let mut config = match certificate {
        // Whatever authorities the endpoint says that it knows: nginx does not ask.
        Some(own) => {
            let shown = SingleCertAndKey::from(Arc::clone(&own.key));
            builder.with_client_cert_resolver(Arc::new(shown))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![application.to_vec()];
    // ingress-nginx sends no server name unless proxy-ssl-server-name is on.
    config.enable_sni = wish.is_some_and(|wish| wish.sends_name);
    if wish.is_some() {
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
    }
    Arc::new(config)
}

/// The cryptography with these suites alone below TLS 1.3.
fn provider(suites: Option<&[CipherSuite]>) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(suites) = suites {
        let all = std::mem::take(&mut provider.cipher_suites);
        let newer = all.iter().filter(|own| own.tls13().is_some());
        let chosen = suites
            .iter()
            .filter_map(|suite| all.iter().find(|own| own.suite() == *suite));
        provider.cipher_suites = newer.chain(chosen).copied().collect();
    }
    provider
}

fn versions(wanted: Versions) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(wanted.tls13, &TLS13), (wanted.tls12, &TLS12)];
    let wanted = all.into_iter().filter(|(is_wanted, _)| *is_wanted);
    wanted.map(|(_, version)| version).collect()
}

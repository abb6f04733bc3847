//! What a TLS handshake has told of a client.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use l7_ingress_core::Table;
use l7_ingress_core::client_auth::{ClientAuth, Judgement, Presented};
use rustls::ServerConnection;
use rustls_pki_types::UnixTime;

use crate::tls::canonical;

/// A client's TLS session.
#[derive(Debug)]
pub(crate) struct Session {
    /// The host that it asked for, if there is one: to nginx the others are its default server's.
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) presented: Option<Presented>,
    /// What was made of the certificate at last, and by whose measure: another request may be for another host, and
    /// authorities change.
    judged: ArcSwapOption<(Arc<ClientAuth>, Judgement)>,
}

impl Session {
    pub(crate) fn new(connection: &ServerConnection, table: &Table) -> Self {
        let name = connection.server_name().map(canonical);
        Self {
            server_name: name.filter(|name| table.knows(name)).map(Into::into),
            presented: connection.peer_certificates().and_then(Presented::new),
            judged: ArcSwapOption::empty(),
        }
    }

    /// What is made of the certificate where this is asked for.
    pub(crate) fn judge(&self, auth: &Arc<ClientAuth>) -> Judgement {
        let Some(presented) = &self.presented else {
            return Judgement::None;
        };
        if let Some(judged) = &*self.judged.load()
            && Arc::ptr_eq(&judged.0, auth)
        {
            return judged.1;
        }
        let judgement = auth.judge(&presented.chain, UnixTime::now());
        let judged = (Arc::clone(auth), judgement);
        self.judged.store(Some(Arc::new(judged)));
        judgement
    }

    /// Whose certificate it is; empty without one.
    pub(crate) fn subject(&self) -> &str {
        let presented = self.presented.as_ref();
        presented.map_or("", |presented| &presented.subject)
    }

    /// Tells of the certificate what is told where this is asked for.
    pub(crate) fn tell(&self, auth: &Arc<ClientAuth>, mut field: impl FnMut(&'static str, &str)) {
        let [verify, subject, issuer, certificate] = FIELDS;
        field(verify, &self.judge(auth).to_string());
        let Some(presented) = self.presented.as_ref().filter(|_| auth.asks()) else {
            return;
        };
        field(subject, &presented.subject);
        field(issuer, &presented.issuer);
        if auth.wish.passes {
            field(certificate, &presented.pem);
        }
    }
}

/// What is told of a client's certificate.
pub(crate) const FIELDS: [&str; 4] = [
    "ssl-client-verify",
    "ssl-client-subject-dn",
    "ssl-client-issuer-dn",
    "ssl-client-cert",
];

/// Whether a field says what only we may say of a client's certificate.
pub(crate) fn is_told(name: &str) -> bool {
    FIELDS.contains(&name)
}

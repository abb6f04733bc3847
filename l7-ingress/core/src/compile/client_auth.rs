//! What clients of a host have to show.

use std::sync::Arc;

use model::ObjectName;

use super::host::{Rules, Scope, serves};
use super::secrets::Lookup;
use crate::authorities::Authorities;
use crate::client_auth::{ClientAuth, Wish};

const FIELD: &str = "metadata.annotations[auth-tls-secret]";

impl Scope<'_> {
    /// What clients have to show: what the oldest Ingress of the host asks for that asks for anything. Where what that needs
    /// is not there, nobody is let in.
    pub(super) fn client_auth(&mut self, rules: &Rules<'_>) -> Option<Arc<ClientAuth>> {
        let own = |ingress: &&Arc<_>| serves(ingress, rules.host);
        let ingresses = rules.ingresses.iter().copied().filter(own);
        let mut asking = ingresses.filter_map(|ingress| {
            let asked = ingress.annotations.client_auth.as_ref()?;
            Some((ingress, asked))
        });
        let (winner, wanted) = asking.next()?;
        for (later, _) in asking.filter(|(_, asked)| *asked != wanted) {
            let message = format!("host {} has the one of Ingress {}", rules.host, winner.name);
            self.warn(&later.name, FIELD.to_owned(), "Conflict", message);
        }
        let authorities = match wanted.secret.as_ref().map(|secret| self.believed(secret)) {
            // The annotation itself is bad, which is said elsewhere.
            None => None,
            Some(Ok(authorities)) => Some(authorities),
            Some(Err(what)) => {
                let host = rules.host;
                let message = format!("{what}; requests for {host:?} are answered with 403");
                self.warn(&winner.name, FIELD.to_owned(), "InvalidAnnotation", message);
                None
            }
        };
        Some(Arc::new(ClientAuth {
            wish: Wish::clone(&wanted.wish),
            authorities,
            open: self.settings.no_https_redirect.clone().into(),
        }))
    }

    fn believed(&mut self, secret: &ObjectName) -> Result<Arc<Authorities>, String> {
        let found = self.trusted_authorities(secret)?;
        found.ok_or_else(|| match self.secrets.authorities(secret) {
            Lookup::Absent(_) => format!("Secret {secret} does not exist"),
            _ => format!("Secret {secret} has no ca.crt"),
        })
    }
}

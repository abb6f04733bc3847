//! `proxy-ssl-*`: TLS towards endpoints.

use rustls_pki_types::ServerName;

use super::reader::{Effect, Reader};
use crate::backend_tls::{TlsWish, Versions};
use crate::cipher_list;
use crate::secret::Use;

const SECRET: &str = "proxy-ssl-secret";
const PROTOCOLS: &str = "proxy-ssl-protocols";
const CIPHERS: &str = "proxy-ssl-ciphers";

/// The others, which mean nothing without the Secret.
const OTHERS: [&str; 6] = [
    CIPHERS,
    "proxy-ssl-name",
    PROTOCOLS,
    "proxy-ssl-server-name",
    "proxy-ssl-verify",
    "proxy-ssl-verify-depth",
];

/// ingress-nginx's.
const DEPTH: usize = 1;

pub(super) fn read(reader: &mut Reader<'_>) -> Option<Box<TlsWish>> {
    // A bad value refuses the Ingress, whether it would mean something or not.
    let name = reader.value("proxy-ssl-name", Effect::Refuse, name);
    let sends_name = reader.value("proxy-ssl-server-name", Effect::Refuse, on_off);
    let verifies = reader.value("proxy-ssl-verify", Effect::Refuse, on_off);
    let depth = reader.value("proxy-ssl-verify-depth", Effect::Refuse, depth);
    let (versions, suites) = spoken(reader);
    if reader.text(SECRET).is_none() {
        for name in OTHERS {
            if reader.text(name).is_some() {
                let what = format!("has no effect without {SECRET}");
                reader.fault(name, Effect::Skip, what);
            }
        }
        return None;
    }
    let secret = reader.secret(SECRET, Use::Certificate)?;
    reader.secrets.push((secret.clone(), Use::Authorities));
    Some(Box::new(TlsWish {
        secret,
        name,
        sends_name: sends_name.unwrap_or_default(),
        depth: verifies
            .unwrap_or_default()
            .then(|| depth.flatten().unwrap_or(DEPTH)),
        versions,
        suites,
    }))
}

/// Versions and suites, of which at least one pair can be spoken unless everybody is kept out.
fn spoken(reader: &mut Reader<'_>) -> (Versions, Option<Box<[rustls::CipherSuite]>>) {
    let versions = reader.value(PROTOCOLS, Effect::Refuse, versions);
    let mut versions = versions.flatten().unwrap_or(Versions::ALL);
    let suites = reader.value(CIPHERS, Effect::Refuse, suites);
    if versions.is_empty() {
        let what = "names no version of TLS that is spoken here: TLSv1.2 and TLSv1.3 are";
        reader.fault(PROTOCOLS, Effect::Deny, what.to_owned());
        versions = Versions::ALL;
    }
    if versions.tls12 && suites.as_ref().is_some_and(|suites| suites.is_empty()) {
        versions.tls12 = false;
        let (effect, what) = match versions.tls13 {
            true => (Effect::Skip, "TLS 1.3 alone is spoken"),
            false => (Effect::Deny, "nothing is left to speak"),
        };
        let what = format!("leaves no suite that is known for TLS 1.2: {what}");
        reader.fault(CIPHERS, effect, what);
        versions.tls13 = true;
    }
    (versions, suites)
}

fn on_off(text: &str) -> Result<bool, String> {
    match text.trim() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    }
}

fn name(text: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(text.trim().to_owned());
    name.map_err(|_| format!("{text:?} is neither a DNS name nor an address; it has no variables"))
}

/// `None` asks for the default, as 0 does in ingress-nginx.
fn depth(text: &str) -> Result<Option<usize>, String> {
    match text.trim().parse() {
        Ok(0) => Ok(None),
        Ok(depth) => Ok(Some(depth)),
        Err(_) => Err(format!("{text:?} is no number of certificates")),
    }
}

/// `None` where it is blank. What is too old to be spoken is left out: an endpoint that speaks nothing else is not reached.
fn versions(text: &str) -> Result<Option<Versions>, String> {
    let mut versions = Versions {
        tls12: false,
        tls13: false,
    };
    for word in text.split_whitespace() {
        match word {
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => {}
            "TLSv1.2" => versions.tls12 = true,
            "TLSv1.3" => versions.tls13 = true,
            _ => {
                return Err(format!(
                    "{word:?} is none of SSLv2, SSLv3, TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3"
                ));
            }
        }
    }
    Ok((!text.trim().is_empty()).then_some(versions))
}

fn suites(text: &str) -> Result<Box<[rustls::CipherSuite]>, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+:_-! ".contains(&byte);
    match text.bytes().all(allowed) {
        true => Ok(cipher_list::select(text).into()),
        false => Err(format!(
            "{text:?} holds something else than letters, digits and +:_-!"
        )),
    }
}

//! `auth-tls-*`: certificates that clients have to show.

use http::HeaderValue;
use model::ObjectName;

use super::reader::{Effect, Reader};
use crate::client_auth::{Subject, Verify, Wish};
use crate::secret::Use;

/// ingress-nginx's `auth-tls-verify-depth`.
const DEPTH: usize = 1;

/// What an Ingress asks of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientAuthWish {
    /// Whose `ca.crt` their certificates have to be signed by; `None` where the annotation does not tell.
    pub(crate) secret: Option<ObjectName>,
    pub(crate) wish: Wish,
}

/// What clients have to show.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Box<ClientAuthWish>> {
    const SECRET: &str = "auth-tls-secret";
    // Whatever is wrong with the others, it is only said where they are asked for.
    reader.text(SECRET)?;
    let verify = match reader.text("auth-tls-verify-client") {
        Some("off") => Verify::Off,
        Some("optional") => Verify::Optional,
        Some("optional_no_ca") => Verify::OptionalNoCa,
        Some("on") | None => Verify::On,
        Some(other) => {
            let what =
                format!("{other:?} is none of on, off, optional and optional_no_ca; it is on");
            reader.fault("auth-tls-verify-client", Effect::Skip, what);
            Verify::On
        }
    };
    let depth = reader.integer("auth-tls-verify-depth");
    let depth = depth.and_then(|depth| usize::try_from(depth).ok());
    let wish = Wish {
        verify,
        depth: depth.filter(|depth| *depth > 0).unwrap_or(DEPTH),
        error_page: reader.value("auth-tls-error-page", Effect::Refuse, error_page),
        passes: reader
            .boolean("auth-tls-pass-certificate-to-upstream")
            .unwrap_or_default(),
        name: reader.value("auth-tls-match-cn", Effect::Refuse, Subject::new),
    };
    Some(Box::new(ClientAuthWish {
        secret: reader.secret(SECRET, Use::Authorities),
        wish,
    }))
}

fn error_page(text: &str) -> Result<HeaderValue, String> {
    let is_url = ["http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#&=,%+@".contains(&byte);
    match is_url && text.bytes().all(allowed) {
        true => HeaderValue::from_str(text).map_err(|error| error.to_string()),
        false => Err(format!(
            "{text:?} is no http or https URL without variables"
        )),
    }
}

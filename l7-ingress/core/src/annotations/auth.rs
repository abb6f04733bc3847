//! `auth-type`, `auth-secret`, `auth-secret-type`, `auth-realm`, `satisfy`.

use http::HeaderValue;
use model::ObjectName;

use super::reader::{Effect, Reader};
use crate::secret::Use;

/// Where passwords are, and what clients are told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BasicWish {
    pub(crate) secret: ObjectName,
    pub(crate) wanted: Use,
    pub(crate) challenge: HeaderValue,
}

/// What `auth-type` asks for.
pub(super) fn basic(reader: &mut Reader<'_>) -> Option<BasicWish> {
    let wanted = reader.value("auth-secret-type", Effect::Refuse, |text| match text {
        "auth-file" => Ok(Use::PasswordFile),
        "auth-map" => Ok(Use::PasswordMap),
        _ => Err(format!("{text:?} is neither auth-file nor auth-map")),
    });
    let challenge = reader.value("auth-realm", Effect::Refuse, challenge);
    let is_wanted = reader.value("auth-type", Effect::Refuse, |text| match text {
        "basic" => Ok(()),
        "digest" => {
            Err("digest is refused: it needs passwords in a form as good as plain".to_owned())
        }
        _ => Err(format!("{text:?} is not basic")),
    });
    if is_wanted.is_none() {
        if reader.text("auth-secret").is_some() && reader.text("auth-type").is_none() {
            let what = "has no effect without auth-type: everybody is let in".to_owned();
            reader.fault("auth-secret", Effect::Skip, what);
        }
        return None;
    }
    if reader.text("auth-secret").is_none() {
        let what = "needs auth-secret, which is not set".to_owned();
        reader.fault("auth-type", Effect::Deny, what);
        return None;
    }
    let wanted = wanted.unwrap_or(Use::PasswordFile);
    let secret = reader.secret("auth-secret", wanted)?;
    let challenge = challenge.unwrap_or(HeaderValue::from_static("Basic realm=\"\""));
    Some(BasicWish {
        secret,
        wanted,
        challenge,
    })
}

/// Whether one of the ways in is enough.
pub(super) fn satisfy_any(reader: &mut Reader<'_>) -> Option<bool> {
    reader.value("satisfy", Effect::Refuse, |text| match text {
        "any" => Ok(true),
        "all" => Ok(false),
        _ => Err(format!("{text:?} is neither any nor all")),
    })
}

/// The challenge of a realm that needs no quoting.
fn challenge(realm: &str) -> Result<HeaderValue, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -._~/:".contains(&byte);
    let value = realm.bytes().all(plain);
    let value = value.then(|| HeaderValue::try_from(format!("Basic realm=\"{realm}\"")).ok());
    value.flatten().ok_or_else(|| {
        format!("{realm:?} holds something else than letters, digits, blanks and -._~/:")
    })
}

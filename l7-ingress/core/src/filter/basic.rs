//! Who may come in with a password: the Basic scheme of RFC 7617.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::{Answer, Question, Verdict};
use crate::Passwords;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// The challenge, with its realm.
    pub challenge: HeaderValue,
    /// Who may come in.
    pub passwords: Arc<Passwords>,
}

/// A user and a password, as a client sends them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    decoded: Vec<u8>,
    colon: usize,
}

/// Never prints a password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credentials")
            .field(&self.user().escape_ascii().to_string())
            .finish()
    }
}

impl Credentials {
    /// Those of a request that has one `Authorization` field with them.
    pub(crate) fn read(head: &Parts) -> Option<Self> {
        let mut fields = head.headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return None;
        };
        let (scheme, rest) = field.as_bytes().split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let decoded = BASE64.decode(rest.trim_ascii()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        Some(Self { decoded, colon })
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        &self.decoded[..self.colon]
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &[u8] {
        &self.decoded[self.colon + 1..]
    }
}

const SCHEME: &[u8] = b"Basic ";

/// With or without padding: clients differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Basic {
    pub(super) fn judge<'r>(self: &'r Arc<Self>, head: &Parts) -> Verdict<'r> {
        match Credentials::read(head) {
            Some(credentials) => Verdict::Ask(Question::Password(self, credentials)),
            None => Verdict::Answer(self.refusal()),
        }
    }

    /// What is answered to whom does not know a password.
    #[must_use]
    pub fn refusal(&self) -> Answer {
        let answer = Answer::status(StatusCode::UNAUTHORIZED);
        answer.with(WWW_AUTHENTICATE, self.challenge.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_one_field_of_the_basic_scheme() {
        let read = |fields: &[&str]| {
            let mut request = http::Request::new(());
            for field in fields {
                request
                    .headers_mut()
                    .append(AUTHORIZATION, field.parse().unwrap());
            }
            let read = Credentials::read(&request.into_parts().0)?;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            Some((text(read.user()), text(read.password())))
        };
        let joe = |password: &str| Some(("joe".to_owned(), password.to_owned()));
        assert_eq!(read(&["Basic am9lOnB3"]), joe("pw"));
        assert_eq!(read(&["basic  am9lOnB3"]), joe("pw"));
        assert_eq!(read(&["Basic am9lOmE6Yg=="]), joe("a:b"));
        assert_eq!(read(&["Basic am9lOmE6Yg"]), joe("a:b"));
        assert_eq!(read(&["Basic am9lOg=="]), joe(""));
        for bad in [
            "Basic",
            "Basic am9l",
            "Bearer am9lOnB3",
            "Basic am9l OnB3",
            "Basic %%",
        ] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(
            read(&["Basic am9lOnB3", "Basic am9lOnB3"]),
            None,
            "which one?"
        );
    }
}

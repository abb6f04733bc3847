//! What the server that was asked has said, as far as it counts.

use http::header::{SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Answer, External, whole};

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub(super) status: StatusCode,
    challenges: Box<[HeaderValue]>,
    told: Box<[(HeaderName, HeaderValue)]>,
    cookies: Box<[HeaderValue]>,
    always: bool,
}

impl External {
    /// Takes out of an answer what counts.
    #[must_use]
    pub fn hear(&self, status: StatusCode, headers: &HeaderMap) -> Heard {
        let all = |name: HeaderName| headers.get_all(name).iter().cloned().collect();
        let told = self.told.iter().filter_map(|name| {
            let value = whole(headers, name, b", ")?;
            Some((name.clone(), value))
        });
        Heard {
            status,
            challenges: all(WWW_AUTHENTICATE),
            told: told.collect(),
            cookies: all(SET_COOKIE),
            always: self.always_sets_cookies,
        }
    }
}

impl Heard {
    pub(super) fn told(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let found = self.told.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value)
    }

    pub(super) fn challenge(&self) -> Answer {
        let challenges = self.challenges.iter().cloned();
        let answer = Answer::status(StatusCode::UNAUTHORIZED);
        challenges.fold(answer, |answer, challenge| {
            answer.with(WWW_AUTHENTICATE, challenge)
        })
    }

    /// Sets its cookies in the response to the client; of what became of the request, only the usual is told by
    /// cookies.
    pub fn set_cookies(&self, status: StatusCode, headers: &mut HeaderMap) {
        let usual = matches!(
            status.as_u16(),
            200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308
        );
        if usual || self.always {
            for cookie in &self.cookies {
                headers.append(SET_COOKIE, cookie.clone());
            }
        }
    }

    /// Whether the request may come in; `None` where it says neither.
    #[must_use]
    pub fn lets_in(&self) -> Option<bool> {
        match self.status {
            status if status.is_success() => Some(true),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(false),
            _ => None,
        }
    }

    /// Bytes that it takes to remember it.
    #[must_use]
    pub fn size(&self) -> usize {
        let challenges = self.challenges.iter().map(HeaderValue::len);
        let told = self.told.iter();
        let told = told.map(|(name, value)| name.as_str().len() + value.len());
        challenges.chain(told).sum()
    }
}

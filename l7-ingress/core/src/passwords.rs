//! Users and the hashes of their passwords, in the formats that nginx's basic authentication reads.

mod md5_crypt;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha_crypt::password_hash::PasswordVerifier as _;
use sha_crypt::{PasswordHashRef, ShaCrypt};
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use self::md5_crypt::Md5Crypt;
use crate::secret::{PASSWORD_FILE, SecretData};

/// Why a Secret holds no passwords.
#[derive(Debug, Error)]
pub(crate) enum PasswordError {
    #[error("is missing")]
    NoField,
}

impl PasswordError {
    /// The field at fault.
    pub(crate) fn field(&self) -> String {
        format!("data[{PASSWORD_FILE}]")
    }
}

/// Who may come in with which password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Passwords {
    users: BTreeMap<Box<[u8]>, Hash>,
    /// What was left out: where, and why.
    faults: Vec<(String, &'static str)>,
}

/// Never prints a hash.
impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords")
            .field("users", &self.users.len())
            .field("faults", &self.faults)
            .finish()
    }
}

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
enum Hash {
    /// `$2a$`, `$2b$`, `$2x$`, `$2y$`.
    Bcrypt(Box<str>),
    /// `$5$`, `$6$`.
    ShaCrypt(Box<str>),
    /// `$apr1$`, `$1$`.
    Md5Crypt(Md5Crypt),
    /// `{SHA}`, and `{SSHA}` with a salt.
    Sha([u8; 20], Box<[u8]>),
    /// `{PLAIN}`.
    Plain(Box<[u8]>),
}

impl Passwords {
    /// A password file: `user:hash` on each line, `#` before what is none.
    pub(crate) fn read_file(data: &SecretData) -> Result<Self, PasswordError> {
        let text = data.get(PASSWORD_FILE).ok_or(PasswordError::NoField)?;
        let mut read = Self::default();
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let place = || format!("line {number}");
            match split(line) {
                Some((user, hash)) => read.add(user, hash, place),
                None => read.faults.push((place(), "has no `:`")),
            }
        }
        Ok(read)
    }

    /// A user for each key.
    pub(crate) fn read_map(data: &SecretData) -> Self {
        let mut read = Self::default();
        for (user, hash) in data.iter() {
            read.add(user.as_bytes(), hash.trim_ascii(), || format!("key {user}"));
        }
        read
    }

    /// As nginx, which takes the first line of a user.
    fn add(&mut self, user: &[u8], hash: &[u8], place: impl FnOnce() -> String) {
        // What follows is a comment.
        let hash = split(hash).map_or(hash, |(hash, _)| hash);
        match Hash::read(hash) {
            Ok(hash) => {
                self.users.entry(user.into()).or_insert(hash);
            }
            Err(why) => self.faults.push((place(), why)),
        }
    }

    /// What was left out: where, and why.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.faults.iter().map(|(place, why)| (&**place, *why))
    }

    /// What a password is checked against, as bytes: with the password they tell whether it was checked before.
    #[must_use]
    pub fn fingerprint(&self, user: &[u8]) -> Option<&[u8]> {
        Some(self.users.get(user)?.bytes())
    }

    /// Whether this is the user's password. It takes as long for a user that does not exist, and it may take long.
    #[must_use]
    pub fn check(&self, user: &[u8], password: &[u8]) -> bool {
        match (self.users.get(user), self.users.values().next()) {
            (Some(hash), _) => hash.check(password),
            (None, Some(decoy)) => {
                std::hint::black_box(decoy.check(password));
                false
            }
            (None, None) => false,
        }
    }
}

fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    Some((&text[..colon], &text[colon + 1..]))
}

/// Beyond these, one password would keep a processor busy for many seconds.
const MOST_BCRYPT_COST: u32 = 17;
const MOST_ROUNDS: u32 = 5_000_000;

impl Hash {
    fn read(text: &[u8]) -> Result<Self, &'static str> {
        if let Some(plain) = text.strip_prefix(b"{PLAIN}") {
            return Ok(Self::Plain(plain.into()));
        }
        let text = std::str::from_utf8(text).map_err(|_| "is no text")?;
        if let Some(digest) = text.strip_prefix("{SHA}") {
            return sha(digest)
                .filter(|(_, salt)| salt.is_empty())
                .map_or(Err("is no {SHA} hash"), |(digest, salt)| {
                    Ok(Self::Sha(digest, salt))
                });
        }
        if let Some(digest) = text.strip_prefix("{SSHA}") {
            return sha(digest).map_or(Err("is no {SSHA} hash"), |(digest, salt)| {
                Ok(Self::Sha(digest, salt))
            });
        }
        if text.starts_with("$2") {
            return bcrypt_hash(text);
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return sha_crypt_hash(text);
        }
        if let Some(hash) = Md5Crypt::read(text) {
            return hash.map(Self::Md5Crypt);
        }
        Err(
            "is in no known format; crypt(3) with DES is refused, as it knows eight characters alone",
        )
    }

    fn check(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::ShaCrypt(hash) => ShaCrypt::default()
                .verify_password(password, &**hash)
                .is_ok(),
            Self::Md5Crypt(hash) => hash.check(password),
            Self::Sha(digest, salt) => {
                let hashed = Sha1::new()
                    .chain_update(password)
                    .chain_update(salt)
                    .finalize();
                hashed.as_slice().ct_eq(digest).into()
            }
            // Of equal lengths, so that the length is not told either.
            Self::Plain(plain) => Sha1::digest(password)
                .as_slice()
                .ct_eq(Sha1::digest(plain).as_slice())
                .into(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bcrypt(hash) | Self::ShaCrypt(hash) => hash.as_bytes(),
            Self::Md5Crypt(hash) => hash.bytes(),
            Self::Sha(digest, _) => digest,
            Self::Plain(plain) => plain,
        }
    }
}

/// A SHA-1 digest and what follows it.
fn sha(text: &str) -> Option<([u8; 20], Box<[u8]>)> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let (digest, salt) = bytes.split_first_chunk()?;
    Some((*digest, salt.into()))
}

fn bcrypt_hash(text: &str) -> Result<Hash, &'static str> {
    const BAD: &str = "is no bcrypt hash";
    let parts: bcrypt::HashParts = text.parse().map_err(|_| BAD)?;
    match parts.get_cost() {
        4..=MOST_BCRYPT_COST => Ok(Hash::Bcrypt(text.into())),
        _ => Err("is a bcrypt hash of a cost that is not between 4 and 17"),
    }
}

fn sha_crypt_hash(text: &str) -> Result<Hash, &'static str> {
    const BAD: &str = "is no sha-crypt hash";
    PasswordHashRef::new(text).map_err(|_| BAD)?;
    let mut parts = text.split('$').skip(2);
    let rounds = parts.next().and_then(|part| part.strip_prefix("rounds="));
    let rounds: u32 = rounds.map_or(Ok(5000), |rounds| rounds.parse().map_err(|_| BAD))?;
    match rounds {
        1000..=MOST_ROUNDS => Ok(Hash::ShaCrypt(text.into())),
        _ => Err("is a sha-crypt hash of rounds that are not between 1000 and 5000000"),
    }
}

#[cfg(test)]
mod tests;

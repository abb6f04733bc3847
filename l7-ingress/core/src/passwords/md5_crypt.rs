//! The MD5-based hashes `$apr1$` of htpasswd and `$1$` of crypt(3): one algorithm, 1000 rounds.

use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

/// A hash as it is written.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Md5Crypt {
    text: Box<str>,
    magic: &'static str,
    salt_end: usize,
}

impl Md5Crypt {
    /// Reads one; `None` if it claims to be something else.
    pub(super) fn read(text: &str) -> Option<Result<Self, &'static str>> {
        let mut magics = ["$apr1$", "$1$"].into_iter();
        let magic = magics.find(|magic| text.starts_with(magic))?;
        let rest = &text[magic.len()..];
        let hash = rest.split_once('$').filter(|(salt, hash)| {
            let alphabet = |byte: u8| ALPHABET.contains(&byte);
            salt.len() <= 8 && hash.len() == 22 && hash.bytes().all(alphabet)
        });
        Some(hash.map_or(Err("is no MD5-crypt hash"), |(salt, _)| {
            Ok(Self {
                text: text.into(),
                magic,
                salt_end: magic.len() + salt.len(),
            })
        }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub(super) fn check(&self, password: &[u8]) -> bool {
        let salt = &self.text.as_bytes()[self.magic.len()..self.salt_end];
        let wanted = &self.text.as_bytes()[self.salt_end + 1..];
        digest(self.magic.as_bytes(), salt, password)
            .as_slice()
            .ct_eq(wanted)
            .into()
    }
}

fn digest(magic: &[u8], salt: &[u8], password: &[u8]) -> Vec<u8> {
    let inner: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut outer = Md5::new()
        .chain_update(password)
        .chain_update(magic)
        .chain_update(salt);
    for place in (0..password.len()).step_by(16) {
        outer.update(&inner[..16.min(password.len() - place)]);
    }
    let mut bits = password.len();
    while bits > 0 {
        match bits & 1 {
            1 => outer.update([0]),
            _ => outer.update(&password[..1]),
        }
        bits >>= 1;
    }
    let mut last: [u8; 16] = outer.finalize().into();
    for round in 0..1000 {
        let mut hash = Md5::new();
        match round % 2 {
            1 => hash.update(password),
            _ => hash.update(last),
        }
        if round % 3 != 0 {
            hash.update(salt);
        }
        if round % 7 != 0 {
            hash.update(password);
        }
        match round % 2 {
            1 => hash.update(last),
            _ => hash.update(password),
        }
        last = hash.finalize().into();
    }
    encode(&last)
}

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Six bits at a time, the lowest first, of bytes in an order of their own.
fn encode(digest: &[u8; 16]) -> Vec<u8> {
    const GROUPS: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut text = Vec::with_capacity(22);
    let mut write = |mut value: u32, digits: usize| {
        for _ in 0..digits {
            text.push(ALPHABET[(value & 63) as usize]);
            value >>= 6;
        }
    };
    for [high, middle, low] in GROUPS {
        let [high, middle, low] = [high, middle, low].map(|place| u32::from(digest[place]));
        write(high << 16 | middle << 8 | low, 4);
    }
    write(u32::from(digest[11]), 2);
    text
}

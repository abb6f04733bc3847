//! What interfaces are called: checked names, indices, hardware addresses.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// `IFNAMSIZ` without its zero.
const LONGEST: usize = 15;

/// A name that the kernel takes for an interface (`dev_valid_name`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(Box<str>);

impl LinkName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, Error> {
        let taken = !name.is_empty()
            && name.len() <= LONGEST
            && name != "."
            && name != ".."
            && !name.contains(|letter: char| {
                letter == '/' || letter == ':' || letter == '\0' || letter.is_ascii_whitespace()
            });
        match taken {
            true => Ok(Self(name.into())),
            false => Err(Error::LinkName(name.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that the kernel has given.
    pub(crate) fn from_kernel(name: String) -> Self {
        Self(name.into_boxed_str())
    }
}

impl FromStr for LinkName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of an interface in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub u32);

impl LinkIndex {
    pub(crate) fn to_bytes(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }
}

/// Shown where the name cannot be had; errors show names.
impl fmt::Display for LinkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A hardware address of Ethernet's kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Mac(text.into());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2);
            let part = part.filter(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
            *octet = u8::from_str_radix(part.ok_or_else(wrong)?, 16).map_err(|_| wrong())?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(wrong()),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_kernel_takes() {
        for name in ["lo", "eth0", "penstock.1", "a23456789012345", "net-1_ü"] {
            assert_eq!(LinkName::new(name).unwrap().as_str(), name);
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:b",
            "a\nb",
            "a\0",
            "a234567890123456",
        ] {
            assert!(LinkName::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn hardware_addresses_read_and_show_alike() {
        let mac: Mac = "02:00:5e:10:Ff:01".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:ff:01");
        for wrong in [
            "",
            "02:00:5e:10:ff",
            "02:00:5e:10:ff:01:02",
            "2:0:5e:10:ff:1",
            "0200:5e:10:ff:1:+1",
            "02:00:5e:10:ff:+1",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong:?}");
        }
    }
}

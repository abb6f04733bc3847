//! What can go wrong between us and a kernel, with the operation and the object named.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error("opening a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// The socket failed: nothing is known about what was asked.
    #[error("{doing}: the netlink socket: {source}")]
    Socket {
        /// What was asked.
        doing: Box<str>,
        /// What the socket said.
        source: io::Error,
    },
    /// The kernel said no.
    #[error("{doing}: {refusal}")]
    Refused {
        /// What was asked, with the object's name: `adding route 10.1.2.0/24 via 10.1.2.0 dev penstock.1`.
        doing: Box<str>,
        /// Its answer.
        #[source]
        refusal: Refusal,
    },
    /// No answer came: it may have been done or not.
    #[error("{doing}: the kernel's answer was lost")]
    Unanswered {
        /// What was asked.
        doing: Box<str>,
    },
    /// More than a message holds.
    #[error("{doing}: too large for one netlink message")]
    TooLarge {
        /// What was asked.
        doing: Box<str>,
    },
    /// What is listed changed faster than it can be listed.
    #[error("{doing}: changed during each of {tries} attempts to list it")]
    Torn {
        /// What was listed.
        doing: Box<str>,
        /// How often.
        tries: usize,
    },
    /// Too short for what it claims to be.
    #[error("{doing}: the kernel sent a message that cannot be read")]
    Malformed {
        /// What was asked.
        doing: Box<str>,
    },
    /// A network namespace cannot be had.
    #[error("{doing} network namespace {}: {source}", path.display())]
    Namespace {
        /// What was tried.
        doing: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A sysctl cannot be read or written.
    #[error("{doing} {}: {source}", path.display())]
    Sysctl {
        /// What was tried.
        doing: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No name for an interface.
    #[error("{0:?} is no name for an interface")]
    LinkName(Box<str>),
    /// No hardware address.
    #[error("{0:?} is no hardware address")]
    Mac(Box<str>),
}

impl Error {
    /// The error number, if there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.errno),
            Self::Open(source)
            | Self::Socket { source, .. }
            | Self::Namespace { source, .. }
            | Self::Sysctl { source, .. } => Errno::from_io_error(source),
            _ => None,
        }
    }

    /// It was to be made and is there already.
    pub fn is_already_there(&self) -> bool {
        self.errno() == Some(Errno::EXIST)
    }

    /// It was to be changed or removed, and it is not there; or what it stands on is not.
    pub fn is_not_there(&self) -> bool {
        matches!(
            self.errno(),
            Some(Errno::NOENT | Errno::SRCH | Errno::NODEV | Errno::ADDRNOTAVAIL | Errno::NXIO)
        )
    }

    /// It was to be done only if nothing had changed, and something had.
    pub fn is_stale(&self) -> bool {
        // `ERESTART` of a transaction; no number of user space's, but it comes through.
        self.errno() == Some(Errno::from_raw_os_error(85))
    }

    /// The kernel was built without it.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.errno(),
            Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT)
        )
    }
}

/// The kernel's "no".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, as a number.
    pub errno: Errno,
    /// Why, in the kernel's words, where it has some.
    pub hint: Option<Box<str>>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from(self.errno).to_string();
        // `File exists (os error 17)`
        let text = text.split(" (os error").next().unwrap_or(&text);
        let mut letters = text.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        write!(f, "{}{}", first.unwrap_or_default(), letters.as_str())?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_operation_and_the_object() {
        let refused = |hint: Option<&str>| Error::Refused {
            doing: "adding route 10.1.2.0/24 via 10.1.2.0 dev penstock.1".into(),
            refusal: Refusal {
                errno: Errno::EXIST,
                hint: hint.map(Into::into),
            },
        };
        assert_eq!(
            refused(None).to_string(),
            "adding route 10.1.2.0/24 via 10.1.2.0 dev penstock.1: file exists"
        );
        assert!(
            refused(Some("in another table"))
                .to_string()
                .ends_with("penstock.1: file exists (in another table)")
        );
        assert!(refused(None).is_already_there());
    }
}

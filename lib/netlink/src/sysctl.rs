//! Sysctls of this thread's namespace. Files under `/proc/sys/net` belong to the namespace of whoever
//! opens them, so that [`Namespace::enter`](crate::Namespace::enter) leads to another's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// One sysctl by its path's parts: an interface's name may hold the dots that `sysctl` splits at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sysctl(PathBuf);

impl Sysctl {
    /// `net` and these parts, as in `["ipv4", "conf", "penstock.1", "rp_filter"]`.
    pub fn net(parts: &[&str]) -> Self {
        let mut path = PathBuf::from("/proc/sys/net");
        path.extend(parts);
        Self(path)
    }

    /// Its value, without the line's end.
    pub fn read(&self) -> Result<String, Error> {
        let text = fs::read_to_string(&self.0).map_err(|error| self.failed("reading", error))?;
        Ok(text.trim_end().to_owned())
    }

    /// Gives it a value.
    pub fn write(&self, value: &str) -> Result<(), Error> {
        fs::write(&self.0, value).map_err(|error| self.failed("writing", error))
    }

    /// Gives it a value unless it has it. Returns whether it had another.
    pub fn ensure(&self, value: &str) -> Result<bool, Error> {
        if self.read()? == value {
            return Ok(false);
        }
        self.write(value).map(|()| true)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Error {
        Error::Sysctl {
            doing,
            path: self.0.clone(),
            source,
        }
    }
}

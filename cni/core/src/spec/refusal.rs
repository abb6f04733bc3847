//! Errors in the protocol's words.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What kind of error (SPEC.md § Error): below 100 the protocol's, from there our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u32", from = "u32")]
pub enum Code {
    /// The version is not spoken.
    IncompatibleVersion,
    /// A field that would change what is done, and is not supported.
    UnsupportedField,
    /// The container is not known or does not exist.
    UnknownContainer,
    /// A variable is missing or wrong.
    Environment,
    /// Reading or writing failed.
    Io,
    /// What came is not JSON or not of the expected shape.
    Decode,
    /// The configuration can be read and makes no sense.
    Config,
    /// The namespace cannot be used.
    Namespace,
    /// Another attempt may succeed.
    TryAgain,
    /// STATUS: no ADD can be served.
    Unavailable,
    /// STATUS: no ADD can be served, and pods that are there may be cut off.
    Limited,
    /// An interface of this name is there already.
    InterfaceExists,
    /// Another pod has the address.
    AddressTaken,
    /// Another pod has the host port.
    HostPortTaken,
    /// All addresses are given out.
    PoolFull,
    /// CHECK found something else than was made.
    Different,
    /// The kernel refused, or lacks a feature.
    Kernel,
    /// A fault of our own.
    Internal,
    /// Another plugin's or a later version's.
    Other(u32),
}

impl From<Code> for u32 {
    fn from(code: Code) -> Self {
        match code {
            Code::IncompatibleVersion => 1,
            Code::UnsupportedField => 2,
            Code::UnknownContainer => 3,
            Code::Environment => 4,
            Code::Io => 5,
            Code::Decode => 6,
            Code::Config => 7,
            Code::Namespace => 8,
            Code::TryAgain => 11,
            Code::Unavailable => 50,
            Code::Limited => 51,
            Code::InterfaceExists => 100,
            Code::AddressTaken => 101,
            Code::HostPortTaken => 102,
            Code::PoolFull => 103,
            Code::Different => 104,
            Code::Kernel => 105,
            Code::Internal => 999,
            Code::Other(number) => number,
        }
    }
}

impl From<u32> for Code {
    fn from(number: u32) -> Self {
        [
            Self::IncompatibleVersion,
            Self::UnsupportedField,
            Self::UnknownContainer,
            Self::Environment,
            Self::Io,
            Self::Decode,
            Self::Config,
            Self::Namespace,
            Self::TryAgain,
            Self::Unavailable,
            Self::Limited,
            Self::InterfaceExists,
            Self::AddressTaken,
            Self::HostPortTaken,
            Self::PoolFull,
            Self::Different,
            Self::Kernel,
            Self::Internal,
        ]
        .into_iter()
        .find(|code| Self::number(*code) == number)
        .unwrap_or(Self::Other(number))
    }
}

impl Code {
    fn number(self) -> u32 {
        self.into()
    }
}

/// Why a request is not honoured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind.
    pub code: Code,
    /// One sentence.
    #[serde(rename = "msg")]
    pub message: String,
    /// What more there is to know.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl Refusal {
    /// Without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: String::new(),
        }
    }

    /// With details.
    #[must_use]
    pub fn with(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// As it is printed.
    pub fn to_json(&self, version: &str) -> Value {
        let mut object = json!({
            "cniVersion": version,
            "code": self.code,
            "msg": self.message,
        });
        if !self.details.is_empty() {
            object["details"] = self.details.clone().into();
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_specs_and_read_back() {
        for (code, number) in [
            (Code::IncompatibleVersion, 1),
            (Code::UnsupportedField, 2),
            (Code::UnknownContainer, 3),
            (Code::Environment, 4),
            (Code::Io, 5),
            (Code::Decode, 6),
            (Code::Config, 7),
            (Code::Namespace, 8),
            (Code::TryAgain, 11),
            (Code::Unavailable, 50),
            (Code::Limited, 51),
            (Code::Internal, 999),
            (Code::Other(77), 77),
        ] {
            assert_eq!((u32::from(code), Code::from(number)), (number, code));
        }
    }

    #[test]
    fn an_error_has_the_specs_keys() {
        let refusal = Refusal::new(Code::Config, "no name").with("the key `name`");
        let want = json!({"cniVersion": "1.1.0", "code": 7, "msg": "no name", "details": "the key `name`"});
        assert_eq!(refusal.to_json("1.1.0"), want);
    }
}

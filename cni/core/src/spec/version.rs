//! Versions of the protocol.

use std::fmt;

use super::refusal::{Code, Refusal};

/// A version of the protocol, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1.0: `ip4` and `ip6`. Also what a configuration without a version means.
    V0_1_0,
    /// 0.2.0: VERSION.
    V0_2_0,
    /// 0.3.0: several interfaces and addresses.
    V0_3_0,
    /// 0.3.1: lists of plugins.
    V0_3_1,
    /// 0.4.0: CHECK, and DEL with a previous result.
    V0_4_0,
    /// 1.0.0: addresses without `version`.
    V1_0_0,
    /// 1.1.0: STATUS, GC, more of interfaces and routes.
    V1_1_0,
}

impl Version {
    /// All that are spoken.
    pub const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];
    /// The newest.
    pub const NEWEST: Self = Self::V1_1_0;

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Reads `cniVersion`, which is 0.1.0 where it is missing.
    pub(super) fn read(text: Option<&str>) -> Result<Self, Refusal> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Self::V0_1_0);
        };
        let known = Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text);
        known.ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|version| version.as_str()).collect();
            Refusal::new(
                Code::IncompatibleVersion,
                format!("cniVersion {text:?} is not one of {}", known.join(", ")),
            )
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

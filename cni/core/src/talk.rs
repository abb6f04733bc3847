//! What plugin and agent say to each other: one framed JSON message each way.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::{Environment, Refusal};

/// Where the agent listens.
pub const SOCKET: &str = "/run/penstock/cni.sock";
/// Beside the socket: where the plugin leaves word of deletions that the agent was not there for.
pub const TOMBSTONES: &str = "cni-deleted";
/// The version of these messages: one that the agent does not know is refused.
pub const TALK: u32 = 1;
/// No message is longer: a pod's annotations are 256 KiB at most.
pub const LONGEST: usize = 1 << 20;

/// What the plugin was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// [`TALK`]
    pub talk: u32,
    /// The protocol's variables.
    pub environment: Environment,
    /// What came on standard input.
    pub stdin: String,
}

/// What the plugin is to print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// It was done; with the result, if there is one.
    Done(Option<Value>),
    /// It was not.
    Refused(Refusal),
}

/// Puts a message's length before it.
pub fn frame(message: &impl Serialize) -> Vec<u8> {
    let body = serde_json::to_vec(message).expect("these messages have string keys only");
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// How long the message behind this head is; none if it is too long.
pub fn length(head: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(head))
        .ok()
        .filter(|length| *length <= LONGEST)
}

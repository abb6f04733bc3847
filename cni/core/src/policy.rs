//! NetworkPolicies in our own terms: what they select, and what they let through.

mod rule;
mod selector;

pub use rule::{Block, Peer, Protocol};
pub use selector::{Labels, Operator, Requirement, Selector};

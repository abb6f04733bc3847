//! NetworkPolicies in our own terms: what they select, and what they let through.

mod selector;

pub use selector::{Labels, Operator, Requirement, Selector};

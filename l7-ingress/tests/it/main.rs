//! A whole l7-ingress, from objects to bytes on the wire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test runs programs, and its tasks end with its runtime"
)]

mod attacks;
mod churn;
mod compat;
mod conformance;
mod drain;
mod faults;
mod harness;
mod load;
mod program;
mod wire;

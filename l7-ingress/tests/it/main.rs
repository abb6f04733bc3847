//! A whole l7-ingress, from objects to bytes on the wire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod conformance;
mod faults;
mod harness;

//! A process as those outside it see it: over its admin port, by its signals and its exit code.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod exit;

//! This crate against the embedded API, against scripted answers, and against real folders.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod connect;
mod election;
mod endpoints;
mod folder;
mod problems;
mod rig;
mod script;
mod status;
mod watch;

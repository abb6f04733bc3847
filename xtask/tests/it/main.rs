//! The commands of xtask, run as a user runs them.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests run programs (xtask itself, curl, kubectl); what fails in a helper fails the test"
)]

mod demo;
mod docs;
mod flags;

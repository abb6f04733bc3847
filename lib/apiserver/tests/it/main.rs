//! The embedded API as its clients see it.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]
#![expect(clippy::print_stdout, reason = "a skipped test says so")]
#![expect(
    clippy::too_many_lines,
    reason = "tables are as long as what they check"
)]

mod client;
mod crds;
mod faults;
mod http;
mod invalid;
mod kubectl;
mod owners;
mod reads;
mod watches;
mod writes;

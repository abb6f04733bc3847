//! The embedded API as its clients see it.

mod client;

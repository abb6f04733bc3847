//! The embedded API as its clients see it.

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

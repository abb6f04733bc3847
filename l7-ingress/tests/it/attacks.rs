//! Bad input over the wire, against the program itself: what it does to the backends, to other
//! clients and to its own memory.

pub(crate) mod backend;
pub(crate) mod client;
mod descriptors;
mod expectations;
mod floods;
mod frames;
mod heads;
mod http1;
mod lingering;
mod malicious;
pub(crate) mod program;
mod slow;
mod tls;
mod windows;

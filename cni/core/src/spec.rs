//! The CNI protocol, 0.1.0 to 1.1.0: requests, results, errors. What it does not do: answer them.

mod config;
mod outcome;
mod refusal;
mod request;
mod version;

pub use config::{Bandwidth, Config, PortMapping, Rate, RuntimeConfig, Transport};
pub use outcome::{Dns, Interface, Ip, Outcome, Route};
pub use refusal::{Code, Refusal};
pub use request::{
    Args, Attachment, Command, Environment, MacAddr, Request, Target, version_reply,
};
pub use version::Version;

#[cfg(test)]
mod tests;

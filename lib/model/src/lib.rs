//! The vocabulary of the workspace: which object is meant, what is wrong with it, and where a
//! Service's traffic can go.
//!
//! Pure: no I/O, no clock, no randomness. Every component speaks in these types, so that what one
//! of them calls an endpoint is an endpoint for all.

mod endpoints;
mod object;
mod problem;

pub use endpoints::{
    Endpoint, EndpointSlice, EndpointState, PortRef, PortTarget, Protocol, Service, ServicePort,
    ServiceTarget, SliceEndpoint, SlicePort, endpoints,
};
pub use object::{Kind, ObjectName, ObjectRef};
pub use problem::{Problem, Severity};

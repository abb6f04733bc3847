//! Pod networking, decided: what a CNI request means, which address a pod gets, what the mesh between the nodes
//! consists of, and which packets NetworkPolicies let through. Pure: time, randomness and names are arguments.

pub mod host_ports;
pub mod ipam;
pub mod journal;
pub mod mesh;
pub mod policy;
pub mod spec;
pub mod talk;

//! The load-test harness and the lab, a cluster made of network namespaces on one machine.

pub mod lab;

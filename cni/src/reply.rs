//! Answers in the protocol's words: what was made, and why not.

use std::io;

use cni_core::ipam::{AllocationError, Lease};
use cni_core::spec::{Code, Config, Interface, Ip, Outcome, Refusal, Route};
use netlink::{Error, LinkName};

use crate::book::BookError;
use crate::pod::{self, Cable};

pub(crate) fn outcome(config: &Config, lease: &Lease, cable: &Cable, mtu: u32) -> Outcome {
    let interface = |name: &LinkName, mac: netlink::Mac, sandbox: &str| Interface {
        name: name.to_string(),
        mac: mac.to_string(),
        mtu: Some(mtu),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    };
    let ip = |address: &std::net::IpAddr| Ip {
        interface: Some(1),
        address: (*address).into(),
        gateway: Some(pod::gateway(*address)),
    };
    let route = |address: &std::net::IpAddr| {
        Route::new(pod::anywhere(*address), Some(pod::gateway(*address)))
    };
    let made = Outcome {
        interfaces: vec![
            interface(&cable.host, cable.host_mac, ""),
            interface(&cable.inside, cable.pod_mac, &lease.netns),
        ],
        ips: lease.addresses.iter().map(ip).collect(),
        routes: lease.addresses.iter().map(route).collect(),
        dns: config
            .runtime
            .dns
            .clone()
            .unwrap_or_else(|| config.dns.clone()),
    };
    match &config.previous {
        Some(previous) => made.after(previous.clone()),
        None => made,
    }
}

pub(crate) fn of_book(error: BookError) -> Refusal {
    let code = match &error {
        BookError::Journal(_) => Code::Io,
        BookError::Allocation(error) => match error {
            AllocationError::NoRange => Code::TryAgain,
            AllocationError::Full(_) => Code::PoolFull,
            AllocationError::Outside(_) | AllocationError::TwoOfOne(..) => Code::Config,
            AllocationError::Taken(_) => Code::AddressTaken,
            AllocationError::Repeated(_) => Code::InterfaceExists,
            AllocationError::PortTaken { .. } => Code::HostPortTaken,
        },
    };
    let details = std::error::Error::source(&error).map(ToString::to_string);
    Refusal::new(code, error.to_string()).with(details.unwrap_or_default())
}

/// A namespace that vanishes in the middle is the container's fault, not the kernel's.
pub(crate) fn of_kernel(error: Error) -> Refusal {
    let code = match &error {
        Error::Namespace { .. } => Code::Namespace,
        error
            if error.errno().is_some_and(|errno| {
                io::Error::from(errno).kind() == io::ErrorKind::AlreadyExists
            }) =>
        {
            Code::InterfaceExists
        }
        _ => Code::Kernel,
    };
    Refusal::new(code, error.to_string())
}

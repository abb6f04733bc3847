//! Ports of the node that lead to pods, each in one family.

use std::net::IpAddr;

use crate::ipam::{Lease, Phase};
use crate::spec::{PortMapping, Transport};

/// A port of the node, and the port of the pod that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The protocol.
    pub protocol: Transport,
    /// On this address of the node only.
    pub host_ip: Option<IpAddr>,
    /// The node's.
    pub host_port: u16,
    /// The pod, whose family is that of the packets.
    pub pod: IpAddr,
    /// The pod's.
    pub pod_port: u16,
}

/// A mapping on an address of a family that the pod has none of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host port {} on {host_ip}: the pod has no address of that family", port.host_port)]
pub struct MissingFamily {
    /// Which one.
    pub port: PortMapping,
    /// The node's address.
    pub host_ip: IpAddr,
}

/// What mappings come to for a pod with these addresses: in each of its families, unless they name one.
pub fn host_ports(
    ports: &[PortMapping],
    addresses: &[IpAddr],
) -> Result<Vec<HostPort>, MissingFamily> {
    let mut found = Vec::new();
    for port in ports {
        let fits = |pod: &&IpAddr| {
            port.host_ip
                .is_none_or(|host| host.is_ipv4() == pod.is_ipv4())
        };
        let before = found.len();
        found.extend(addresses.iter().filter(fits).map(|pod| HostPort {
            protocol: port.protocol,
            host_ip: port.host_ip.filter(|host| !host.is_unspecified()),
            host_port: port.host_port,
            pod: *pod,
            pod_port: port.container_port,
        }));
        if let Some(host_ip) = port.host_ip
            && found.len() == before
        {
            let port = *port;
            return Err(MissingFamily { port, host_ip });
        }
    }
    Ok(found)
}

impl Lease {
    /// The node's ports that lead here now.
    pub fn host_ports(&self) -> Vec<HostPort> {
        match self.phase {
            Phase::Going => Vec::new(),
            // ADD has refused what cannot be had.
            Phase::Making | Phase::Made => {
                host_ports(&self.ports, &self.addresses).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_of_the_pods_families() {
        let port = |host_ip: &str| PortMapping {
            protocol: Transport::Tcp,
            host_ip: host_ip.parse().ok(),
            host_port: 80,
            container_port: 8080,
        };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let both = [ip("10.1.0.2"), ip("fd00::2")];
        for (host_ip, pod, want) in [
            ("", &both[..], &[("", "10.1.0.2"), ("", "fd00::2")][..]),
            ("0.0.0.0", &both, &[("", "10.1.0.2")]),
            ("::", &both, &[("", "fd00::2")]),
            ("192.0.2.1", &both, &[("192.0.2.1", "10.1.0.2")]),
            ("", &both[1..], &[("", "fd00::2")]),
        ] {
            let want: Vec<_> = want
                .iter()
                .map(|(host, pod)| (host.parse().ok(), ip(pod)))
                .collect();
            let found = host_ports(&[port(host_ip)], pod).unwrap();
            let found: Vec<_> = found.iter().map(|one| (one.host_ip, one.pod)).collect();
            assert_eq!(found, want, "{host_ip}");
        }
        for (host_ip, pod) in [("0.0.0.0", &both[1..]), ("2001:db8::1", &both[..1])] {
            let refused = host_ports(&[port(host_ip)], pod).unwrap_err();
            assert_eq!(refused.host_ip, ip(host_ip));
        }
    }
}

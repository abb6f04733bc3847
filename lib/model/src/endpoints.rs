//! From Services and EndpointSlices to the addresses that take traffic.
//!
//! The types keep what Penstock uses of the API's objects and nothing else: a mirror of a large
//! cluster holds many of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::api::discovery::v1 as discovery_v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::ObjectName;

/// A transport protocol of a Service port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, the API's default.
    #[default]
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// Reads the API's spelling; anything unknown is `None`.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

/// Where a Service's traffic goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceTarget {
    /// To endpoints, found through EndpointSlices.
    Endpoints,
    /// To a DNS name (`type: ExternalName`), without a trailing dot.
    ExternalName(Box<str>),
}

/// The port of a container that a Service port leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortTarget {
    /// By number.
    Number(u16),
    /// By the name that the container gives it; slices carry the number.
    Name(Box<str>),
}

/// One port of a [`Service`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty when the Service has a single, unnamed port.
    pub name: Box<str>,
    /// The port that clients of the Service use.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it leads to.
    pub target: PortTarget,
    /// `appProtocol`, as written (KEP-3726: `kubernetes.io/h2c`, `kubernetes.io/ws` …).
    pub app_protocol: Option<Box<str>>,
}

/// How others name a Service's port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortRef {
    /// By number.
    Number(u16),
    /// By name.
    Name(Box<str>),
}

impl std::fmt::Display for PortRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What Penstock keeps of a `v1` Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its ports, in the order of the object.
    pub ports: Vec<ServicePort>,
    /// Where its traffic goes.
    pub target: ServiceTarget,
    /// Its cluster addresses; none for headless and external Services.
    pub cluster_ips: Vec<IpAddr>,
}

impl Service {
    /// The port that `port` names.
    #[must_use]
    pub fn port(&self, port: &PortRef) -> Option<&ServicePort> {
        self.ports.iter().find(|candidate| match port {
            PortRef::Number(number) => candidate.number == *number,
            PortRef::Name(name) => candidate.name == *name,
        })
    }
}

impl From<&core_v1::Service> for Service {
    fn from(object: &core_v1::Service) -> Self {
        let spec = object.spec.clone().unwrap_or_default();
        let target = match (spec.type_.as_deref(), spec.external_name) {
            (Some("ExternalName"), name) => ServiceTarget::ExternalName(
                name.unwrap_or_default()
                    .trim_end_matches('.')
                    .to_ascii_lowercase()
                    .into(),
            ),
            _ => ServiceTarget::Endpoints,
        };
        let cluster_ips = spec
            .cluster_ips
            .or_else(|| spec.cluster_ip.map(|ip| vec![ip]));
        Self {
            ports: spec
                .ports
                .unwrap_or_default()
                .into_iter()
                .filter_map(service_port)
                .collect(),
            target,
            cluster_ips: cluster_ips
                .unwrap_or_default()
                .iter()
                .filter_map(|ip| ip.parse().ok())
                .collect(),
        }
    }
}

/// A port whose number or protocol the API would not have admitted is left out.
fn service_port(port: core_v1::ServicePort) -> Option<ServicePort> {
    let number = u16::try_from(port.port)
        .ok()
        .filter(|number| *number != 0)?;
    Some(ServicePort {
        name: port.name.unwrap_or_default().into(),
        number,
        protocol: Protocol::parse(port.protocol.as_deref())?,
        target: match port.target_port {
            None => PortTarget::Number(number),
            Some(IntOrString::Int(target)) => PortTarget::Number(u16::try_from(target).ok()?),
            Some(IntOrString::String(name)) => match name.parse() {
                Ok(target) => PortTarget::Number(target),
                Err(_) => PortTarget::Name(name.into()),
            },
        },
        app_protocol: port.app_protocol.map(Into::into),
    })
}

/// One port of an [`EndpointSlice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// The name of the Service port that it belongs to; empty for the unnamed one.
    pub name: Box<str>,
    /// The number on the endpoints.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// Which traffic an endpoint may be given.
///
/// From the slice's conditions: `ready` absent means ready, `serving` absent means as `ready`,
/// `terminating` absent means not (discovery.k8s.io/v1 EndpointConditions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointState {
    /// New traffic.
    Ready,
    /// It is shutting down but still answers: new traffic only when no endpoint is ready
    /// (KEP-1669).
    Draining,
    /// None.
    Down,
}

/// One endpoint of an [`EndpointSlice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its first address: the API says that all are the same endpoint and the first is to be used.
    pub ip: IpAddr,
    /// Which traffic it may be given.
    pub state: EndpointState,
    /// The node that it runs on.
    pub node: Option<Box<str>>,
}

/// What Penstock keeps of a `discovery.k8s.io/v1` EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The Service that it belongs to, by the label `kubernetes.io/service-name`.
    pub service: ObjectName,
    /// Its ports.
    pub ports: Vec<SlicePort>,
    /// Its endpoints; none of a slice of addressType FQDN.
    pub endpoints: Vec<SliceEndpoint>,
}

impl EndpointSlice {
    /// The label that ties a slice to its Service.
    pub const SERVICE_LABEL: &'static str = "kubernetes.io/service-name";

    /// Reads a slice; one that belongs to no Service is `None`.
    #[must_use]
    pub fn read(object: &discovery_v1::EndpointSlice) -> Option<Self> {
        let labels: &BTreeMap<String, String> = object.metadata.labels.as_ref()?;
        let service = labels
            .get(Self::SERVICE_LABEL)
            .filter(|name| !name.is_empty())?;
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        Some(Self {
            service: ObjectName::new(namespace, service.as_str()),
            ports: object
                .ports
                .iter()
                .flatten()
                .filter_map(slice_port)
                .collect(),
            endpoints: object.endpoints.iter().filter_map(slice_endpoint).collect(),
        })
    }
}

fn slice_port(port: &discovery_v1::EndpointPort) -> Option<SlicePort> {
    Some(SlicePort {
        name: port.name.clone().unwrap_or_default().into(),
        number: u16::try_from(port.port?)
            .ok()
            .filter(|number| *number != 0)?,
        protocol: Protocol::parse(port.protocol.as_deref())?,
    })
}

fn slice_endpoint(endpoint: &discovery_v1::Endpoint) -> Option<SliceEndpoint> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    let terminating = conditions.terminating.unwrap_or(false);
    Some(SliceEndpoint {
        ip: endpoint.addresses.first()?.parse().ok()?,
        state: match (ready, serving, terminating) {
            (true, _, _) => EndpointState::Ready,
            (false, true, true) => EndpointState::Draining,
            _ => EndpointState::Down,
        },
        node: endpoint.node_name.as_deref().map(Into::into),
    })
}

/// An address that takes a Service port's traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Where to connect to.
    pub address: SocketAddr,
    /// The node that it runs on, where known.
    pub node: Option<Box<str>>,
}

/// The endpoints that take new traffic for `port`, sorted by address and without duplicates.
///
/// Ready ones; when none is ready, those that are shutting down and still serve, so that a rolling
/// update that is a moment late loses nothing (KEP-1669). Slices of all address families and
/// however many there are for one Service are taken together.
#[must_use]
pub fn endpoints<'s>(
    port: &ServicePort,
    slices: impl IntoIterator<Item = &'s EndpointSlice>,
) -> Vec<Endpoint> {
    let mut ready = BTreeMap::new();
    let mut draining = BTreeMap::new();
    for slice in slices {
        // One Service port may have another number in each slice: pods may name ports differently.
        let numbers: Vec<u16> = slice
            .ports
            .iter()
            .filter(|candidate| candidate.name == port.name && candidate.protocol == port.protocol)
            .map(|candidate| candidate.number)
            .collect();
        for endpoint in &slice.endpoints {
            let set = match endpoint.state {
                EndpointState::Ready => &mut ready,
                EndpointState::Draining => &mut draining,
                EndpointState::Down => continue,
            };
            for number in &numbers {
                set.insert(SocketAddr::new(endpoint.ip, *number), endpoint.node.clone());
            }
        }
    }
    let chosen = if ready.is_empty() { draining } else { ready };
    chosen
        .into_iter()
        .map(|(address, node)| Endpoint { address, node })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> ServicePort {
        ServicePort {
            name: name.into(),
            number: 80,
            protocol: Protocol::Tcp,
            target: PortTarget::Number(8080),
            app_protocol: None,
        }
    }

    fn slice(port: &str, number: u16, endpoints: &[(&str, EndpointState)]) -> EndpointSlice {
        EndpointSlice {
            service: ObjectName::new("default", "web"),
            ports: vec![SlicePort {
                name: port.into(),
                number,
                protocol: Protocol::Tcp,
            }],
            endpoints: endpoints
                .iter()
                .map(|(ip, state)| SliceEndpoint {
                    ip: ip.parse().unwrap(),
                    state: *state,
                    node: None,
                })
                .collect(),
        }
    }

    fn check(port_name: &str, slices: &[EndpointSlice], want: &[&str]) {
        let got: Vec<String> = endpoints(&port(port_name), slices)
            .iter()
            .map(|endpoint| endpoint.address.to_string())
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn endpoints_of_all_slices_and_families_are_merged_sorted_and_unique() {
        use EndpointState::Ready;
        check(
            "http",
            &[
                slice("http", 8080, &[("10.0.0.2", Ready), ("10.0.0.1", Ready)]),
                slice("http", 8081, &[("10.0.0.3", Ready)]),
                slice("http", 8080, &[("10.0.0.2", Ready), ("fd00::1", Ready)]),
                slice("admin", 9000, &[("10.0.0.9", Ready)]),
            ],
            &[
                "10.0.0.1:8080",
                "10.0.0.2:8080",
                "10.0.0.3:8081",
                "[fd00::1]:8080",
            ],
        );
    }

    #[test]
    fn draining_endpoints_serve_only_when_none_is_ready() {
        use EndpointState::{Down, Draining, Ready};
        let mixed = [
            ("10.0.0.1", Draining),
            ("10.0.0.2", Ready),
            ("10.0.0.3", Down),
        ];
        check("", &[slice("", 80, &mixed)], &["10.0.0.2:80"]);
        let late = [("10.0.0.1", Draining), ("10.0.0.3", Down)];
        check("", &[slice("", 80, &late)], &["10.0.0.1:80"]);
        check("", &[slice("", 80, &[("10.0.0.3", Down)])], &[]);
    }

    #[test]
    fn conditions_have_the_defaults_of_the_api() {
        let state = |ready, serving, terminating| {
            let endpoint = discovery_v1::Endpoint {
                addresses: vec!["10.0.0.1".to_owned()],
                conditions: Some(discovery_v1::EndpointConditions {
                    ready,
                    serving,
                    terminating,
                }),
                ..Default::default()
            };
            slice_endpoint(&endpoint).unwrap().state
        };
        assert_eq!(state(None, None, None), EndpointState::Ready);
        assert_eq!(state(Some(true), None, None), EndpointState::Ready);
        assert_eq!(state(Some(false), None, None), EndpointState::Down);
        assert_eq!(
            state(Some(false), Some(true), Some(true)),
            EndpointState::Draining
        );
        assert_eq!(
            state(Some(false), Some(false), Some(true)),
            EndpointState::Down
        );
        assert_eq!(state(Some(false), None, Some(true)), EndpointState::Down);
    }

    #[test]
    fn a_target_port_may_be_absent_a_number_a_numeral_or_a_name() {
        let target = |target_port| {
            let port = core_v1::ServicePort {
                port: 80,
                target_port,
                ..Default::default()
            };
            service_port(port).map(|port| port.target)
        };
        assert_eq!(target(None), Some(PortTarget::Number(80)));
        assert_eq!(
            target(Some(IntOrString::Int(8080))),
            Some(PortTarget::Number(8080))
        );
        let numeral = IntOrString::String("8080".to_owned());
        assert_eq!(target(Some(numeral)), Some(PortTarget::Number(8080)));
        let name = IntOrString::String("http".to_owned());
        assert_eq!(target(Some(name)), Some(PortTarget::Name("http".into())));
        assert_eq!(target(Some(IntOrString::Int(70_000))), None);
    }

    #[test]
    fn a_slice_without_service_label_belongs_to_nobody() {
        assert_eq!(
            EndpointSlice::read(&discovery_v1::EndpointSlice::default()),
            None
        );
    }
}

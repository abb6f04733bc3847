//! The Services that Ingresses lead to, their slices, and the backends that routes share.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use model::{
    EndpointSlice, ObjectName, PortRef, PortTarget, Protocol, Service, ServicePort, ServiceTarget,
};

use rustls_pki_types::ServerName;

use super::names::Map;
use super::users::{IngressId, Users};
use crate::backend_tls::Terms;
use crate::{Backend, BackendId, BackendProtocol, BackendTls, EndpointSet, Manner, Resolution};

/// The Services of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Services {
    services: Map<ObjectName, Box<Entry>>,
    /// Which Service each slice belongs to.
    slices: Map<ObjectName, ObjectName>,
    /// Those with backends that are found by DNS.
    external: BTreeSet<ObjectName>,
    /// Those whose endpoints have to be published again.
    stale: BTreeSet<ObjectName>,
    /// Those whose backends may have lost their last route.
    released: BTreeSet<ObjectName>,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Entry {
    service: Option<Service>,
    slices: Vec<(Arc<str>, EndpointSlice)>,
    users: Users,
    backends: Vec<Shared>,
}

/// A backend and how many routes lead to it.
#[derive(Debug)]
struct Shared {
    backend: Arc<Backend>,
    routes: usize,
}

/// What a route asks of a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// `None` takes the Service's first port.
    pub(crate) port: Option<&'a PortRef>,
    /// `None` asks the Service's `appProtocol`.
    pub(crate) protocol: Option<BackendProtocol>,
    /// How TLS is spoken, where it is; `None` for the default.
    pub(crate) tls: Option<&'a Arc<Terms>>,
    /// All else.
    pub(crate) manner: Manner,
}

/// Why a Service cannot be reached as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    NoService,
    NoPort,
    /// An ExternalName that leads back to this machine or to its link.
    Loopback,
    /// An ExternalName that is empty.
    NoName,
}

/// How many endpoints are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounts {
    /// They take new traffic.
    pub ready: usize,
    /// They are shutting down: they take traffic only when none is ready.
    pub draining: usize,
    /// They take none.
    pub down: usize,
}

enum Target<'a> {
    Port(&'a ServicePort),
    External(&'a str, u16),
}

impl Services {
    /// Takes a Service in, or out; returns whether routes to it have to be compiled again.
    pub(crate) fn set(&mut self, name: &ObjectName, service: Option<Service>) -> bool {
        if service.is_none() && !self.services.contains_key(name) {
            return false;
        }
        let entry = self.services.entry(name.clone()).or_default();
        if entry.service == service {
            return false;
        }
        entry.service = service;
        self.stale.insert(name.clone());
        self.sweep(name);
        true
    }

    pub(crate) fn set_slice(&mut self, name: &ObjectName, slice: Option<EndpointSlice>) {
        if let Some(old) = self.slices.get(name).cloned()
            && slice.as_ref().is_none_or(|slice| slice.service != old)
        {
            self.slices.remove(name);
            if let Some(entry) = self.services.get_mut(&old) {
                entry.slices.retain(|(slice, _)| *slice != name.name);
            }
            self.stale.insert(old.clone());
            self.sweep(&old);
        }
        let Some(mut slice) = slice else {
            return;
        };
        let service = match self.services.get_key_value(&slice.service) {
            Some((shared, _)) => shared.clone(),
            None => slice.service.clone(),
        };
        slice.service = service.clone();
        let entry = self.services.entry(service.clone()).or_default();
        match entry.slices.iter_mut().find(|(own, _)| *own == name.name) {
            Some((_, held)) if *held == slice => return,
            Some((_, held)) => *held = slice,
            None => {
                entry.slices.push((Arc::clone(&name.name), slice));
                entry.slices.shrink_to_fit();
                self.slices.insert(name.clone(), service.clone());
            }
        }
        self.stale.insert(service);
    }

    pub(crate) fn add_user(&mut self, name: &ObjectName, id: IngressId) {
        let entry = self.services.entry(name.clone()).or_default();
        entry.users.insert(id);
    }

    pub(crate) fn remove_user(&mut self, name: &ObjectName, id: IngressId) {
        if let Some(entry) = self.services.get_mut(name) {
            entry.users.remove(id);
            self.sweep(name);
        }
    }

    pub(crate) fn users(&self, name: &ObjectName) -> impl Iterator<Item = IngressId> {
        let entry = self.services.get(name).into_iter();
        entry.flat_map(|entry| entry.users.iter())
    }

    /// The backend for one more route, shared with all that ask the same, and what is wrong with it.
    pub(crate) fn acquire(
        &mut self,
        name: &ObjectName,
        wish: Wish<'_>,
    ) -> (Arc<Backend>, Option<Unreachable>) {
        let name = match self.services.get_key_value(name) {
            Some((shared, _)) => shared.clone(),
            None => name.clone(),
        };
        let entry = self.services.entry(name.clone()).or_default();
        let port = match (wish.port, &entry.service) {
            (Some(port), _) => port.clone(),
            (None, Some(service)) => {
                let transport = wish.manner.transport;
                let mut tcp = service
                    .ports
                    .iter()
                    .filter(|port| port.protocol == transport);
                PortRef::Number(tcp.next().map_or(0, |port| port.number))
            }
            (None, None) => PortRef::Number(0),
        };
        let target = entry.target(&port, wish.manner.transport);
        let app_protocol = || match target {
            Ok(Target::Port(port)) => app_protocol(port),
            _ => None,
        };
        let protocol = wish.protocol.or_else(app_protocol).unwrap_or_default();
        let fault = target.err();
        let manner = Manner {
            protocol,
            ..wish.manner
        };
        let tls = wish.tls.map(|terms| (terms, entry.tls_name(&name, terms)));
        let tls = tls.as_ref().map(|(terms, own)| (*terms, own));
        let wanted = |shared: &&mut Shared| {
            let backend = &shared.backend;
            backend.port == port && backend.manner == manner && is(backend.tls.as_ref(), tls)
        };
        if let Some(shared) = entry.backends.iter_mut().find(wanted) {
            shared.routes += 1;
            return (Arc::clone(&shared.backend), fault);
        }
        let endpoints = entry.endpoints(&port, manner, None);
        if matches!(endpoints.resolution, Resolution::Dns { .. }) {
            self.external.insert(name.clone());
        }
        let id = BackendId(self.next_id);
        self.next_id += 1;
        // Ports of one Service share what they are spoken to by.
        let tls = tls.map(|(terms, own)| {
            let mut known = entry.backends.iter();
            let known = known.find(|shared| is(shared.backend.tls.as_ref(), Some((terms, own))));
            let known = known.and_then(|shared| shared.backend.tls.clone());
            known.unwrap_or_else(|| Arc::new(BackendTls::new(id.0, terms, own.clone())))
        });
        let backend = Backend::new(id, (name, port), (manner, tls), endpoints);
        let backend = Arc::new(backend);
        entry.backends.push(Shared {
            backend: Arc::clone(&backend),
            routes: 1,
        });
        entry.backends.shrink_to_fit();
        (backend, fault)
    }

    /// Takes one route's hold away. The backend goes at the next [`Self::publish`] unless another
    /// route took it by then: a path that moves to another host keeps its pool.
    pub(crate) fn release(&mut self, backend: &Arc<Backend>) {
        let entry = self.services.get_mut(&backend.service);
        let mut shared = entry.into_iter().flat_map(|entry| &mut entry.backends);
        if let Some(shared) = shared.find(|shared| Arc::ptr_eq(&shared.backend, backend)) {
            shared.routes -= 1;
            if shared.routes == 0 {
                self.released.insert(backend.service.clone());
            }
        }
    }

    /// Publishes the endpoints that changed and drops the backends that no route leads to.
    /// Returns whether the set of backends to resolve by DNS may have changed.
    pub(crate) fn publish(&mut self) -> bool {
        let mut externals_changed = false;
        for name in std::mem::take(&mut self.released) {
            if let Some(entry) = self.services.get_mut(&name) {
                entry.backends.retain(|shared| shared.routes > 0);
            }
            externals_changed |= self.external.contains(&name);
            self.note_external(&name);
            self.sweep(&name);
        }
        for name in std::mem::take(&mut self.stale) {
            let was = self.external.contains(&name);
            if let Some(entry) = self.services.get(&name) {
                entry.publish();
            }
            externals_changed |= self.note_external(&name) || was;
        }
        externals_changed
    }

    /// The backends to resolve by DNS.
    pub(crate) fn externals(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let entries = self
            .external
            .iter()
            .filter_map(|name| self.services.get(name));
        let shared = entries.flat_map(|entry| &entry.backends);
        shared
            .map(|shared| &shared.backend)
            .filter(|backend| matches!(backend.endpoints().resolution, Resolution::Dns { .. }))
    }

    /// How many endpoints of a Service port are in which state.
    pub(crate) fn counts(&self, name: &ObjectName, port: &PortRef) -> EndpointCounts {
        let mut counts = EndpointCounts::default();
        let Some(entry) = self.services.get(name) else {
            return counts;
        };
        let Ok(Target::Port(port)) = entry.target(port, Protocol::Tcp) else {
            return counts;
        };
        let named = |slice: &&(Arc<str>, EndpointSlice)| {
            let mut ports = slice.1.ports.iter();
            ports.any(|own| own.name == port.name && own.protocol == port.protocol)
        };
        for (_, slice) in entry.slices.iter().filter(named) {
            for endpoint in &slice.endpoints {
                match endpoint.state {
                    model::EndpointState::Ready => counts.ready += 1,
                    model::EndpointState::Draining => counts.draining += 1,
                    model::EndpointState::Down => counts.down += 1,
                }
            }
        }
        counts
    }

    fn note_external(&mut self, name: &ObjectName) -> bool {
        let is_external = self.services.get(name).is_some_and(|entry| {
            entry.backends.iter().any(|shared| {
                let endpoints = shared.backend.endpoints();
                matches!(endpoints.resolution, Resolution::Dns { .. })
            })
        });
        if is_external {
            self.external.insert(name.clone());
        } else {
            self.external.remove(name);
        }
        is_external
    }

    fn sweep(&mut self, name: &ObjectName) {
        let unused = |entry: &Entry| {
            entry.service.is_none()
                && entry.slices.is_empty()
                && entry.users.is_empty()
                && entry.backends.is_empty()
        };
        if self.services.get(name).is_some_and(|entry| unused(entry)) {
            self.services.remove(name);
        }
    }
}

impl Entry {
    /// What `port` leads to. A target port is taken too, as ingress-nginx does.
    fn target(&self, port: &PortRef, transport: Protocol) -> Result<Target<'_>, Unreachable> {
        let service = self.service.as_ref().ok_or(Unreachable::NoService)?;
        let own = || {
            service
                .ports
                .iter()
                .filter(|port| port.protocol == transport)
        };
        let found = match port {
            PortRef::Number(number) => own()
                .find(|own| own.number == *number)
                .or_else(|| own().find(|own| own.target == PortTarget::Number(*number))),
            PortRef::Name(name) => own().find(|own| own.name == *name).or_else(|| {
                own().find(|own| matches!(&own.target, PortTarget::Name(target) if target == name))
            }),
        };
        let ServiceTarget::ExternalName(host) = &service.target else {
            return found.map(Target::Port).ok_or(Unreachable::NoPort);
        };
        if host.is_empty() {
            return Err(Unreachable::NoName);
        }
        if is_own(host) {
            return Err(Unreachable::Loopback);
        }
        let number = match (found, port) {
            (Some(found), _) => match found.target {
                PortTarget::Number(number) => number,
                PortTarget::Name(_) => found.number,
            },
            // Services of this type need no ports: the Ingress names the real one.
            (None, PortRef::Number(number)) => *number,
            (None, PortRef::Name(_)) => return Err(Unreachable::NoPort),
        };
        Ok(Target::External(host, number))
    }

    /// The endpoints now; what DNS found stays until the name or the port changes.
    fn endpoints(&self, port: &PortRef, manner: Manner, now: Option<&EndpointSet>) -> EndpointSet {
        match self.target(port, manner.transport) {
            Err(_) => EndpointSet::empty(Resolution::Missing),
            Ok(Target::Port(port)) if manner.is_service && self.address().is_some() => {
                EndpointSet {
                    addresses: self
                        .address()
                        .map(|ip| SocketAddr::new(ip, port.number))
                        .into_iter()
                        .collect(),
                    resolution: Resolution::Slices,
                }
            }
            Ok(Target::Port(port)) => EndpointSet {
                addresses: model::endpoints(port, self.slices.iter().map(|(_, slice)| slice))
                    .into_iter()
                    .map(|endpoint| endpoint.address)
                    .collect(),
                resolution: Resolution::Slices,
            },
            Ok(Target::External(host, port)) => {
                let resolution = Resolution::Dns {
                    host: host.into(),
                    port,
                };
                let literal = host.parse().map(|ip: IpAddr| SocketAddr::new(ip, port));
                match now {
                    Some(now) if now.resolution == resolution => now.clone(),
                    _ => EndpointSet {
                        addresses: literal.into_iter().collect(),
                        resolution,
                    },
                }
            }
        }
    }

    /// The name that certificates of endpoints are to be for: the Ingress's, or the one that it has in the cluster or
    /// outside of it.
    fn tls_name(&self, name: &ObjectName, terms: &Terms) -> ServerName<'static> {
        if let Some(own) = terms.name() {
            return own.clone();
        }
        let service = self.service.as_ref();
        let external = service.and_then(|service| match &service.target {
            ServiceTarget::ExternalName(host) => ServerName::try_from(host.to_string()).ok(),
            _ => None,
        });
        let own = || ServerName::try_from(format!("{}.{}.svc", name.name, name.namespace)).ok();
        // No certificate is for this one, which names of objects cannot make necessary.
        external
            .or_else(own)
            .unwrap_or_else(|| ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into()))
    }

    /// Where the cluster itself balances: a headless Service has no such address.
    fn address(&self) -> Option<IpAddr> {
        self.service.as_ref()?.cluster_ips.first().copied()
    }

    fn publish(&self) {
        for shared in &self.backends {
            let backend = &shared.backend;
            let now = backend.endpoints();
            let next = self.endpoints(&backend.port, backend.manner, Some(&now));
            if **now != next {
                backend.publish(next);
            }
        }
    }
}

/// Whether TLS is spoken as asked for.
fn is(own: Option<&Arc<BackendTls>>, wanted: Option<(&Arc<Terms>, &ServerName<'_>)>) -> bool {
    match (own, wanted) {
        (Some(own), Some((terms, name))) => own.is(terms, name),
        (own, wanted) => own.is_none() && wanted.is_none(),
    }
}

/// Whether a name leads back to this machine, which is a way into the proxy's own ports, or to its
/// link, where clouds keep credentials (169.254.169.254).
fn is_own(host: &str) -> bool {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match ip.to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local(),
        };
    }
    // RFC 6761 §6.3
    host == "localhost" || host.ends_with(".localhost") || host == "localhost.localdomain"
}

/// KEP-3726, and the names that meshes use.
fn app_protocol(port: &ServicePort) -> Option<BackendProtocol> {
    let written = port.app_protocol.as_deref()?.to_ascii_lowercase();
    match written.as_str() {
        "kubernetes.io/h2c" | "h2c" | "grpc" => Some(BackendProtocol::H2c),
        "kubernetes.io/wss" | "https" | "wss" => Some(BackendProtocol::Https),
        "http" | "kubernetes.io/ws" | "ws" => Some(BackendProtocol::Http),
        _ => None,
    }
}

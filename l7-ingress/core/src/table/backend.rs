//! Where routes lead: Service ports and the endpoints behind them.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use model::{ObjectName, PortRef, Protocol};

use crate::BackendTls;

/// A number that no two backends of one process's life share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u64);

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackendProtocol {
    /// HTTP/1.1
    #[default]
    Http,
    /// HTTP/1.1 over TLS
    Https,
    /// HTTP/2 with prior knowledge: `backend-protocol: GRPC`, `appProtocol: kubernetes.io/h2c`
    H2c,
    /// HTTP/2 over TLS: `backend-protocol: GRPCS`
    H2Tls,
}

impl BackendProtocol {
    /// Whether it is spoken under TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::H2Tls)
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Balance {
    /// In turn.
    #[default]
    RoundRobin,
    /// The better of two random ones by peak-EWMA of latency and load.
    Ewma,
}

/// How the endpoints of a [`Backend`] are found, chosen and spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// What is spoken.
    pub protocol: BackendProtocol,
    /// Whether HTTPS is spoken instead where the client uses it.
    pub follows_scheme: bool,
    /// Whether the Service's own address stands for all endpoints.
    pub is_service: bool,
    /// How one is chosen.
    pub balance: Balance,
    /// What it is spoken over.
    pub transport: Protocol,
}

/// A Service port that routes lead to. Endpoints sit behind their own swap, so that their churn
/// never touches routes.
#[derive(Debug)]
pub struct Backend {
    /// Identity for the proxy's own per-backend state.
    pub id: BackendId,
    /// The Service.
    pub service: ObjectName,
    /// The port, as the Ingress names it.
    pub port: PortRef,
    /// `namespace-service-port`, the name that ingress-nginx's logs use.
    pub upstream_name: Box<str>,
    /// How its endpoints are found, chosen and spoken to.
    pub manner: Manner,
    /// How TLS is spoken, where it is; `None` for the default.
    pub tls: Option<Arc<BackendTls>>,
    endpoints: ArcSwap<EndpointSet>,
}

impl Backend {
    /// A backend whose endpoints are `endpoints` until the next [`Self::publish`].
    #[must_use]
    pub fn new(
        id: BackendId,
        (service, port): (ObjectName, PortRef),
        (manner, tls): (Manner, Option<Arc<BackendTls>>),
        endpoints: EndpointSet,
    ) -> Self {
        let upstream_name = format!("{}-{}-{port}", service.namespace, service.name).into();
        let endpoints = ArcSwap::from_pointee(endpoints);
        Self {
            id,
            service,
            port,
            upstream_name,
            manner,
            tls,
            endpoints,
        }
    }

    /// What is spoken to endpoints for a client that uses HTTPS, or does not.
    #[must_use]
    pub fn protocol(&self, https: bool) -> BackendProtocol {
        match self.manner.follows_scheme && https {
            true => BackendProtocol::Https,
            false => self.manner.protocol,
        }
    }

    /// The endpoints now. Load once per request.
    pub fn endpoints(&self) -> Guard<Arc<EndpointSet>> {
        self.endpoints.load()
    }

    /// Replaces the endpoints. Only the control loop calls this.
    pub fn publish(&self, endpoints: EndpointSet) {
        self.endpoints.store(Arc::new(endpoints));
    }

    /// Replaces the endpoints if they still are those of `known`. For whoever resolves names: the
    /// control loop may have published others while it waited for an answer.
    pub fn resolved(&self, known: &Arc<EndpointSet>, endpoints: EndpointSet) {
        self.endpoints.compare_and_swap(known, Arc::new(endpoints));
    }
}

/// The addresses of a [`Backend`] at one moment, and how they came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSet {
    /// Where to connect to, sorted, without duplicates.
    pub addresses: Box<[SocketAddr]>,
    /// How they are known.
    pub resolution: Resolution,
}

impl EndpointSet {
    pub(crate) fn empty(resolution: Resolution) -> Self {
        Self {
            addresses: Box::default(),
            resolution,
        }
    }
}

/// How the addresses of an [`EndpointSet`] are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// From EndpointSlices; no address means that no endpoint is ready (503).
    Slices,
    /// From DNS (`type: ExternalName`): the proxy resolves `host` and publishes what it finds, keeping
    /// the last good answer; no address means that it never resolved (502).
    Dns {
        /// The name to resolve.
        host: Box<str>,
        /// The port to connect to.
        port: u16,
    },
    /// The Service or its port does not exist (503).
    Missing,
    /// Nothing is configured for these requests: the controller's 404.
    NotFound,
}

//! Ports that lead straight to a Service: TCP and UDP.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{ObjectName, Protocol};

use super::Backend;

/// A port, of one transport protocol.
pub type StreamPort = (Protocol, u16);

/// Where what comes in on a port goes.
#[derive(Debug)]
pub struct Stream {
    /// The ConfigMap that says so.
    pub config: ObjectName,
    /// Where it goes.
    pub backend: Arc<Backend>,
    /// Whether clients begin with a PROXY header.
    pub reads_proxy: bool,
    /// Whether endpoints are sent one.
    pub writes_proxy: bool,
}

/// Where the TLS of a host goes that is not ended here.
#[derive(Debug)]
pub struct Passthrough {
    /// Where it goes: what its root path leads to.
    pub backend: Arc<Backend>,
    /// Whether endpoints are sent a PROXY header.
    pub writes_proxy: bool,
}

/// All such ports.
pub(crate) type Streams = BTreeMap<StreamPort, Arc<Stream>>;

//! What goes over the wire, part by part.

mod auth;
mod backend_tls;
mod backends;
mod canary;
mod client_auth;
mod cluster;
mod compression;
mod configmap;
mod external;
mod failures;
mod forwarding;
mod http1;
mod ipv6;
mod metrics;
mod passthrough;
mod routing;
mod status;
mod sticky;
mod streaming;
mod streams;
mod tls;
mod traces;
mod upgrade;

use serde_json::Value;

use crate::harness::{Backend, Proxy, class, ingress, served};

/// `a.test` leads to a Service with these endpoints.
fn site(endpoints: &[&Backend]) -> Vec<Value> {
    let addresses: Vec<_> = endpoints.iter().map(|backend| backend.address).collect();
    let mut objects = served("web", &addresses);
    objects.extend([class(), ingress("web", &["a.test Prefix / web"])]);
    objects
}

/// A proxy in front of these endpoints, at `a.test`.
async fn in_front_of(endpoints: &[&Backend], flags: &[&str]) -> Proxy {
    Proxy::start(&site(endpoints), flags).await
}

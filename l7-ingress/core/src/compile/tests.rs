//! Objects in, answers out.

mod accept;
mod backend_tls;
mod canary;
mod classes;
mod configmap;
mod conformance;
mod explanations;
mod external;
mod passthrough;
mod properties;
mod routes;
mod services;
mod tls;
mod world;

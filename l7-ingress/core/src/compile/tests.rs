//! Objects in, answers out.

mod accept;
mod classes;
mod conformance;
mod routes;
mod services;
mod tls;
mod world;

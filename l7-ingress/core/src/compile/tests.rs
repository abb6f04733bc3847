//! Objects in, answers out.

mod routes;
mod tls;
mod world;

//! Decides where a request goes: Ingress, Service, EndpointSlice and Secret objects in, a routing
//! table with certificates and a list of problems out.
//!
//! Pure: no I/O, no clock, no randomness. The proxy reads the published [`Table`] and nothing else.

pub mod forwarded;
pub mod head_guard;
pub mod host;
pub mod path;
pub mod proxy_protocol;
mod response;
mod table;

pub use response::{BodyDecoder, Chunked, Piece, ResponseError, ResponseHead, response_head};
pub use table::{
    Backend, BackendId, BackendProtocol, Balance, EndpointSet, HttpsRedirect, PathType, Resolution,
    Route, Table,
};

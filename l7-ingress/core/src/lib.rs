//! Decides where a request goes: Ingress, Service, EndpointSlice and Secret objects in, a routing
//! table with certificates and a list of problems out.
//!
//! Pure: no I/O, no clock, no randomness. The proxy reads the published [`Table`] and nothing else.

mod annotations;
mod authorities;
mod backend_tls;
mod certificate;
mod cipher_list;
mod class;
pub mod client_auth;
pub mod client_hello;
mod compile;
mod configmap;
mod explain;
mod expression;
pub mod filter;
pub mod forwarded;
pub mod frame_budget;
pub mod global;
pub mod head_guard;
pub mod host;
mod ingress;
pub mod log_format;
mod passwords;
pub mod path;
pub mod proxy_protocol;
mod response;
mod secret;
mod settings;
pub mod snippet;
mod table;
pub mod tally;
pub mod trace;
pub mod upstream;
mod url;

pub use annotations::{Known, Support, catalogue, size};
pub use authorities::Authorities;
pub use backend_tls::{BackendTls, TlsId};
pub use certificate::CertificateIdentity;
pub use class::IngressClass;
pub use compile::{CertificateInfo, Change, Compiler, EndpointCounts, Outcome, compile};
pub use configmap::{ConfigData, KnownKey, configmap_key, configmap_keys};
pub use explain::{Answer, Explanation, HostVerdict, PathVerdict, Query, Step, explain};
pub use expression::{Answered, Expression, TooLong, UnknownVariable};
pub use ingress::Ingress;
pub use passwords::Passwords;
pub use response::{BodyDecoder, Chunked, Piece, ResponseError, ResponseHead, response_head};
pub use secret::SecretData;
pub use settings::{DefaultBackend, Risk, Settings};
pub use table::{
    Backend, BackendId, BackendProtocol, Balance, EndpointSet, Manner, Passthrough, PathType,
    Resolution, Route, Stream, StreamPort, Table,
};
pub use url::{Url, UrlError, UrlTemplate};

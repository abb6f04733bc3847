//! An in-memory Kubernetes API: a `tower::Service` that a real [`kube::Client`] talks to without a
//! network, and that hyper serves to `kubectl`.
//!
//! It is for one machine and for tests. Nobody is authenticated, nothing survives the process, and
//! there are no controllers: no cluster IPs are allocated, owners are not garbage-collected, and
//! a namespace comes into being with the first object in it.

mod admission;
mod base64;
mod body;
mod convert;
mod crd;
mod defaults;
mod discovery;
mod faults;
mod list;
mod names;
mod object;
mod openapi;
mod owners;
mod patch;
mod protobuf;
mod query;
mod registry;
mod render;
mod reply;
mod schema;
mod selector;
mod serve;
mod server;
mod service;
mod status;
mod store;
mod table;
mod target;
mod upsert;
mod validate;
mod watch;
mod write;

pub use faults::{Effect, Fault, Faults, Verb};
pub use reply::{BoxBody, Closed};
pub use server::{ApiServer, Applied, ObjectId, Options};
pub use service::ApiService;
pub use status::{Cause, Details, Status};

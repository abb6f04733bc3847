//! An in-memory Kubernetes API: a `tower::Service` that a real [`kube::Client`] talks to without a
//! network, and that hyper serves to `kubectl`.
//!
//! It is for one machine and for tests: nobody is authenticated and nothing survives the process.
//! What a user of Kubernetes may miss or find different:
//!
//! - There are no controllers. Cluster IPs and node ports are not allocated, owners are not
//!   garbage-collected, a Pod that is deleted is gone at once.
//! - A namespace comes into being with the first object in it, and takes its objects with it.
//! - A value of the wrong type is 422 with the path of its field, where Kubernetes answers 400 with
//!   a Go type's name for built-in types.
//! - Objects written by [`ApiServer::apply`] alone carry no `managedFields`; they are derived when
//!   someone else writes.
//! - Custom types have no CEL rules, patterns or conversion webhooks.

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

//! Nodes as network namespaces on a shared link, with real vxlan between them, and agents that are told of
//! each other by one API.

mod changes;
mod flannel;
mod three;
mod world;

use world::{Member, World};

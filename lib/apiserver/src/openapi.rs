//! OpenAPI documents.

use http::Response;

use crate::{registry::Registry, reply::BoxBody, status::Status, target::Route};

pub(crate) fn answer(
    _registry: &Registry,
    _route: &Route,
    _accept: &str,
) -> Result<Response<BoxBody>, Status> {
    Err(Status::path_not_found())
}

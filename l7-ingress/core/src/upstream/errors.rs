//! Answers that the default backend gives in place of endpoints.

use std::sync::Arc;

use http::StatusCode;

/// `custom-http-errors` and `default-backend`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// The statuses that nobody is to see.
    pub statuses: Box<[u16]>,
    /// Whether endpoints' answers are judged too, and not the proxy's own alone.
    pub intercepts: bool,
    /// The Service that answers instead, in the Ingress's namespace; `None` for the controller's default backend.
    /// It also answers where the Service of a path has no endpoint.
    pub service: Option<Arc<str>>,
}

impl Errors {
    /// Whether an answer with this status is replaced; `own` is one that no endpoint gave.
    #[must_use]
    pub fn replaces(&self, status: StatusCode, own: bool) -> bool {
        (own || self.intercepts) && self.statuses.contains(&status.as_u16())
    }
}

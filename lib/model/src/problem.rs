//! What could not be honoured, and why.

use std::fmt;

use crate::ObjectRef;

/// How much a [`Problem`] takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something asked for is left out; the rest of the object works.
    Warning,
    /// The object is not served, or not in the version that was last written.
    Error,
}

/// Something in an object that could not be honoured.
///
/// Translation never fails: what cannot be honoured is left out and reported as one of these. They
/// become Events, a metric, status, and the lines that `check` prints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The object that has to be changed to make it go away.
    pub object: ObjectRef,
    /// The path of the field at fault, as in `spec.rules[0].http.paths[1].backend`; for an
    /// annotation `metadata.annotations[NAME]`.
    pub field: String,
    /// One CamelCase word, stable over releases: the Event's reason and the metric's label.
    pub reason: &'static str,
    /// A sentence for people: what is wrong and what happens instead.
    pub message: String,
    /// How much it takes away.
    pub severity: Severity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {}: {}",
            self.object, self.field, self.reason, self.message
        )
    }
}

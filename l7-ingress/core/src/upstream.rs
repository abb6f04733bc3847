//! How the endpoints of a route are chosen, spoken to and tried again: what an Ingress asks for, ready to run.

mod affinity;
mod canary;
mod errors;
mod rendezvous;
mod retry;

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::expression::Expression;
use crate::filter::Facts;

pub use affinity::{Affinity, CanaryBehavior, Mode, SameSite, Setting};
pub(crate) use canary::FieldTest;
pub use canary::{Canary, CanaryRules, Decider, Destination, Share, Turn};
pub use errors::Errors;
pub(crate) use rendezvous::Hash;
pub use rendezvous::{Key, Number, weight};
pub use retry::{Condition, Conditions, Retry};

/// What a route does with its endpoints, where it is not what all do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// How long an endpoint may take.
    pub timeouts: Timeouts,
    /// When another one is tried.
    pub retry: Retry,
    /// Whether a request's body is read before an endpoint is contacted.
    pub buffers_requests: bool,
    /// Whether HTTP/1.0 is spoken.
    pub is_http10: bool,
    /// How long the head of a response may be at least, in bytes.
    pub response_head: Option<usize>,
    /// What decides about the endpoint.
    pub hash: Option<Box<HashBy>>,
    /// The cookie that decides about the endpoint.
    pub affinity: Option<Box<Affinity>>,
    /// What the default backend answers.
    pub errors: Option<Box<Errors>>,
}

/// How long an endpoint may take; `None` for as long as all may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Option<Duration>,
    /// Between two reads.
    pub read: Option<Duration>,
    /// Between two writes.
    pub send: Option<Duration>,
}

/// `upstream-hash-by`: requests of which it says the same go to the same endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashBy {
    /// What is hashed.
    pub expression: Expression,
    /// Out of how many endpoints one is chosen at random; `None` for always the same one.
    pub subset: Option<NonZeroUsize>,
}

/// Which endpoint a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Any.
    Any,
    /// The one of this key.
    Key(Key),
    /// One of so many of this key.
    Subset(Key, NonZeroUsize),
    /// That one, if it is still there.
    Endpoint(Number),
}

impl Destination<'_> {
    /// Which endpoint a request wants. A session that has no key yet gets `random`.
    #[must_use]
    pub fn choose(&self, facts: &Facts<'_>, random: impl FnOnce() -> u64) -> Choice {
        if let Some(affinity) = self.affinity {
            return affinity.choose(&facts.head.headers, random);
        }
        let Some(hash) = self.hash else {
            return Choice::Any;
        };
        let key = hash.expression.key(facts);
        match hash.subset {
            Some(size) => Choice::Subset(key, size),
            None => Choice::Key(key),
        }
    }
}

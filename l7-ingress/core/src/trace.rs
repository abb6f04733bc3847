//! Traces: which requests belong to one, what endpoints are told of it, and the span that is made of a request.
//!
//! Whoever collects spans is told them by OTLP ([`otlp`]); the requests of clients and those to endpoints carry where
//! they belong in W3C's fields, or B3's where a client uses those ([`Context`]).

mod context;
pub mod otlp;
mod span;

use std::sync::Arc;
use std::time::Duration;

use crate::expression::Expression;

pub use context::Context;
pub use span::{Ending, Peers, Span};

/// How a route's requests are traced: `enable-opentelemetry` and its like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Whether a trace that a client says it belongs to is gone on with.
    pub trusts: bool,
    /// What the span is called; `None` for the path of the route.
    pub name: Option<Expression>,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            trusts: true,
            name: None,
        }
    }
}

/// How all requests are traced, and who is told: `otlp-*` and `otel-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// Whom spans are sent to; without one, endpoints are told of traces all the same.
    pub collector: Option<Arc<Collector>>,
    /// Which traces are sampled.
    pub sampler: Sampler,
    /// Whether what a client has decided of a trace holds.
    pub follows_parent: bool,
}

/// Who collects spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Its name or address.
    pub host: Box<str>,
    /// Its port for OTLP over gRPC.
    pub port: u16,
    /// What this proxy is called.
    pub service: Box<str>,
    /// How many spans may wait; what is more is dropped.
    pub queue: usize,
    /// For how long spans wait for others.
    pub delay: Duration,
    /// How many are sent together.
    pub batch: usize,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            collector: None,
            sampler: Sampler::On,
            follows_parent: true,
        }
    }
}

/// Which traces are sampled that begin here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampler {
    /// All.
    On,
    /// None.
    Off,
    /// Those whose number is below this: all who use the same share of traces agree.
    Below(u64),
}

impl Sampler {
    /// This share of all, from 0 to 1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of 2^63 is a whole number below it, near enough"
    )]
    pub fn share(ratio: f64) -> Self {
        match ratio {
            ratio if ratio >= 1.0 => Self::On,
            ratio => Self::Below((ratio.max(0.0) * (1_u64 << 63) as f64) as u64),
        }
    }

    /// Whether this trace is sampled.
    fn takes(self, trace: u128) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            // As OpenTelemetry's own libraries have it: 63 bits of the lower half.
            Self::Below(bound) => (trace & u128::from(u64::MAX)) >> 1 < u128::from(bound),
        }
    }
}

//! Traces: requests know where they belong, and a collector is told of those that are sampled.
//!
//! ```text
//!  worker 0 ─┐ try_send          ┌─ waits for more, or for its time
//!  worker N ─┴─▶ bounded queue ─▶ export ─▶ OTLP over gRPC ─▶ collector
//!       full: dropped, counted       fails: the batch is given up, counted, nobody waits
//! ```

mod collector;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use l7_ingress_core::filter::Facts;
use l7_ingress_core::global::Global;
use l7_ingress_core::trace::{Collector, Context, Ending, Peers, Span, Trace};
use l7_ingress_core::{Route, Table};
use prometheus::{IntCounter, IntCounterVec, Opts};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::metrics::WorkerMetrics;
use collector::Exporter;

/// How many spans may wait at most, whatever the ConfigMap says.
const QUEUE: usize = 1 << 16;
/// The longest time that a collector is left alone after it has failed.
const PAUSE: Duration = Duration::from_secs(5);

/// A request that is traced.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) context: Context,
    /// What a collector is told, if there is one and the request is sampled.
    span: Option<(Span, Arc<Collector>)>,
}

impl Traced {
    /// A request for `route` that has come in at `started`.
    pub(crate) fn begin(
        (global, route, trace): (&Global, &Route, &Trace),
        facts: &Facts<'_>,
        client: &Client,
        started: Instant,
    ) -> Box<Self> {
        let tracing = &*global.tracing;
        let random = || fastrand::u128(..);
        let context = Context::of(&facts.head.headers, (tracing, trace), random);
        let collector = tracing.collector.as_ref().filter(|_| context.sampled);
        let span = collector.map(|collector| {
            let peers = Peers {
                port: client.port.parse().unwrap_or_default(),
                client: client.address.port(),
            };
            let started = SystemTime::now() - started.elapsed();
            let span = Span::begin(&context, (trace, route), facts, peers, started);
            (span, Arc::clone(collector))
        });
        Box::new(Self { context, span })
    }

    /// Tells those who are asked something for the request where it belongs.
    pub(crate) fn tell(&self, fields: &mut Vec<(HeaderName, HeaderValue)>) {
        let mut told = Vec::new();
        self.context.tell(&mut told);
        fields.retain(|(name, _)| told.iter().all(|(own, _)| own != name));
        fields.append(&mut told);
    }

    /// The same in the fields of a request that is ready.
    pub(crate) fn tell_in(&self, fields: &mut HeaderMap) {
        let mut told = Vec::new();
        self.context.tell(&mut told);
        for (name, value) in told {
            match value.is_empty() {
                true => drop(fields.remove(name)),
                false => drop(fields.insert(name, value)),
            }
        }
    }
}

/// A worker's end of the queue.
#[derive(Clone, Debug)]
pub(crate) struct Spans(mpsc::Sender<Bytes>);

impl Spans {
    /// Hands over what is known of a request that has ended.
    pub(crate) fn end(
        &self,
        traced: Traced,
        route: &Route,
        ending: Ending,
        metrics: &WorkerMetrics,
    ) {
        let Some((span, collector)) = traced.span else {
            return;
        };
        let waiting = self.0.max_capacity() - self.0.capacity();
        if waiting >= collector.queue || self.0.try_send(span.end(route, ending)).is_err() {
            metrics.spans_dropped.add(1);
        }
    }
}

/// The other end of it.
#[derive(Debug)]
pub(crate) struct Export {
    spans: mpsc::Receiver<Bytes>,
    table: Arc<ArcSwap<Table>>,
    sent: IntCounter,
    failed: IntCounter,
}

impl Export {
    /// A queue; what comes out of it goes where `table` says.
    pub(crate) fn new(
        table: Arc<ArcSwap<Table>>,
        registry: &prometheus::Registry,
    ) -> Result<(Spans, Self), prometheus::Error> {
        let (sender, spans) = mpsc::channel(QUEUE);
        let outcomes = IntCounterVec::new(
            Opts::new(
                "penstock_l7_spans_total",
                "Spans that were sent to the collector, or given up",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(outcomes.clone()))?;
        let export = Self {
            spans,
            table,
            sent: outcomes.with_label_values(&["sent"]),
            failed: outcomes.with_label_values(&["failed"]),
        };
        Ok((Spans(sender), export))
    }

    fn collector(&self) -> Option<Arc<Collector>> {
        self.table.load().global().tracing.collector.clone()
    }

    /// Sends spans until nobody can have more.
    pub(crate) async fn run(mut self) {
        let mut exporter = Exporter::default();
        let mut batch = Vec::new();
        while let Some(span) = self.spans.recv().await {
            batch.push(span);
            let Some(collector) = self.collector() else {
                // It has gone since.
                self.failed.inc_by(batch.len() as u64);
                batch.clear();
                continue;
            };
            self.gather(&mut batch, &collector).await;
            let sent = exporter.send(&collector, &batch).await;
            let counter = if sent { &self.sent } else { &self.failed };
            counter.inc_by(batch.len() as u64);
            batch.clear();
            if !sent {
                self.pause(&collector).await;
            }
        }
    }

    /// Waits for the rest of a batch.
    async fn gather(&mut self, batch: &mut Vec<Bytes>, collector: &Collector) {
        let time = Instant::now() + collector.delay;
        while batch.len() < collector.batch {
            let room = collector.batch - batch.len();
            let more = timeout_at(time, self.spans.recv_many(batch, room)).await;
            if matches!(more, Ok(0) | Err(_)) {
                return;
            }
        }
    }

    /// Leaves a collector alone that has failed; meanwhile the queue fills, and then spans are dropped.
    async fn pause(&self, collector: &Collector) {
        tokio::time::sleep(collector.delay.min(PAUSE)).await;
    }
}

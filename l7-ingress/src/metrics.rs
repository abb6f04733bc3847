//! Counters and histograms, under the names that ingress-nginx's dashboards know.
//!
//! Each worker writes its own cells and nobody else's, with plain loads and stores; a scrape adds
//! them up. A request therefore pays no locked instruction.

mod orphans;
mod plain;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use daemon::Usage;
use l7_ingress_core::Table;
use l7_ingress_core::filter::Heard;
use l7_ingress_core::tally::{Cell, Place};
use model::ObjectName;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as HistogramProto, LabelPair, Metric, MetricFamily,
    MetricType, Summary,
};

use plain::PLAIN;
use requests::{Histogram, Labels, PREFIX, Requests, Sums};

pub(crate) use orphans::Orphans;
pub(crate) use requests::{Bounds, Counted, Hosts, Layout, Sample};

/// What one worker counts of everything.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) accepted: Cell,
    pub(crate) active: Cell,
    /// Connections that a request is being answered on.
    pub(crate) busy: Cell,
    pub(crate) idle_upstream: Cell,
    pub(crate) requests: Cell,
    pub(crate) unmatched: Cell,
    pub(crate) handshake_errors: Cell,
    pub(crate) accept_errors: Cell,
    pub(crate) waits_for_room: Cell,
    pub(crate) bad_requests: Cell,
    pub(crate) connect_errors: Cell,
    /// Questions to other servers of who may come in, by what came of them.
    pub(crate) auth_granted: Cell,
    pub(crate) auth_refused: Cell,
    pub(crate) auth_failed: Cell,
    pub(crate) auth_remembered: Cell,
    pub(crate) retries: Cell,
    pub(crate) aborted: Cell,
    pub(crate) tunnels: Cell,
    pub(crate) log_dropped: Cell,
    pub(crate) spans_dropped: Cell,
    pub(crate) tcp_sessions: Cell,
    /// Connections whose TLS was ended by an endpoint.
    pub(crate) tls_sessions: Cell,
    pub(crate) udp_sessions: Cell,
    pub(crate) udp_active: Cell,
    pub(crate) stream_failures: Cell,
    pub(crate) datagrams_dropped: Cell,
    pub(crate) drain_forced: Cell,
}

impl Totals {
    /// Where what a server said of who may come in is counted.
    pub(crate) fn auth(&self, heard: Option<&Heard>) -> &Cell {
        match heard.map(Heard::lets_in) {
            Some(Some(true)) => &self.auth_granted,
            Some(Some(false)) => &self.auth_refused,
            Some(None) | None => &self.auth_failed,
        }
    }
}

/// What one worker counts.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    totals: Totals,
    by_route: Requests,
}

impl Deref for WorkerMetrics {
    type Target = Totals;

    fn deref(&self) -> &Totals {
        &self.totals
    }
}

impl WorkerMetrics {
    /// Which hosts tell requests apart.
    pub(crate) fn hosts(&self) -> Hosts {
        self.by_route.layout.hosts()
    }

    /// Adds a request to its series.
    pub(crate) fn count(&self, counted: &Counted<'_>, sample: &Sample) {
        self.by_route.count(counted, sample);
    }
}

/// All workers' metrics, as the registry collects them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    workers: Arc<[Arc<WorkerMetrics>]>,
    constant: ConstantLabels,
    layout: Arc<Layout>,
}

/// Labels of every series.
pub(crate) type ConstantLabels = Arc<[(String, String)]>;

impl Metrics {
    /// Metrics of `workers` workers; `constant` labels go on every series.
    pub(crate) fn new(workers: usize, constant: ConstantLabels, layout: Layout) -> Self {
        let layout = Arc::new(layout);
        let place = |worker| Place { worker, workers };
        let metrics = |worker| WorkerMetrics {
            totals: Totals::default(),
            by_route: Requests::new(Arc::clone(&layout), place(worker)),
        };
        Self {
            workers: (0..workers)
                .map(|worker| Arc::new(metrics(worker)))
                .collect(),
            constant,
            layout,
        }
    }

    /// The metrics that worker `index` writes.
    pub(crate) fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        Arc::clone(&self.workers[index])
    }

    /// Drops the series of Ingresses that are gone.
    pub(crate) fn forget(&self, gone: &BTreeSet<ObjectName>) {
        for worker in self.workers.iter() {
            worker.by_route.forget(gone);
        }
    }

    /// Drops the series that no route of `table` can add to: those of paths that have left their Ingress.
    pub(crate) fn prune(&self, table: &Table) {
        for worker in self.workers.iter() {
            worker.by_route.prune(table);
        }
    }

    /// The process-wide families.
    fn plain(&self) -> Vec<MetricFamily> {
        let sum =
            |cell: fn(&WorkerMetrics) -> u64| float(self.workers.iter().map(|own| cell(own)).sum());
        let family_of = |plain: &plain::Plain| {
            let values = plain.values.iter();
            let metrics = values.map(|(labels, cell)| self.metric(plain.gauge, labels, sum(*cell)));
            family(plain.name, plain.help, kind(plain.gauge), metrics.collect())
        };
        PLAIN.iter().map(family_of).collect()
    }

    /// What the process uses, which is one where nginx has several.
    fn usage(&self) -> Vec<MetricFamily> {
        let Some(usage) = Usage::now() else {
            return Vec::new();
        };
        let figures = [
            ("num_procs", "Processes", true, Some(1.0)),
            (
                "cpu_seconds_total",
                "Processor time",
                false,
                Some(usage.cpu_seconds),
            ),
            (
                "resident_memory_bytes",
                "Resident memory",
                true,
                Some(usage.resident_bytes),
            ),
            (
                "virtual_memory_bytes",
                "Virtual memory",
                true,
                Some(usage.virtual_bytes),
            ),
            (
                "read_bytes_total",
                "Bytes read from storage",
                false,
                usage.read_bytes,
            ),
            (
                "write_bytes_total",
                "Bytes written to storage",
                false,
                usage.written_bytes,
            ),
            (
                "oldest_start_time_seconds",
                "When the process began, since 1970",
                true,
                usage.started,
            ),
        ];
        let figures = figures.into_iter();
        let families = figures.filter_map(|(name, help, gauge, value)| {
            let metric = self.metric(gauge, &[], value?);
            let name = format!("{PREFIX}nginx_process_{name}");
            Some(family(&name, help, kind(gauge), vec![metric]))
        });
        families.collect()
    }

    /// What was counted by Ingress.
    fn by_ingress(&self, sums: &Sums) -> Vec<MetricFamily> {
        let with = |labels: &Labels| {
            let mut metric = Metric::default();
            metric.set_label(label_pairs(&self.constant, labels.pairs()));
            metric
        };
        let mut families = Vec::new();
        if self.layout.counts {
            let counters = sums.iter().map(|(labels, cells)| {
                let mut metric = with(labels);
                let mut counter = Counter::default();
                counter.set_value(float(cells[0]));
                metric.set_counter(counter);
                metric
            });
            let name = format!("{PREFIX}requests");
            families.push(family(
                &name,
                "Requests",
                MetricType::COUNTER,
                counters.collect(),
            ));
        }
        for histogram in &self.layout.histograms {
            let metrics = sums.iter().map(|(labels, cells)| {
                let mut metric = with(labels);
                metric.set_histogram(proto(histogram, &cells[histogram.at..]));
                metric
            });
            let name = format!("{PREFIX}{}", histogram.name);
            families.push(family(
                &name,
                histogram.help,
                MetricType::HISTOGRAM,
                metrics.collect(),
            ));
        }
        families
    }

    /// Connect times as ingress-nginx told them before it had histograms, without the quantiles.
    fn latency(&self, sums: &Sums, at: usize) -> MetricFamily {
        let mut by_service: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for (labels, cells) in sums {
            let key = (&labels.ingress, &*labels.service, &*labels.canary);
            let (count, sum) = by_service.entry(key).or_default();
            *count += cells[at];
            *sum += cells[at + 1];
        }
        let metrics = by_service
            .into_iter()
            .map(|((ingress, service, canary), (count, sum))| {
                let mut metric = Metric::default();
                let pairs = [
                    ("canary", canary),
                    ("ingress", &*ingress.name),
                    ("namespace", &*ingress.namespace),
                    ("service", service),
                ];
                metric.set_label(label_pairs(&self.constant, pairs.into_iter()));
                let mut summary = Summary::default();
                summary.set_sample_count(count);
                summary.set_sample_sum(float(sum) / requests::Unit::Microseconds.per_base());
                metric.set_summary(summary);
                metric
            });
        let name = format!("{PREFIX}ingress_upstream_latency_seconds");
        let help = "Until a connection to the endpoint stood, under the name before connect_duration_seconds";
        family(&name, help, MetricType::SUMMARY, metrics.collect())
    }

    fn metric(&self, is_gauge: bool, labels: &[(&str, &str)], value: f64) -> Metric {
        let mut metric = Metric::default();
        metric.set_label(label_pairs(&self.constant, labels.iter().copied()));
        if is_gauge {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        } else {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        metric
    }
}

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        // Unchecked: the label sets are made here and nowhere else.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut sums = Sums::new();
        for worker in self.workers.iter() {
            worker.by_route.add_to(&mut sums);
        }
        let mut families = self.plain();
        families.extend(self.usage());
        if !sums.is_empty() {
            families.extend(self.by_ingress(&sums));
            families.extend(self.layout.latency.map(|at| self.latency(&sums, at)));
        }
        families
    }
}

fn label_pairs<'l>(
    constant: &'l [(String, String)],
    own: impl Iterator<Item = (&'l str, &'l str)>,
) -> Vec<LabelPair> {
    let constant = constant
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let mut pairs: Vec<LabelPair> = constant
        .chain(own)
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        })
        .collect();
    pairs.sort_by(|a, b| a.name().cmp(b.name()));
    pairs
}

/// A histogram from its cells, which are the first of `cells`.
fn proto(histogram: &Histogram, cells: &[u64]) -> HistogramProto {
    let per_base = histogram.unit.per_base();
    let mut cumulative = 0;
    let buckets = histogram.bounds.iter().zip(&cells[2..]).map(|(bound, n)| {
        cumulative += n;
        let mut bucket = Bucket::default();
        bucket.set_cumulative_count(cumulative);
        bucket.set_upper_bound(*bound);
        bucket
    });
    let mut proto = HistogramProto::default();
    proto.set_bucket(buckets.collect());
    proto.set_sample_count(cells[0]);
    proto.set_sample_sum(float(cells[1]) / per_base);
    proto
}

const fn kind(is_gauge: bool) -> MetricType {
    match is_gauge {
        true => MetricType::GAUGE,
        false => MetricType::COUNTER,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows only floating point"
)]
const fn float(n: u64) -> f64 {
    n as f64
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

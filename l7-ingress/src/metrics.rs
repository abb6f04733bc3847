//! Counters and histograms, under the names that ingress-nginx's dashboards know.
//!
//! Each worker writes its own cells and nobody else's, with plain loads and stores; a scrape adds
//! them up. A request therefore pays no locked instruction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use l7_ingress_core::Route;
use l7_ingress_core::filter::Heard;
use model::ObjectName;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as HistogramProto, LabelPair, Metric, MetricFamily,
    MetricType,
};

/// Upper bounds of the duration histograms, in seconds (ingress-nginx's `--time-buckets`).
const SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Upper bounds of the size histograms, in bytes (ingress-nginx's `--size-buckets`).
const BYTES: [f64; 7] = [10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    /// Adds; only the owning worker calls this.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes away; only the owning worker calls this.
    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Replaces; only the owning worker calls this.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A histogram whose sum is kept in millionths, so that it is a whole number.
#[derive(Debug)]
struct Histogram<const N: usize> {
    buckets: [Cell; N],
    count: Cell,
    sum: Cell,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        let buckets = std::array::from_fn(|_| Cell::default());
        Self {
            buckets,
            count: Cell::default(),
            sum: Cell::default(),
        }
    }
}

impl<const N: usize> Histogram<N> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sum of seconds or bytes, in millionths, saturates after centuries"
    )]
    fn observe(&self, bounds: &[f64; N], value: f64) {
        if let Some(at) = bounds.iter().position(|bound| value <= *bound) {
            self.buckets[at].add(1);
        }
        self.count.add(1);
        self.sum.add((value * 1e6) as u64);
    }
}

/// What was counted for one set of labels by one worker.
#[derive(Debug, Default)]
pub(crate) struct Series {
    requests: Cell,
    request_duration: Histogram<11>,
    response_duration: Histogram<11>,
    header_duration: Histogram<11>,
    connect_duration: Histogram<11>,
    request_size: Histogram<7>,
    response_size: Histogram<7>,
}

/// What one request adds to its [`Series`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// From the request's head to the last byte of the response.
    pub(crate) total: f64,
    /// What of it was spent on the backend.
    pub(crate) response: Option<f64>,
    /// Until the backend's response head.
    pub(crate) header: Option<f64>,
    /// Until the backend's connection stood.
    pub(crate) connect: Option<f64>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

impl Series {
    #[expect(
        clippy::cast_precision_loss,
        reason = "sizes are compared with powers of ten"
    )]
    pub(crate) fn add(&self, sample: &Sample) {
        self.requests.add(1);
        self.request_duration.observe(&SECONDS, sample.total);
        self.request_size
            .observe(&BYTES, sample.request_bytes as f64);
        self.response_size
            .observe(&BYTES, sample.response_bytes as f64);
        if let Some(seconds) = sample.response {
            self.response_duration.observe(&SECONDS, seconds);
        }
        if let Some(seconds) = sample.header {
            self.header_duration.observe(&SECONDS, seconds);
        }
        if let Some(seconds) = sample.connect {
            self.connect_duration.observe(&SECONDS, seconds);
        }
    }
}

/// The labels of a [`Series`], in the order of [`LABELS`].
type Labels = [Box<str>; 8];

const LABELS: [&str; 8] = [
    "canary",
    "host",
    "ingress",
    "method",
    "namespace",
    "path",
    "service",
    "status",
];

fn labels(route: &Route, (method, status, canary): (&str, u16, bool)) -> Labels {
    let canary = route.canary.as_ref().filter(|_| canary);
    [
        canary
            .map_or("", |canary| &canary.backend.upstream_name)
            .into(),
        (&*route.host).into(),
        (&*route.ingress.name).into(),
        method.into(),
        (&*route.ingress.namespace).into(),
        (&*route.path).into(),
        (&*route.backend.service.name).into(),
        status.to_string().into(),
    ]
}

/// What one worker counts.
#[derive(Debug, Default)]
pub(crate) struct WorkerMetrics {
    pub(crate) accepted: Cell,
    pub(crate) active: Cell,
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
    pub(crate) tcp_sessions: Cell,
    /// Connections whose TLS was ended by an endpoint.
    pub(crate) tls_sessions: Cell,
    pub(crate) udp_sessions: Cell,
    pub(crate) udp_active: Cell,
    pub(crate) stream_failures: Cell,
    pub(crate) datagrams_dropped: Cell,
    pub(crate) drain_forced: Cell,
    /// Locked when a label set is first seen and at a scrape, never on a request's way: the worker
    /// keeps the `Arc`s that it has met.
    series: Mutex<HashMap<Labels, Arc<Series>>>,
}

impl WorkerMetrics {
    /// Where what a server said of who may come in is counted.
    pub(crate) fn auth(&self, heard: Option<&Heard>) -> &Cell {
        match heard.map(Heard::lets_in) {
            Some(Some(true)) => &self.auth_granted,
            Some(Some(false)) => &self.auth_refused,
            Some(None) | None => &self.auth_failed,
        }
    }

    /// The series of a request that `route` answered.
    pub(crate) fn series(&self, route: &Route, request: (&str, u16, bool)) -> Arc<Series> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(series.entry(labels(route, request)).or_default())
    }

    fn forget(&self, gone: &BTreeSet<ObjectName>) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.retain(|labels, _| {
            let [_, _, ingress, _, namespace, ..] = labels;
            !gone.contains(&ObjectName::new(&**namespace, &**ingress))
        });
    }
}

/// All workers' metrics, as the registry collects them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    workers: Arc<[Arc<WorkerMetrics>]>,
    constant: Arc<[(String, String)]>,
}

impl Metrics {
    /// Metrics of `workers` workers; `constant` labels go on every series.
    pub(crate) fn new(workers: usize, constant: Vec<(String, String)>) -> Self {
        let workers = (0..workers).map(|_| Arc::default()).collect();
        Self {
            workers,
            constant: constant.into(),
        }
    }

    /// The metrics that worker `index` writes.
    pub(crate) fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        Arc::clone(&self.workers[index])
    }

    /// Drops the series of Ingresses that are gone.
    pub(crate) fn forget(&self, gone: &BTreeSet<ObjectName>) {
        for worker in self.workers.iter() {
            worker.forget(gone);
        }
    }

    fn sum(&self, cell: fn(&WorkerMetrics) -> &Cell) -> f64 {
        self.workers
            .iter()
            .fold(0.0, |sum, worker| sum + float(cell(worker).get()))
    }

    fn pairs(&self, labels: &[(&str, &str)]) -> Vec<LabelPair> {
        let constant = self
            .constant
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let mut pairs: Vec<LabelPair> = constant
            .chain(labels.iter().copied())
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

    /// The process-wide families.
    fn plain(&self) -> Vec<MetricFamily> {
        PLAIN
            .iter()
            .map(|plain| {
                let metrics = plain.values.iter().map(|(labels, cell)| {
                    let mut metric = Metric::default();
                    metric.set_label(self.pairs(labels));
                    let value = self.sum(*cell);
                    if plain.gauge {
                        let mut gauge = Gauge::default();
                        gauge.set_value(value);
                        metric.set_gauge(gauge);
                    } else {
                        let mut counter = Counter::default();
                        counter.set_value(value);
                        metric.set_counter(counter);
                    }
                    metric
                });
                let kind = if plain.gauge {
                    MetricType::GAUGE
                } else {
                    MetricType::COUNTER
                };
                family(plain.name, plain.help, kind, metrics.collect())
            })
            .collect()
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

type Value = (
    &'static [(&'static str, &'static str)],
    fn(&WorkerMetrics) -> &Cell,
);

/// A family of process-wide numbers.
struct Plain {
    name: &'static str,
    help: &'static str,
    gauge: bool,
    values: &'static [Value],
}

const PLAIN: &[Plain] = &[
    Plain {
        name: "nginx_ingress_controller_nginx_process_connections",
        help: "Client connections now, by state",
        gauge: true,
        values: &[(&[("state", "active")], |worker| &worker.active)],
    },
    Plain {
        name: "nginx_ingress_controller_nginx_process_connections_total",
        help: "Client connections so far, by what became of them",
        gauge: false,
        values: &[
            (&[("state", "accepted")], |worker| &worker.accepted),
            (&[("state", "handled")], |worker| &worker.accepted),
        ],
    },
    Plain {
        name: "nginx_ingress_controller_nginx_process_requests_total",
        help: "Requests so far",
        gauge: false,
        values: &[(&[], |worker| &worker.requests)],
    },
    Plain {
        name: "penstock_l7_unmatched_requests_total",
        help: "Requests for which no route was found",
        gauge: false,
        values: &[(&[], |worker| &worker.unmatched)],
    },
    Plain {
        name: "penstock_l7_client_errors_total",
        help: "What clients were refused for",
        gauge: false,
        values: &[
            (&[("reason", "handshake")], |worker| {
                &worker.handshake_errors
            }),
            (&[("reason", "request")], |worker| &worker.bad_requests),
        ],
    },
    Plain {
        name: "penstock_l7_stream_sessions_total",
        help: "TCP connections, those of passed through TLS apart, and UDP sessions that were passed straight to a Service",
        gauge: false,
        values: &[
            (&[("protocol", "TCP")], |worker| &worker.tcp_sessions),
            (&[("protocol", "TLS")], |worker| &worker.tls_sessions),
            (&[("protocol", "UDP")], |worker| &worker.udp_sessions),
        ],
    },
    Plain {
        name: "penstock_l7_udp_sessions",
        help: "UDP sessions now",
        gauge: true,
        values: &[(&[], |worker| &worker.udp_active)],
    },
    Plain {
        name: "penstock_l7_stream_failures_total",
        help: "TCP connections and UDP sessions that failed or timed out",
        gauge: false,
        values: &[(&[], |worker| &worker.stream_failures)],
    },
    Plain {
        name: "penstock_l7_udp_dropped_total",
        help: "Datagrams that could not be passed on",
        gauge: false,
        values: &[(&[], |worker| &worker.datagrams_dropped)],
    },
    Plain {
        name: "penstock_l7_accept_errors_total",
        help: "Accepts that failed, as for want of file descriptors",
        gauge: false,
        values: &[(&[], |worker| &worker.accept_errors)],
    },
    Plain {
        name: "penstock_l7_accept_waits_total",
        help: "Times that accepting waited because the connection limit was reached",
        gauge: false,
        values: &[(&[], |worker| &worker.waits_for_room)],
    },
    Plain {
        name: "penstock_l7_upstream_connect_errors_total",
        help: "Endpoints that could not be connected to",
        gauge: false,
        values: &[(&[], |worker| &worker.connect_errors)],
    },
    Plain {
        name: "penstock_l7_auth_requests_total",
        help: "Requests of which another server was asked, or has said before, whether they may come in (auth-url)",
        gauge: false,
        values: &[
            (&[("outcome", "granted")], |worker| &worker.auth_granted),
            (&[("outcome", "refused")], |worker| &worker.auth_refused),
            (&[("outcome", "failed")], |worker| &worker.auth_failed),
            (&[("outcome", "remembered")], |worker| {
                &worker.auth_remembered
            }),
        ],
    },
    Plain {
        name: "penstock_l7_upstream_idle_connections",
        help: "Connections to endpoints that wait for a request",
        gauge: true,
        values: &[(&[], |worker| &worker.idle_upstream)],
    },
    Plain {
        name: "penstock_l7_retries_total",
        help: "Requests that were tried again on another endpoint",
        gauge: false,
        values: &[(&[], |worker| &worker.retries)],
    },
    Plain {
        name: "penstock_l7_aborted_responses_total",
        help: "Responses that an endpoint broke off after their head was passed on",
        gauge: false,
        values: &[(&[], |worker| &worker.aborted)],
    },
    Plain {
        name: "penstock_l7_tunnels",
        help: "Connections that have left HTTP by an Upgrade",
        gauge: true,
        values: &[(&[], |worker| &worker.tunnels)],
    },
    Plain {
        name: "penstock_l7_access_log_dropped_total",
        help: "Access log lines that were dropped because the output was slower than the traffic",
        gauge: false,
        values: &[(&[], |worker| &worker.log_dropped)],
    },
    Plain {
        name: "penstock_l7_drain_forced_total",
        help: "Connections that were cut at the drain deadline",
        gauge: false,
        values: &[(&[], |worker| &worker.drain_forced)],
    },
];

/// A per-request histogram family: its name, its help, its bounds, and where it stands.
struct Timed {
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    cells: fn(&Series) -> (&[Cell], &Cell, &Cell),
}

macro_rules! timed {
    ($name:literal, $help:literal, $bounds:expr, $field:ident) => {
        Timed {
            name: $name,
            help: $help,
            bounds: &$bounds,
            cells: |series| {
                (
                    &series.$field.buckets,
                    &series.$field.count,
                    &series.$field.sum,
                )
            },
        }
    };
}

const TIMED: &[Timed] = &[
    timed!(
        "nginx_ingress_controller_request_duration_seconds",
        "From a request's head to the last byte of its response",
        SECONDS,
        request_duration
    ),
    timed!(
        "nginx_ingress_controller_response_duration_seconds",
        "What of it was spent on the endpoint",
        SECONDS,
        response_duration
    ),
    timed!(
        "nginx_ingress_controller_header_duration_seconds",
        "Until the endpoint's response head",
        SECONDS,
        header_duration
    ),
    timed!(
        "nginx_ingress_controller_connect_duration_seconds",
        "Until a connection to the endpoint stood",
        SECONDS,
        connect_duration
    ),
    timed!(
        "nginx_ingress_controller_request_size",
        "Bytes of request bodies",
        BYTES,
        request_size
    ),
    timed!(
        "nginx_ingress_controller_response_size",
        "Bytes of response bodies",
        BYTES,
        response_size
    ),
];

impl Timed {
    /// Adds up what the workers have for one label set.
    fn histogram(&self, series: &[Arc<Series>]) -> HistogramProto {
        let mut buckets = vec![0; self.bounds.len()];
        let (mut count, mut sum) = (0, 0);
        for (cells, of, total) in series.iter().map(|series| (self.cells)(series)) {
            for (bucket, cell) in buckets.iter_mut().zip(cells) {
                *bucket += cell.get();
            }
            count += of.get();
            sum += total.get();
        }
        let mut cumulative = 0;
        let buckets = buckets.iter().zip(self.bounds).map(|(n, bound)| {
            cumulative += n;
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(cumulative);
            bucket.set_upper_bound(*bound);
            bucket
        });
        let mut histogram = HistogramProto::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(float(sum) / 1e6);
        histogram
    }
}

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        // Unchecked: the label sets are made here and nowhere else.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut all: BTreeMap<Labels, Vec<Arc<Series>>> = BTreeMap::new();
        for worker in self.workers.iter() {
            let series = worker.series.lock().unwrap_or_else(PoisonError::into_inner);
            for (labels, series) in series.iter() {
                all.entry(labels.clone())
                    .or_default()
                    .push(Arc::clone(series));
            }
        }
        let mut families = self.plain();
        if all.is_empty() {
            return families;
        }
        let labelled = |fill: &dyn Fn(&mut Metric, &[Arc<Series>])| {
            let metric = |(labels, series): (&Labels, &Vec<Arc<Series>>)| {
                let pairs: Vec<(&str, &str)> = LABELS
                    .into_iter()
                    .zip(labels.iter().map(|label| &**label))
                    .collect();
                let mut metric = Metric::default();
                metric.set_label(self.pairs(&pairs));
                fill(&mut metric, series);
                metric
            };
            all.iter().map(metric).collect()
        };
        let requests = labelled(&|metric, series| {
            let mut counter = Counter::default();
            counter.set_value(float(
                series.iter().map(|series| series.requests.get()).sum(),
            ));
            metric.set_counter(counter);
        });
        let name = "nginx_ingress_controller_requests";
        families.push(family(
            name,
            "Requests by Ingress",
            MetricType::COUNTER,
            requests,
        ));
        for timed in TIMED {
            let metrics = labelled(&|metric, series| metric.set_histogram(timed.histogram(series)));
            families.push(family(
                timed.name,
                timed.help,
                MetricType::HISTOGRAM,
                metrics,
            ));
        }
        families
    }
}

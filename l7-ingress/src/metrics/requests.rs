//! What is counted of requests, by Ingress: which figures there are, what tells requests apart, and how many sets
//! of labels there can be.
//!
//! Labels come from objects and from lists of known words, never from clients, unless a flag asks for clients' hosts:
//! then there is an end to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use l7_ingress_core::tally::{Cell, Kind, Place, Series, Tally};
use l7_ingress_core::{Route, Table};
use model::ObjectName;

/// The prefix of all names here.
pub(super) const PREFIX: &str = "nginx_ingress_controller_";
/// How many series a worker keeps for hosts that clients wrote and no Ingress names.
const WRITTEN: usize = 1000;
/// The host of rules without one, and of hosts that are one too many.
const ANY_HOST: &str = "_";

/// What one request adds to its series.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// From the request's head to the last byte of the response.
    pub(crate) total: Duration,
    /// What of it was spent on the backend.
    pub(crate) response: Option<Duration>,
    /// Until the backend's response head.
    pub(crate) header: Option<Duration>,
    /// Until the backend's connection stood.
    pub(crate) connect: Option<Duration>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

/// What is known of a request that tells it apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<'r> {
    pub(crate) route: Option<&'r Route>,
    /// The host that the client wrote, where that is a label.
    pub(crate) host: Option<&'r str>,
    pub(crate) method: &'r Method,
    pub(crate) status: u16,
    pub(crate) canary: bool,
}

/// Which hosts are a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// None.
    Off,
    /// Those of Ingresses.
    Known,
    /// Those that clients write.
    Written,
}

/// Upper bounds of the histograms: seconds, bytes of requests and responses, bytes sent.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) time: Vec<f64>,
    pub(crate) length: Vec<f64>,
    pub(crate) size: Vec<f64>,
}

/// Which figures there are.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(super) histograms: Box<[Histogram]>,
    /// Whether the number of requests is told.
    pub(super) counts: bool,
    /// Where connect times are in a series, if they are told as ingress-nginx once did.
    pub(super) latency: Option<usize>,
    cells: usize,
    hosts: Hosts,
    /// Whether 2xx stands for all of 200 to 299.
    classes: bool,
}

/// A histogram: in a series, how many there were, their sum and how many were within each bound.
#[derive(Debug)]
pub(super) struct Histogram {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) bounds: Box<[f64]>,
    /// The bounds in the unit of the cells.
    limits: Box<[u64]>,
    pub(super) unit: Unit,
    pub(super) at: usize,
    of: fn(&Sample) -> Option<u64>,
}

/// What the cells hold: whole numbers, so that adding is exact.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Microseconds,
    Bytes,
}

impl Unit {
    /// How many there are in what Prometheus is told.
    pub(super) const fn per_base(self) -> f64 {
        match self {
            Self::Microseconds => 1e6,
            Self::Bytes => 1.0,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

type Described = (&'static str, &'static str, fn(&Sample) -> Option<u64>);

const TIMES: [Described; 4] = [
    (
        "request_duration_seconds",
        "From a request's head to the last byte of its response",
        |sample| Some(micros(sample.total)),
    ),
    (
        "response_duration_seconds",
        "What of it was spent on the endpoint",
        |sample| sample.response.map(micros),
    ),
    (
        "header_duration_seconds",
        "Until the endpoint's response head",
        |sample| sample.header.map(micros),
    ),
    (
        CONNECT,
        "Until a connection to the endpoint stood",
        |sample| sample.connect.map(micros),
    ),
];
const CONNECT: &str = "connect_duration_seconds";

const LENGTHS: [Described; 2] = [
    (
        "request_size",
        "Bytes of requests with their heads",
        |sample| Some(sample.request_bytes),
    ),
    (
        "response_size",
        "Bytes of responses with their heads",
        |sample| Some(sample.response_bytes),
    ),
];

const SIZES: [Described; 1] = [(
    "bytes_sent",
    "Bytes of responses, under the name before response_size",
    |sample| Some(sample.response_bytes),
)];

impl Layout {
    /// The figures that are not in `excluded`, which are names with or without their prefix.
    pub(crate) fn new(
        bounds: &Bounds,
        (hosts, classes): (Hosts, bool),
        excluded: &[String],
    ) -> Self {
        let excluded: BTreeSet<&str> = excluded
            .iter()
            .map(|name| name.strip_prefix(PREFIX).unwrap_or(name))
            .collect();
        let groups = [
            (&TIMES[..], &bounds.time, Unit::Microseconds),
            (&LENGTHS[..], &bounds.length, Unit::Bytes),
            (&SIZES[..], &bounds.size, Unit::Bytes),
        ];
        // The first cell counts requests.
        let mut cells = 1;
        let mut histograms = Vec::new();
        for (described, bounds, unit) in groups {
            for (name, help, of) in described {
                if excluded.contains(name) {
                    continue;
                }
                histograms.push(Histogram {
                    name,
                    help,
                    bounds: bounds.as_slice().into(),
                    limits: bounds.iter().map(|bound| limit(*bound, unit)).collect(),
                    unit,
                    at: cells,
                    of: *of,
                });
                cells += bounds.len() + 2;
            }
        }
        let connect = histograms.iter().find(|own| own.name == CONNECT);
        let latency = connect.map(|connect| connect.at);
        Self {
            latency: latency.filter(|_| !excluded.contains("ingress_upstream_latency_seconds")),
            histograms: histograms.into(),
            counts: !excluded.contains("requests"),
            cells,
            hosts,
            classes,
        }
    }

    /// None of them.
    pub(crate) fn nothing() -> Self {
        Self {
            histograms: Box::default(),
            counts: false,
            latency: None,
            cells: 0,
            hosts: Hosts::Off,
            classes: false,
        }
    }

    const fn is_nothing(&self) -> bool {
        self.histograms.is_empty() && !self.counts
    }

    /// Which hosts are a label.
    pub(crate) const fn hosts(&self) -> Hosts {
        self.hosts
    }

    /// Adds what one request was to its series.
    fn observe(&self, series: &Series, sample: &Sample) {
        series[0].add(1);
        for histogram in &self.histograms {
            if let Some(value) = (histogram.of)(sample) {
                histogram.observe(series, value);
            }
        }
    }

    fn kind(&self, counted: &Counted<'_>) -> Kind {
        let status = match self.classes {
            true => counted.status / 100,
            false => counted.status,
        };
        Kind::new(counted.method, status, counted.canary)
    }

    /// What tells the series of these requests from the others.
    fn labels(&self, counted: &Counted<'_>, kind: Kind) -> Labels {
        let route = counted.route;
        let alternative = route.and_then(|route| route.canary.as_ref());
        let alternative = alternative.filter(|_| kind.is_canary());
        let known = route.map_or("", |route| &route.host);
        let host = counted.host.unwrap_or(known);
        Labels {
            ingress: route.map_or_else(nobody, |route| route.ingress.clone()),
            host: match self.hosts {
                Hosts::Off => "",
                _ if host.is_empty() => ANY_HOST,
                Hosts::Known | Hosts::Written => host,
            }
            .into(),
            path: route.map_or("", |route| &route.path).into(),
            service: route.map_or("", |route| &route.backend.service.name).into(),
            canary: alternative
                .map_or("", |canary| &canary.backend.upstream_name)
                .into(),
            method: kind.method(),
            status: match self.classes {
                true => format!("{}xx", kind.status()).into(),
                false => kind.status().to_string().into(),
            },
        }
    }
}

fn nobody() -> ObjectName {
    ObjectName::new("", "")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is too large for the cells is beyond all that they can hold"
)]
fn limit(bound: f64, unit: Unit) -> u64 {
    (bound * unit.per_base()).round() as u64
}

impl Histogram {
    fn observe(&self, series: &Series, value: u64) {
        let cells = &series[self.at..][..self.limits.len() + 2];
        if let [count, sum, buckets @ ..] = cells {
            count.add(1);
            sum.add(value);
            if let Some(at) = self.limits.iter().position(|limit| value <= *limit) {
                buckets[at].add(1);
            }
        }
    }
}

/// What tells one series from the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Labels {
    pub(super) ingress: ObjectName,
    host: Box<str>,
    path: Box<str>,
    pub(super) service: Box<str>,
    pub(super) canary: Box<str>,
    method: &'static str,
    status: Box<str>,
}

impl Labels {
    /// As Prometheus is told.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let host = Some(("host", &*self.host));
        let others = [
            ("canary", &*self.canary),
            ("ingress", &*self.ingress.name),
            ("method", self.method),
            ("namespace", &*self.ingress.namespace),
            ("path", &*self.path),
            ("service", &*self.service),
            ("status", &*self.status),
        ];
        let host = host.filter(|(_, host)| !host.is_empty());
        others.into_iter().chain(host)
    }
}

/// Labels are shared with a scrape, so that it holds the lock for a moment only.
type All = HashMap<Arc<Labels>, Arc<Series>>;

/// What all workers have counted.
pub(super) type Sums = BTreeMap<Arc<Labels>, Vec<u64>>;

/// The series of one worker.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) layout: Arc<Layout>,
    place: Place,
    /// Locked when a kind of request is first seen on a route, and at a scrape; not on a request's way.
    series: Mutex<All>,
    /// Those of hosts that clients wrote: locked for each of their requests, which only a flag can ask for.
    written: Mutex<All>,
    /// Those of requests that no route was found for.
    unmatched: Tally,
}

impl Requests {
    pub(super) fn new(layout: Arc<Layout>, place: Place) -> Self {
        Self {
            layout,
            place,
            series: Mutex::default(),
            written: Mutex::default(),
            unmatched: Tally::default(),
        }
    }

    /// Adds a request to its series.
    pub(super) fn count(&self, counted: &Counted<'_>, sample: &Sample) {
        let layout = &*self.layout;
        if layout.is_nothing() {
            return;
        }
        let kind = layout.kind(counted);
        let tally = match (counted.route, layout.hosts) {
            (Some(route), _) => &route.tally,
            // As ingress-nginx: a host that no Ingress names is not counted.
            (None, Hosts::Known) => return,
            (None, Hosts::Off | Hosts::Written) => &self.unmatched,
        };
        let labels = || layout.labels(counted, kind);
        if counted.host.is_some() {
            return layout.observe(&self.written(labels()), sample);
        }
        let series = tally.series(self.place, kind, || {
            self.made(&mut open(&self.series), labels())
        });
        layout.observe(series, sample);
    }

    /// The series of a host that a client wrote.
    fn written(&self, mut labels: Labels) -> Arc<Series> {
        let mut written = open(&self.written);
        if written.len() >= WRITTEN && !written.contains_key(&labels) {
            labels.host = ANY_HOST.into();
            return self.made(&mut open(&self.series), labels);
        }
        self.made(&mut written, labels)
    }

    fn made(&self, all: &mut All, labels: Labels) -> Arc<Series> {
        let make = || (0..self.layout.cells).map(|_| Cell::default()).collect();
        Arc::clone(all.entry(Arc::new(labels)).or_insert_with(make))
    }

    /// Drops the series of Ingresses that are gone.
    pub(super) fn forget(&self, gone: &BTreeSet<ObjectName>) {
        for all in [&self.series, &self.written] {
            open(all).retain(|labels, _| !gone.contains(&labels.ingress));
        }
    }

    /// Drops the series that no route of `table` can add to.
    pub(super) fn prune(&self, table: &Table) {
        // Held by a route: the route is there.
        let idle = |labels: &Labels, series: &Arc<Series>| {
            Arc::strong_count(series) == 1 && !labels.ingress.name.is_empty()
        };
        for all in [&self.series, &self.written] {
            let is_idle = open(all)
                .iter()
                .any(|(labels, series)| idle(labels, series));
            if !is_idle {
                continue;
            }
            let known: BTreeSet<_> = table
                .routes()
                .map(|route| (&route.ingress, &*route.path, &*route.backend.service.name))
                .collect();
            open(all).retain(|labels, series| {
                let route = (&labels.ingress, &*labels.path, &*labels.service);
                !idle(labels, series) || known.contains(&route)
            });
        }
    }

    /// Adds what was counted here to `sums`.
    pub(super) fn add_to(&self, sums: &mut Sums) {
        for all in [&self.series, &self.written] {
            let all: Vec<_> = open(all)
                .iter()
                .map(|(labels, series)| (Arc::clone(labels), Arc::clone(series)))
                .collect();
            for (labels, series) in all {
                let sum = sums.entry(labels).or_insert_with(|| vec![0; series.len()]);
                for (sum, cell) in sum.iter_mut().zip(series.iter()) {
                    *sum += cell.get();
                }
            }
        }
    }
}

fn open(all: &Mutex<All>) -> MutexGuard<'_, All> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use k8s_openapi::api::networking::v1::Ingress;
    use l7_ingress_core::{Change, Settings};
    use serde_json::json;

    use super::*;
    use crate::tls;

    /// A table with one Ingress that has these paths.
    fn table(paths: &[&str]) -> Arc<Table> {
        let service = json!({ "name": "web", "port": { "number": 80 } });
        let paths: Vec<_> = paths
            .iter()
            .map(|path| json!({ "path": path, "pathType": "Exact", "backend": { "service": service } }))
            .collect();
        let object: Ingress = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": { "rules": [{ "host": "a.test", "http": { "paths": paths } }] },
        }))
        .unwrap();
        let ingress = l7_ingress_core::Ingress::read(&object);
        let change = Change::Ingress(ObjectName::new("default", "web"), Some(ingress));
        let settings = Settings {
            watch_without_class: true,
            ..Settings::default()
        };
        let certificate = tls::default_certificate(&tls::provider()).unwrap();
        l7_ingress_core::compile([change], settings, certificate, SystemTime::UNIX_EPOCH).0
    }

    fn count(requests: &Requests, table: &Table, path: &str) {
        let counted = Counted {
            route: table.find("a.test", path).map(|route| &**route),
            host: None,
            method: &Method::GET,
            status: 200,
            canary: false,
        };
        let sample = Sample {
            total: Duration::from_millis(7),
            response_bytes: 1000,
            ..Sample::default()
        };
        requests.count(&counted, &sample);
    }

    fn counts(requests: &Requests) -> Vec<(String, u64)> {
        let mut sums = BTreeMap::new();
        requests.add_to(&mut sums);
        let sums = sums.iter();
        sums.map(|(labels, cells)| (labels.path.to_string(), cells[0]))
            .collect()
    }

    fn requests() -> Requests {
        let bounds = Bounds {
            time: vec![0.005, 0.01],
            length: vec![999.0, 1000.0, 1001.0],
            size: Vec::new(),
        };
        let place = Place {
            worker: 0,
            workers: 1,
        };
        Requests::new(
            Arc::new(Layout::new(&bounds, (Hosts::Known, false), &[])),
            place,
        )
    }

    #[test]
    fn series_outlive_their_table_but_not_their_path() {
        let requests = requests();
        let both = table(&["/a", "/b"]);
        count(&requests, &both, "/a");
        count(&requests, &both, "/b");
        let one = table(&["/a"]);
        requests.prune(&one);
        let all = [("/a".to_owned(), 1), ("/b".to_owned(), 1)];
        assert_eq!(counts(&requests), all, "the old table is still in use");
        drop(both);
        requests.prune(&one);
        count(&requests, &one, "/a");
        assert_eq!(counts(&requests), [("/a".to_owned(), 2)]);
    }

    #[test]
    fn bounds_are_within_and_sums_are_exact() {
        let requests = requests();
        let table = table(&["/a"]);
        for _ in 0..3 {
            count(&requests, &table, "/a");
        }
        let mut sums = BTreeMap::new();
        requests.add_to(&mut sums);
        let cells = sums.into_values().next().unwrap();
        let of = |name: &str| {
            let mut all = requests.layout.histograms.iter();
            let own = all.find(|own| own.name == name).unwrap();
            cells[own.at..][..own.bounds.len() + 2].to_vec()
        };
        assert_eq!(of("request_duration_seconds"), [3, 21_000, 0, 3]);
        assert_eq!(of("response_size"), [3, 3000, 0, 3, 0]);
        assert_eq!(of("bytes_sent"), [3, 3000]);
        assert_eq!(
            of("connect_duration_seconds"),
            [0, 0, 0, 0],
            "there was no endpoint"
        );
    }
}

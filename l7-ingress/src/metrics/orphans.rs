//! Ingresses that lead nowhere, as the table says at a scrape.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use l7_ingress_core::{Resolution, Route, Table};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, Metric, MetricFamily, MetricType};

use super::{ConstantLabels, family, label_pairs};

const NAME: &str = "nginx_ingress_controller_orphan_ingress";
const HELP: &str = "Ingresses with a path that leads nowhere, by what is missing";

/// Tells which Ingresses have a path without a Service, or without an endpoint.
pub(crate) struct Orphans {
    table: Arc<ArcSwap<Table>>,
    constant: ConstantLabels,
    description: Desc,
}

impl Orphans {
    pub(crate) fn new(
        table: Arc<ArcSwap<Table>>,
        constant: ConstantLabels,
    ) -> Result<Self, prometheus::Error> {
        let labels = ["ingress", "namespace", "type"].map(str::to_owned);
        let own = constant.iter().cloned().collect();
        let description = Desc::new(NAME.to_owned(), HELP.to_owned(), labels.into(), own)?;
        Ok(Self {
            table,
            constant,
            description,
        })
    }
}

/// What a route lacks, in ingress-nginx's words.
fn lack(route: &Route) -> Option<&'static str> {
    let endpoints = route.backend.endpoints();
    match endpoints.resolution {
        Resolution::Missing => Some("no-service"),
        Resolution::Slices if endpoints.addresses.is_empty() => Some("no-endpoint"),
        _ => None,
    }
}

impl Collector for Orphans {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let table = self.table.load();
        let named = table
            .routes()
            .filter(|route| !route.ingress.name.is_empty());
        let orphans: BTreeSet<_> = named
            .filter_map(|route| Some((&route.ingress, lack(route)?)))
            .collect();
        if orphans.is_empty() {
            return Vec::new();
        }
        let metrics = orphans.into_iter().map(|(ingress, lack)| {
            let pairs = [
                ("ingress", &*ingress.name),
                ("namespace", &*ingress.namespace),
                ("type", lack),
            ];
            let mut metric = Metric::default();
            metric.set_label(label_pairs(&self.constant, pairs.into_iter()));
            let mut gauge = Gauge::default();
            gauge.set_value(1.0);
            metric.set_gauge(gauge);
            metric
        });
        vec![family(NAME, HELP, MetricType::GAUGE, metrics.collect())]
    }
}

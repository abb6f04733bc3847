//! What the mesh counts.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(super) nodes: IntGauge,
    pub(super) entries: IntGauge,
    pub(super) problems: IntGauge,
    pub(super) drift: IntCounter,
    pub(super) failures: IntCounter,
    pub(super) passes: Histogram,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let passes = HistogramOpts::new(
            "penstock_cni_mesh_pass_duration_seconds",
            "How long it took to list what the kernel holds for the mesh, and to make it right",
        );
        let buckets = vec![
            0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
        ];
        let metrics = Self {
            nodes: IntGauge::new(
                "penstock_cni_mesh_nodes",
                "Other nodes that the mesh leads to",
            )?,
            entries: IntGauge::new(
                "penstock_cni_mesh_entries",
                "Routes, neighbours and forwarding entries of the mesh",
            )?,
            problems: IntGauge::new(
                "penstock_cni_mesh_problems",
                "What is wrong with Nodes, so that the mesh leaves them out",
            )?,
            drift: IntCounter::new(
                "penstock_cni_mesh_drift_total",
                "Entries that were found changed though no Node had",
            )?,
            failures: IntCounter::new(
                "penstock_cni_mesh_failures_total",
                "Changes of the mesh that the kernel refused",
            )?,
            passes: Histogram::with_opts(passes.buckets(buckets))?,
        };
        for gauge in [&metrics.nodes, &metrics.entries, &metrics.problems] {
            registry.register(Box::new(gauge.clone()))?;
        }
        registry.register(Box::new(metrics.drift.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.passes.clone()))?;
        Ok(metrics)
    }
}

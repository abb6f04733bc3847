//! The metrics of this crate.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The metrics of this crate.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) watch_restarts: IntCounterVec,
    pub(crate) problems: IntGaugeVec,
    pub(crate) manifest_problems: IntGauge,
    pub(crate) events_dropped: IntCounter,
    pub(crate) leader: IntGaugeVec,
}

impl Metrics {
    /// Registers them for the component that `name` begins with: problems are a component's own.
    pub(crate) fn register(registry: &Registry, name: &str) -> prometheus::Result<Self> {
        let component = name
            .split_once('-')
            .map_or(name, |(component, _)| component);
        let metrics = Self {
            watch_restarts: IntCounterVec::new(
                Opts::new(
                    "penstock_watch_restarts_total",
                    "Watches of the Kubernetes API that had to be started again.",
                ),
                &["kind"],
            )?,
            problems: IntGaugeVec::new(
                Opts::new(
                    format!("penstock_{component}_problems"),
                    "What objects ask for and cannot be honoured.",
                ),
                &["kind", "reason"],
            )?,
            manifest_problems: IntGauge::new(
                "penstock_manifest_problems",
                "Documents of the manifest folder that are not in effect.",
            )?,
            events_dropped: IntCounter::new(
                "penstock_events_dropped_total",
                "Kubernetes Events that were not written.",
            )?,
            leader: IntGaugeVec::new(
                Opts::new("penstock_leader", "Whether this process holds the Lease."),
                &["name"],
            )?,
        };
        registry.register(Box::new(metrics.watch_restarts.clone()))?;
        registry.register(Box::new(metrics.problems.clone()))?;
        registry.register(Box::new(metrics.manifest_problems.clone()))?;
        registry.register(Box::new(metrics.events_dropped.clone()))?;
        registry.register(Box::new(metrics.leader.clone()))?;
        Ok(metrics)
    }
}

//! What the agent counts.

use std::time::Duration;

use cni_core::talk::Reply;
use prometheus::{HistogramOpts, HistogramVec, IntGauge, Registry};

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: HistogramVec,
    pub(crate) leases: IntGauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(
            "penstock_cni_request_duration_seconds",
            "How long the plugin's requests took, by command and error code",
        );
        let buckets = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];
        let requests = HistogramVec::new(options.buckets(buckets), &["command", "code"])?;
        let leases = IntGauge::new("penstock_cni_attachments", "Interfaces that have addresses")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(leases.clone()))?;
        Ok(Self { requests, leases })
    }

    pub(crate) fn answered(&self, command: &str, reply: &Reply, took: Duration) {
        // What comes from outside must not become a label unseen.
        let known = ["ADD", "DEL", "CHECK", "GC", "STATUS"];
        let command = known.iter().find(|known| **known == command);
        let code = match reply {
            Reply::Done(_) => 0,
            Reply::Refused(refusal) => refusal.code.into(),
        };
        self.requests
            .with_label_values(&[command.unwrap_or(&"other"), &code.to_string().as_str()])
            .observe(took.as_secs_f64());
    }
}

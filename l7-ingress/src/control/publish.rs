//! What the control loop tells Prometheus: the names of ingress-nginx, so that dashboards and alerts
//! keep working.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use daemon::Process;
use l7_ingress_core::CertificateInfo;
use model::ObjectName;
use prometheus::{Gauge, GaugeVec, IntCounter, Opts};

use crate::metrics::Metrics;
use crate::settings::RunArgs;

/// The control loop's metrics.
pub(super) struct Publisher {
    requests: Metrics,
    class: String,
    published: IntCounter,
    last_published: Gauge,
    generation: Gauge,
    expires: GaugeVec,
    certificates: GaugeVec,
}

impl Publisher {
    pub(super) fn new(
        process: &Process,
        args: &RunArgs,
        requests: Metrics,
    ) -> Result<Self, prometheus::Error> {
        let options = |name: &str, help: &str| {
            args.constant_labels().into_iter().fold(
                Opts::new(format!("nginx_ingress_controller_{name}"), help),
                |options, (name, value)| options.const_label(name, value),
            )
        };
        let successful = Gauge::with_opts(options(
            "config_last_reload_successful",
            "Whether the last table could be published; publishing cannot fail",
        ))?;
        successful.set(1.0);
        let this = Self {
            requests,
            class: args.ingress.ingress_class.clone(),
            published: IntCounter::with_opts(options("success", "Tables published"))?,
            last_published: Gauge::with_opts(options(
                "config_last_reload_successful_timestamp_seconds",
                "When the last table was published",
            ))?,
            generation: Gauge::with_opts(options(
                "config_hash",
                "A number that changes with each table",
            ))?,
            expires: GaugeVec::new(
                options(
                    "ssl_expire_time_seconds",
                    "When a certificate expires, since 1970",
                ),
                &["namespace", "class", "host", "secret_name", "identifier"],
            )?,
            certificates: GaugeVec::new(
                options("ssl_certificate_info", "Certificates in use"),
                &[
                    "namespace",
                    "class",
                    "host",
                    "secret_name",
                    "identifier",
                    "serial_number",
                ],
            )?,
        };
        let registry = process.registry();
        registry.register(Box::new(successful))?;
        registry.register(Box::new(this.published.clone()))?;
        registry.register(Box::new(this.last_published.clone()))?;
        registry.register(Box::new(this.generation.clone()))?;
        registry.register(Box::new(this.expires.clone()))?;
        registry.register(Box::new(this.certificates.clone()))?;
        Ok(this)
    }

    /// A table was published.
    pub(super) fn published(&self) {
        self.published.inc();
        self.generation.inc();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.last_published.set(now.as_secs_f64());
    }

    /// Other certificates are in use than before.
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since 1970 are exact in a double"
    )]
    pub(super) fn certificates(&self, certificates: impl Iterator<Item = CertificateInfo>) {
        self.expires.reset();
        self.certificates.reset();
        for certificate in certificates {
            let (namespace, name) = (&certificate.secret.namespace, &certificate.secret.name);
            let identifier = format!("{namespace}/{name}");
            let labels = [
                namespace,
                &*self.class,
                &*certificate.host,
                name,
                &*identifier,
            ];
            self.expires
                .with_label_values(&labels)
                .set(certificate.not_after as f64);
            let serial = &*certificate.serial;
            let labels = [
                labels[0], labels[1], labels[2], labels[3], labels[4], serial,
            ];
            self.certificates.with_label_values(&labels).set(1.0);
        }
    }

    /// These Ingresses are gone, and what was counted for them.
    pub(super) fn forget(&self, gone: &BTreeSet<ObjectName>) {
        self.requests.forget(gone);
    }
}

//! What the control loop tells Prometheus: the names of ingress-nginx, so that dashboards and alerts
//! keep working.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use daemon::Process;
use l7_ingress_core::{CertificateInfo, Table};
use model::ObjectName;
use prometheus::{Gauge, GaugeVec, IntCounter, IntGauge, Opts};

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
    leads: IntGauge,
}

impl Publisher {
    pub(super) fn new(
        process: &Process,
        args: &RunArgs,
        requests: Metrics,
    ) -> Result<Self, prometheus::Error> {
        let options = |name: &str, help: &str| {
            args.constant_labels().iter().fold(
                Opts::new(format!("nginx_ingress_controller_{name}"), help),
                |options, (name, value)| options.const_label(name, value),
            )
        };
        let successful = Gauge::with_opts(options(
            "config_last_reload_successful",
            "Whether the last table could be published; publishing cannot fail",
        ))?;
        successful.set(1.0);
        let errors = IntCounter::with_opts(options(
            "errors",
            "Tables that could not be published, of which there are none",
        ))?;
        let build = options("build_info", "What this is")
            .const_label("release", env!("CARGO_PKG_VERSION"))
            .const_label("build", env!("CARGO_PKG_VERSION"))
            .const_label("repository", env!("CARGO_PKG_NAME"));
        let build = IntGauge::with_opts(build)?;
        build.set(1);
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
                    "issuer_organization",
                    "issuer_common_name",
                    "serial_number",
                    "public_key_algorithm",
                ],
            )?,
            leads: IntGauge::with_opts(
                options(
                    "leader_election_status",
                    "Whether this process holds the Lease",
                )
                .const_label("name", &args.status.election_id),
            )?,
        };
        let registry = process.registry();
        registry.register(Box::new(successful))?;
        registry.register(Box::new(errors))?;
        registry.register(Box::new(build))?;
        registry.register(Box::new(this.leads.clone()))?;
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
            let identity = &*certificate.identity;
            let identifier = &*identity.identifier;
            let labels = [
                namespace,
                &*self.class,
                &*certificate.host,
                name,
                identifier,
            ];
            self.expires
                .with_label_values(&labels)
                .set(certificate.not_after as f64);
            let made = [
                &*identity.issuer_organization,
                &*identity.issuer_common_name,
                &*identity.serial,
                identity.key_algorithm,
            ];
            let labels = [&labels[..], &made[..]].concat();
            self.certificates.with_label_values(&labels).set(1.0);
        }
    }

    /// Whether this process holds the Lease.
    pub(super) fn leads(&self, leads: bool) {
        self.leads.set(leads.into());
    }

    /// Drops what was counted for paths that `table` has not.
    pub(super) fn prune(&self, table: &Table) {
        self.requests.prune(table);
    }

    /// These Ingresses are gone, and what was counted for them.
    pub(super) fn forget(&self, gone: &BTreeSet<ObjectName>) {
        self.requests.forget(gone);
    }
}

//! The addresses that Ingresses say they are reached at.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::{Change, Cluster, Leader, LeaseTimes, Selection, StatusReport, StatusWriter};
use daemon::Process;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use l7_ingress_core::Compiler;
use model::ObjectName;
use serde_json::{Value, json};

use crate::settings::{ArgumentError, StatusArgs};

/// Writes `status.loadBalancer` of the Ingresses that are served, while this process holds the
/// Lease.
pub(super) struct Status {
    wanted: Option<Wanted>,
    seen: BTreeMap<ObjectName, Arc<Value>>,
}

struct Wanted {
    leader: Leader,
    writer: StatusWriter,
    addresses: Addresses,
    want: Arc<Value>,
}

/// Where the addresses come from.
enum Addresses {
    Fixed,
    Service(cluster::Changes<Value>),
}

impl Status {
    pub(super) fn start(
        args: &StatusArgs,
        cluster: &Cluster,
        process: &Process,
    ) -> Result<Self, ArgumentError> {
        let (addresses, want) = match args.published_service()? {
            Some(service) => {
                let selection = Selection {
                    namespace: Some(service.namespace.to_string()),
                    fields: Some(format!("metadata.name={}", service.name)),
                    ..Selection::default()
                };
                let changes = cluster.watch(selection, |object: Service| of_service(&object));
                (Addresses::Service(changes), json!(null))
            }
            None if args.publish_status_address.is_empty() => {
                return Ok(Self {
                    wanted: None,
                    seen: BTreeMap::new(),
                });
            }
            None => (
                Addresses::Fixed,
                ingress_status(&args.publish_status_address),
            ),
        };
        let identity = format!("{}-{:08x}", host_name(), fastrand::u32(..));
        let leader = cluster.leader(&args.election_id, &identity, LeaseTimes::default());
        let writer = cluster.status_writer::<Ingress>();
        tracing::debug!(
            "{} writes the status of Ingresses as {identity}",
            process.name()
        );
        let wanted = Wanted {
            leader,
            writer,
            addresses,
            want: Arc::new(want),
        };
        Ok(Self {
            wanted: Some(wanted),
            seen: BTreeMap::new(),
        })
    }

    /// Whether anything is written at all.
    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether this process is the one that writes.
    pub(super) fn is_leader(&self) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_some_and(|wanted| wanted.leader.is_leader())
    }

    /// An Ingress was seen with this status; with `None` it is gone, or has none.
    pub(super) fn seen(&mut self, name: ObjectName, status: Option<Arc<Value>>) {
        if self.wanted.is_some() {
            match status {
                Some(status) => self.seen.insert(name, status),
                None => self.seen.remove(&name),
            };
        }
    }

    /// Ends when there is something to report: the Lease or the addresses have changed.
    pub(super) async fn changed(&mut self) {
        let Some(wanted) = &mut self.wanted else {
            return std::future::pending().await;
        };
        let Addresses::Service(changes) = &mut wanted.addresses else {
            wanted.leader.changed().await;
            return;
        };
        tokio::select! {
            _ = wanted.leader.changed() => {}
            change = changes.next() => match change {
                Some(Change::Set(_, want)) => wanted.want = Arc::new(want),
                Some(Change::Removed(_)) => wanted.want = Arc::new(json!(null)),
                Some(Change::Synced | Change::Malformed(..)) | None => {}
            },
        }
    }

    /// Has the status written where it is not what it should be.
    pub(super) fn report(&self, compiler: &Compiler) {
        let Some(wanted) = &self.wanted else { return };
        let reports = if wanted.leader.is_leader() && !wanted.want.is_null() {
            let none = Arc::new(Value::Null);
            let report = |name: &ObjectName| {
                let seen = Arc::clone(self.seen.get(name).unwrap_or(&none));
                (
                    name.clone(),
                    StatusReport {
                        seen,
                        want: Arc::clone(&wanted.want),
                    },
                )
            };
            compiler.owned_ingresses().map(report).collect()
        } else {
            BTreeMap::new()
        };
        wanted.writer.report(reports);
    }
}

/// The status that an Ingress has.
pub(super) fn of(object: &Ingress) -> Option<Arc<Value>> {
    let status = serde_json::to_value(object.status.as_ref()?).ok()?;
    Some(Arc::new(status))
}

/// `loadBalancer.ingress` with these addresses or names.
fn ingress_status<T: AsRef<str>>(addresses: &[T]) -> Value {
    let entries: Vec<Value> = addresses
        .iter()
        .map(AsRef::as_ref)
        .map(|address| match address.parse::<IpAddr>() {
            Ok(_) => json!({ "ip": address }),
            Err(_) => json!({ "hostname": address }),
        })
        .collect();
    json!({ "loadBalancer": { "ingress": entries } })
}

/// The addresses of a Service, by its type, as ingress-nginx publishes them.
fn of_service(object: &Service) -> Value {
    let spec = object.spec.clone().unwrap_or_default();
    let mut addresses: Vec<String> = match spec.type_.as_deref() {
        Some("ExternalName") => spec.external_name.into_iter().collect(),
        Some("LoadBalancer") => {
            let balancer = object
                .status
                .as_ref()
                .and_then(|status| status.load_balancer.as_ref());
            let entries = balancer.and_then(|balancer| balancer.ingress.clone());
            let address = |entry: k8s_openapi::api::core::v1::LoadBalancerIngress| {
                entry.ip.or(entry.hostname)
            };
            entries
                .unwrap_or_default()
                .into_iter()
                .filter_map(address)
                .collect()
        }
        _ if spec
            .external_ips
            .as_ref()
            .is_some_and(|ips| !ips.is_empty()) =>
        {
            Vec::new()
        }
        _ => spec
            .cluster_ip
            .into_iter()
            .filter(|ip| ip != "None")
            .collect(),
    };
    addresses.extend(spec.external_ips.unwrap_or_default());
    addresses.sort_unstable();
    addresses.dedup();
    ingress_status(&addresses)
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(service: &Value, expect: &Value) {
        let service: Service = serde_json::from_value(service.clone()).unwrap();
        assert_eq!(of_service(&service)["loadBalancer"]["ingress"], *expect);
    }

    #[test]
    fn a_service_is_reached_at_what_its_type_says() {
        check(
            &json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1"}}),
            &json!([{"ip": "10.0.0.1"}]),
        );
        check(&json!({"spec": {"clusterIP": "None"}}), &json!([]));
        check(
            &json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "externalIPs": ["192.0.2.1"]}}),
            &json!([{"ip": "192.0.2.1"}]),
        );
        check(
            &json!({
                "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "externalIPs": ["192.0.2.9"]},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.test"}]}},
            }),
            &json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.9"}, {"hostname": "lb.test"}]),
        );
        check(
            &json!({"spec": {"type": "ExternalName", "externalName": "a.test"}}),
            &json!([{"hostname": "a.test"}]),
        );
    }
}

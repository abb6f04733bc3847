//! Writes `status` once per change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daemon::{Process, error_chain};
use futures_util::stream::{self, StreamExt as _};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, Resource};
use model::ObjectName;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::backoff::Backoff;

/// What an object's status is and what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusReport {
    /// The status as the object was last seen; `Null` when it had none.
    pub seen: Arc<Value>,
    /// What is to be merged into it (RFC 7396).
    pub want: Arc<Value>,
}

/// Writes the status of the objects of one kind.
///
/// It is given all objects that it is responsible for on each change, and writes where the status
/// is not what it should be: once, not again until the object is seen to have changed.
#[derive(Clone, Debug)]
pub struct StatusWriter(watch::Sender<Reports>);

type Reports = Arc<BTreeMap<ObjectName, StatusReport>>;

impl StatusWriter {
    pub(crate) fn start<K: Resource<DynamicType = ()>>(client: Client, process: &Process) -> Self {
        let sender = watch::Sender::new(Reports::default());
        let writer = Writer {
            client,
            resource: ApiResource::erase::<K>(&()),
            manager: process.name().to_owned(),
            written: BTreeMap::new(),
        };
        process
            .tasks()
            .spawn("status", writer.run(sender.subscribe()));
        Self(sender)
    }

    /// Replaces what is to be written: all objects that this process is responsible for now. None,
    /// when another one is.
    pub fn report(&self, reports: BTreeMap<ObjectName, StatusReport>) {
        self.0.send_if_modified(|known| {
            let changed = **known != reports;
            if changed {
                *known = Arc::new(reports);
            }
            changed
        });
    }
}

struct Writer {
    client: Client,
    resource: ApiResource,
    manager: String,
    /// What was written and not yet seen.
    written: BTreeMap<ObjectName, StatusReport>,
}

impl Writer {
    async fn run(mut self, mut reports: watch::Receiver<Reports>) {
        let mut backoff = Backoff::new();
        loop {
            let now = Arc::clone(&reports.borrow_and_update());
            let failed = self.write(&now).await;
            let retry = async {
                if failed {
                    tokio::time::sleep(backoff.next()).await;
                } else {
                    backoff.reset();
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                changed = reports.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = retry => {}
            }
        }
    }

    /// Whether something has to be tried again.
    async fn write(&mut self, reports: &BTreeMap<ObjectName, StatusReport>) -> bool {
        self.written
            .retain(|name, written| reports.get(name) == Some(written));
        // Owned: futures over borrowed pairs are not general enough to be spawned.
        let due: Vec<(ObjectName, StatusReport)> = reports
            .iter()
            .filter(|(name, report)| {
                !says(&report.seen, &report.want) && !self.written.contains_key(*name)
            })
            .map(|(name, report)| (name.clone(), report.clone()))
            .collect();
        let patches = due.into_iter().map(|(name, report)| {
            let patch = self.patch(name.clone(), Arc::clone(&report.want));
            async move { (name, report, patch.await) }
        });
        let outcomes: Vec<_> = stream::iter(patches)
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let mut failures = 0_usize;
        for (name, report, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    self.written.insert(name, report);
                }
                Err(error) => {
                    if failures == 0 {
                        let error = error_chain(&error);
                        let kind = &self.resource.kind;
                        tracing::warn!("cannot write the status of {kind} {name}: {error}");
                    }
                    failures += 1;
                }
            }
        }
        failures > 0
    }

    fn patch(
        &self,
        name: ObjectName,
        want: Arc<Value>,
    ) -> impl Future<Output = Result<(), PatchError>> + use<> {
        let client = self.client.clone();
        let api: Api<DynamicObject> = if name.namespace.is_empty() {
            Api::all_with(client, &self.resource)
        } else {
            Api::namespaced_with(client, &name.namespace, &self.resource)
        };
        let parameters = PatchParams {
            field_manager: Some(self.manager.clone()),
            ..PatchParams::default()
        };
        async move {
            let patch = Patch::Merge(json!({ "status": *want }));
            let answer = api.patch_status(&name.name, &parameters, &patch);
            match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
                Ok(Ok(_)) => Ok(()),
                // Gone meanwhile; the watch will say so.
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(PatchError::Silent),
            }
        }
    }
}

/// Why a status is not written.
#[derive(Debug, thiserror::Error)]
enum PatchError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    Silent,
}

/// Whether merging `want` into `seen` would change nothing.
fn says(seen: &Value, want: &Value) -> bool {
    match (seen, want) {
        (Value::Object(seen), Value::Object(want)) => want
            .iter()
            .all(|(key, want)| says(seen.get(key).unwrap_or(&Value::Null), want)),
        // An empty object merged into nothing is an empty object, which says no more.
        (Value::Null, Value::Object(want)) => want.values().all(|want| says(&Value::Null, want)),
        _ => seen == want,
    }
}

const CONCURRENCY: usize = 8;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_a_patch_would_make_it_say() {
        let check = |seen: Value, want: Value, answer: bool| {
            assert_eq!(says(&seen, &want), answer, "{seen} {want}");
        };
        let one = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}});
        let none = json!({"loadBalancer": {"ingress": null}});
        check(one.clone(), one.clone(), true);
        check(Value::Null, one.clone(), false);
        check(one.clone(), none.clone(), false);
        check(Value::Null, none.clone(), true);
        check(json!({"loadBalancer": {}}), none, true);
        let more = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}, "conditions": []});
        check(more.clone(), one.clone(), true);
        check(one, more, false);
    }
}

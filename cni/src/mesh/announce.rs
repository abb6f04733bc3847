//! Tells the others how to reach this node, by its object's annotations.

use std::collections::BTreeMap;
use std::time::Duration;

use daemon::error_chain;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time;

/// What is to be changed in the object; nothing once it is seen so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Announcement {
    /// To a value, or to none.
    pub(super) annotations: BTreeMap<String, Option<String>>,
    /// The object does not say that its network works.
    pub(super) is_up: bool,
}

impl Announcement {
    fn patch(&self) -> Value {
        let mut patch = json!({});
        if !self.annotations.is_empty() {
            patch["metadata"]["annotations"] = json!(self.annotations);
        }
        if self.is_up {
            let now = jiff::Timestamp::now().round(jiff::Unit::Second);
            let now = now.map(|now| now.to_string()).unwrap_or_default();
            patch["status"]["conditions"] = json!([{
                "type": "NetworkUnavailable",
                "status": "False",
                "reason": "PenstockIsUp",
                "message": "the mesh leads to other nodes",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }]);
        }
        patch
    }
}

/// Writes what is to be told, one write at a time and not faster than anybody can follow: another program
/// may think that the annotations are its own.
pub(super) async fn run(
    client: Client,
    name: String,
    mut announcements: watch::Receiver<Announcement>,
) {
    let nodes: Api<Node> = Api::all(client);
    let parameters = PatchParams::default();
    let mut pause = SHORTEST;
    while announcements.changed().await.is_ok() {
        loop {
            let announcement = announcements.borrow_and_update().clone();
            if announcement == Announcement::default() {
                break;
            }
            let patch = Patch::Strategic(announcement.patch());
            // By the status alone, annotations too: more than that a node agent need not be allowed.
            let write = nodes.patch_status(&name, &parameters, &patch);
            let failed = match time::timeout(PATIENCE, write).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error_chain(&error)),
                Err(_) => Some("no answer".to_owned()),
            };
            pause = match failed.is_some() {
                true => (pause * 2).min(LONGEST),
                false => SHORTEST,
            };
            if let Some(error) = &failed {
                tracing::warn!("telling others of this node, again in {pause:?}: {error}");
            }
            time::sleep(pause).await;
            if failed.is_none() {
                break;
            }
        }
    }
}

/// A connection whose end was an address that this node had is dead, and nobody says so.
const PATIENCE: Duration = Duration::from_secs(3);
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

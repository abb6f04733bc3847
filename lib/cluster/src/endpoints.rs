//! Makes EndpointSlices from an annotation, for Services whose endpoints no controller looks after.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use apiserver::{ApiServer, ObjectId};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use model::{Kind, ObjectName, ObjectRef, Problem, Severity};
use serde_json::{Value, json};

use crate::problems::Problems;
use crate::watch::{Change, Changes};

/// The annotation of a Service that names its endpoints, as in `127.0.0.1:8081,[::1]:8081`.
///
/// All ports of the Service lead to them. It is heeded only where the cluster is a manifest folder.
pub const ENDPOINTS_ANNOTATION: &str = "penstock.dev/endpoints";

/// What is needed of a Service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Annotated {
    /// The annotation's value.
    addresses: Option<String>,
    /// The Service's ports: name, protocol, application protocol.
    ports: Vec<(Option<String>, Option<String>, Option<String>)>,
}

impl Annotated {
    pub(crate) fn read(service: Service) -> Self {
        let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
        Self {
            addresses: service
                .metadata
                .annotations
                .and_then(|mut annotations| annotations.remove(ENDPOINTS_ANNOTATION)),
            ports: ports
                .into_iter()
                .map(|port| (port.name, port.protocol, port.app_protocol))
                .collect(),
        }
    }
}

/// Keeps the slices of annotated Services.
pub(crate) struct Maker {
    api: ApiServer,
    changes: Changes<Annotated>,
    /// The slices that were made for each Service.
    made: BTreeMap<ObjectName, BTreeSet<String>>,
    problems: BTreeMap<ObjectName, Problem>,
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker")
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl Maker {
    pub(crate) fn new(api: ApiServer, changes: Changes<Annotated>) -> Self {
        Self {
            api,
            changes,
            made: BTreeMap::new(),
            problems: BTreeMap::new(),
        }
    }

    /// Makes the slices of the Services that exist.
    pub(crate) async fn sync(&mut self) {
        while let Some(change) = self.changes.next().await {
            if change == Change::Synced {
                return;
            }
            self.take(change);
        }
    }

    /// Follows the Services for as long as the process lives.
    pub(crate) async fn run(mut self, problems: Problems) {
        problems.report(SOURCE, self.problems());
        while let Some(change) = self.changes.next().await {
            self.take(change);
            problems.report(SOURCE, self.problems());
        }
    }

    /// The annotations that cannot be heeded.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.problems.values().cloned().collect()
    }

    fn take(&mut self, change: Change<Annotated>) {
        match change {
            Change::Set(name, service) => self.set(&name, &service),
            Change::Removed(name) => {
                self.problems.remove(&name);
                self.make(&name, Vec::new());
            }
            // What was made of its last good version stays.
            Change::Malformed(..) | Change::Synced => {}
        }
    }

    fn set(&mut self, name: &ObjectName, service: &Annotated) {
        let addresses = match &service.addresses {
            Some(text) => parse(text),
            None => Ok(Vec::new()),
        };
        match addresses {
            Ok(addresses) => {
                self.problems.remove(name);
                self.make(name, slices(name, service, &addresses));
            }
            Err(message) => {
                self.problems.insert(name.clone(), problem(name, message));
            }
        }
    }

    /// Makes these slices and removes the others that were made for the Service.
    fn make(&mut self, name: &ObjectName, slices: Vec<(String, Value)>) {
        let mut now = BTreeSet::new();
        for (slice, object) in slices {
            if let Err(status) = self.api.apply(MANAGER, object) {
                let message = format!("the EndpointSlice {slice} is refused: {status}");
                self.problems.insert(name.clone(), problem(name, message));
            }
            now.insert(slice);
        }
        let before = match now.is_empty() {
            true => self.made.remove(name),
            false => self.made.insert(name.clone(), now.clone()),
        };
        for gone in before.unwrap_or_default().difference(&now) {
            let id = ObjectId {
                api_version: Kind::EndpointSlice.api_version().to_owned(),
                kind: Kind::EndpointSlice.as_str().to_owned(),
                namespace: name.namespace.to_string(),
                name: gone.clone(),
            };
            if let Err(status) = self.api.delete(&id) {
                tracing::warn!(
                    "cannot remove EndpointSlice {}/{gone}: {status}",
                    name.namespace
                );
            }
        }
    }
}

/// The addresses that the annotation names.
fn parse(text: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    addresses
        .map(|address| match address.parse::<SocketAddr>() {
            Ok(parsed) if parsed.port() > 0 => Ok(parsed),
            _ => Err(format!(
                "`{address}` is not ADDRESS:PORT, as in 127.0.0.1:8081 or [::1]:8081"
            )),
        })
        .collect()
}

/// The slices that name these endpoints, in the order in which they are to be written.
///
/// A slice holds one family and one number for each port, so there is one for each pair. The first
/// address's is `<service>-penstock`; it is written last, so that an address that moves to it from
/// another slice is not missing for a moment.
fn slices(
    name: &ObjectName,
    service: &Annotated,
    addresses: &[SocketAddr],
) -> Vec<(String, Value)> {
    let Some(first) = addresses.first() else {
        return Vec::new();
    };
    let group = |address: &SocketAddr| (address.is_ipv6(), address.port());
    let mut groups: BTreeMap<(bool, u16), BTreeSet<SocketAddr>> = BTreeMap::new();
    for address in addresses {
        groups.entry(group(address)).or_default().insert(*address);
    }
    let mut slices: Vec<(String, Value)> = groups
        .iter()
        .map(|(key, addresses)| {
            let (ipv6, port) = *key;
            let family = if ipv6 { "ipv6-" } else { "" };
            let slice = match *key == group(first) {
                true => format!("{}-penstock", name.name),
                false => format!("{}-penstock-{family}{port}", name.name),
            };
            let object = slice_object(name, service, &slice, *key, addresses);
            (slice, object)
        })
        .collect();
    slices.sort_by_key(|(slice, _)| slice.len() == name.name.len() + "-penstock".len());
    slices
}

fn slice_object(
    name: &ObjectName,
    service: &Annotated,
    slice: &str,
    (ipv6, port): (bool, u16),
    addresses: &BTreeSet<SocketAddr>,
) -> Value {
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|(name, protocol, app_protocol)| {
            let mut object = json!({
                "name": name.as_deref().unwrap_or_default(),
                "port": port,
                "protocol": protocol.as_deref().unwrap_or("TCP"),
            });
            if let Some(app_protocol) = app_protocol {
                object["appProtocol"] = json!(app_protocol);
            }
            object
        })
        .collect();
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({ "addresses": [address.ip()], "conditions": { "ready": true } }))
        .collect();
    json!({
        "apiVersion": Kind::EndpointSlice.api_version(),
        "kind": Kind::EndpointSlice.as_str(),
        "metadata": {
            "name": slice,
            "namespace": &*name.namespace,
            "labels": {
                model::EndpointSlice::SERVICE_LABEL: &*name.name,
                "endpointslice.kubernetes.io/managed-by": MANAGER,
            },
        },
        "addressType": if ipv6 { "IPv6" } else { "IPv4" },
        "ports": ports,
        "endpoints": endpoints,
    })
}

fn problem(name: &ObjectName, message: String) -> Problem {
    Problem {
        object: ObjectRef::new(Kind::Service, name.clone()),
        field: format!("metadata.annotations[{ENDPOINTS_ANNOTATION}]"),
        reason: "InvalidEndpoints",
        message: format!("{message}; the endpoints stay as they were"),
        severity: Severity::Error,
    }
}

const SOURCE: &str = "endpoints annotation";
/// The controller that the slices name, and whose word the API takes them for.
const MANAGER: &str = "penstock.dev";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let check = |text: &str, want: Result<&[&str], &str>| {
            let got = parse(text).map(|addresses| {
                addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            });
            match want {
                Ok(want) => assert_eq!(
                    got.as_deref(),
                    Ok(want
                        .iter()
                        .map(|it| (*it).to_owned())
                        .collect::<Vec<_>>()
                        .as_slice()),
                    "{text}"
                ),
                Err(part) => assert!(
                    got.as_ref().is_err_and(|it| it.contains(part)),
                    "{text}: {got:?}"
                ),
            }
        };
        check("", Ok(&[]));
        check("127.0.0.1:8081", Ok(&["127.0.0.1:8081"]));
        check(
            " 127.0.0.1:8081 ,[::1]:80, ",
            Ok(&["127.0.0.1:8081", "[::1]:80"]),
        );
        check("127.0.0.1:8081,localhost:80", Err("`localhost:80`"));
        check("127.0.0.1", Err("`127.0.0.1`"));
        check("127.0.0.1:0", Err("`127.0.0.1:0`"));
        check("127.0.0.1:70000", Err("`127.0.0.1:70000`"));
    }

    #[test]
    fn there_is_a_slice_for_each_family_and_port() {
        let service = Annotated {
            addresses: None,
            ports: vec![(Some("http".to_owned()), None, None)],
        };
        let addresses = parse("127.0.0.1:8081,127.0.0.2:8081,127.0.0.1:8082,[::1]:8081").unwrap();
        let made = slices(&ObjectName::new("shop", "web"), &service, &addresses);
        let named: Vec<(&str, usize)> = made
            .iter()
            .map(|(name, object)| (&**name, object["endpoints"].as_array().unwrap().len()))
            .collect();
        assert_eq!(
            named,
            [
                ("web-penstock-8082", 1),
                ("web-penstock-ipv6-8081", 1),
                ("web-penstock", 2)
            ]
        );
        let read: k8s_openapi::api::discovery::v1::EndpointSlice =
            serde_json::from_value(made[1].1.clone()).unwrap();
        let read = model::EndpointSlice::read(&read).unwrap();
        assert_eq!(read.service, ObjectName::new("shop", "web"));
        assert_eq!((&*read.ports[0].name, read.ports[0].number), ("http", 8081));
        assert_eq!(read.endpoints[0].ip.to_string(), "::1");
    }
}

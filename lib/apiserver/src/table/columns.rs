//! The columns of built-in types, as the API server's own printers have them.

use jiff::Timestamp;
use serde_json::Value;

use super::age;
use crate::object::metadata_text;

/// One column.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    /// Printed with `-o wide` only.
    pub(super) wide: bool,
    pub(super) cell: fn(&Value, Timestamp) -> Value,
}

/// The columns of a resource; name and age if there is nothing to add.
pub(super) fn of(plural: &str) -> &'static [Column] {
    match plural {
        "configmaps" => CONFIG_MAPS,
        "customresourcedefinitions" => DEFINITIONS,
        "daemonsets" => DAEMON_SETS,
        "deployments" => DEPLOYMENTS,
        "endpoints" => ENDPOINTS,
        "endpointslices" => ENDPOINT_SLICES,
        "events" => EVENTS,
        "ingressclasses" => INGRESS_CLASSES,
        "ingresses" => INGRESSES,
        "leases" => LEASES,
        "namespaces" => NAMESPACES,
        "networkpolicies" => NETWORK_POLICIES,
        "nodes" => NODES,
        "pods" => PODS,
        "secrets" => SECRETS,
        "serviceaccounts" => SERVICE_ACCOUNTS,
        "services" => SERVICES,
        _ => const { &[NAME, AGE] },
    }
}

const fn column(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        name,
        kind: "string",
        wide: false,
        cell,
    }
}

const fn wide(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        name,
        kind: "string",
        wide: true,
        cell,
    }
}

const NAME: Column = column("Name", |it, _| metadata_text(it, "name").into());
const AGE: Column = column("Age", |it, now| {
    age(metadata_text(it, "creationTimestamp"), now).into()
});

const CONFIG_MAPS: &[Column] = &[NAME, column("Data", data_count), AGE];

const DEFINITIONS: &[Column] = &[
    NAME,
    column("Created At", |it, _| {
        metadata_text(it, "creationTimestamp").into()
    }),
];

const ENDPOINTS: &[Column] = &[NAME, column("Endpoints", |it, _| endpoints(it).into()), AGE];

const INGRESS_CLASSES: &[Column] = &[
    NAME,
    column("Controller", |it, _| it["spec"]["controller"].clone()),
    column("Parameters", |it, _| {
        class_parameters(&it["spec"]["parameters"]).into()
    }),
    AGE,
];

const LEASES: &[Column] = &[
    NAME,
    column("Holder", |it, _| it["spec"]["holderIdentity"].clone()),
    AGE,
];

const NAMESPACES: &[Column] = &[
    NAME,
    column("Status", |it, _| it["status"]["phase"].clone()),
    AGE,
];

const NETWORK_POLICIES: &[Column] = &[
    NAME,
    column("Pod-Selector", |it, _| {
        selector(&it["spec"]["podSelector"]["matchLabels"])
    }),
    AGE,
];

const SECRETS: &[Column] = &[
    NAME,
    column("Type", |it, _| it["type"].clone()),
    column("Data", data_count),
    AGE,
];

const SERVICE_ACCOUNTS: &[Column] = &[
    NAME,
    column("Secrets", |it, _| items(&it["secrets"]).len().into()),
    AGE,
];

const INGRESSES: &[Column] = &[
    NAME,
    column("Class", |it, _| {
        or_none(
            it["spec"]["ingressClassName"]
                .as_str()
                .or_else(|| it["metadata"]["annotations"]["kubernetes.io/ingress.class"].as_str()),
        )
    }),
    column("Hosts", |it, _| hosts(&it["spec"]["rules"]).into()),
    column("Address", |it, _| {
        addresses(&it["status"]["loadBalancer"]["ingress"]).into()
    }),
    column("Ports", |it, _| match items(&it["spec"]["tls"]) {
        [] => "80".into(),
        _ => "80, 443".into(),
    }),
    AGE,
];

const SERVICES: &[Column] = &[
    NAME,
    column("Type", |it, _| it["spec"]["type"].clone()),
    column("Cluster-IP", |it, _| {
        or_none(it["spec"]["clusterIP"].as_str())
    }),
    column("External-IP", |it, _| external_ip(it).into()),
    column("Port(s)", |it, _| {
        service_ports(&it["spec"]["ports"]).into()
    }),
    AGE,
    wide("Selector", |it, _| selector(&it["spec"]["selector"])),
];

const ENDPOINT_SLICES: &[Column] = &[
    NAME,
    column("AddressType", |it, _| it["addressType"].clone()),
    column("Ports", |it, _| {
        let ports = items(&it["ports"]).iter().map(|it| text(&it["port"]));
        unset_if_empty(&limited(ports, 3, ",")).into()
    }),
    column("Endpoints", |it, _| {
        let all = items(&it["endpoints"])
            .iter()
            .flat_map(|it| items(&it["addresses"]))
            .map(text);
        unset_if_empty(&limited(all, 3, ",")).into()
    }),
    AGE,
];

const PODS: &[Column] = &[
    NAME,
    column("Ready", |it, _| {
        let statuses = items(&it["status"]["containerStatuses"]);
        let ready = statuses.iter().filter(|it| it["ready"] == true).count();
        format!("{ready}/{}", items(&it["spec"]["containers"]).len()).into()
    }),
    column("Status", |it, _| {
        match (
            metadata_text(it, "deletionTimestamp"),
            it["status"]["reason"].as_str(),
        ) {
            ("", Some(reason)) => reason.into(),
            ("", None) => it["status"]["phase"].clone(),
            _ => "Terminating".into(),
        }
    }),
    column("Restarts", |it, _| {
        let statuses = items(&it["status"]["containerStatuses"]);
        let restarts = statuses.iter().filter_map(|it| it["restartCount"].as_i64());
        restarts.sum::<i64>().to_string().into()
    }),
    AGE,
    wide("IP", |it, _| or_none(it["status"]["podIP"].as_str())),
    wide("Node", |it, _| or_none(it["spec"]["nodeName"].as_str())),
    wide("Nominated Node", |it, _| {
        or_none(it["status"]["nominatedNodeName"].as_str())
    }),
    wide("Readiness Gates", |_, _| "<none>".into()),
];

const NODES: &[Column] = &[
    NAME,
    column("Status", |it, _| node_status(it).into()),
    column("Roles", |it, _| node_roles(it).into()),
    AGE,
    column("Version", |it, _| {
        it["status"]["nodeInfo"]["kubeletVersion"].clone()
    }),
    wide("Internal-IP", |it, _| node_address(it, "InternalIP")),
    wide("External-IP", |it, _| node_address(it, "ExternalIP")),
    wide("OS-Image", |it, _| {
        or_unknown(&it["status"]["nodeInfo"]["osImage"])
    }),
    wide("Kernel-Version", |it, _| {
        or_unknown(&it["status"]["nodeInfo"]["kernelVersion"])
    }),
    wide("Container-Runtime", |it, _| {
        or_unknown(&it["status"]["nodeInfo"]["containerRuntimeVersion"])
    }),
];

const EVENTS: &[Column] = &[
    column("Last Seen", |it, now| {
        let times = [
            "lastTimestamp",
            "deprecatedLastTimestamp",
            "eventTime",
            "firstTimestamp",
        ];
        let time = times.iter().find_map(|member| it[*member].as_str());
        age(
            time.unwrap_or_else(|| metadata_text(it, "creationTimestamp")),
            now,
        )
        .into()
    }),
    column("Type", |it, _| it["type"].clone()),
    column("Reason", |it, _| it["reason"].clone()),
    column("Object", |it, _| {
        let about = if it["regarding"].is_object() {
            &it["regarding"]
        } else {
            &it["involvedObject"]
        };
        format!(
            "{}/{}",
            text(&about["kind"]).to_lowercase(),
            text(&about["name"])
        )
        .into()
    }),
    wide("Source", |it, _| {
        let named = it["source"]["component"].as_str();
        named
            .or_else(|| it["reportingComponent"].as_str())
            .unwrap_or_default()
            .into()
    }),
    column("Message", |it, _| {
        it["message"]
            .as_str()
            .or_else(|| it["note"].as_str())
            .unwrap_or_default()
            .trim()
            .into()
    }),
    wide("Count", |it, _| it["count"].as_i64().unwrap_or(1).into()),
    wide("Name", |it, _| metadata_text(it, "name").into()),
];

const DEPLOYMENTS: &[Column] = &[
    NAME,
    column("Ready", |it, _| {
        let wanted = it["spec"]["replicas"].as_i64().unwrap_or(1);
        format!("{}/{wanted}", count(&it["status"]["readyReplicas"])).into()
    }),
    column("Up-to-date", |it, _| {
        count(&it["status"]["updatedReplicas"]).into()
    }),
    column("Available", |it, _| {
        count(&it["status"]["availableReplicas"]).into()
    }),
    AGE,
];

const DAEMON_SETS: &[Column] = &[
    NAME,
    column("Desired", |it, _| {
        count(&it["status"]["desiredNumberScheduled"]).into()
    }),
    column("Current", |it, _| {
        count(&it["status"]["currentNumberScheduled"]).into()
    }),
    column("Ready", |it, _| count(&it["status"]["numberReady"]).into()),
    column("Up-to-date", |it, _| {
        count(&it["status"]["updatedNumberScheduled"]).into()
    }),
    column("Available", |it, _| {
        count(&it["status"]["numberAvailable"]).into()
    }),
    column("Node Selector", |it, _| {
        selector(&it["spec"]["template"]["spec"]["nodeSelector"])
    }),
    AGE,
];

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn or_none(text: Option<&str>) -> Value {
    text.filter(|text| !text.is_empty())
        .unwrap_or("<none>")
        .into()
}

fn or_unknown(value: &Value) -> Value {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .unwrap_or("<unknown>")
        .into()
}

fn unset_if_empty(text: &str) -> String {
    if text.is_empty() {
        "<unset>".to_owned()
    } else {
        text.to_owned()
    }
}

/// The first few, and how many more there are.
fn limited(texts: impl Iterator<Item = String>, most: usize, joint: &str) -> String {
    let texts: Vec<String> = texts.collect();
    let shown = texts
        .iter()
        .take(most)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(joint);
    match texts.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn hosts(rules: &Value) -> String {
    let hosts = items(rules)
        .iter()
        .map(|it| text(&it["host"]))
        .filter(|host| !host.is_empty());
    match limited(hosts, 3, ",") {
        none if none.is_empty() => "*".to_owned(),
        hosts => hosts,
    }
}

fn addresses(ingress: &Value) -> String {
    let one = |it: &Value| {
        it["ip"]
            .as_str()
            .or_else(|| it["hostname"].as_str())
            .map(str::to_owned)
    };
    items(ingress)
        .iter()
        .filter_map(one)
        .collect::<Vec<_>>()
        .join(",")
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let given: Vec<String> = items(&spec["externalIPs"]).iter().map(text).collect();
    let balanced = addresses(&service["status"]["loadBalancer"]["ingress"]);
    match (spec["type"].as_str(), balanced.as_str(), given.as_slice()) {
        (Some("ExternalName"), ..) => text(&spec["externalName"]),
        (Some("LoadBalancer"), "", []) => "<pending>".to_owned(),
        (_, "", []) => "<none>".to_owned(),
        (_, "", given) => given.join(","),
        (_, balanced, []) => balanced.to_owned(),
        (_, balanced, given) => format!("{balanced},{}", given.join(",")),
    }
}

fn service_ports(ports: &Value) -> String {
    let one = |it: &Value| match it["nodePort"].as_i64() {
        Some(node) if node > 0 => format!("{}:{node}/{}", it["port"], text(&it["protocol"])),
        _ => format!("{}/{}", it["port"], text(&it["protocol"])),
    };
    match items(ports) {
        [] => "<none>".to_owned(),
        ports => ports.iter().map(one).collect::<Vec<_>>().join(","),
    }
}

fn endpoints(object: &Value) -> String {
    let pairs = items(&object["subsets"]).iter().flat_map(|subset| {
        let ports = items(&subset["ports"]);
        items(&subset["addresses"]).iter().flat_map(move |address| {
            let ip = text(&address["ip"]);
            match ports {
                [] => vec![ip],
                ports => ports
                    .iter()
                    .map(|port| format!("{ip}:{}", port["port"]))
                    .collect(),
            }
        })
    });
    match limited(pairs, 3, ",") {
        none if none.is_empty() => "<none>".to_owned(),
        some => some,
    }
}

fn selector(labels: &Value) -> Value {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    or_none(Some(&pairs.join(",")))
}

fn class_parameters(parameters: &Value) -> String {
    match (parameters["apiGroup"].as_str(), parameters["kind"].as_str()) {
        (_, None) => "<none>".to_owned(),
        (Some(group), Some(kind)) => format!("{kind}.{group}/{}", text(&parameters["name"])),
        (None, Some(kind)) => format!("{kind}/{}", text(&parameters["name"])),
    }
}

fn data_count(object: &Value, _now: Timestamp) -> Value {
    let members = |name: &str| object[name].as_object().map_or(0, serde_json::Map::len);
    (members("data") + members("binaryData")).into()
}

fn node_status(node: &Value) -> String {
    let ready = items(&node["status"]["conditions"])
        .iter()
        .find(|it| it["type"] == "Ready");
    let mut status = match ready.map(|it| it["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn node_roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object();
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    }
}

fn node_address(node: &Value, kind: &str) -> Value {
    let found = items(&node["status"]["addresses"])
        .iter()
        .find(|it| it["type"] == kind);
    or_none(found.and_then(|it| it["address"].as_str()))
}

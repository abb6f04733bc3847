//! Discovery: which groups, versions and resources there are.

use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    registry::{Registry, ResourceType, join},
    reply::{self, BoxBody},
    status::Status,
    target::Route,
};

/// Answers what a client asks before it asks for objects.
pub(crate) fn answer(
    registry: &Registry,
    route: &Route,
    accept: &str,
) -> Result<Response<BoxBody>, Status> {
    let aggregated = wants_aggregated(accept);
    let document = match route {
        Route::Health => {
            return Ok(reply::full(
                StatusCode::OK,
                HeaderValue::from_static("text/plain"),
                "ok",
            ));
        }
        Route::Version => version(),
        Route::CoreVersions | Route::Groups if aggregated => {
            let core = matches!(route, Route::CoreVersions);
            let kind = HeaderValue::from_static(AGGREGATED);
            let list = aggregate(registry, core).to_string();
            return Ok(reply::full(StatusCode::OK, kind, list));
        }
        Route::CoreVersions => json!({
            "kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        Route::Groups => {
            let groups = registry.groups();
            let groups = groups.iter().filter(|(name, _)| !name.is_empty());
            let groups: Vec<Value> = groups
                .map(|(name, versions)| group(name, versions))
                .collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        Route::Group(name) => {
            let groups = registry.groups();
            let versions = groups
                .get(name.as_str())
                .ok_or_else(Status::path_not_found)?;
            let mut group = group(name, versions);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            group
        }
        Route::Resources(group, version) => resources(registry, group, version)?,
        _ => return Err(Status::path_not_found()),
    };
    Ok(reply::json(StatusCode::OK, &document))
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn wants_aggregated(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let range: Vec<&str> = range.split(';').map(str::trim).collect();
        range.contains(&"application/json")
            && range.contains(&"as=APIGroupDiscoveryList")
            && range.contains(&"v=v2")
    })
}

/// The oldest release whose types these are.
fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.0+penstock",
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

fn group(name: &str, versions: &[&str]) -> Value {
    let entry = |version: &&str| json!({"groupVersion": join(name, version), "version": version});
    let versions: Vec<Value> = versions.iter().map(entry).collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions.first() })
}

fn resources(registry: &Registry, group: &str, version: &str) -> Result<Value, Status> {
    let mut resources = Vec::new();
    for it in of(registry, group, version) {
        let mut entry = json!({
            "name": it.plural, "singularName": it.singular, "namespaced": it.namespaced,
            "kind": it.kind, "verbs": VERBS,
        });
        if !it.short_names.is_empty() {
            entry["shortNames"] = json!(it.short_names);
        }
        if !it.categories.is_empty() {
            entry["categories"] = json!(it.categories);
        }
        resources.push(entry);
        if it.traits.status {
            resources.push(json!({
                "name": format!("{}/status", it.plural), "singularName": "",
                "namespaced": it.namespaced, "kind": it.kind, "verbs": STATUS_VERBS,
            }));
        }
    }
    if resources.is_empty() {
        return Err(Status::path_not_found());
    }
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": join(group, version), "resources": resources,
    }))
}

/// Everything in one answer (`apidiscovery.k8s.io/v2`).
fn aggregate(registry: &Registry, core: bool) -> Value {
    let groups = registry.groups();
    let groups = groups.iter().filter(|(name, _)| name.is_empty() == core);
    let items: Vec<Value> = groups
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = of(registry, name, version).map(entry).collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    })
}

fn entry(it: &ResourceType) -> Value {
    let kind = json!({"group": it.group, "version": it.version, "kind": it.kind});
    let mut entry = json!({
        "resource": it.plural, "singularResource": it.singular, "responseKind": kind,
        "scope": if it.namespaced { "Namespaced" } else { "Cluster" },
        "shortNames": it.short_names, "categories": it.categories, "verbs": VERBS,
    });
    if it.traits.status {
        entry["subresources"] = json!([
            {"subresource": "status", "responseKind": kind, "verbs": STATUS_VERBS},
        ]);
    }
    entry
}

fn of<'a>(
    registry: &'a Registry,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a ResourceType> {
    let types = registry.types().iter().map(AsRef::as_ref);
    types.filter(move |it: &&ResourceType| it.group == group && it.version == version)
}

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

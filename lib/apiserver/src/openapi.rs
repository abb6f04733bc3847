//! OpenAPI documents: what `kubectl` asks for before it applies, patches or explains.
//!
//! They are made when asked for and not kept: the text of the built-in types is larger than most
//! clusters' objects.

use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::{
    registry::{Registry, ResourceType, join},
    reply::{self, BoxBody},
    schema,
    status::Status,
    target::Route,
};

pub(crate) fn answer(
    registry: &Registry,
    route: &Route,
    accept: &str,
) -> Result<Response<BoxBody>, Status> {
    match route {
        Route::OpenApiV2 if accept.contains("application/com.github.proto-openapi") => {
            // An empty protobuf message is an empty document; clients then use version 3.
            Ok(reply::full(
                StatusCode::OK,
                HeaderValue::from_static(PROTOBUF),
                "",
            ))
        }
        Route::OpenApiV2 => Ok(reply::json(
            StatusCode::OK,
            &json!({ "swagger": "2.0", "info": info(), "paths": {}, "definitions": {} }),
        )),
        Route::OpenApiIndex => Ok(reply::json(StatusCode::OK, &index(registry))),
        Route::OpenApi(group, version) => Ok(reply::json(
            StatusCode::OK,
            &document(registry, group, version)?,
        )),
        _ => Err(Status::path_not_found()),
    }
}

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

fn info() -> Value {
    json!({ "title": "Kubernetes", "version": "v1.33.0" })
}

fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, versions) in registry.groups() {
        for version in versions {
            let path = path(group, version);
            let url = format!("/openapi/v3/{path}");
            paths.insert(path, json!({ "serverRelativeURL": url }));
        }
    }
    json!({ "paths": paths })
}

/// `api/v1`, or `apis/GROUP/VERSION`.
fn path(group: &str, version: &str) -> String {
    let root = if group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", join(group, version))
}

fn document(registry: &Registry, group: &str, version: &str) -> Result<Value, Status> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    let types = registry
        .types()
        .iter()
        .filter(|it| it.group == group && it.version == version);
    for resource in types {
        let kind = json!([{ "group": group, "version": version, "kind": resource.kind }]);
        paths.extend(operations(resource, &kind));
        let (name, mut definitions) = schema::documented(resource);
        definitions[&name]["x-kubernetes-group-version-kind"] = kind;
        schemas.append(&mut definitions);
    }
    if paths.is_empty() {
        return Err(Status::path_not_found());
    }
    Ok(json!({
        "openapi": "3.0.0", "info": info(), "paths": paths,
        "components": { "schemas": schemas },
    }))
}

/// What can be done with one object: clients look here for the parameters that a patch may have.
fn operations(resource: &ResourceType, kind: &Value) -> Map<String, Value> {
    let parameter = |name: &&str| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } });
    let operation = |verb: &str, parameters: &[&str]| {
        json!({
            "operationId": format!("{verb}{}{}", resource.version, resource.kind),
            "parameters": parameters.iter().map(parameter).collect::<Vec<_>>(),
            "responses": { "200": { "description": "OK" } },
            "x-kubernetes-action": verb,
            "x-kubernetes-group-version-kind": kind[0],
        })
    };
    let namespace = if resource.namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    let root = path(&resource.group, &resource.version);
    let collection = format!("/{root}/{namespace}{}", resource.plural);
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    let patch = ["dryRun", "fieldManager", "fieldValidation", "force"];
    let mut paths = Map::new();
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": operation("get", &["pretty"]),
            "put": operation("put", &write),
            "patch": operation("patch", &patch),
            "delete": operation("delete", &["dryRun", "propagationPolicy"]),
        }),
    );
    let list = [
        "labelSelector",
        "fieldSelector",
        "limit",
        "continue",
        "watch",
    ];
    paths.insert(
        collection,
        json!({ "get": operation("list", &list), "post": operation("post", &write) }),
    );
    paths
}

//! A manifest: YAML documents, each one object. None makes the compiler panic, and the table does not depend on how
//! often it was compiled on the way.

use std::sync::Arc;

use k8s_openapi::serde::de::DeserializeOwned;
use l7_ingress_core::{
    Change, Compiler, Ingress, IngressClass, Route, SecretData, Settings, Table, host, path,
};
use model::{EndpointSlice, ObjectName, Service};
use serde_json::Value;

use crate::certificate::CERTIFICATE;

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let settings = Settings {
        watch_without_class: true,
        ..Settings::default()
    };
    let new = || Compiler::new(settings.clone(), Arc::clone(&CERTIFICATE));
    let (mut at_once, mut stepwise) = (new(), new());
    let mut table = stepwise.compile().table;
    for change in text.split("\n---").filter_map(change) {
        at_once.apply(change.clone());
        stepwise.apply(change);
        table = stepwise.compile().table.or(table);
    }
    let (expect, table) = (
        at_once.compile().table.unwrap_or_default(),
        table.unwrap_or_default(),
    );
    assert_eq!(shown(&table), shown(&expect));
    for route in table.routes() {
        check_route(&table, route);
    }
}

/// Whoever asks for what an Ingress says is answered by something.
fn check_route(table: &Table, route: &Route) {
    let asked = route.host.replacen('*', "q0z", 1);
    if let (Ok(host), Ok(path)) = (host::canonical(&asked), path::normalise(&route.path))
        && *path == *route.path
    {
        let found = table.find(&host, &path).map(|found| &found.host);
        // By a host that is as specific at least: nothing else in a manifest is likely to say `q0z`.
        let answered = found.is_some_and(|host| host.len() >= route.host.len());
        assert!(
            answered,
            "{asked}{path} of {} is answered by {found:?}",
            route.host
        );
    }
    assert!(!table.certificates(Some(&asked)).is_empty());
}

fn shown(table: &Table) -> Vec<String> {
    let shown = |route: &Arc<Route>| {
        let Route {
            ingress,
            field,
            host,
            path,
            path_type,
            ..
        } = &**route;
        let upstream = &route.backend.upstream_name;
        let endpoints = route.backend.endpoints();
        format!("{ingress} {field} {host} {path} {path_type:?} {upstream} {endpoints:?}")
    };
    table.routes().map(shown).collect()
}

fn change(document: &str) -> Option<Change> {
    let value: Value = serde_saphyr::from_str(document).ok()?;
    let text = |name: &str| {
        value
            .pointer(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let kind = text("/kind").to_owned();
    let name = ObjectName::new(text("/metadata/namespace"), text("/metadata/name"));
    Some(match &*kind {
        "Ingress" => Change::Ingress(name, read(value).map(|object| Ingress::read(&object))),
        "IngressClass" => {
            Change::IngressClass(name, read(value).map(|object| IngressClass::read(&object)))
        }
        "Service" => Change::Service(name, read(value).map(|object| Service::from(&object))),
        "EndpointSlice" => {
            let slice = read(value).and_then(|object| EndpointSlice::read(&object));
            Change::EndpointSlice(name, slice)
        }
        "Secret" => Change::Secret(
            name,
            read(value).and_then(|object| SecretData::read(&object)),
        ),
        _ => return None,
    })
}

/// What is no object of its kind counts as deleted.
fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

//! `/debug/routes`: what the table holds, and from which object.

use std::sync::Arc;

use arc_swap::ArcSwap;
use daemon::{AdminResponse, Process};
use http::header::{CONTENT_TYPE, HeaderValue};
use l7_ingress_core::upstream::Canary;
use l7_ingress_core::{EndpointSet, PathType, Resolution, Route, Table, UrlTemplate};
use serde::Serialize;

/// One route, for people.
#[derive(Serialize)]
struct Shown<'r> {
    host: &'r str,
    path: &'r str,
    path_type: &'static str,
    ingress: String,
    field: &'r str,
    service: String,
    port: String,
    protocol: String,
    tls: Option<String>,
    canary: Option<ShownCanary<'r>>,
    https_redirect: Option<u16>,
    /// The URL of the server that is asked who may come in.
    auth_url: Option<&'r str>,
    /// Whether its requests are traced.
    is_traced: bool,
    resolution: &'static str,
    endpoints: Vec<String>,
}

/// Its canary.
#[derive(Serialize)]
struct ShownCanary<'r> {
    ingress: String,
    field: &'r str,
    service: String,
    port: String,
    weight: u32,
    weight_total: u32,
    endpoints: Vec<String>,
}

/// Serves the table of the moment on the admin port.
pub(crate) fn expose(process: &Process, table: Arc<ArcSwap<Table>>) {
    process.admin_route("/debug/routes", move || {
        let table = table.load_full();
        let shown: Vec<Shown<'_>> = table.routes().map(|route| show(route)).collect();
        let body = serde_json::to_vec_pretty(&shown).unwrap_or_default();
        let mut response = AdminResponse::new(body.into());
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    });
}

fn show(route: &Route) -> Shown<'_> {
    let endpoints = route.backend.endpoints();
    Shown {
        host: if route.host.is_empty() {
            "*"
        } else {
            &route.host
        },
        path: &route.path,
        path_type: match route.path_type {
            PathType::Exact => "Exact",
            PathType::Prefix => "Prefix",
        },
        ingress: route.ingress.to_string(),
        field: &route.field,
        service: route.backend.service.to_string(),
        port: route.backend.port.to_string(),
        protocol: format!("{:?}", route.backend.manner.protocol),
        tls: route.backend.tls.as_ref().map(|tls| tls.describe()),
        canary: route.canary.as_deref().map(show_canary),
        auth_url: auth_url(route),
        is_traced: route.policy.trace.is_some(),
        https_redirect: route.https_redirect.map(|status| status.as_u16()),
        resolution: match endpoints.resolution {
            Resolution::Slices => "EndpointSlices",
            Resolution::Dns { .. } => "DNS",
            Resolution::Missing => "missing",
            Resolution::NotFound => "none",
        },
        endpoints: addresses(&endpoints),
    }
}

fn auth_url(route: &Route) -> Option<&str> {
    let external = route.policy.external.as_deref()?;
    Some(external.url.as_ref().map_or("", UrlTemplate::text))
}

fn show_canary(canary: &Canary) -> ShownCanary<'_> {
    let share = canary.rules.share();
    ShownCanary {
        ingress: canary.ingress.to_string(),
        field: &canary.field,
        service: canary.backend.service.to_string(),
        port: canary.backend.port.to_string(),
        weight: share.weight,
        weight_total: share.total,
        endpoints: addresses(&canary.backend.endpoints()),
    }
}

fn addresses(endpoints: &EndpointSet) -> Vec<String> {
    let addresses = endpoints.addresses.iter();
    addresses.map(ToString::to_string).collect()
}

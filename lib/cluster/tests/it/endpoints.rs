//! Endpoints from an annotation, live.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cluster::{Cluster, ENDPOINTS_ANNOTATION};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::rig::{eventually, of_folder};

fn write(folder: &Path, annotation: &str) {
    let manifest = format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n    {ENDPOINTS_ANNOTATION}: \"{annotation}\"\nspec:\n  ports:\n  - {{name: http, port: 80}}\n  - {{name: admin, port: 81, appProtocol: kubernetes.io/h2c}}\n"
    );
    fs::write(folder.join("web.yaml"), manifest).unwrap();
}

/// Slice names and their endpoints as ADDRESS:PORT/NAME.
async fn slices(cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let api: Api<EndpointSlice> = Api::default_namespaced(cluster.client());
    let slices = api.list(&ListParams::default()).await.unwrap();
    let read = |slice: EndpointSlice| {
        let addresses = slice.endpoints.iter().flat_map(|it| &it.addresses);
        let each = addresses.flat_map(|address| {
            slice.ports.iter().flatten().map(move |port| {
                let name = port.name.as_deref().unwrap();
                format!("{address}:{}/{name}", port.port.unwrap())
            })
        });
        (slice.metadata.name.clone().unwrap(), each.collect())
    };
    slices.items.into_iter().map(read).collect()
}

async fn become_(cluster: &Cluster, want: &[(&str, &[&str])]) {
    let owned = |it: &&str| (*it).to_owned();
    let want: BTreeMap<String, Vec<String>> = want
        .iter()
        .map(|(name, endpoints)| ((*name).to_owned(), endpoints.iter().map(owned).collect()))
        .collect();
    eventually(&format!("{want:?}"), async || {
        (slices(cluster).await == want).then_some(())
    })
    .await;
}

#[tokio::test]
async fn slices_follow_the_annotation() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "127.0.0.1:8081,[::1]:8081");
    let (_process, cluster) = of_folder(folder.path()).await;
    let first: &[(&str, &[&str])] = &[
        (
            "web-penstock",
            &["127.0.0.1:8081/http", "127.0.0.1:8081/admin"],
        ),
        (
            "web-penstock-ipv6-8081",
            &["::1:8081/http", "::1:8081/admin"],
        ),
    ];
    let wanted: Vec<&str> = first.iter().map(|it| it.0).collect();
    let found: Vec<String> = slices(&cluster).await.into_keys().collect();
    assert_eq!(found, wanted, "they are there when the folder is read");
    become_(&cluster, first).await;

    write(folder.path(), "127.0.0.1:8082");
    become_(
        &cluster,
        &[(
            "web-penstock",
            &["127.0.0.1:8082/http", "127.0.0.1:8082/admin"],
        )],
    )
    .await;

    // A bad value keeps what was good, and names the annotation.
    write(folder.path(), "127.0.0.1:8083,backend:80");
    let problem = eventually("the problem", async || cluster.problems().current().pop()).await;
    assert_eq!(
        problem.field,
        "metadata.annotations[penstock.dev/endpoints]"
    );
    assert!(problem.message.contains("`backend:80`"), "{problem}");
    become_(
        &cluster,
        &[(
            "web-penstock",
            &["127.0.0.1:8082/http", "127.0.0.1:8082/admin"],
        )],
    )
    .await;

    write(folder.path(), "127.0.0.1:8083");
    become_(
        &cluster,
        &[(
            "web-penstock",
            &["127.0.0.1:8083/http", "127.0.0.1:8083/admin"],
        )],
    )
    .await;
    assert_eq!(cluster.problems().current(), []);

    fs::remove_file(folder.path().join("web.yaml")).unwrap();
    become_(&cluster, &[]).await;
}

#[tokio::test]
async fn services_that_come_over_the_api_are_heeded_too() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "");
    let (_process, cluster) = of_folder(folder.path()).await;
    become_(&cluster, &[]).await;
    let services: Api<Service> = Api::default_namespaced(cluster.client());
    let patch = json!({"metadata": {"annotations": {ENDPOINTS_ANNOTATION: "127.0.0.1:9"}}});
    let parameters = PatchParams::default();
    services
        .patch("web", &parameters, &Patch::Merge(patch))
        .await
        .unwrap();
    become_(
        &cluster,
        &[("web-penstock", &["127.0.0.1:9/http", "127.0.0.1:9/admin"])],
    )
    .await;
    services
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    become_(&cluster, &[]).await;
}

#[tokio::test]
async fn a_folder_that_is_read_once_has_them() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "127.0.0.1:8081");
    let read = Cluster::offline(folder.path()).await.unwrap();
    assert_eq!((read.findings, read.problems), (vec![], vec![]));
    let slices: Api<EndpointSlice> = Api::default_namespaced(read.api.client("default"));
    assert!(slices.get("web-penstock").await.is_ok());

    write(folder.path(), "here");
    let read = Cluster::offline(folder.path()).await.unwrap();
    assert_eq!(read.problems.len(), 1);
}

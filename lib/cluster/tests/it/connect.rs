//! The ways to a cluster.

use std::fs;
use std::net::SocketAddr;

use cluster::{Change, Cluster, Flags};

use crate::rig::{config_map, process, set, until_synced, values};

/// What one process serves with `--api-listen`, another reads with `--kubeconfig`.
#[tokio::test]
async fn a_served_folder_is_a_cluster_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let object = config_map("a", "1").to_string();
    fs::write(folder.path().join("a.json"), object).unwrap();
    let flags = Flags {
        api_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..Flags::manifests(folder.path())
    };
    let server = process().await;
    let served = Cluster::connect(&flags, &server).await.unwrap();

    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: c, user: u}}\nclusters:\n- name: c\n  cluster: {{server: \"http://{}\"}}\nusers:\n- name: u\n  user: {{}}\n",
        served.api_addr().unwrap()
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), kubeconfig).unwrap();
    let flags = Flags {
        manifests: None,
        kubeconfig: Some(file.path().to_owned()),
        ..flags
    };
    let client = process().await;
    let cluster = Cluster::connect(&flags, &client).await.unwrap();
    let mut changes = values(&cluster);
    assert_eq!(
        until_synced(&mut changes).await,
        [set("a", "1"), Change::Synced]
    );
}

#[tokio::test]
async fn what_leads_nowhere_is_named() {
    let wrong = |flags: Flags| async move {
        let process = process().await;
        Cluster::connect(&flags, &process)
            .await
            .unwrap_err()
            .to_string()
    };
    let kubeconfig = Flags {
        kubeconfig: Some("/nonexistent/config".into()),
        ..Flags::default()
    };
    assert_eq!(wrong(kubeconfig).await, "--kubeconfig /nonexistent/config");
    let folder = Flags::manifests("/nonexistent/folder");
    let error = wrong(folder).await;
    assert_eq!(
        error,
        "--manifests /nonexistent/folder: no folder that can be read"
    );
}

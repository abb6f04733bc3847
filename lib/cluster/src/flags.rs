//! The flags that say where the cluster is.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the cluster is, to be flattened into a daemon's flags.
// Without a group of its own: clap names groups by the type, and every crate's type is `Flags`.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Cluster")]
pub struct Flags {
    /// Kubeconfig of the API server; without it and --manifests, the pod's service account is used
    #[arg(long, value_name = "FILE", conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,

    /// Folder of YAML and JSON files that are the cluster; edits take effect at once
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,

    /// Serve the manifests as a Kubernetes API on this address, for kubectl, without authentication
    #[arg(long, value_name = "ADDR", requires = "manifests")]
    pub api_listen: Option<SocketAddr>,

    /// The daemon's own namespace, for its Lease and for Events about cluster-wide objects
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = NAMESPACE)]
    pub namespace: String,
}

impl Flags {
    /// The flags of a daemon whose cluster is a folder.
    #[must_use]
    pub fn manifests(folder: impl Into<PathBuf>) -> Self {
        Self {
            manifests: Some(folder.into()),
            namespace: NAMESPACE.to_owned(),
            ..Self::default()
        }
    }
}

const NAMESPACE: &str = "default";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        daemon: daemon::Flags,
        #[command(flatten)]
        cluster: Flags,
    }

    fn parse(arguments: &[&str]) -> Option<Flags> {
        let arguments = ["x"].iter().chain(arguments);
        Command::try_parse_from(arguments)
            .ok()
            .map(|command| command.cluster)
    }

    #[test]
    fn the_cluster_is_in_one_place() {
        let folder = parse(&["--manifests", "m", "--api-listen", "127.0.0.1:0"]).unwrap();
        assert_eq!(folder.manifests, Some(PathBuf::from("m")));
        assert!(folder.api_listen.is_some());
        assert!(parse(&["--kubeconfig", "k"]).is_some());
        assert!(parse(&["--kubeconfig", "k", "--manifests", "m"]).is_none());
        assert!(parse(&["--api-listen", "127.0.0.1:0"]).is_none());
    }
}

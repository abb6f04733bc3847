//! Flags of the agent.

use std::path::PathBuf;

use cni_core::talk::SOCKET;

/// The command line.
#[derive(Debug, clap::Parser)]
#[command(name = "cni-agent", version, about = "Connects the pods of this node")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can be asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Connect the pods of this node
    Run(Box<RunArgs>),
}

/// The flags of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The agent's own.
    #[command(flatten)]
    pub agent: AgentArgs,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: cluster::Flags,
    /// What every daemon has.
    #[command(flatten)]
    pub daemon: daemon::Flags,
}

/// What the agent is told about its node.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Pods")]
pub struct AgentArgs {
    /// The name of this node's Node object
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: String,

    /// Where the plugin finds the agent
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub socket: PathBuf,

    /// Where the journal of addresses is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/penstock/cni")]
    pub state_dir: PathBuf,

    /// Where runtimes look for the network's configuration
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub cni_conf_dir: PathBuf,

    /// The network's name
    #[arg(long, value_name = "NAME", default_value = "penstock")]
    pub network_name: String,

    /// Where the node's range is written for tools that expect flannel; - writes nothing
    #[arg(long, value_name = "PATH", default_value = "/run/flannel/subnet.env")]
    pub subnet_file: PathBuf,

    /// The ranges of all pods of the cluster; those of all Nodes if not given
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub cluster_cidr: Vec<ipnet::IpNet>,

    /// Whether pods reach what is outside the cluster by their node's address
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub masquerade: bool,

    /// Largest packet of a pod; without it, what the default route's link leaves for an overlay
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65535))]
    pub mtu: Option<u32>,
}

//! Flags of the agent.

use std::path::PathBuf;

use cni_core::mesh;
use cni_core::talk::SOCKET;
use netlink::LinkName;

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
    /// How pods of other nodes are reached.
    #[command(flatten)]
    pub mesh: MeshArgs,
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

/// How pods of other nodes are reached: the same on all nodes, but for the interface.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Mesh")]
pub struct MeshArgs {
    /// How packets get to another node
    #[arg(long, value_enum, default_value_t = Backend::Vxlan)]
    pub backend: Backend,

    /// The number of the vxlan network
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    pub vni: u32,

    /// The UDP port of vxlan
    #[arg(long, value_name = "PORT", default_value_t = 8472, value_parser = clap::value_parser!(u16).range(1..))]
    pub vxlan_port: u16,

    /// Leave vxlan out between nodes on one link
    #[arg(long)]
    pub direct_routing: bool,

    /// The interface towards other nodes; without it, that of the Node's address, else of the default route
    #[arg(long, value_name = "NAME")]
    pub interface: Option<LinkName>,
}

/// How packets get to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// In UDP, over any network
    Vxlan,
    /// As they are, over a link that both are on
    HostGw,
}

impl MeshArgs {
    pub(crate) fn settings(&self) -> mesh::Settings {
        mesh::Settings {
            backend: match self.backend {
                Backend::Vxlan => mesh::Backend::Vxlan,
                Backend::HostGw => mesh::Backend::HostGw,
            },
            vni: self.vni,
            port: self.vxlan_port,
            direct_routing: self.direct_routing,
        }
    }
}

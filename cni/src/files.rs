//! Files for others: the runtimes' configuration, and flannel's `subnet.env`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use cni_core::talk::SOCKET;
use ipnet::IpNet;
use serde_json::json;

use crate::settings::AgentArgs;

/// The first by name is the one that runtimes take.
const CONFLIST: &str = "05-penstock.conflist";

/// Tells the runtimes that pods can be connected.
pub(crate) fn write_conflist(args: &AgentArgs) -> io::Result<()> {
    let mut plugin = json!({
        "type": "penstock-cni",
        "capabilities": {
            "portMappings": true,
            "bandwidth": true,
            "ips": true,
            "mac": true,
            "dns": true,
            "io.kubernetes.cri.pod-annotations": true,
        },
    });
    if args.socket != Path::new(SOCKET) {
        plugin["socket"] = json!(args.socket);
    }
    let list = json!({
        "cniVersion": "1.0.0",
        "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
        "name": args.network_name,
        "plugins": [plugin],
    });
    write(&args.cni_conf_dir.join(CONFLIST), &format!("{list:#}\n"))
}

/// What tools that know flannel read.
pub(crate) fn write_subnet(args: &AgentArgs, ranges: &[IpNet], mtu: u32) -> io::Result<()> {
    if args.subnet_file == Path::new("-") {
        return Ok(());
    }
    let text = subnet(&args.cluster_cidr, ranges, mtu, args.masquerade);
    write(&args.subnet_file, &text)
}

fn subnet(cluster: &[IpNet], ranges: &[IpNet], mtu: u32, masquerade: bool) -> String {
    let mut text = String::new();
    for range in ranges {
        let (prefix, first) = match range {
            IpNet::V4(range) => ("", range.hosts().next().map(Into::into)),
            IpNet::V6(range) => ("IPV6_", range.hosts().nth(1).map(Into::into)),
        };
        let first: std::net::IpAddr = first.unwrap_or_else(|| range.addr());
        let mut all = cluster.iter();
        let all = all.find(|all| all.contains(range)).unwrap_or(range);
        let _ = writeln!(text, "FLANNEL_{prefix}NETWORK={all}");
        let _ = writeln!(
            text,
            "FLANNEL_{prefix}SUBNET={first}/{}",
            range.prefix_len()
        );
    }
    let _ = writeln!(text, "FLANNEL_MTU={mtu}\nFLANNEL_IPMASQ={masquerade}");
    text
}

/// Whole or not at all, and untouched if it says this already.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|now| now == text) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // Runtimes take .conf, .conflist and .json only.
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::settings::{Cli, Command};

    #[test]
    fn a_dash_is_no_file() {
        let arguments = ["cni-agent", "run", "--node-name=n", "--subnet-file=-"];
        let Command::Run(args) = Cli::parse_from(arguments).command;
        write_subnet(&args.agent, &["10.244.1.0/24".parse().unwrap()], 1450).unwrap();
        assert!(!Path::new("-").exists());
    }

    #[test]
    fn the_subnet_file_is_flannels() {
        let ranges = [
            "10.244.1.0/24".parse().unwrap(),
            "fd00:1::/64".parse().unwrap(),
        ];
        let want = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n\
                    FLANNEL_IPV6_NETWORK=fd00:1::/64\nFLANNEL_IPV6_SUBNET=fd00:1::1/64\n\
                    FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        let cluster = ["10.244.0.0/16".parse().unwrap()];
        assert_eq!(subnet(&cluster, &ranges, 1450, true), want);
    }
}

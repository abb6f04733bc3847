//! The network configuration that comes on standard input.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::outcome::{Dns, Outcome, field};
use super::refusal::{Code, Refusal};
use super::request::{Attachment, MacAddr, is_name};
use super::version::Version;

/// A configuration that has been understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The version that is spoken.
    pub version: Version,
    /// The network's name.
    pub name: String,
    /// The interface's largest packet, where the configuration says it.
    pub mtu: Option<u32>,
    /// Name servers to hand on.
    pub dns: Dns,
    /// What the runtime gives for the capabilities.
    pub runtime: RuntimeConfig,
    /// What the plugins before this one have made.
    pub previous: Option<Outcome>,
    /// Where the agent listens, if not at the usual place.
    pub socket: Option<String>,
    /// GC: what is still in use.
    pub valid_attachments: Vec<Attachment>,
}

/// What the runtime gives for the capabilities that the configuration declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Ports of the node that lead to the pod.
    pub port_mappings: Vec<PortMapping>,
    /// How fast the pod may send and receive.
    pub bandwidth: Bandwidth,
    /// Addresses that the pod has to have.
    pub ips: Vec<IpAddr>,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Its name servers.
    pub dns: Option<Dns>,
    /// The pod's annotations.
    pub pod_annotations: BTreeMap<String, String>,
}

/// A port of the node that leads to one of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// The protocol.
    pub protocol: Transport,
    /// On this address of the node only; unspecified is all of that family.
    pub host_ip: Option<IpAddr>,
    /// The node's.
    pub host_port: u16,
    /// The pod's.
    pub container_port: u16,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// How fast, seen from the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Into the pod.
    pub ingress: Option<Rate>,
    /// Out of it.
    pub egress: Option<Rate>,
}

/// A rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Bits per second.
    pub bits: u64,
    /// Bits at once.
    pub burst: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPortMapping {
    #[serde(default)]
    host_port: i64,
    #[serde(default)]
    container_port: i64,
    #[serde(default)]
    protocol: String,
    #[serde(default, rename = "hostIP")]
    host_ip: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawBandwidth {
    ingress_rate: u64,
    ingress_burst: u64,
    egress_rate: u64,
    egress_burst: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawDns {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

/// Parses what came on standard input as far as every command needs it.
pub(super) fn decode(stdin: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let value: Value = serde_json::from_slice(stdin).map_err(|error| {
        Refusal::new(Code::Decode, "the network configuration is not JSON").with(error.to_string())
    })?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Refusal::new(
            Code::Decode,
            "the network configuration is not an object",
        )),
    }
}

impl Config {
    pub(super) fn read(object: &Map<String, Value>) -> Result<Self, Refusal> {
        let version: Option<String> = field(object, "cniVersion")?;
        let version = Version::read(version.as_deref())?;
        let name: String = field(object, "name")?;
        if !is_name(&name) {
            return Err(config(format!(
                "name {name:?} is not a network's name: letters and digits, then also '_', '.' and '-'"
            )));
        }
        refuse_foreign_ipam(object)?;
        let previous: Option<Value> = field(object, "prevResult")?;
        let mut runtime = RuntimeConfig::read(&field(object, "runtimeConfig")?)?;
        let args: Map<String, Value> = field(object, "args")?;
        runtime.add_args(&field(&args, "cni")?)?;
        Ok(Self {
            version,
            name,
            mtu: read_mtu(object)?,
            dns: field(object, "dns")?,
            runtime,
            previous: previous
                .map(|value| Outcome::read(&value, version))
                .transpose()?,
            socket: field(object, "socket")?,
            valid_attachments: read_attachments(object)?,
        })
    }
}

impl RuntimeConfig {
    fn read(object: &Map<String, Value>) -> Result<Self, Refusal> {
        for key in ["infinibandGUID", "deviceID"] {
            refuse_field(object, key)?;
        }
        let ports: Vec<RawPortMapping> = field(object, "portMappings")?;
        let ports = ports.into_iter().filter(|port| port.host_port != 0);
        let bandwidth: RawBandwidth = field(object, "bandwidth")?;
        let dns: Option<RawDns> = field(object, "dns")?;
        let ips: Vec<String> = field(object, "ips")?;
        let mac: Option<String> = field(object, "mac")?;
        Ok(Self {
            port_mappings: ports.map(RawPortMapping::read).collect::<Result<_, _>>()?,
            bandwidth: Bandwidth {
                ingress: rate(bandwidth.ingress_rate, bandwidth.ingress_burst),
                egress: rate(bandwidth.egress_rate, bandwidth.egress_burst),
            },
            ips: ips.iter().map(|ip| read_ip(ip)).collect::<Result<_, _>>()?,
            mac: read_mac(mac.as_deref())?,
            dns: dns.map(|dns| Dns {
                nameservers: dns.servers,
                domain: String::new(),
                search: dns.searches,
                options: dns.options,
            }),
            pod_annotations: field(object, "io.kubernetes.cri.pod-annotations")?,
        })
    }

    /// `args.cni` of CONVENTIONS.md, which gives way to the capabilities.
    fn add_args(&mut self, args: &Map<String, Value>) -> Result<(), Refusal> {
        let ips: Vec<String> = field(args, "ips")?;
        let mac: Option<String> = field(args, "mac")?;
        self.add_wishes(&ips, mac.as_deref())
    }

    /// Addresses that are asked for in a less weighty place.
    pub(super) fn add_wishes(&mut self, ips: &[String], mac: Option<&str>) -> Result<(), Refusal> {
        if self.ips.is_empty() {
            self.ips = ips.iter().map(|ip| read_ip(ip)).collect::<Result<_, _>>()?;
        }
        if self.mac.is_none() {
            self.mac = read_mac(mac)?;
        }
        Ok(())
    }
}

impl RawPortMapping {
    fn read(self) -> Result<PortMapping, Refusal> {
        let port = |number: i64, key: &str| {
            let port = u16::try_from(number).ok().filter(|port| *port != 0);
            port.ok_or_else(|| config(format!("portMappings: {key} {number} is not a port")))
        };
        let protocol = match self.protocol.to_ascii_lowercase().as_str() {
            "" | "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            "sctp" => Transport::Sctp,
            other => return Err(config(format!("portMappings: protocol {other:?}"))),
        };
        let host_ip =
            match self.host_ip.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| {
                    config(format!("portMappings: hostIP {text:?} is not an address"))
                })?),
            };
        Ok(PortMapping {
            protocol,
            host_ip,
            host_port: port(self.host_port, "hostPort")?,
            container_port: port(self.container_port, "containerPort")?,
        })
    }
}

/// A burst that is not given is a tenth of a second's worth.
fn rate(bits: u64, burst: u64) -> Option<Rate> {
    let burst = if burst == 0 { bits / 10 } else { burst };
    (bits != 0).then_some(Rate { bits, burst })
}

fn read_ip(text: &str) -> Result<IpAddr, Refusal> {
    let with_prefix = text.parse::<IpNet>().map(|net| net.addr());
    with_prefix
        .or_else(|_| text.parse())
        .map_err(|_| config(format!("{text:?} is not an address")))
}

fn read_mac(text: Option<&str>) -> Result<Option<MacAddr>, Refusal> {
    text.filter(|text| !text.is_empty())
        .map(|text| {
            MacAddr::read(text)
                .ok_or_else(|| config(format!("{text:?} is not a pod's hardware address")))
        })
        .transpose()
}

fn read_mtu(object: &Map<String, Value>) -> Result<Option<u32>, Refusal> {
    match field::<Option<i64>>(object, "mtu")? {
        None | Some(0) => Ok(None),
        Some(mtu) => match u32::try_from(mtu).ok().filter(|mtu| MTU.contains(mtu)) {
            Some(mtu) => Ok(Some(mtu)),
            None => Err(config(format!("mtu {mtu} is not between 68 and 65535"))),
        },
    }
}

fn read_attachments(object: &Map<String, Value>) -> Result<Vec<Attachment>, Refusal> {
    match object.contains_key(VALID) {
        true => field(object, VALID),
        // What libcni sent before the name was settled.
        false => field(object, "cni.dev/attachments"),
    }
}

/// Addresses come from the node's own ranges: another source of them would be passed over in silence.
fn refuse_foreign_ipam(object: &Map<String, Value>) -> Result<(), Refusal> {
    let ipam: Map<String, Value> = field(object, "ipam")?;
    let kind: String = field(&ipam, "type")?;
    match kind.as_str() {
        "" | "penstock-cni" => Ok(()),
        _ => Err(unsupported("ipam.type", &kind.into())),
    }
}

fn refuse_field(object: &Map<String, Value>, key: &str) -> Result<(), Refusal> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if text.is_empty() => Ok(()),
        Some(value) => Err(unsupported(key, value)),
    }
}

/// The message has to name key and value.
fn unsupported(key: &str, value: &Value) -> Refusal {
    Refusal::new(
        Code::UnsupportedField,
        format!("{key} with the value {value} is not supported"),
    )
}

fn config(message: String) -> Refusal {
    Refusal::new(Code::Config, message)
}

const VALID: &str = "cni.dev/valid-attachments";
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

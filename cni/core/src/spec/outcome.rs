//! Results: one shape of ours, read from and written in that of each version.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::refusal::{Code, Refusal};
use super::version::Version;

/// What an ADD has made, in all versions' fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Interfaces, in the pod and on the node.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<Ip>,
    /// Routes in the pod.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Dns,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Largest packet; since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace; empty is the node's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// A vhost-user socket; since 1.1.0.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// A PCI device; since 1.1.0.
    #[serde(default, rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// Which interface has it: a place in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
    /// The address with its prefix.
    pub address: IpNet,
    /// The way out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "blank"
    )]
    pub gateway: Option<IpAddr>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// By which way; the address's gateway where it is missing.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "blank"
    )]
    pub gw: Option<IpAddr>,
    /// Largest packet; this and what follows since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Largest segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The smallest wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// In which table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// How far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

impl Route {
    /// A route with nothing but its ends.
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Self {
            dst,
            gw,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }
}

/// Name servers and how to ask them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The own domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to look in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Go writes an address that is not there as an empty string.
fn blank<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<IpAddr>, D::Error> {
    match Option::<String>::deserialize(value)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// `ip4` and `ip6` of 0.1.0 and 0.2.0.
#[derive(Serialize, Deserialize)]
struct OldIp {
    ip: IpNet,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "blank"
    )]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
}

impl Outcome {
    /// Reads a result of this version, or of the one that it names itself.
    pub fn read(value: &Value, version: Version) -> Result<Self, Refusal> {
        let object = value
            .as_object()
            .ok_or_else(|| Refusal::new(Code::Decode, "a result is not an object"))?;
        let version = match object.get("cniVersion") {
            Some(named) => Version::read(named.as_str())?,
            None => version,
        };
        let read = match version {
            Version::V0_1_0 | Version::V0_2_0 => Self::read_old(object)?,
            _ => Self {
                interfaces: field(object, "interfaces")?,
                ips: field(object, "ips")?,
                routes: field(object, "routes")?,
                dns: field(object, "dns")?,
            },
        };
        let within = |ip: &Ip| ip.interface.is_none_or(|at| at < read.interfaces.len());
        match read.ips.iter().all(within) {
            true => Ok(read),
            false => Err(Refusal::new(
                Code::Config,
                "an address of a result is of an interface that the result does not list",
            )),
        }
    }

    fn read_old(object: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut read = Self {
            dns: field(object, "dns")?,
            ..Self::default()
        };
        for key in ["ip4", "ip6"] {
            let Some(old) = field::<Option<OldIp>>(object, key)? else {
                continue;
            };
            read.ips.push(Ip {
                interface: None,
                address: old.ip,
                gateway: old.gateway,
            });
            read.routes.extend(old.routes);
        }
        Ok(read)
    }

    /// Writes it as this version has it; what that version has no word for is left out.
    pub fn write(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".to_owned(), version.as_str().into());
        match version {
            Version::V0_1_0 | Version::V0_2_0 => self.write_old(&mut object),
            _ => self.write_lists(&mut object, version),
        }
        if self.dns != Dns::default() {
            object.insert("dns".to_owned(), json!(self.dns));
        }
        Value::Object(object)
    }

    fn write_lists(&self, object: &mut Map<String, Value>, version: Version) {
        let mut add = |key: &str, list: Vec<Value>| {
            if !list.is_empty() {
                object.insert(key.to_owned(), Value::Array(list));
            }
        };
        let interfaces = self
            .interfaces
            .iter()
            .map(|interface| trimmed(json!(interface), version, &["mtu", "socketPath", "pciID"]));
        add("interfaces", interfaces.collect());
        let ips = self.ips.iter().map(|ip| {
            let mut value = json!(ip);
            if version < Version::V1_0_0 {
                value["version"] = family(&ip.address).into();
            }
            value
        });
        add("ips", ips.collect());
        let newer = ["mtu", "advmss", "priority", "table", "scope"];
        let routes = self.routes.iter();
        add(
            "routes",
            routes
                .map(|route| trimmed(json!(route), version, &newer))
                .collect(),
        );
    }

    /// One address of each family is all that there is room for.
    fn write_old(&self, object: &mut Map<String, Value>) {
        for (key, wanted) in [("ip4", "4"), ("ip6", "6")] {
            let Some(ip) = self.ips.iter().find(|ip| family(&ip.address) == wanted) else {
                continue;
            };
            let routes = self.routes.iter();
            let old = OldIp {
                ip: ip.address,
                gateway: ip.gateway,
                routes: routes
                    .filter(|route| family(&route.dst) == wanted)
                    .map(|route| Route::new(route.dst, route.gw))
                    .collect(),
            };
            object.insert(key.to_owned(), json!(old));
        }
    }

    /// Adds what another plugin has made before: its interfaces keep their places.
    #[must_use]
    pub fn after(mut self, previous: Self) -> Self {
        let shift = previous.interfaces.len();
        for ip in &mut self.ips {
            ip.interface = ip.interface.map(|at| at + shift);
        }
        let mut all = previous;
        all.interfaces.append(&mut self.interfaces);
        all.ips.append(&mut self.ips);
        all.routes.append(&mut self.routes);
        if self.dns != Dns::default() {
            all.dns = self.dns;
        }
        all
    }
}

fn trimmed(mut value: Value, version: Version, newer: &[&str]) -> Value {
    if version < Version::V1_1_0
        && let Some(object) = value.as_object_mut()
    {
        object.retain(|key, _| !newer.contains(&key.as_str()));
    }
    value
}

fn family(net: &IpNet) -> &'static str {
    match net {
        IpNet::V4(_) => "4",
        IpNet::V6(_) => "6",
    }
}

/// A field of an object; missing and null are the default.
pub(super) fn field<T: DeserializeOwned + Default>(
    object: &Map<String, Value>,
    key: &str,
) -> Result<T, Refusal> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => T::deserialize(value)
            .map_err(|error| Refusal::new(Code::Decode, format!("{key}: {error}"))),
    }
}

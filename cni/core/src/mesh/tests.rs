//! Tables and properties of the mesh: the nodes that they speak of.

mod announcing;
mod changing;
mod compiling;
mod reading;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::*;

fn vxlan() -> Settings {
    Settings {
        backend: Backend::Vxlan,
        vni: 1,
        port: 8472,
        direct_routing: false,
    }
}

fn host_gw() -> Settings {
    Settings {
        backend: Backend::HostGw,
        ..vxlan()
    }
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn outside(address: &str, shared: &str, last: u8) -> Outside {
    Outside {
        address: ip(address),
        link: 2,
        mtu: 1500,
        shared: vec![net(shared)],
        vtep: mac(last),
    }
}

/// Node a: dual stack, with an underlay of each family.
fn local() -> Local {
    Local {
        name: "a".into(),
        ranges: vec![net("10.244.1.0/24"), net("fd00:1::/64")],
        outside: vec![
            outside("192.0.2.1", "192.0.2.0/24", 1),
            outside("2001:db8::1", "2001:db8::/64", 11),
        ],
        addresses: ["192.0.2.1", "2001:db8::1", "10.244.1.0", "172.17.0.1"]
            .map(ip)
            .to_vec(),
    }
}

fn only(mut local: Local, family: Family) -> Local {
    local
        .outside
        .retain(|outside| Family::of(outside.address) == family);
    local
}

/// flannel's annotations, without their prefix.
type Told<'a> = &'a [(&'a str, &'a str)];

fn annotations(told: Told<'_>) -> BTreeMap<String, String> {
    told.iter()
        .map(|(key, value)| (format!("{}{key}", ANNOTATIONS), (*value).to_owned()))
        .collect()
}

const JOINED: (&str, &str) = ("kube-subnet-manager", "true");
const VXLAN: (&str, &str) = ("backend-type", "vxlan");
const IP: (&str, &str) = ("public-ip", "192.0.2.2");
const DATA: (&str, &str) = ("backend-data", r#"{"VNI":1,"VtepMAC":"02:00:00:00:00:02"}"#);
const IPV6: (&str, &str) = ("public-ipv6", "2001:db8::2");
const V6_DATA: (&str, &str) = (
    "backend-v6-data",
    r#"{"VNI":1,"VtepMAC":"02:00:00:00:00:12"}"#,
);

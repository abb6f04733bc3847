use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn environment(command: &str) -> Environment {
    Environment {
        command: command.to_owned(),
        container: "c1".to_owned(),
        netns: "/run/netns/c1".to_owned(),
        ifname: "eth0".to_owned(),
        args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b".to_owned(),
        path: "/opt/cni/bin".to_owned(),
        netns_override: String::new(),
    }
}

fn read(command: &str, config: &Value) -> Result<Request, Refusal> {
    Request::read(&environment(command), config.to_string().as_bytes())
}

fn config(extra: Value) -> Value {
    let mut config = json!({"cniVersion": "1.1.0", "name": "pods", "type": "penstock-cni"});
    for (key, value) in extra.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

/// The result of the spec's appendix (bridge, ADD), in the shape of 1.0.0.
fn example() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "interfaces": [
            {"name": "cni0", "mac": "00:11:22:33:44:55"},
            {"name": "veth3243", "mac": "55:44:33:22:11:11"},
            {"name": "eth0", "mac": "99:88:77:66:55:44", "sandbox": "/var/run/netns/blue"},
        ],
        "dns": {"nameservers": ["10.1.0.1"]},
    })
}

#[test]
fn the_specs_result_is_written_for_every_version() {
    let outcome = Outcome::read(&example(), Version::V1_0_0).unwrap();
    assert_eq!(outcome.write(Version::V1_0_0), example());
    for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0] {
        let mut want = example();
        want["cniVersion"] = version.as_str().into();
        want["ips"][0]["version"] = "4".into();
        assert_eq!(outcome.write(version), want);
    }
    let mut want = example();
    want["cniVersion"] = "1.1.0".into();
    assert_eq!(outcome.write(Version::V1_1_0), want);
    for version in [Version::V0_1_0, Version::V0_2_0] {
        let want = json!({
            "cniVersion": version.as_str(),
            "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
            "dns": {"nameservers": ["10.1.0.1"]},
        });
        assert_eq!(outcome.write(version), want);
    }
}

#[test]
fn every_version_reads_what_it_writes() {
    let rich = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1450, "sandbox": "/n",
            "socketPath": "/s", "pciID": "0000:00:1f.6"}],
        "ips": [{"address": "10.1.0.5/32", "interface": 0}, {"address": "fd00::5/128", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1", "mtu": 1400, "advmss": 1360, "priority": 7,
            "table": 100, "scope": 253}, {"dst": "::/0", "gw": "fe80::1"}],
    });
    let outcome = Outcome::read(&rich, Version::V1_1_0).unwrap();
    assert_eq!(outcome.write(Version::V1_1_0), rich);
    for version in Version::ALL {
        let written = outcome.write(version);
        let again = Outcome::read(&written, version).unwrap();
        assert_eq!(again.write(version), written, "{version}");
        assert_eq!(again.ips.len(), 2, "{version}");
    }
    let plain = outcome.write(Version::V1_0_0);
    assert_eq!(
        plain["routes"][0],
        json!({"dst": "0.0.0.0/0", "gw": "169.254.1.1"})
    );
    assert_eq!(plain["interfaces"][0].as_object().unwrap().len(), 3);
}

#[test]
fn what_was_made_before_keeps_its_place() {
    let previous = Outcome::read(&example(), Version::V1_0_0).unwrap();
    let ours = Outcome::read(
        &json!({"interfaces": [{"name": "net1"}], "ips": [{"address": "10.9.0.1/32", "interface": 0}]}),
        Version::V1_0_0,
    );
    let all = ours.unwrap().after(previous);
    assert_eq!(all.interfaces[3].name, "net1");
    let places: Vec<_> = all.ips.iter().map(|ip| ip.interface).collect();
    assert_eq!(places, [Some(2), Some(3)]);
    assert_eq!(all.dns.nameservers, ["10.1.0.1"]);
}

#[test]
fn version_needs_nothing() {
    let request = Request::read(
        &Environment {
            command: "VERSION".to_owned(),
            ..Environment::default()
        },
        b"",
    );
    assert_eq!(request.unwrap().command, Command::Version);
    let all = json!([
        "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"
    ]);
    for (stdin, named) in [
        (&b""[..], "1.1.0"),
        (b"rubbish", "1.1.0"),
        (br#"{"cniVersion":"0.3.1"}"#, "0.3.1"),
        (br#"{"cniVersion":"9.9.9"}"#, "9.9.9"),
    ] {
        assert_eq!(
            version_reply(stdin),
            json!({"cniVersion": named, "supportedVersions": all})
        );
    }
}

#[test]
fn variables_that_are_missing_are_all_named() {
    let only = |command: &str| Environment {
        command: command.to_owned(),
        ..Environment::default()
    };
    for (environment, names) in [
        (only(""), "CNI_COMMAND"),
        (
            only("ADD"),
            "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH",
        ),
        (
            only("CHECK"),
            "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH",
        ),
        (only("DEL"), "CNI_CONTAINERID, CNI_IFNAME, CNI_PATH"),
        (only("GC"), "CNI_PATH"),
        (only("STATUS"), "CNI_PATH"),
    ] {
        let refusal = Request::read(&environment, b"{}").unwrap_err();
        assert_eq!(refusal.code, Code::Environment);
        assert!(refusal.message.ends_with(names), "{refusal}");
    }
}

#[test]
fn hostile_variables_are_refused() {
    let good = environment("ADD");
    let stdin = config(json!({})).to_string();
    let code = |environment: &Environment| {
        Request::read(environment, stdin.as_bytes()).map_err(|refusal| refusal.code)
    };
    assert!(code(&good).is_ok());
    for container in ["../etc", "-a", "a b", "a/b", "ä", "a\0"] {
        let hostile = Environment {
            container: container.to_owned(),
            ..good.clone()
        };
        assert_eq!(code(&hostile), Err(Code::Environment), "{container:?}");
    }
    for ifname in [".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-letters-"] {
        let hostile = Environment {
            ifname: ifname.to_owned(),
            ..good.clone()
        };
        assert_eq!(code(&hostile), Err(Code::Environment), "{ifname:?}");
    }
    for args in ["a", "=b", "a=b;c"] {
        let hostile = Environment {
            args: args.to_owned(),
            ..good.clone()
        };
        assert_eq!(code(&hostile), Err(Code::Environment), "{args:?}");
    }
    let unknown = Environment {
        command: "add".to_owned(),
        ..good
    };
    assert_eq!(code(&unknown), Err(Code::Environment));
}

#[test]
fn configurations_are_refused_with_the_specs_codes() {
    for (extra, code) in [
        (json!({"cniVersion": "2.0.0"}), Code::IncompatibleVersion),
        (json!({"cniVersion": 1}), Code::Decode),
        (json!({"name": ""}), Code::Config),
        (json!({"name": "a/../b"}), Code::Config),
        (
            json!({"ipam": {"type": "host-local"}}),
            Code::UnsupportedField,
        ),
        (
            json!({"runtimeConfig": {"deviceID": "0000:00"}}),
            Code::UnsupportedField,
        ),
        (json!({"runtimeConfig": []}), Code::Decode),
        (json!({"mtu": 20}), Code::Config),
        (json!({"mtu": 1 << 20}), Code::Config),
        (json!({"runtimeConfig": {"ips": ["10.0.0"]}}), Code::Config),
        (
            json!({"runtimeConfig": {"mac": "01:00:00:00:00:00"}}),
            Code::Config,
        ),
        (json!({"runtimeConfig": {"mac": "nonsense"}}), Code::Config),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 70000, "containerPort": 1}]}}),
            Code::Config,
        ),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 80}]}}),
            Code::Config,
        ),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 1, "protocol": "icmp"}]}}),
            Code::Config,
        ),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 1, "hostIP": "x"}]}}),
            Code::Config,
        ),
        (
            json!({"runtimeConfig": {"bandwidth": {"ingressRate": -1}}}),
            Code::Decode,
        ),
        (json!({"prevResult": 7}), Code::Decode),
        (
            json!({"prevResult": {"ips": [{"address": "10.0.0.1/24", "interface": 0}]}}),
            Code::Config,
        ),
    ] {
        let refusal = read("ADD", &config(extra.clone())).unwrap_err();
        assert_eq!(refusal.code, code, "{extra}: {refusal}");
    }
    let named = read("ADD", &config(json!({"ipam": {"type": "host-local"}}))).unwrap_err();
    assert!(named.message.contains("ipam.type") && named.message.contains("\"host-local\""));
    for stdin in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{\"name\": \"a\"} x",
    ] {
        let refusal = Request::read(&environment("ADD"), stdin).unwrap_err();
        assert_eq!(refusal.code, Code::Decode, "{stdin:?}");
    }
}

#[test]
fn commands_came_with_their_versions() {
    for (command, version, spoken) in [
        ("ADD", "0.1.0", true),
        ("DEL", "0.1.0", true),
        ("CHECK", "0.3.1", false),
        ("CHECK", "0.4.0", true),
        ("GC", "1.0.0", false),
        ("GC", "1.1.0", true),
        ("STATUS", "1.0.0", false),
        ("STATUS", "1.1.0", true),
    ] {
        let given = config(json!({"cniVersion": version, "prevResult": {}}));
        let code = read(command, &given)
            .map(drop)
            .map_err(|refusal| refusal.code);
        let want = if spoken {
            Ok(())
        } else {
            Err(Code::IncompatibleVersion)
        };
        assert_eq!(code, want, "{command} {version}");
    }
    let unversioned = json!({"name": "pods", "type": "penstock-cni"});
    let request = read("ADD", &unversioned).unwrap();
    assert_eq!(request.config.unwrap().version, Version::V0_1_0);
    let check = read("CHECK", &config(json!({}))).unwrap_err();
    assert_eq!(check.code, Code::Config);
}

#[test]
fn capabilities_are_understood() {
    let given = config(json!({
        "unknown": {"key": [1]},
        "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}],
        "dns": {"nameservers": ["10.0.0.10"]},
        "runtimeConfig": {
            "portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "TCP"},
                {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "10.0.0.1"},
                {"hostPort": 0, "containerPort": 99},
            ],
            "bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 4_294_967_295_u32, "egressRate": 500},
            "ips": ["10.244.1.9/24", "fd00::9"],
            "mac": "02:00:00:00:00:09",
            "dns": {"servers": ["10.0.0.11"], "searches": ["x"], "options": ["ndots:5"]},
            "io.kubernetes.cri.pod-annotations": {"a/b": "c"},
        },
    }));
    let config = read("ADD", &given).unwrap().config.unwrap();
    let runtime = config.runtime;
    assert_eq!(
        runtime.port_mappings.len(),
        2,
        "a host port of 0 asks for nothing"
    );
    assert_eq!(runtime.port_mappings[1].protocol, Transport::Udp);
    assert_eq!(
        runtime.bandwidth.egress,
        Some(Rate {
            bits: 500,
            burst: 50
        })
    );
    assert_eq!(runtime.ips.len(), 2);
    assert_eq!(runtime.mac.unwrap().to_string(), "02:00:00:00:00:09");
    assert_eq!(runtime.dns.unwrap().search, ["x"]);
    assert_eq!(runtime.pod_annotations["a/b"], "c");
    assert_eq!(config.valid_attachments[0].container, "a");
}

#[test]
fn the_weightier_place_of_a_wish_counts() {
    let args = json!({"cni": {"ips": ["10.0.0.2"], "mac": "02:00:00:00:00:02"}});
    let runtime = json!({"ips": ["10.0.0.1"]});
    let with = |extra: Value| {
        let mut environment = environment("ADD");
        environment.args = "IP=10.0.0.3;MAC=02:00:00:00:00:03".to_owned();
        let request = Request::read(&environment, config(extra).to_string().as_bytes());
        let runtime = request.unwrap().config.unwrap().runtime;
        (runtime.ips[0].to_string(), runtime.mac.unwrap().to_string())
    };
    let all = with(json!({"args": args, "runtimeConfig": runtime}));
    assert_eq!(all, ("10.0.0.1".to_owned(), "02:00:00:00:00:02".to_owned()));
    assert_eq!(with(json!({"args": args})).0, "10.0.0.2");
    assert_eq!(
        with(json!({})),
        ("10.0.0.3".to_owned(), "02:00:00:00:00:03".to_owned())
    );
}

proptest! {
    #[test]
    fn no_input_is_too_strange(stdin in prop::collection::vec(any::<u8>(), 0..200), args in ".{0,40}", name in ".{0,20}") {
        let mut environment = environment("ADD");
        environment.args = args;
        environment.ifname = name;
        prop_assert!(Request::read(&environment, &stdin).is_err());
    }
}

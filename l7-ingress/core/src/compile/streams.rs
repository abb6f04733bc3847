//! `--tcp-services-configmap` and `--udp-services-configmap`: `port: namespace/service:port[:PROXY[:PROXY]]`.

use std::sync::Arc;

use model::{Kind, ObjectName, ObjectRef, PortRef, Problem, Protocol, Severity};

use super::services::{Unreachable, Wish};
use super::{Compiler, Source};
use crate::table::{Stream, Streams};
use crate::{BackendProtocol, Manner};

/// One entry of such a ConfigMap.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    port: u16,
    service: ObjectName,
    target: PortRef,
    reads_proxy: bool,
    writes_proxy: bool,
}

impl Compiler {
    /// The ConfigMaps of such ports.
    fn stream_configs(&self) -> [(Protocol, Option<ObjectName>); 2] {
        [
            (Protocol::Tcp, self.base.tcp_services.clone()),
            (Protocol::Udp, self.base.udp_services.clone()),
        ]
    }

    /// Whether the ports depend on this ConfigMap.
    pub(super) fn streams_of(&self, config: &ObjectName) -> bool {
        [&self.base.tcp_services, &self.base.udp_services].contains(&&Some(config.clone()))
    }

    /// Whether the ports depend on this Service.
    pub(super) fn streams_to(&self, service: &ObjectName) -> bool {
        let mut streams = self.streams.values();
        streams.any(|stream| stream.backend.service == *service)
    }

    /// Reads the ConfigMaps of ports.
    pub(super) fn compile_streams(&mut self) {
        let mut streams = Streams::new();
        for (protocol, config) in self.stream_configs() {
            if let Some(config) = config {
                let problems = self.streams(protocol, &config, &mut streams);
                self.note(Source::Streams(protocol), problems);
            }
        }
        // First in, then out: what both use is not let go in between.
        let last = std::mem::replace(&mut self.streams, Arc::new(streams));
        for stream in last.values() {
            self.services.release(&stream.backend);
        }
    }

    fn streams(
        &mut self,
        protocol: Protocol,
        config: &ObjectName,
        streams: &mut Streams,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut report = |field: String, reason, message| {
            problems.push(Problem {
                object: ObjectRef::new(Kind::ConfigMap, config.clone()),
                field,
                reason,
                message,
                severity: Severity::Warning,
            });
        };
        let Some(data) = self.configs.get(config).cloned() else {
            let what = "does not exist: no port is opened for it".to_owned();
            report("data".to_owned(), "ConfigMapNotFound", what);
            return problems;
        };
        for (key, text) in data.iter() {
            let field = || format!("data[{key}]");
            let entry = match Entry::read(protocol, key, text) {
                Ok(entry) => entry,
                Err(what) => {
                    report(
                        field(),
                        "InvalidValue",
                        format!("{what}; no port is opened for it"),
                    );
                    continue;
                }
            };
            let (stream, fault) = self.stream(protocol, config, &entry);
            if let Some(fault) = fault {
                let (service, target) = (&entry.service, &entry.target);
                let what = match fault {
                    Unreachable::NoService => format!("Service {service} does not exist"),
                    Unreachable::NoPort => format!("Service {service} has no such port {target}"),
                    Unreachable::Loopback | Unreachable::NoName => {
                        format!("the external name of Service {service} leads nowhere")
                    }
                };
                report(
                    field(),
                    "ServiceNotFound",
                    format!("{what}; connections are closed"),
                );
            }
            streams.insert((protocol, entry.port), Arc::new(stream));
        }
        problems
    }

    fn stream(
        &mut self,
        protocol: Protocol,
        config: &ObjectName,
        entry: &Entry,
    ) -> (Stream, Option<Unreachable>) {
        let wish = Wish {
            port: Some(&entry.target),
            protocol: Some(BackendProtocol::Http),
            tls: None,
            manner: Manner {
                balance: self.settings.balance,
                transport: protocol,
                ..Manner::default()
            },
        };
        let (backend, fault) = self.services.acquire(&entry.service, wish);
        let stream = Stream {
            config: config.clone(),
            backend,
            reads_proxy: entry.reads_proxy,
            writes_proxy: entry.writes_proxy,
        };
        (stream, fault)
    }
}

impl Entry {
    fn read(protocol: Protocol, key: &str, text: &str) -> Result<Self, String> {
        let port = key.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| format!("{key:?} is no port from 1 to 65535"))?;
        let fault = || format!("{text:?} is no NAMESPACE/SERVICE:PORT[:PROXY[:PROXY]]");
        let mut parts = text.trim().split(':');
        let service = parts.next().and_then(|name| ObjectName::parse(name, ""));
        let service = service.ok_or_else(fault)?;
        let target = match parts.next().map(|port| (port, port.parse())) {
            None | Some(("", _) | (_, Ok(0))) => return Err(fault()),
            Some((_, Ok(number))) => PortRef::Number(number),
            Some((name, Err(_))) => PortRef::Name(name.into()),
        };
        let mut proxy = || match parts.next() {
            None | Some("") => Ok(false),
            Some(word) if word.eq_ignore_ascii_case("PROXY") => Ok(true),
            Some(_) => Err(fault()),
        };
        let (reads_proxy, writes_proxy) = (proxy()?, proxy()?);
        if parts.next().is_some() {
            return Err(fault());
        }
        if protocol == Protocol::Udp && (reads_proxy || writes_proxy) {
            return Err(format!("{text:?}: datagrams have no PROXY header"));
        }
        Ok(Self {
            port,
            service,
            target,
            reads_proxy,
            writes_proxy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_ingress_nginx_reads_them() {
        let read = |text: &str| {
            let entry = Entry::read(Protocol::Tcp, "9000", text).ok()?;
            let target = format!("{}:{}", entry.service, entry.target);
            Some((target, entry.reads_proxy, entry.writes_proxy))
        };
        let entry = |target: &str, reads, writes| Some((target.to_owned(), reads, writes));
        assert_eq!(read("a/b:80"), entry("a/b:80", false, false));
        assert_eq!(read("a/b:dns"), entry("a/b:dns", false, false));
        assert_eq!(read("a/b:80:PROXY"), entry("a/b:80", true, false));
        assert_eq!(read("a/b:80::proxy"), entry("a/b:80", false, true));
        assert_eq!(read("a/b:80:PROXY:PROXY"), entry("a/b:80", true, true));
        for bad in [
            "",
            "a/b",
            "b:80",
            "a/b:",
            "a/b:0",
            "a/b:80:X",
            "a/b:80:PROXY:PROXY:PROXY",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        for port in ["0", "65536", "http", ""] {
            assert!(
                Entry::read(Protocol::Tcp, port, "a/b:80").is_err(),
                "{port:?}"
            );
        }
        assert!(Entry::read(Protocol::Udp, "53", "a/b:53:PROXY").is_err());
    }
}

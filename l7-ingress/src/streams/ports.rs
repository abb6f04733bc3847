//! Opens and closes ports: the part of the control loop.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use l7_ingress_core::{StreamPort, Table};
use model::{Kind, ObjectRef, Problem, Protocol, Severity};
use socket2::{Domain, Type};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Open, Socket};
use crate::listen;

/// The ports that are open.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Where they are opened.
    addresses: BTreeSet<IpAddr>,
    /// TCP ports that are taken by this process.
    own: BTreeSet<u16>,
    workers: Vec<mpsc::Sender<Open>>,
    open: BTreeMap<StreamPort, CancellationToken>,
    /// Those that cannot be opened, and why.
    failed: BTreeMap<StreamPort, String>,
}

impl Ports {
    /// `http` are the addresses of HTTP, on whose hosts ports are opened; `taken` those that are not free.
    pub(crate) fn new(
        http: &[SocketAddr],
        taken: impl Iterator<Item = SocketAddr>,
        workers: Vec<mpsc::Sender<Open>>,
    ) -> Self {
        Self {
            addresses: http.iter().map(SocketAddr::ip).collect(),
            own: taken.map(|address| address.port()).collect(),
            workers,
            open: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Whether something is to be tried again.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Makes the open ports what the table wants.
    pub(crate) async fn reconcile(&mut self, table: &Table) {
        let wanted: BTreeSet<StreamPort> = table.streams().map(|(port, _)| port).collect();
        self.failed.retain(|port, _| wanted.contains(port));
        self.open.retain(|port, stop| {
            let stays = wanted.contains(port);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for port in wanted {
            if self.open.contains_key(&port) {
                continue;
            }
            match self.open(port).await {
                Ok(stop) => {
                    self.failed.remove(&port);
                    self.open.insert(port, stop);
                }
                Err(why) => {
                    self.failed.insert(port, why);
                }
            }
        }
    }

    /// What cannot be opened.
    pub(crate) fn problems(&self, table: &Table) -> Vec<Problem> {
        let failed = self.failed.iter();
        let problems = failed.filter_map(|(port, why)| {
            let stream = table.stream(*port)?;
            Some(Problem {
                object: ObjectRef::new(Kind::ConfigMap, stream.config.clone()),
                field: format!("data[{}]", port.1),
                reason: "PortUnavailable",
                message: format!("{why}; it is tried again"),
                severity: Severity::Warning,
            })
        });
        problems.collect()
    }

    async fn open(&self, port: StreamPort) -> Result<CancellationToken, String> {
        if port.0 == Protocol::Tcp && self.own.contains(&port.1) {
            return Err(format!("port {} is this controller's own", port.1));
        }
        let mut sockets: Vec<Vec<Socket>> = Vec::new();
        for ip in &self.addresses {
            let address = SocketAddr::new(*ip, port.1);
            match bind(port.0, address, self.workers.len()) {
                Ok(bound) => sockets.push(bound),
                Err(error) if self.addresses.len() > 1 && listen::lacks_ipv6(address, &error) => {}
                Err(error) => return Err(format!("cannot listen on {address}: {error}")),
            }
        }
        let stop = CancellationToken::new();
        for socket in sockets {
            for (worker, socket) in self.workers.iter().zip(socket) {
                let stop = stop.clone();
                // A worker that is gone has drained.
                let _ = worker.send(Open { port, socket, stop }).await;
            }
        }
        Ok(stop)
    }
}

/// One socket for each worker.
fn bind(protocol: Protocol, address: SocketAddr, workers: usize) -> io::Result<Vec<Socket>> {
    probe(protocol, address)?;
    match protocol {
        Protocol::Udp => (0..workers)
            .map(|_| {
                let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
                only_its_family(&socket, address)?;
                socket.set_reuse_port(true)?;
                socket.set_nonblocking(true)?;
                socket.bind(&address.into())?;
                Ok(Socket::Udp(socket.into()))
            })
            .collect(),
        Protocol::Tcp | Protocol::Sctp => {
            let bound = listen::bind(address, workers)?;
            Ok(bound.into_iter().map(Socket::Tcp).collect())
        }
    }
}

/// Whether the port is free: sockets that share a port would not tell.
fn probe(protocol: Protocol, address: SocketAddr) -> io::Result<()> {
    let kind = match protocol {
        Protocol::Udp => Type::DGRAM,
        Protocol::Tcp | Protocol::Sctp => Type::STREAM,
    };
    let socket = socket2::Socket::new(Domain::for_address(address), kind, None)?;
    only_its_family(&socket, address)?;
    if protocol != Protocol::Udp {
        // Connections of the past do not take it.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if protocol != Protocol::Udp {
        socket.listen(1)?;
    }
    Ok(())
}

fn only_its_family(socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(())
}

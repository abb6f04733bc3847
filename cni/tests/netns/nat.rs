//! The node's ports, and pods that reach the world.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use cni::Requests;
use cni_core::spec::Code;
use netlink::conntrack::{Conntrack, Filter};
use netlink::nft::{Element, Family, Nft, Port, Protocol, Set, Table, Transaction, Type, Value};
use netlink::{
    Address, Change, LinkKind, LinkName, LinkSettings, Namespace, Netlink, NewLink, Peer, Sysctl,
};
use serde_json::{Value as Json, json};

use crate::{Named, Node, addresses, ask, code, done, skipped};

const PATIENCE: Duration = Duration::from_secs(5);
const NODE: [&str; 2] = ["192.0.2.1", "2001:db8:7::1"];
const CLIENT: [&str; 2] = ["192.0.2.9", "2001:db8:7::9"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A node with a cable to somebody outside.
struct World {
    node: Node,
    client: Named,
}

impl World {
    fn new() -> Self {
        let node = Node::new();
        let client = Named::new();
        let peer = Peer {
            name: LinkName::new("up0").unwrap(),
            namespace: Some(client.namespace.clone()),
            mtu: None,
            mac: None,
        };
        let cable = LinkKind::Veth(Box::new(peer));
        let cable = NewLink::new(LinkName::new("up0").unwrap(), cable);
        let mut netlink = Netlink::open_in(&node.namespace).unwrap();
        netlink.add_link(cable).unwrap();
        for (namespace, own) in [(&node.namespace, NODE), (&client.namespace, CLIENT)] {
            let mut netlink = Netlink::open_in(namespace).unwrap();
            let up0 = netlink.link_named(&LinkName::new("up0").unwrap()).unwrap();
            let up = LinkSettings {
                up: Some(true),
                ..LinkSettings::default()
            };
            let [v4, v6] = own;
            let add = |net: String| Change::add(Address::new(up0.index, net.parse().unwrap()));
            let changes = [
                Change::set_link(up0.index, up),
                add(format!("{v4}/24")),
                add(format!("{v6}/64")),
            ];
            netlink.apply_all(&changes).unwrap();
        }
        let forward = || Sysctl::net(&["ipv4", "conf", "up0", "forwarding"]).write("1");
        node.namespace.enter(forward).unwrap().unwrap();
        Self { node, client }
    }
}

fn add(agent: &Requests, container: &str, pod: &Named, ports: &Json) -> Vec<IpAddr> {
    let config = json!({"runtimeConfig": {"portMappings": ports}});
    let result = done(agent.answer(&ask("ADD", container, &pod.path(), &config)));
    addresses(&result.unwrap())
}

/// Who asks, as the pod that listens here sees it. `None` where nobody answers.
fn tcp(from: &Namespace, target: SocketAddr, pod: &Namespace, at: SocketAddr) -> Option<IpAddr> {
    let listener = pod.enter(|| TcpListener::bind(at).unwrap()).unwrap();
    let connect = || TcpStream::connect_timeout(&target, PATIENCE);
    let mut stream = from.enter(connect).unwrap().ok()?;
    let (mut accepted, peer) = listener.accept().unwrap();
    accepted.write_all(b"pod").unwrap();
    drop(accepted);
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "pod");
    Some(peer.ip())
}

/// The same in UDP, from a port of this socket.
fn udp(socket: &UdpSocket, target: SocketAddr, pod: &Namespace, at: SocketAddr) -> Option<IpAddr> {
    let listener = pod.enter(|| UdpSocket::bind(at).unwrap()).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"who?", target).unwrap();
    let (_, peer) = listener.recv_from(&mut [0; 9]).ok()?;
    listener.send_to(b"pod", peer).unwrap();
    let (length, answered) = socket.recv_from(&mut [0; 9]).unwrap();
    assert_eq!((length, answered), (3, target));
    Some(peer.ip())
}

fn udp_socket(namespace: &Namespace, own: IpAddr) -> UdpSocket {
    namespace
        .enter(|| UdpSocket::bind((own, 0)).unwrap())
        .unwrap()
}

#[test]
fn host_ports_lead_to_their_pod_from_everywhere() {
    if skipped() {
        return;
    }
    let world = World::new();
    let (_, agent) = world.node.agent();
    let pods = [Named::new(), Named::new()];
    let ports = json!([
        {"hostPort": 8080, "containerPort": 80},
        {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
    ]);
    let own = add(&agent, "c0", &pods[0], &ports);
    let another = json!([{"hostPort": 8081, "containerPort": 80}]);
    let other = add(&agent, "c1", &pods[1], &another);
    let pod = &pods[0].namespace;
    for family in 0..2 {
        let (node, client) = (ip(NODE[family]), ip(CLIENT[family]));
        let localhost = ip(["127.0.0.1", "::1"][family]);
        let to = |address| SocketAddr::new(address, 8080);
        let at = SocketAddr::new(own[family], 80);
        // From outside and from another pod, with their own addresses.
        let seen = tcp(&world.client.namespace, to(node), pod, at);
        assert_eq!(seen, Some(client));
        assert_eq!(
            tcp(&pods[1].namespace, to(node), pod, at),
            Some(other[family])
        );
        // From the node, by any address of it, and from the pod itself.
        for address in [node, localhost] {
            assert!(
                tcp(&world.node.namespace, to(address), pod, at).is_some(),
                "{address}"
            );
        }
        let (to_other, at_other) = (
            SocketAddr::new(localhost, 8081),
            SocketAddr::new(other[family], 80),
        );
        assert!(
            tcp(
                &world.node.namespace,
                to_other,
                &pods[1].namespace,
                at_other
            )
            .is_some()
        );
        let seen = tcp(pod, to(node), pod, at).unwrap();
        assert_ne!(seen, own[family]);
        let socket = udp_socket(&world.client.namespace, client);
        let (to, at) = (
            SocketAddr::new(node, 5353),
            SocketAddr::new(own[family], 53),
        );
        assert_eq!(udp(&socket, to, pod, at), Some(client));
        let socket = udp_socket(&world.node.namespace, localhost);
        let to = SocketAddr::new(localhost, 5353);
        assert!(udp(&socket, to, pod, at).is_some());
    }
    done(agent.answer(&ask("DEL", "c0", &pods[0].path(), &json!({}))));
    for address in NODE {
        let to = SocketAddr::new(ip(address), 8080);
        let connect = || TcpStream::connect_timeout(&to, PATIENCE).unwrap_err();
        let refused = world.client.namespace.enter(connect).unwrap();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_pod_cannot_reach_its_nodes_localhost() {
    if skipped() {
        return;
    }
    let world = World::new();
    let (_, agent) = world.node.agent();
    let pod = Named::new();
    add(
        &agent,
        "c0",
        &pod,
        &json!([{"hostPort": 8080, "containerPort": 80}]),
    );
    let listen = || UdpSocket::bind("127.0.0.1:99").unwrap();
    let secret = world.node.namespace.enter(listen).unwrap();
    secret.set_nonblocking(true).unwrap();
    // What a pod with all capabilities can do.
    let mut netlink = Netlink::open_in(&pod.namespace).unwrap();
    let eth0 = netlink.link_named(&LinkName::new("eth0").unwrap()).unwrap();
    let lo = netlink.link_named(&LinkName::new("lo").unwrap()).unwrap();
    let local: ipnet::IpNet = "127.0.0.1/8".parse().unwrap();
    netlink
        .change(Change::delete(Address::new(lo.index, local)))
        .unwrap();
    let way = netlink::Route::via(local.trunc(), ip("169.254.1.1"), eth0.index);
    netlink.change(Change::add(way)).unwrap();
    pod.namespace
        .enter(|| {
            Sysctl::net(&["ipv4", "conf", "eth0", "route_localnet"])
                .write("1")
                .unwrap();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"let me in", "127.0.0.1:99").unwrap();
        })
        .unwrap();
    // Delivery within the machine is done by the time a packet is sent.
    assert!(secret.recv(&mut [0; 9]).is_err());
}

#[test]
fn a_host_port_is_had_once_and_on_the_address_that_was_said() {
    if skipped() {
        return;
    }
    let world = World::new();
    let (_, agent) = world.node.agent();
    let pods = [Named::new(), Named::new(), Named::new()];
    let port = |host_ip: &str| json!([{"hostPort": 8080, "containerPort": 80, "hostIP": host_ip}]);
    let first = add(&agent, "c0", &pods[0], &port(NODE[0]));
    for taken in [port(NODE[0]), port("0.0.0.0"), port("")] {
        let config = json!({"runtimeConfig": {"portMappings": taken}});
        let answer = agent.answer(&ask("ADD", "c1", &pods[1].path(), &config));
        assert_eq!(code(answer), Code::HostPortTaken, "{taken}");
    }
    let second = add(&agent, "c1", &pods[1], &port("127.0.0.1"));
    for (address, pod, own) in [(NODE[0], 0, &first), ("127.0.0.1", 1, &second)] {
        let to = SocketAddr::new(ip(address), 8080);
        let at = SocketAddr::new(own[0], 80);
        let (from, pod) = (&world.node.namespace, &pods[pod].namespace);
        assert!(tcp(from, to, pod, at).is_some(), "{address}");
    }
    // What was left behind in the table is in nobody's way.
    let mut nft = Nft::open_in(&world.node.namespace).unwrap();
    let key = [Type::Protocol, Type::Port];
    let map = Set::map("ports4", &key, &[Type::Ipv4, Type::Port]);
    let elsewhere = Value::concat(&[ip("10.9.9.9").into(), Port(9).into()]);
    let element = Element::mapping((Protocol::TCP, Port(9090)), elsewhere);
    let mut transaction = Transaction::new(&Table::new(Family::Inet, "penstock-nat"));
    transaction.create_elements(&map, [&element]);
    nft.commit(transaction).unwrap();
    let third = add(
        &agent,
        "c2",
        &pods[2],
        &json!([{"hostPort": 9090, "containerPort": 80}]),
    );
    let (to, at) = (
        SocketAddr::new(ip(NODE[0]), 9090),
        SocketAddr::new(third[0], 80),
    );
    assert!(tcp(&world.client.namespace, to, &pods[2].namespace, at).is_some());
}

#[test]
fn a_udp_client_that_keeps_sending_follows_its_port() {
    if skipped() {
        return;
    }
    let world = World::new();
    let (_, agent) = world.node.agent();
    let ports = json!([{"hostPort": 5353, "containerPort": 53, "protocol": "udp"}]);
    for (address, own) in [0, 1].map(|family| (ip(NODE[family]), ip(CLIENT[family]))) {
        let socket = udp_socket(&world.client.namespace, own);
        let to = SocketAddr::new(address, 5353);
        // The kernel remembers this as sent to the node itself.
        socket.send_to(b"nobody there?", to).unwrap();
        for container in ["c0", "c1"] {
            let pod = Named::new();
            let has = add(&agent, container, &pod, &ports);
            let is_of_family = |one: &&IpAddr| one.is_ipv4() == own.is_ipv4();
            let at = SocketAddr::new(*has.iter().find(is_of_family).unwrap(), 53);
            assert_eq!(
                udp(&socket, to, &pod.namespace, at),
                Some(own),
                "{container}"
            );
            done(agent.answer(&ask("DEL", container, &pod.path(), &json!({}))));
        }
        agent.settle();
        let mut conntrack = Conntrack::open_in(&world.node.namespace).unwrap();
        let left = conntrack
            .entries(&[Filter::to_port(Protocol::UDP, 5353)])
            .unwrap();
        assert_eq!(left, []);
    }
}

#[test]
fn a_restart_touches_nothing_and_mends_what_is_broken() {
    if skipped() {
        return;
    }
    let world = World::new();
    let (_, agent) = world.node.agent();
    let pod = Named::new();
    let ports = json!([{"hostPort": 8080, "containerPort": 80}]);
    let own = add(&agent, "c0", &pod, &ports);
    drop(agent);
    let mut nft = Nft::open_in(&world.node.namespace).unwrap();
    let before = nft.generation().unwrap();
    let (_, agent) = world.node.agent();
    assert_eq!(nft.generation().unwrap(), before, "nothing was changed");
    drop(agent);
    let table = Table::new(Family::Inet, "penstock-nat");
    let reaches = || {
        let to = SocketAddr::new(ip(NODE[0]), 8080);
        let at = SocketAddr::new(own[0], 80);
        tcp(&world.client.namespace, to, &pod.namespace, at)
    };
    let mut without_a_chain = Transaction::new(&table);
    without_a_chain
        .flush_chain("prerouting")
        .delete_chain("prerouting");
    let mut without_a_table = Transaction::new(&table);
    without_a_table.delete_table();
    let mut with_a_stranger = Transaction::new(&table);
    with_a_stranger.flush_set("ports4");
    for broken in [without_a_chain, without_a_table, with_a_stranger] {
        nft.commit(broken).unwrap();
        let (_, _agent) = world.node.agent();
        assert_eq!(reaches(), Some(ip(CLIENT[0])));
    }
}

#[test]
fn pods_reach_the_world_as_their_node_and_each_other_as_themselves() {
    if skipped() {
        return;
    }
    let world = World::new();
    let (_, agent) = world.node.agent();
    let pods = [Named::new(), Named::new()];
    let own = add(&agent, "c0", &pods[0], &json!([]));
    let other = add(&agent, "c1", &pods[1], &json!([]));
    for family in 0..2 {
        let seen = |to: &str, whose: &Namespace| {
            let target = SocketAddr::new(ip(to), 80);
            tcp(&pods[0].namespace, target, whose, target).unwrap()
        };
        assert_eq!(
            seen(CLIENT[family], &world.client.namespace),
            ip(NODE[family])
        );
        let to = other[family].to_string();
        assert_eq!(seen(&to, &pods[1].namespace), own[family]);
        assert_eq!(seen(NODE[family], &world.node.namespace), own[family]);
        // Pods of another node, which the client stands in for.
        let far = ["10.77.9.9/32", "fd77:9::9/128"][family];
        let far: ipnet::IpNet = far.parse().unwrap();
        let mut netlink = Netlink::open_in(&world.client.namespace).unwrap();
        let lo = netlink.link_named(&LinkName::new("lo").unwrap()).unwrap();
        let up0 = netlink.link_named(&LinkName::new("up0").unwrap()).unwrap();
        let back = netlink::Route::via(own[family].into(), ip(NODE[family]), up0.index);
        let there = [Change::add(Address::new(lo.index, far)), Change::add(back)];
        netlink.apply_all(&there).unwrap();
        let mut netlink = Netlink::open_in(&world.node.namespace).unwrap();
        let up0 = netlink.link_named(&LinkName::new("up0").unwrap()).unwrap();
        let way = netlink::Route::via(far, ip(CLIENT[family]), up0.index);
        netlink.change(Change::add(way)).unwrap();
        let to = far.addr().to_string();
        assert_eq!(seen(&to, &world.client.namespace), own[family]);
    }
}

#[test]
fn many_ports_come_and_go_at_once() {
    if skipped() {
        return;
    }
    let world = World::new();
    let (book, agent) = world.node.agent();
    let pods: Vec<Named> = (0..8).map(|_| Named::new()).collect();
    for _ in 0..2 {
        thread::scope(|scope| {
            for (number, pod) in pods.iter().enumerate() {
                let agent = &agent;
                scope.spawn(move || {
                    let container = format!("c{number}");
                    let ports = json!([{"hostPort": 7000 + number, "containerPort": 80}]);
                    add(agent, &container, pod, &ports);
                });
            }
        });
        assert_eq!(book.leases().len(), 8);
        thread::scope(|scope| {
            for (number, pod) in pods.iter().enumerate() {
                let agent = &agent;
                scope.spawn(move || {
                    let del = ask("DEL", &format!("c{number}"), &pod.path(), &json!({}));
                    done(agent.answer(&del));
                });
            }
        });
    }
    agent.settle();
    assert!(book.leases().is_empty());
    let mut nft = Nft::open_in(&world.node.namespace).unwrap();
    let contents = nft.contents(&Table::new(Family::Inet, "penstock-nat"));
    let sets = contents.unwrap().unwrap().sets;
    let left = sets.iter().filter(|filled| !filled.elements.is_empty());
    let mut left: Vec<_> = left.map(|filled| filled.set.name.to_string()).collect();
    left.sort();
    assert_eq!(left, ["cluster4", "cluster6", "local4", "local6"]);
}

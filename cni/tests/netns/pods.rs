//! ADD, CHECK, DEL, GC and STATUS, and packets between what they make.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cni_core::spec::Code;
use netlink::{Change, LinkKind, LinkName, Namespace, Netlink, NewLink};
use serde_json::{Value, json};

use crate::{Named, Node, addresses, ask, code, done, refused, skipped};

/// Whether TCP from one namespace reaches the other at this address, and says who it comes from.
pub(crate) fn reaches(from: &Namespace, to: &Namespace, address: IpAddr) -> IpAddr {
    let listener = to
        .enter(|| TcpListener::bind(SocketAddr::new(address, 0)).unwrap())
        .unwrap();
    let target = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.write_all(b"pod").unwrap();
        peer.ip()
    });
    let mut stream = from
        .enter(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)).unwrap())
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "pod");
    server.join().unwrap()
}

#[test]
fn pods_reach_each_other_and_their_node() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (_, agent) = node.agent();
    let pods = [Named::new(), Named::new()];
    let results: Vec<Value> = pods
        .iter()
        .enumerate()
        .map(|(number, pod)| {
            let ask = ask("ADD", &format!("c{number}"), &pod.path(), &json!({}));
            done(agent.answer(&ask)).unwrap()
        })
        .collect();
    let [a, b] = [addresses(&results[0]), addresses(&results[1])];
    assert_eq!(a.len(), 2);
    for family in 0..2 {
        let peer = reaches(&pods[0].namespace, &pods[1].namespace, b[family]);
        assert_eq!(peer, a[family], "no address is translated");
        // The node's loopback has no address that a pod could answer to but this.
        let mut netlink = Netlink::open_in(&node.namespace).unwrap();
        let lo = netlink.link_named(&LinkName::new("lo").unwrap()).unwrap();
        let own: ipnet::IpNet = ["192.0.2.1/32", "2001:db8::1/128"][family].parse().unwrap();
        let address = netlink::Address::new(lo.index, own);
        netlink.change(Change::add(address)).unwrap();
        assert_eq!(
            reaches(&pods[0].namespace, &node.namespace, own.addr()),
            a[family]
        );
        let peer = reaches(&node.namespace, &pods[0].namespace, a[family]);
        assert_eq!(peer, own.addr());
    }
    // A pod reaches itself, and what is as large as the link takes.
    assert_eq!(reaches(&pods[0].namespace, &pods[0].namespace, a[0]), a[0]);
    let to = pods[1]
        .namespace
        .enter(|| UdpSocket::bind((b[0], 0)).unwrap())
        .unwrap();
    to.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let from = pods[0]
        .namespace
        .enter(|| UdpSocket::bind((a[0], 0)).unwrap())
        .unwrap();
    from.send_to(&[7; 1422], to.local_addr().unwrap()).unwrap();
    assert_eq!(to.recv(&mut [0; 2000]).unwrap(), 1422);
}

#[test]
fn a_result_says_what_was_made_and_check_holds_it_to_that() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (book, agent) = node.agent();
    let pod = Named::new();
    let config = json!({"runtimeConfig": {"ips": ["10.77.1.9"], "mac": "02:00:00:00:00:77"},
        "dns": {"nameservers": ["10.96.0.10"]}});
    let result = done(agent.answer(&ask("ADD", "c1", &pod.path(), &config))).unwrap();
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["interfaces"][1]["name"], "eth0");
    assert_eq!(result["interfaces"][1]["mac"], "02:00:00:00:00:77");
    assert_eq!(result["interfaces"][1]["sandbox"], pod.path());
    assert_eq!(result["interfaces"][1]["mtu"], 1450);
    assert_eq!(result["interfaces"][0].get("sandbox"), None);
    assert_eq!(
        result["ips"][0],
        json!({"address": "10.77.1.9/32", "gateway": "169.254.1.1", "interface": 1})
    );
    assert_eq!(result["routes"][1], json!({"dst": "::/0", "gw": "fe80::1"}));
    assert_eq!(result["dns"]["nameservers"][0], "10.96.0.10");
    let again = code(agent.answer(&ask("ADD", "c1", &pod.path(), &json!({}))));
    assert_eq!(again, Code::InterfaceExists);
    // One that somebody else has made stays, and nothing else of the attempt does.
    let foreign = Named::new();
    let mut inside = Netlink::open_in(&foreign.namespace).unwrap();
    let eth0 = NewLink::new(LinkName::new("eth0").unwrap(), LinkKind::Bridge);
    inside.add_link(eth0).unwrap();
    let there = code(agent.answer(&ask("ADD", "c2", &foreign.path(), &json!({}))));
    assert_eq!(there, Code::InterfaceExists);
    assert_eq!((node.cables().len(), book.leases().len()), (1, 1));
    assert_eq!(foreign.links(), ["lo", "eth0"]);
    let check = ask("CHECK", "c1", &pod.path(), &json!({"prevResult": result}));
    assert_eq!(done(agent.answer(&check)), None);
    let empty = ask("CHECK", "c1", &pod.path(), &json!({"prevResult": {}}));
    assert_eq!(code(agent.answer(&empty)), Code::Different);
    let mut inside = Netlink::open_in(&pod.namespace).unwrap();
    let eth0 = inside
        .link_named(&LinkName::new("eth0").unwrap())
        .unwrap()
        .index;
    for spoil in [
        Change::delete(netlink::Address::new(eth0, "10.77.1.9/32".parse().unwrap())),
        Change::DeleteLink(eth0),
    ] {
        inside.change(spoil).unwrap();
        assert_eq!(code(agent.answer(&check)), Code::Different);
    }
    assert_eq!(
        done(agent.answer(&ask("DEL", "c1", &pod.path(), &json!({})))),
        None
    );
    assert_eq!(code(agent.answer(&check)), Code::UnknownContainer);
}

#[test]
fn del_succeeds_whatever_is_left() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (book, agent) = node.agent();
    let pod = Named::new();
    done(agent.answer(&ask("DEL", "never", "", &json!({}))));
    done(agent.answer(&ask("ADD", "c1", &pod.path(), &json!({}))));
    assert_eq!((node.cables().len(), book.leases().len()), (1, 1));
    for netns in [&pod.path(), "", "/no/such/namespace"] {
        done(agent.answer(&ask("DEL", "c1", netns, &json!({}))));
        agent.settle();
        assert_eq!((node.cables().len(), book.leases().len()), (0, 0));
        assert_eq!(pod.links(), ["lo"]);
    }
}

#[test]
fn what_cannot_be_made_is_refused_with_its_code() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (book, agent) = node.agent();
    let pod = Named::new();
    let name = format!("{}-node", pod.name);
    let own = format!(
        "/proc/self/task/{}/ns/net",
        rustix::thread::gettid().as_raw_nonzero()
    );
    let other = Named::new();
    done(agent.answer(&ask("ADD", "first", &other.path(), &json!({}))));
    for (netns, config, want) in [
        (format!("/run/netns/{name}"), json!({}), Code::Namespace),
        ("/etc/passwd".to_owned(), json!({}), Code::Namespace),
        (
            pod.path(),
            json!({"runtimeConfig": {"ips": ["10.9.9.9"]}}),
            Code::Config,
        ),
        (
            pod.path(),
            json!({"runtimeConfig": {"ips": ["10.77.1.2"]}}),
            Code::AddressTaken,
        ),
    ] {
        let refusal = refused(agent.answer(&ask("ADD", "c1", &netns, &config)));
        assert_eq!(refusal.code, want, "{refusal}");
    }
    let agent_here = cni::Requests::new(Arc::clone(&book), Namespace::current().unwrap()).unwrap();
    assert_eq!(
        code(agent_here.answer(&ask("ADD", "c1", &own, &json!({})))),
        Code::Namespace
    );
    assert_eq!((node.cables().len(), book.leases().len()), (1, 1));
}

#[test]
fn a_full_range_is_told_and_gc_makes_room() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (book, agent) = node.agent();
    let pods: Vec<Named> = (0..13).map(|_| Named::new()).collect();
    // All at once, as a node does it that starts.
    thread::scope(|scope| {
        for (number, pod) in pods.iter().enumerate() {
            let agent = &agent;
            scope.spawn(move || {
                let ask = ask("ADD", &format!("c{number}"), &pod.path(), &json!({}));
                done(agent.answer(&ask));
            });
        }
    });
    let mut given: Vec<_> = book
        .leases()
        .iter()
        .flat_map(|lease| lease.addresses.clone())
        .collect();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 26);
    let more = Named::new();
    assert_eq!(
        code(agent.answer(&ask("ADD", "more", &more.path(), &json!({})))),
        Code::PoolFull
    );
    assert_eq!(
        code(agent.answer(&ask("STATUS", "", "", &json!({})))),
        Code::Unavailable
    );
    let valid = json!({"cni.dev/valid-attachments": [{"containerID": "c3", "ifname": "eth0"}]});
    done(agent.answer(&ask("GC", "", "", &valid)));
    agent.settle();
    assert_eq!(book.leases()[0].key.attachment.container, "c3");
    assert_eq!((node.cables().len(), book.leases().len()), (1, 1));
    done(agent.answer(&ask("STATUS", "", "", &json!({}))));
    done(agent.answer(&ask("ADD", "more", &more.path(), &json!({}))));
    // What is going makes room for those who wait.
    done(agent.answer(&ask("DEL", "more", &more.path(), &json!({}))));
    let wish = book.leases()[0].addresses[0].to_string();
    let same = json!({"runtimeConfig": {"ips": [wish]}});
    done(agent.answer(&ask("DEL", "c3", &pods[3].path(), &json!({}))));
    done(agent.answer(&ask("ADD", "c3", &pods[3].path(), &same)));
}

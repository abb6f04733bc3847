//! Pods that are slowed down.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use cni_core::spec::Code;
use netlink::{Change, LinkKind, LinkName, Namespace, Netlink, NewLink, QdiscKind};
use serde_json::json;

use crate::{Named, Node, addresses, ask, code, done, skipped};

/// How long it takes until this many datagrams of 1000 bytes have come through.
fn time(from: &Namespace, to: &Namespace, address: IpAddr, count: usize) -> Duration {
    let listener = to.enter(|| UdpSocket::bind((address, 0)).unwrap()).unwrap();
    listener
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let unspecified: IpAddr = match address {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0; 16].into(),
    };
    let socket = from
        .enter(|| UdpSocket::bind((unspecified, 0)).unwrap())
        .unwrap();
    socket.connect(listener.local_addr().unwrap()).unwrap();
    let begun = Instant::now();
    // One more for each that came, so that the queue never overflows.
    for _ in 0..8 {
        socket.send(&[7; 1000]).unwrap();
    }
    for _ in 0..count {
        listener.recv(&mut [0; 1500]).unwrap();
        socket.send(&[7; 1000]).unwrap();
    }
    begun.elapsed()
}

#[test]
fn a_pod_is_as_fast_as_it_may_be_each_way() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (book, agent) = node.agent();
    let [slow, fast] = [Named::new(), Named::new()];
    // 20 kB at once, then 100 kB a second out of the pod and 200 kB a second into it.
    let config = json!({"runtimeConfig": {"bandwidth": {
        "egressRate": 800_000, "egressBurst": 160_000, "ingressRate": 1_600_000, "ingressBurst": 160_000,
    }}});
    let result = done(agent.answer(&ask("ADD", "slow", &slow.path(), &config))).unwrap();
    let own = addresses(&result);
    let other = done(agent.answer(&ask("ADD", "fast", &fast.path(), &json!({})))).unwrap();
    let other = addresses(&other);
    for family in 0..2 {
        // 60 kB of which 20 kB are free, where the bucket has filled up meanwhile.
        let out = time(&slow.namespace, &fast.namespace, other[family], 60);
        let into = time(&fast.namespace, &slow.namespace, own[family], 60);
        assert!(out >= Duration::from_millis(350), "{out:?}");
        assert!(into >= Duration::from_millis(170), "{into:?}");
    }

    let check = ask(
        "CHECK",
        "slow",
        &slow.path(),
        &json!({"prevResult": result}),
    );
    done(agent.answer(&check));
    let mut netlink = Netlink::open_in(&node.namespace).unwrap();
    let qdiscs = netlink.qdiscs(None).unwrap().into_iter();
    let buckets = qdiscs.filter(|found| matches!(found.kind, QdiscKind::TokenBucket(_)));
    for qdisc in buckets {
        netlink.change(Change::delete(qdisc.clone())).unwrap();
        assert_eq!(code(agent.answer(&check)), Code::Different);
        netlink.change(Change::add(qdisc)).unwrap();
        done(agent.answer(&check));
    }
    let lease = book
        .leases()
        .into_iter()
        .find(|lease| lease.key.attachment.container == "slow");
    let link = LinkName::new(&lease.unwrap().key.slow_link()).unwrap();
    assert!(netlink.link(&link).unwrap().is_some());
    done(agent.answer(&ask("DEL", "slow", &slow.path(), &json!({}))));
    agent.settle();
    assert_eq!(netlink.link(&link).unwrap(), None);
    assert_eq!((node.cables().len(), book.leases().len()), (1, 1));

    // What slowed down a pod that nobody knows of goes at the next start.
    let left = NewLink::new(LinkName::new("peb0123456789ab").unwrap(), LinkKind::Ifb);
    netlink.add_link(left).unwrap();
    agent.recover().unwrap();
    assert_eq!(node.cables().len(), 1);
}

//! Traffic control: what is asked for is listed, and slows down what it is about.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use netlink::{
    Change, LinkIndex, LinkKind, Namespace, Netlink, NewLink, Qdisc, QdiscKind, Redirect,
    TokenBucket,
};

use crate::{cable, lacks, name, skipped, up};

const PATIENCE: Duration = Duration::from_secs(5);

/// Two hosts on a cable, and the first one's end of it.
fn start() -> Option<(Namespace, Namespace, Netlink, LinkIndex)> {
    if skipped() {
        return None;
    }
    let (node, pod) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    cable(&node, &pod, ["10.9.0.1/24", "10.9.0.2/24"]);
    let mut netlink = Netlink::open_in(&node).unwrap();
    let dev = netlink.link_named(&name("e0")).unwrap().index;
    Some((node, pod, netlink, dev))
}

/// Whether the kernel has this kind.
fn has(netlink: &mut Netlink, qdisc: &Qdisc) -> bool {
    match netlink.change(Change::add(qdisc.clone())) {
        Err(error) if error.is_unsupported() || error.is_not_there() => {
            println!("skipped: this kernel lacks a qdisc: {error}");
            false
        }
        made => {
            made.unwrap();
            true
        }
    }
}

fn kinds(netlink: &mut Netlink, dev: LinkIndex) -> Vec<QdiscKind> {
    let qdiscs = netlink.qdiscs(Some(dev)).unwrap();
    qdiscs.into_iter().map(|qdisc| qdisc.kind).collect()
}

#[test]
fn token_buckets_are_listed_as_they_were_meant() {
    let Some((_node, _pod, mut netlink, dev)) = start() else {
        return;
    };
    let bucket = TokenBucket::new(1_250_000, 32_768, PATIENCE);
    if !has(&mut netlink, &Qdisc::shaping(dev, bucket)) {
        return;
    }
    let plain = QdiscKind::TokenBucket(bucket);
    assert_eq!(kinds(&mut netlink, dev), [plain]);
    let again = Change::add(Qdisc::shaping(dev, bucket));
    let error = netlink.change(again).unwrap_err();
    assert!(error.is_already_there(), "{error}");
    let words = "adding qdisc tbf rate 1250000 B/s burst 32768 B dev e0: ";
    assert!(error.to_string().starts_with(words), "{error}");

    // Slow and fast ones, odd ones, and one whose burst takes longer than can be listed.
    for (rate, burst) in [
        (1000, 1514),
        (12_345_679, 77_777),
        (125_000, u32::MAX),
        (6_000_000_000, 1_000_003),
        (100, 536_870_911),
    ] {
        let bucket = TokenBucket::new(rate, burst, PATIENCE);
        let change = Change::replace(Qdisc::shaping(dev, bucket));
        netlink.change(change).unwrap();
        let want = QdiscKind::TokenBucket(bucket.as_listed());
        assert_eq!(kinds(&mut netlink, dev), [want], "{bucket}");
    }
    let other = Qdisc {
        dev,
        kind: QdiscKind::Other("htb".into()),
    };
    netlink.change(Change::delete(other)).unwrap_err();
    let shaping = Qdisc::shaping(dev, bucket);
    netlink.change(Change::delete(shaping)).unwrap();
    assert_eq!(
        kinds(&mut netlink, dev),
        [QdiscKind::Other("noqueue".into())]
    );
}

#[test]
fn what_comes_in_is_sent_through_another_link() {
    let Some((node, pod, mut netlink, dev)) = start() else {
        return;
    };
    let shaper = netlink.add_link(NewLink::new(name("ifb-e0"), LinkKind::Ifb).with(up()));
    if lacks("ifb", &shaper) {
        return;
    }
    let shaper = shaper.unwrap().index;
    // Room for one packet; each further one waits for a fifth of a second.
    let bucket = TokenBucket::new(5000, 1100, PATIENCE);
    if !has(&mut netlink, &Qdisc::shaping(shaper, bucket)) {
        return;
    }
    let redirect = Redirect {
        dev,
        to: shaper,
        priority: 10,
    };
    let changes = [
        Change::replace(Qdisc::clsact(dev)),
        Change::replace(Qdisc::clsact(dev)),
        Change::add(redirect),
    ];
    netlink.apply_all(&changes).unwrap();
    assert_eq!(netlink.redirects(dev).unwrap(), [redirect]);
    assert_eq!(netlink.redirects(shaper).unwrap(), []);
    assert!(kinds(&mut netlink, dev).contains(&QdiscKind::Clsact));

    let slow = time(&pod, &node);
    assert!(slow > Duration::from_millis(300), "{slow:?}");
    netlink.change(Change::delete(redirect)).unwrap();
    assert_eq!(netlink.redirects(dev).unwrap(), []);
    let gone = netlink.change(Change::delete(redirect)).unwrap_err();
    assert!(gone.is_not_there(), "{gone}");
    netlink.change(Change::delete(Qdisc::clsact(dev))).unwrap();
    assert!(!kinds(&mut netlink, dev).contains(&QdiscKind::Clsact));
}

/// How long three packets of 1000 bytes take.
fn time(from: &Namespace, to: &Namespace) -> Duration {
    let bind = |namespace: &Namespace, address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        namespace
            .enter(|| UdpSocket::bind(address))
            .unwrap()
            .unwrap()
    };
    let (from, to) = (bind(from, "10.9.0.2:0"), bind(to, "10.9.0.1:0"));
    to.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 2000];
    // Neighbours find each other before.
    from.send_to(&[0; 8], to.local_addr().unwrap()).unwrap();
    to.recv(&mut buffer).unwrap();
    let started = Instant::now();
    for _ in 0..3 {
        from.send_to(&[0; 958], to.local_addr().unwrap()).unwrap();
    }
    for _ in 0..3 {
        to.recv(&mut buffer).unwrap();
    }
    started.elapsed()
}

//! Lists of more than one datagram, and of what changes while it is listed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use netlink::{Change, Mac, Namespace, Neighbour, Netlink, Route, RouteFilter};

use crate::{ip, name, net, port, skipped};

#[test]
fn a_list_under_churn_holds_all_that_stays() {
    if skipped() {
        return;
    }
    let namespace = Namespace::new().unwrap();
    let mut netlink = Netlink::open_in(&namespace).unwrap();
    let dev = port(&mut netlink, "p0").index;
    let address = |index: u16| std::net::Ipv4Addr::from(0x0a00_0000 + u32::from(index));
    let steady: Vec<_> = (0..4000)
        .map(|index| {
            Change::add(Neighbour::permanent(
                dev,
                address(index).into(),
                Mac([2; 6]),
            ))
        })
        .collect();
    netlink.apply_all(&steady).unwrap();

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut netlink = Netlink::open_in(&namespace).unwrap();
            let passing = Neighbour::permanent(dev, ip("192.0.2.7"), Mac([4; 6]));
            let route = Route::on_link(net("192.0.2.0/24"), dev);
            while !done.load(Ordering::Relaxed) {
                let changes = [
                    Change::add(passing.clone()),
                    Change::add(route.clone()),
                    Change::delete(passing.clone()),
                    Change::delete(route.clone()),
                ];
                netlink.apply_all(&changes).unwrap();
            }
        });
        for _ in 0..20 {
            let listed = netlink.neighbours(Some(dev)).unwrap();
            let steady = listed.iter().filter(|one| one.mac == Some(Mac([2; 6])));
            assert_eq!(steady.count(), 4000);
            netlink.routes(RouteFilter::default()).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_is_not_there_is_none_and_no_error() {
    if skipped() {
        return;
    }
    let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
    assert_eq!(netlink.link(&name("nothing")).unwrap(), None);
    let error = netlink.link_named(&name("nothing")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "looking for link nothing: no such device"
    );
}

//! Namespaces: several at once, named ones, and what is per namespace.

use std::path::Path;
use std::thread;

use netlink::{LinkKind, Namespace, Netlink, NewLink, Sysctl};

use crate::{name, port, skipped};

#[test]
fn a_namespace_is_entered_by_a_thread_of_its_own() {
    if skipped() {
        return;
    }
    let ours = Namespace::current().unwrap();
    let other = Namespace::new().unwrap();
    assert_ne!(ours, other);
    let inside = other.enter(|| Namespace::current().unwrap()).unwrap();
    assert_eq!(inside, other);
    assert_eq!(Namespace::current().unwrap(), ours);
    assert_eq!(Namespace::of_process(std::process::id()).unwrap(), ours);
}

#[test]
fn many_are_made_and_filled_at_once() {
    if skipped() {
        return;
    }
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut netlink = Netlink::open_in(&Namespace::new().unwrap()).unwrap();
                let bridge = NewLink::new(name("same0"), LinkKind::Bridge);
                netlink.add_link(bridge).unwrap();
                assert_eq!(netlink.links().unwrap().len(), 2);
            });
        }
    });
}

#[test]
fn names_are_seen_by_all_and_go_once() {
    if skipped() {
        return;
    }
    let name = format!("penstock-test-{}", std::process::id());
    let made = Namespace::create(&name).unwrap();
    let again = Namespace::create(&name).unwrap_err();
    assert!(again.is_already_there(), "{again}");
    assert!(Namespace::names().unwrap().contains(&name));
    assert_eq!(Namespace::named(&name).unwrap(), made);
    Namespace::delete(&name).unwrap();
    let gone = Namespace::named(&name).unwrap_err();
    let want = format!("opening network namespace /run/netns/{name}: ");
    assert!(
        gone.is_not_there() && gone.to_string().starts_with(&want),
        "{gone}"
    );
    assert!(Namespace::delete(&name).unwrap_err().is_not_there());
}

#[test]
fn only_namespaces_are_opened() {
    for path in ["/etc/passwd", "/run/netns", "/no/such/file"] {
        assert!(Namespace::open(Path::new(path)).is_err(), "{path}");
    }
    for wrong in ["", ".", "..", "../x", "a/b"] {
        assert!(Namespace::named(wrong).is_err(), "{wrong:?}");
        assert!(Namespace::create(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn sysctls_are_the_namespaces_own() {
    if skipped() {
        return;
    }
    let namespace = Namespace::new().unwrap();
    port(&mut Netlink::open_in(&namespace).unwrap(), "p.1");
    let ours = Sysctl::net(&["ipv4", "conf", "p.1", "rp_filter"]);
    namespace
        .enter(|| {
            ours.write("2").unwrap();
            assert_eq!(ours.read().unwrap(), "2");
            assert!(!ours.ensure("2").unwrap());
            assert!(ours.ensure("0").unwrap());
        })
        .unwrap();
    let error = ours.read().unwrap_err();
    assert!(error.is_not_there(), "{error}");
}

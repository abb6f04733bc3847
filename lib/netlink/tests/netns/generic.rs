//! Generic netlink: families by name, and features of links.

use netlink::{Ethtool, Generic, Namespace, Netlink};

use crate::{name, port, skipped};

#[test]
fn a_family_that_the_kernel_has_not_is_named() {
    let error = Generic::open("penstock-none").unwrap_err();
    assert!(error.is_not_there(), "{error}");
    let text = error.to_string();
    let want = "looking for the netlink family penstock-none: ";
    assert!(text.starts_with(want), "{text}");
}

#[test]
fn features_of_a_link_are_turned_off_and_on() {
    if skipped() {
        return;
    }
    let namespace = Namespace::new().unwrap();
    let mut ethtool = match Ethtool::open_in(&namespace) {
        Err(error) if error.is_not_there() => {
            println!("skipped: {error}");
            return;
        }
        opened => opened.unwrap(),
    };
    port(&mut Netlink::open_in(&namespace).unwrap(), "v0");
    let link = name("v0");
    let before = ethtool.features(&link).unwrap();
    assert_eq!(before.get(Ethtool::TX_CHECKSUM), Some(&true), "{before:?}");
    ethtool.set(&link, Ethtool::TX_CHECKSUM, false).unwrap();
    let after = ethtool.features(&link).unwrap();
    assert_eq!(after.get(Ethtool::TX_CHECKSUM), Some(&false));
    ethtool.set(&link, Ethtool::TX_CHECKSUM, true).unwrap();
    assert_eq!(ethtool.features(&link).unwrap(), before);

    let error = ethtool.set(&link, "tx-penstock", true).unwrap_err();
    let text = error.to_string();
    let want = "turning on tx-penstock of link v0: ";
    assert!(text.starts_with(want), "{text}");
    let error = ethtool.features(&name("v1")).unwrap_err();
    assert!(error.is_not_there(), "{error}");
}

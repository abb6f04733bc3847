//! The tunnels of this node: made, taken over, kept.

use std::net::IpAddr;

use cni_core::mesh::{Device, Settings};
use netlink::{
    Address, Change, Error, Link, LinkIndex, LinkKind, LinkName, LinkSettings, ListedKind, Mac,
    Netlink, NewLink, Scope, Sysctl, Vxlan,
};

/// Makes a device, or makes the one of its name so. One that cannot be changed into it is made anew; what
/// flannel left is it already.
pub(super) fn ensure(
    netlink: &mut Netlink,
    want: &Device,
    settings: &Settings,
) -> Result<LinkIndex, Error> {
    let name = LinkName::new(&want.name)?;
    let mut found = netlink.link(&name)?;
    // What is no vxlan device at all is somebody's, and in our way.
    let is_vxlan = |link: &Link| matches!(link.kind, ListedKind::Vxlan(_));
    if let Some(link) = found.take_if(|link| is_vxlan(link) && !can_become(link, want, settings)) {
        tracing::info!("{name} is another device: it is made anew");
        netlink.change(Change::DeleteLink(link.index))?;
    }
    let index = match found.filter(is_vxlan) {
        Some(link) => {
            netlink.apply_all(&differences(&link, want))?;
            link.index
        }
        None => netlink.add_link(new_link(name, want, settings))?.index,
    };
    set_sysctls(want)?;
    let addresses = netlink.addresses()?;
    netlink.apply_all(&address_differences(index, want, &addresses))?;
    Ok(index)
}

fn new_link(name: LinkName, want: &Device, settings: &Settings) -> NewLink {
    let vxlan = Vxlan {
        underlay: Some(LinkIndex(want.link)),
        local: Some(want.local),
        ..Vxlan::new(settings.vni, settings.port)
    };
    NewLink::new(name, LinkKind::Vxlan(Box::new(vxlan))).with(LinkSettings {
        up: Some(true),
        mtu: Some(want.mtu),
        mac: Some(Mac(want.mac.0)),
        ..LinkSettings::default()
    })
}

/// What the kernel does not change in a device that is there.
fn can_become(link: &Link, want: &Device, settings: &Settings) -> bool {
    let ListedKind::Vxlan(vxlan) = &link.kind else {
        return false;
    };
    let same_family = |local: IpAddr| local.is_ipv4() == want.local.is_ipv4();
    vxlan.vni == settings.vni
        && vxlan.port == settings.port
        && vxlan.underlay == Some(LinkIndex(want.link))
        && vxlan.local.is_some_and(same_family)
        && vxlan.group.is_none()
        && !(vxlan.learning || vxlan.l2_miss || vxlan.l3_miss || vxlan.gbp || vxlan.external)
}

fn differences(link: &Link, want: &Device) -> Vec<Change> {
    let local = match &link.kind {
        ListedKind::Vxlan(vxlan) => vxlan.local,
        _ => None,
    };
    let mac = Mac(want.mac.0);
    let settings = LinkSettings {
        up: (!link.up).then_some(true),
        mtu: (link.mtu != want.mtu).then_some(want.mtu),
        mac: (link.mac != Some(mac)).then_some(mac),
        vxlan_local: (local != Some(want.local)).then_some(want.local),
        ..LinkSettings::default()
    };
    if settings == LinkSettings::default() {
        return Vec::new();
    }
    tracing::info!("setting {}{settings}", link.name);
    vec![Change::set_link(link.index, settings)]
}

fn address_differences(dev: LinkIndex, want: &Device, listed: &[Address]) -> Vec<Change> {
    let has = |net| listed.iter().any(|it| it.dev == dev && it.net == net);
    let missing = want.addresses.iter().filter(|net| !has(**net));
    let missing = missing.map(|net| Change::add(Address::new(dev, *net)));
    let spare = listed.iter().filter(|it| {
        it.dev == dev && it.scope == Scope::Universe && !want.addresses.contains(&it.net)
    });
    missing
        .chain(spare.map(|it| Change::delete(it.clone())))
        .collect()
}

/// On our own device only, so that packets pass to pods whatever holds for others.
fn set_sysctls(want: &Device) -> Result<(), Error> {
    let conf = |family, key| Sysctl::net(&[family, "conf", &want.name, key]);
    conf("ipv4", "forwarding").ensure("1")?;
    if want.addresses.iter().any(|net| net.addr().is_ipv6()) {
        conf("ipv6", "disable_ipv6").ensure("0")?;
        conf("ipv6", "accept_ra").ensure("0")?;
        conf("ipv6", "forwarding").ensure("1")?;
    }
    Ok(())
}

//! A machine of the lab: a named namespace with what was plugged into it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use netlink::{
    Address, Change, LinkIndex, LinkKind, LinkName, LinkSettings, Namespace, Netlink, NewLink,
    Peer, Route, Sysctl,
};

use super::program::Running;
use super::{LabError, Switch};

/// A machine. Copies are the same one; it goes with the last.
#[derive(Clone, Debug)]
pub struct Machine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    namespace: Namespace,
}

impl Machine {
    pub(super) fn new(name: String) -> Result<Self, LabError> {
        let namespace = Namespace::create(&name)?;
        let machine = Self(Arc::new(Inner { name, namespace }));
        machine.enter(|| {
            // A link is of use at once, not after a second of asking around.
            Sysctl::net(&["ipv6", "conf", "default", "accept_dad"]).write("0")
        })??;
        machine.set_up("lo")?;
        Ok(machine)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The file that stands for its namespace, as in `CNI_NETNS`.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0.name)
    }

    /// A connection to its kernel.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn netlink(&self) -> Result<Netlink, LabError> {
        Ok(Netlink::open_in(&self.0.namespace)?)
    }

    /// Runs `work` there, on a thread made for that. Sockets made there stay there.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        Ok(self.0.namespace.enter(work)?)
    }

    /// Starts a program there, which ends with its handle.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Running, LabError> {
        Ok(Running(self.enter(|| command.spawn())??))
    }

    /// Plugs it into a shared link, by a new interface with these addresses.
    ///
    /// # Errors
    /// When there is such an interface, an address is none, or the kernel refuses.
    pub fn plug(
        &self,
        switch: &Switch,
        ifname: &str,
        addresses: &[&str],
    ) -> Result<LinkIndex, LabError> {
        let port = switch.next_port()?;
        self.add_cable(ifname, switch.machine(), port.clone())?;
        switch.connect(&port)?;
        self.set_up_with(ifname, addresses)
    }

    /// Lays a cable to another machine: an interface at each end, with these addresses.
    ///
    /// # Errors
    /// As [`Machine::plug`].
    pub fn cable(
        &self,
        ifname: &str,
        addresses: &[&str],
        other: &Self,
        their_ifname: &str,
        their_addresses: &[&str],
    ) -> Result<(), LabError> {
        self.add_cable(ifname, other, read_link_name(their_ifname)?)?;
        self.set_up_with(ifname, addresses)?;
        other.set_up_with(their_ifname, their_addresses)?;
        Ok(())
    }

    /// Adds a route over a gateway that is on a link.
    ///
    /// # Errors
    /// When there is no way to the gateway, or there is such a route.
    pub fn route(&self, destination: &str, gateway: &str) -> Result<(), LabError> {
        let gateway: IpAddr = read(gateway)?;
        let mut netlink = self.netlink()?;
        let way = netlink.route_to(gateway, 0, None)?;
        let dev = way.and_then(|way| way.hops.first()?.dev);
        let dev = dev.ok_or_else(|| LabError::Address(gateway.to_string()))?;
        let route = Route::via(read(destination)?, gateway, dev);
        Ok(netlink.change(Change::add(route))?)
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add_address(&self, ifname: &str, address: &str) -> Result<(), LabError> {
        self.change_address(ifname, address, Change::add)
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// When the interface has not got it.
    pub fn remove_address(&self, ifname: &str, address: &str) -> Result<(), LabError> {
        self.change_address(ifname, address, Change::delete)
    }

    /// Says how large a packet of an interface may be.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_mtu(&self, ifname: &str, mtu: u32) -> Result<(), LabError> {
        self.set(
            ifname,
            LinkSettings {
                mtu: Some(mtu),
                ..LinkSettings::default()
            },
        )
    }

    /// Forwards packets of both families from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forward(&self) -> Result<(), LabError> {
        self.enter(|| {
            Sysctl::net(&["ipv4", "ip_forward"]).write("1")?;
            Sysctl::net(&["ipv6", "conf", "all", "forwarding"]).write("1")
        })??;
        Ok(())
    }

    fn change_address(
        &self,
        ifname: &str,
        address: &str,
        change: impl FnOnce(Address) -> Change,
    ) -> Result<(), LabError> {
        let mut netlink = self.netlink()?;
        let dev = netlink.link_named(&read_link_name(ifname)?)?.index;
        Ok(netlink.change(change(Address::new(dev, read(address)?)))?)
    }

    fn add_cable(&self, ifname: &str, other: &Self, theirs: LinkName) -> Result<(), LabError> {
        let peer = Peer {
            name: theirs,
            namespace: Some(other.0.namespace.clone()),
            mtu: None,
            mac: None,
        };
        let link = NewLink::new(read_link_name(ifname)?, LinkKind::Veth(Box::new(peer)));
        self.netlink()?.add_link(link)?;
        Ok(())
    }

    fn set_up_with(&self, ifname: &str, addresses: &[&str]) -> Result<LinkIndex, LabError> {
        for address in addresses {
            self.add_address(ifname, address)?;
        }
        self.set_up(ifname)?;
        Ok(self.netlink()?.link_named(&read_link_name(ifname)?)?.index)
    }

    fn set_up(&self, ifname: &str) -> Result<(), LabError> {
        self.set(
            ifname,
            LinkSettings {
                up: Some(true),
                ..LinkSettings::default()
            },
        )
    }

    fn set(&self, ifname: &str, settings: LinkSettings) -> Result<(), LabError> {
        let mut netlink = self.netlink()?;
        let dev = netlink.link_named(&read_link_name(ifname)?)?.index;
        Ok(netlink.change(Change::set_link(dev, settings))?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The next lab tries again.
        drop(Namespace::delete(&self.name));
    }
}

pub(super) fn read_link_name(name: &str) -> Result<LinkName, LabError> {
    Ok(LinkName::new(name)?)
}

fn read<T: std::str::FromStr>(text: &str) -> Result<T, LabError> {
    text.parse().map_err(|_| LabError::Address(text.to_owned()))
}

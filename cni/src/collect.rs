//! Garbage: leases that nobody will ever delete, because their pods have gone without a DEL.

use std::fs;
use std::io;
use std::path::Path;

use cni_core::ipam::{HOST_LINK, Key, Lease, Phase, SLOW_LINK};
use cni_core::spec::{Attachment, Bandwidth};
use cni_core::talk::TOMBSTONES;
use netlink::{Change, Error, LinkName, Namespace, Netlink, RouteFilter};

use crate::book::{Book, BookError};
use crate::requests::Requests;

/// The network of leases that were made up from what the kernel holds.
const LOST: &str = "lost";

/// What could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] Error),
    /// It cannot be written down.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// At start: holds the addresses of pods that the journal lost, and undoes ADDs that a crash cut off.
pub(crate) fn recover(
    book: &Book,
    requests: &Requests,
    node: &mut Netlink,
) -> Result<(), CollectError> {
    adopt(book, node)?;
    remove_slow_links(node)?;
    for lease in book.leases() {
        if lease.phase == Phase::Made {
            continue;
        }
        tracing::info!(
            "undoing what a crash left of container {}",
            lease.key.attachment.container
        );
        if let Err(refusal) = requests.remove(&lease.key) {
            tracing::warn!("undoing what a crash left: {refusal}");
        }
    }
    requests.settle();
    Ok(())
}

/// An address that leads to a pod is not given to another, whatever the journal knows.
fn adopt(book: &Book, node: &mut Netlink) -> Result<(), CollectError> {
    let known: Vec<String> = book.leases().iter().map(host_link).collect();
    for link in node.links()? {
        let name = link.name.to_string();
        let ours = name.len() == HOST_LINK.len() + 12 && name.starts_with(HOST_LINK);
        if !ours || link.kind.name() != "veth" || known.contains(&name) {
            continue;
        }
        let filter = RouteFilter {
            dev: Some(link.index),
            ..RouteFilter::default()
        };
        let to_pod = |route: &netlink::Route| {
            let all = route.destination.max_prefix_len() == route.destination.prefix_len();
            let here = route.hops.iter().any(|hop| hop.dev == Some(link.index));
            (all && here && route.table == netlink::MAIN_TABLE).then(|| route.destination.addr())
        };
        let addresses: Vec<_> = node.routes(filter)?.iter().filter_map(to_pod).collect();
        tracing::warn!(
            "interface {name} with {addresses:?} is not in the journal; its addresses are kept"
        );
        book.hold(Lease {
            key: Key {
                network: LOST.to_owned(),
                attachment: Attachment {
                    container: name,
                    ifname: String::new(),
                },
            },
            netns: String::new(),
            addresses,
            ports: Vec::new(),
            mac: None,
            mtu: None,
            bandwidth: Bandwidth::default(),
            pod: None,
            phase: Phase::Made,
        })?;
    }
    Ok(())
}

/// Links that slow down pods are of no use without the pods' own.
fn remove_slow_links(node: &mut Netlink) -> Result<(), Error> {
    let links = node.links()?;
    let is_there = |name: &str| links.iter().any(|link| link.name.as_str() == name);
    let mut changes = Vec::new();
    for link in links.iter().filter(|link| link.kind.name() == "ifb") {
        let number = link.name.as_str().strip_prefix(SLOW_LINK);
        if number.is_some_and(|number| !is_there(&format!("{HOST_LINK}{number}"))) {
            changes.push(Change::DeleteLink(link.index));
        }
    }
    node.apply_all(&changes)
}

fn host_link(lease: &Lease) -> String {
    match lease.key.network == LOST {
        true => lease.key.attachment.container.clone(),
        false => lease.key.host_link(),
    }
}

/// Gives back what belongs to namespaces that have gone, and what was deleted in our absence.
pub(crate) fn collect(
    book: &Book,
    requests: &Requests,
    node: &mut Netlink,
    socket: &Path,
) -> Result<(), CollectError> {
    for key in take_tombstones(socket) {
        if let Err(refusal) = requests.remove(&key) {
            tracing::warn!("a deletion made in our absence: {refusal}");
        }
    }
    for lease in book.leases() {
        // What is still going has been refused once by the kernel or the disk.
        let going = lease.phase == Phase::Going;
        if !going && !has_gone(&lease, node)? {
            continue;
        }
        if !going {
            tracing::info!(
                "container {} has gone without a DEL: its addresses are free",
                lease.key.attachment.container
            );
        }
        if let Err(refusal) = requests.remove(&lease.key) {
            tracing::warn!("collecting garbage: {refusal}");
        }
    }
    Ok(())
}

/// A file that is missing from a folder that is there has been removed. Where the folder itself is
/// missing we may see another file system than the runtime's, and only the kernel knows: the node's end
/// of a cable goes with the pod's namespace.
fn has_gone(lease: &Lease, node: &mut Netlink) -> Result<bool, Error> {
    let path = Path::new(&lease.netns);
    if !lease.netns.is_empty() {
        if Namespace::open(path).is_ok() {
            return Ok(false);
        }
        if path.parent().is_some_and(Path::is_dir) {
            return Ok(true);
        }
    }
    let name = LinkName::new(&host_link(lease))?;
    Ok(node.link(&name)?.is_none())
}

/// Reads and removes the word that the plugin left.
fn take_tombstones(socket: &Path) -> Vec<Key> {
    let directory = socket
        .parent()
        .unwrap_or_else(|| Path::new("/"))
        .join(TOMBSTONES);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!("reading {}: {error}", directory.display());
            return Vec::new();
        }
    };
    let mut keys = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let unfinished = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if unfinished {
            continue;
        }
        let key = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        keys.extend(key);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!("removing {}: {error}", path.display());
        }
    }
    keys
}

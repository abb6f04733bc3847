//! DEL without the agent: the interface goes, and word is left for the agent.
//!
//! Nothing here fails: what cannot be done is found by the agent when it looks for namespaces that
//! have gone.

use std::fs;
use std::io;
use std::path::Path;

use cni_core::ipam::Key;
use cni_core::spec::Target;
use cni_core::talk::TOMBSTONES;
use netlink::{Change, Error, LinkName, Netlink};

pub(crate) fn delete(socket: &Path, network: &str, target: &Target) {
    let key = Key {
        network: network.to_owned(),
        attachment: target.attachment.clone(),
    };
    let _gone_anyway = remove_link(&key);
    let _collected_later = leave_word(socket, &key);
}

/// By the node's end, which no other plugin's interface has, whatever happened to the pod's.
fn remove_link(key: &Key) -> Result<(), Error> {
    let mut netlink = Netlink::open()?;
    match netlink.link(&LinkName::new(&key.host_link())?)? {
        Some(link) => netlink.change(Change::DeleteLink(link.index)),
        None => Ok(()),
    }
}

fn leave_word(socket: &Path, key: &Key) -> io::Result<()> {
    let directory = socket
        .parent()
        .unwrap_or_else(|| Path::new("/"))
        .join(TOMBSTONES);
    fs::create_dir_all(&directory)?;
    let name = key.host_link();
    // Under another name first: the agent must not read half of it.
    let unfinished = directory.join(format!(".{name}"));
    fs::write(&unfinished, serde_json::to_vec(key)?)?;
    fs::rename(unfinished, directory.join(name))
}

//! Connection tracking: entries listed and deleted by what they are about.
//!
//! The kernel does the choosing where it can, so that one pod's entries cost no copy of the table;
//! what it hands over is held to the same filter once more, as kernels before 5.8 hand over all.
//!
//! An entry that is deleted takes its address rewriting with it: the next packet of that connection
//! is looked at by `nat` chains and by `ct state new` rules as if it were the first.

mod entry;
mod filter;

use crate::error::Error;
use crate::namespace::Namespace;
use crate::socket::{Answer, Protocol, Socket};
use crate::wire::Frame;

pub use entry::{Entry, Tuple};
pub use filter::{Ends, Filter};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1 << 8;
const IPCTNL_MSG_CT_GET: u16 = SUBSYSTEM | 1;
const IPCTNL_MSG_CT_DELETE: u16 = SUBSYSTEM | 2;
/// `struct nfgenmsg`.
const FIXED: usize = 4;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_TIMEOUT: u16 = 7;
const CTA_MARK: u16 = 8;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_MARK_MASK: u16 = 21;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// A connection to a kernel's connection tracking, in one namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// To this thread's namespace.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::open(Protocol::Netfilter)?;
        Ok(Self { socket })
    }

    /// To another one.
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        namespace.enter(Self::open)?
    }

    /// The entries that any of these filters matches, each once; but one may come twice where the table
    /// changes meanwhile.
    pub fn entries(&mut self, any_of: &[Filter]) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for (filter, earlier) in any_of
            .iter()
            .enumerate()
            .map(|(n, filter)| (filter, &any_of[..n]))
        {
            for family in filter.families() {
                let doing = || format!("listing connections {filter}").into();
                let read = |frame: &Frame<'_>| {
                    let entry = Entry::read(frame)?;
                    let news = !earlier.iter().any(|earlier| earlier.matches(&entry));
                    Some((news && filter.matches(&entry)).then_some(entry))
                };
                let message = filter.encode(*family);
                entries.extend(self.socket.list_some(&message, &doing, read)?);
            }
        }
        Ok(entries)
    }

    /// Deletes the entries that any of these filters matches, and says how many.
    pub fn delete(&mut self, any_of: &[Filter]) -> Result<usize, Error> {
        let entries = self.entries(any_of)?;
        self.delete_entries(&entries)
    }

    /// Deletes these entries, and says how many of them were still there.
    ///
    /// Each is tried; the first that is refused is the error.
    pub fn delete_entries(&mut self, entries: &[Entry]) -> Result<usize, Error> {
        let messages = entries.iter().map(Entry::encode_delete).collect();
        let answers = self.socket.batch(messages);
        let (mut deleted, mut failed) = (0, None);
        for (entry, answer) in entries.iter().zip(answers) {
            match answer {
                Answer::Done => deleted += 1,
                answer => {
                    let doing = || format!("deleting connection {}", entry.original).into();
                    match answer.into_result(doing) {
                        Err(error) if !error.is_not_there() => failed = failed.or(Some(error)),
                        _ => {}
                    }
                }
            }
        }
        failed.map_or(Ok(deleted), Err)
    }
}

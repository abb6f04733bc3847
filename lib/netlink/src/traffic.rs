//! Traffic control: how fast a link sends, and what it takes in sent through another link.
//!
//! ```text
//!  to a pod    its cable's near end sends through a token bucket
//!  from a pod  its cable's near end ─▶ clsact, redirect ─▶ an ifb, which sends through a token bucket
//! ```

mod bucket;
mod redirect;

use crate::change::{Naming, Verb};
use crate::names::LinkIndex;
use crate::wire::{self, Attributes, Frame, Message};

pub use bucket::TokenBucket;
pub use redirect::Redirect;
pub(crate) use redirect::encode_list as encode_list_redirects;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TC_H_ROOT: u32 = 0xffff_ffff;
/// `TC_H_INGRESS`, `TC_H_CLSACT`.
const TC_H_CLSACT: u32 = 0xffff_fff1;
/// `struct tcmsg`.
const FIXED: usize = 20;

/// How a link sends, or where filters for it are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// The link.
    pub dev: LinkIndex,
    /// Which one.
    pub kind: QdiscKind,
}

/// A kind of queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QdiscKind {
    /// Sends no faster than this (`tbf`), as the link's only one.
    TokenBucket(TokenBucket),
    /// Keeps filters for what comes in and what goes out.
    Clsact,
    /// Keeps filters for what comes in: what `clsact` was before it. Only one of them can be there.
    Ingress,
    /// Another one that the link sends by; it is listed and can be deleted.
    Other(Box<str>),
}

impl QdiscKind {
    fn name(&self) -> &str {
        match self {
            Self::TokenBucket(_) => "tbf",
            Self::Clsact => "clsact",
            Self::Ingress => "ingress",
            Self::Other(name) => name,
        }
    }

    fn parent(&self) -> u32 {
        match self {
            Self::TokenBucket(_) | Self::Other(_) => TC_H_ROOT,
            Self::Clsact | Self::Ingress => TC_H_CLSACT,
        }
    }
}

impl Qdisc {
    /// The link sends no faster than this.
    pub fn shaping(dev: LinkIndex, bucket: TokenBucket) -> Self {
        let kind = QdiscKind::TokenBucket(bucket);
        Self { dev, kind }
    }

    /// Where filters of the link are kept.
    pub fn clsact(dev: LinkIndex) -> Self {
        let kind = QdiscKind::Clsact;
        Self { dev, kind }
    }

    pub(crate) fn encode(&self, verb: Verb) -> Message {
        let mut message = verb.message(RTM_NEWQDISC, RTM_DELQDISC);
        message.fixed(&header(Some(self.dev), self.kind.parent(), 0));
        // Named in a deletion too, another one is left.
        message.text(TCA_KIND, self.kind.name());
        if let (QdiscKind::TokenBucket(bucket), false) = (&self.kind, verb == Verb::Delete) {
            message.nest(TCA_OPTIONS, |message| bucket.write(message));
        }
        message
    }

    /// `None` for what is another one's part.
    pub(crate) fn read(frame: &Frame<'_>) -> Option<Option<Self>> {
        let fixed = frame.body.first_chunk::<FIXED>()?;
        let attributes = Attributes::after(frame.body, FIXED);
        let parent = wire::read_u32(&fixed[12..])?;
        let name = wire::read_text(attributes.get(TCA_KIND)?);
        let options = attributes.inside(TCA_OPTIONS);
        let kind = match (parent, name.as_str()) {
            (TC_H_ROOT, "tbf") => QdiscKind::TokenBucket(TokenBucket::read(options)?),
            (TC_H_CLSACT, "clsact") => QdiscKind::Clsact,
            (TC_H_CLSACT, "ingress") => QdiscKind::Ingress,
            (TC_H_ROOT, _) => QdiscKind::Other(name.into_boxed_str()),
            _ => return Some(None),
        };
        let dev = LinkIndex(wire::read_u32(&fixed[4..])?);
        Some(Some(Self { dev, kind }))
    }

    pub(crate) fn describe(&self, names: Naming<'_>) -> String {
        let rate = match &self.kind {
            QdiscKind::TokenBucket(bucket) => format!(" {bucket}"),
            _ => String::new(),
        };
        format!("qdisc {}{rate} dev {}", self.kind.name(), names(self.dev))
    }
}

/// The request for all of them; the kernel narrows down nothing.
pub(crate) fn encode_list() -> Message {
    let mut message = Message::new(RTM_GETQDISC, 0);
    message.fixed(&header(None, 0, 0));
    message
}

/// `struct tcmsg`.
fn header(dev: Option<LinkIndex>, parent: u32, info: u32) -> [u8; FIXED] {
    let mut bytes = [0; FIXED];
    bytes[4..8].copy_from_slice(&dev.unwrap_or(LinkIndex(0)).to_bytes());
    bytes[12..16].copy_from_slice(&parent.to_ne_bytes());
    bytes[16..].copy_from_slice(&info.to_ne_bytes());
    bytes
}

//! Redirection of all that a link takes in.

use super::{FIXED, TCA_KIND, TCA_OPTIONS, header};
use crate::change::{Naming, Verb};
use crate::names::LinkIndex;
use crate::wire::{self, Attributes, Frame, Message};

const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;

/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`.
const INCOMING: u32 = 0xffff_fff2;
/// `ETH_P_ALL`.
const EVERY_PROTOCOL: u16 = 3;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TC_U32_TERMINAL: u8 = 1;
/// `struct tc_u32_sel` with its keys.
const SELECTOR: usize = 16;
const SELECTOR_KEY: usize = 16;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
/// `struct tc_mirred`.
const MIRRED: usize = 28;
const TC_ACT_STOLEN: u32 = 4;
const TCA_EGRESS_REDIR: u32 = 1;

/// All that a link takes in is what another link sends. Wants [`super::Qdisc::clsact`] on it.
///
/// It is a `u32` filter, which every kernel has that shapes pods today. The kernel keeps one more
/// each time it is added, so list before; deleting it deletes all of its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Redirect {
    /// What takes it in.
    pub dev: LinkIndex,
    /// What sends it; an ifb gives it back to `dev` then.
    pub to: LinkIndex,
    /// Its place among the filters of the link; lower ones come first, 0 is none.
    pub priority: u16,
}

impl Redirect {
    pub(crate) fn encode(&self, verb: Verb) -> Message {
        let mut message = verb.message(RTM_NEWTFILTER, RTM_DELTFILTER);
        let protocol = EVERY_PROTOCOL.to_be();
        let info = (u32::from(self.priority) << 16) | u32::from(protocol);
        message.fixed(&header(Some(self.dev), INCOMING, info));
        if verb == Verb::Delete {
            return message;
        }
        message.text(TCA_KIND, "u32");
        message.nest(TCA_OPTIONS, |message| {
            // One key, of which no bit counts.
            let mut selector = [0; SELECTOR + SELECTOR_KEY];
            (selector[0], selector[2]) = (TC_U32_TERMINAL, 1);
            message.bytes(TCA_U32_SEL, &selector);
            message.nest(TCA_U32_ACT, |message| {
                message.nest(1, |message| self.write_action(message));
            });
        });
        message
    }

    fn write_action(&self, message: &mut Message) {
        message.text(TCA_ACT_KIND, "mirred");
        message.nest(TCA_ACT_OPTIONS, |message| {
            let mut parameters = [0; MIRRED];
            parameters[8..12].copy_from_slice(&TC_ACT_STOLEN.to_ne_bytes());
            parameters[20..24].copy_from_slice(&TCA_EGRESS_REDIR.to_ne_bytes());
            parameters[24..].copy_from_slice(&self.to.to_bytes());
            message.bytes(TCA_MIRRED_PARMS, &parameters);
        });
    }

    /// `None` for another filter.
    pub(crate) fn read(frame: &Frame<'_>) -> Option<Option<Self>> {
        let fixed = frame.body.first_chunk::<FIXED>()?;
        let attributes = Attributes::after(frame.body, FIXED);
        let Some(to) = target(attributes) else {
            return Some(None);
        };
        Some(Some(Self {
            dev: LinkIndex(wire::read_u32(&fixed[4..])?),
            to,
            priority: u16::try_from(wire::read_u32(&fixed[16..])? >> 16).ok()?,
        }))
    }

    pub(crate) fn describe(&self, names: Naming<'_>) -> String {
        let (dev, to) = (names(self.dev), names(self.to));
        format!("redirection of what {dev} takes in to {to}")
    }
}

/// Where a filter sends everything.
fn target(attributes: Attributes<'_>) -> Option<LinkIndex> {
    let options = attributes.inside(TCA_OPTIONS);
    if wire::read_text(attributes.get(TCA_KIND)?) != "u32" {
        return None;
    }
    let keys = options.get(TCA_U32_SEL)?.get(SELECTOR..)?;
    if keys
        .chunks(SELECTOR_KEY)
        .any(|key| key.iter().take(4).any(|byte| *byte != 0))
    {
        return None;
    }
    // The first action alone: the packet is not there any more for others.
    let action = options.inside(TCA_U32_ACT).inside(1);
    if wire::read_text(action.get(TCA_ACT_KIND)?) != "mirred" {
        return None;
    }
    let parameters = action.inside(TCA_ACT_OPTIONS).get(TCA_MIRRED_PARMS)?;
    if wire::read_u32(parameters.get(20..)?)? != TCA_EGRESS_REDIR {
        return None;
    }
    wire::read_u32(parameters.get(24..)?).map(LinkIndex)
}

/// The request for the filters of what a link takes in.
pub(crate) fn encode_list(dev: LinkIndex) -> Message {
    let mut message = Message::new(RTM_GETTFILTER, 0);
    message.fixed(&header(Some(dev), INCOMING, 0));
    message
}

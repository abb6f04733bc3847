//! Counters that have a name of their own.

use std::sync::Arc;

use super::expression::{Count, OBJECT_COUNTER};
use super::table::{attributes, name};
use crate::wire::{self, Frame, Message};

const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;

/// A counter that is to be made.
pub(super) fn write(message: &mut Message, name: &str) {
    write_name(message, name);
    message.nest(NFTA_OBJ_DATA, |message| Count::default().write(message));
}

/// Names the counter in a request about it.
pub(super) fn write_name(message: &mut Message, name: &str) {
    message.text(NFTA_OBJ_NAME, name);
    message.be32(NFTA_OBJ_TYPE, OBJECT_COUNTER);
}

/// The counter, if this object is one.
pub(super) fn read(frame: &Frame<'_>) -> Option<(Arc<str>, Count)> {
    let attributes = attributes(frame);
    let kind = attributes.get(NFTA_OBJ_TYPE).and_then(wire::read_be32);
    if kind != Some(OBJECT_COUNTER) {
        return None;
    }
    let data = attributes.inside(NFTA_OBJ_DATA);
    let count = Count {
        bytes: wire::read_be64(data.get(1)?)?,
        packets: wire::read_be64(data.get(2)?)?,
    };
    Some((name(attributes, NFTA_OBJ_NAME)?, count))
}

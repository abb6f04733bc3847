//! What the kernel answers to requests.

use rustix::io::Errno;

use crate::error::{Error, Refusal};
use crate::wire::{self, Attributes, Frame};

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;

/// What became of one request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// Refused; the others are not affected.
    Refused(Refusal),
    /// Nothing was heard: it may have been done or not.
    Lost,
    /// It cannot be sent.
    TooLarge,
    /// The socket failed: it may have been done or not.
    Failed(Errno),
}

impl Answer {
    /// The answer as a result; `doing` names what was asked.
    pub fn into_result(self, doing: impl FnOnce() -> Box<str>) -> Result<(), Error> {
        match self {
            Self::Done => Ok(()),
            Self::Refused(refusal) => Err(Error::Refused {
                doing: doing(),
                refusal,
            }),
            Self::Lost => Err(Error::Unanswered { doing: doing() }),
            Self::TooLarge => Err(Error::TooLarge { doing: doing() }),
            Self::Failed(errno) => Err(Error::Socket {
                doing: doing(),
                source: errno.into(),
            }),
        }
    }
}

/// The end of an exchange, if this is one.
pub(super) fn ending(frame: &Frame<'_>) -> Option<Answer> {
    match frame.kind {
        // It carries an error number as NLMSG_ERROR does, but repeats no header.
        NLMSG_DONE => Some(answer(frame.body, Attributes::after(frame.body, 4))),
        _ => acknowledgement(frame),
    }
}

/// What an acknowledgement says, if this is one.
pub(crate) fn acknowledgement(frame: &Frame<'_>) -> Option<Answer> {
    if frame.kind != NLMSG_ERROR {
        return None;
    }
    Some(answer(frame.body, remarks(frame)))
}

/// Where in the request lies what is amiss, if an acknowledgement says that.
pub(crate) fn offset(frame: &Frame<'_>) -> Option<u32> {
    remarks(frame)
        .get(NLMSGERR_ATTR_OFFS)
        .and_then(wire::read_u32)
}

/// What an acknowledgement says in attributes.
fn remarks<'a>(frame: &Frame<'a>) -> Attributes<'a> {
    if frame.flags & wire::ACK_ATTRIBUTES == 0 {
        return Attributes::default();
    }
    let repeated = match frame.flags & wire::CAPPED {
        0 => frame.body.get(4..).and_then(wire::read_u32).unwrap_or(0),
        _ => 16,
    };
    Attributes::after(frame.body, 4 + usize::try_from(repeated).unwrap_or(0))
}

fn answer(body: &[u8], attributes: Attributes<'_>) -> Answer {
    let number = wire::read_u32(body).unwrap_or(0).cast_signed();
    if number == 0 {
        return Answer::Done;
    }
    Answer::Refused(Refusal {
        errno: Errno::from_raw_os_error(number.wrapping_neg()),
        hint: attributes
            .get(NLMSGERR_ATTR_MSG)
            .map(|text| wire::read_text(text).into_boxed_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<'a>(kind: u16, flags: u16, body: &'a [u8]) -> Frame<'a> {
        Frame {
            kind,
            flags,
            sequence: 1,
            body,
        }
    }

    #[test]
    fn an_acknowledgement_says_done_or_why_not() {
        let done = [[0; 4], 16_u32.to_ne_bytes(), [0; 4], [0; 4], [0; 4]].concat();
        assert_eq!(
            acknowledgement(&frame(NLMSG_ERROR, wire::CAPPED, &done)),
            Some(Answer::Done)
        );
        let mut refused = (-17_i32).to_ne_bytes().to_vec();
        refused.extend([0; 16]);
        refused.extend([8, 0, 1, 0]);
        refused.extend(b"why\0");
        let flags = wire::CAPPED | wire::ACK_ATTRIBUTES;
        let want = Answer::Refused(Refusal {
            errno: Errno::EXIST,
            hint: Some("why".into()),
        });
        assert_eq!(
            acknowledgement(&frame(NLMSG_ERROR, flags, &refused)),
            Some(want)
        );
        assert_eq!(acknowledgement(&frame(16, 0, &done)), None);
    }

    #[test]
    fn a_list_ends_with_its_error() {
        assert_eq!(ending(&frame(NLMSG_DONE, 0, &[0; 4])), Some(Answer::Done));
        let refused = (-95_i32).to_ne_bytes();
        assert!(matches!(
            ending(&frame(NLMSG_DONE, 0, &refused)),
            Some(Answer::Refused(refusal)) if refusal.errno == Errno::OPNOTSUPP
        ));
    }
}

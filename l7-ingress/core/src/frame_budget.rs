//! Bounds what an HTTP/2 client may ask for besides requests: it counts frames that cost their sender nothing.
//!
//! h2 bounds resets of streams that nobody has seen yet, CONTINUATION and small DATA frames. Nothing bounds SETTINGS
//! and PING (each asks for an answer), PRIORITY, WINDOW_UPDATE, unknown frames, and resets at a pace at which each
//! request is begun first (CVE-2019-9512, -9515, CVE-2023-44487). Their budget refills with time and with what the
//! client has to pay for: the bytes of bodies that go either way.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Instant;

/// What the budget holds at most, and at first.
const FULL: u32 = 10_000;
/// What a second adds.
const PER_SECOND: u32 = 1_000;
/// How many bytes of bodies add one.
const BYTES: usize = 1024;
/// What SETTINGS costs: it is applied to every stream.
const SETTINGS: u32 = 10;
/// What RST_STREAM costs: a request was begun for nothing.
const RESET: u32 = 10;
/// Length of a frame's head (RFC 9113 §4.1).
const HEAD: usize = 9;

/// The budget of one connection.
#[derive(Debug)]
pub struct FrameBudget {
    left: u32,
    refilled: Instant,
    bytes: usize,
    head: [u8; HEAD],
    seen: usize,
    /// Bytes of the present frame, or of the preface, that are to come.
    payload: usize,
    /// The present frame, or one before it, is PUSH_PROMISE.
    promised: bool,
}

impl FrameBudget {
    /// More CONTINUATION than any parser takes, which it answers with GOAWAY and `ENHANCE_YOUR_CALM`.
    const TOO_MUCH: &'static [u8] = &endless_head();
    /// DATA on stream 0, or where CONTINUATION is due, which it answers with GOAWAY and `PROTOCOL_ERROR`.
    const OUT_OF_PLACE: &'static [u8] = &[0; HEAD];

    /// A full budget for a connection that begins with `preface` bytes.
    #[must_use]
    pub const fn new(preface: usize, now: Instant) -> Self {
        Self {
            left: FULL,
            refilled: now,
            bytes: 0,
            head: [0; HEAD],
            seen: 0,
            payload: preface,
            promised: false,
        }
    }

    /// Whether [`Self::refill`] is due: the clock need not be read otherwise.
    #[must_use]
    pub const fn is_low(&self) -> bool {
        self.left < FULL / 2
    }

    /// Adds what the time since the last call is worth.
    pub fn refill(&mut self, now: Instant) {
        let millis = now.saturating_duration_since(self.refilled).as_millis();
        let earned = millis.saturating_mul(u128::from(PER_SECOND)) / 1000;
        if earned > 0 {
            self.refilled = now;
            self.add(u32::try_from(earned).unwrap_or(FULL));
        }
    }

    /// Adds what bytes of bodies are worth, which went either way.
    pub fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        let earned = self.bytes / BYTES;
        self.bytes %= BYTES;
        self.add(u32::try_from(earned).unwrap_or(FULL));
    }

    fn add(&mut self, earned: u32) {
        self.left = self.left.saturating_add(earned).min(FULL);
    }

    /// Reads on; the bytes may be cut anywhere.
    ///
    /// # Errors
    /// Where the frame ends that exhausts the budget, or that is PUSH_PROMISE: no client may send it (RFC 9113 §8.4),
    /// and h2 notices only at the end of its field block, which need not come.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let skipped = self.payload.min(rest.len());
            self.payload = self.payload.saturating_sub(skipped);
            rest = rest.get(skipped..).unwrap_or_default();
            if self.is_over() && self.seen == 0 {
                return Err(bytes.len().saturating_sub(rest.len()));
            }
            let needed = HEAD.saturating_sub(self.seen).min(rest.len());
            let (part, after) = rest.split_at_checked(needed).unwrap_or((rest, &[]));
            for (slot, byte) in self.head.iter_mut().skip(self.seen).zip(part) {
                *slot = *byte;
            }
            self.seen = self.seen.saturating_add(part.len());
            rest = after;
            if self.seen == HEAD {
                self.seen = 0;
                self.charge();
                if self.is_over() {
                    return Err(bytes.len().saturating_sub(rest.len()));
                }
            }
        }
        Ok(())
    }

    /// What the parser may be given, in place of what follows, to end the connection.
    #[must_use]
    pub const fn poison(&self) -> &'static [u8] {
        if self.promised {
            Self::OUT_OF_PLACE
        } else {
            Self::TOO_MUCH
        }
    }

    /// Whether nothing may follow; not before the end of a frame.
    const fn is_over(&self) -> bool {
        (self.left == 0 || self.promised) && self.payload == 0
    }

    /// A frame's head is complete.
    fn charge(&mut self) {
        let [high, middle, low, kind, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.payload = usize::try_from(length).unwrap_or(usize::MAX);
        let cost = match kind {
            // DATA pays for itself; h2 counts small ones.
            0 => {
                self.moved(self.payload);
                0
            }
            // A request is worth a WINDOW_UPDATE and a PRIORITY. h2 counts CONTINUATION.
            1 => {
                self.add(2);
                0
            }
            9 => 0,
            3 => RESET,
            4 => SETTINGS,
            5 => {
                self.promised = true;
                0
            }
            _ => 1,
        };
        self.left = self.left.saturating_sub(cost);
    }
}

/// HEADERS that do not end, and many CONTINUATION frames, all without content, on stream 1.
const fn endless_head() -> [u8; HEAD * 17] {
    let mut bytes = [0; HEAD * 17];
    let mut chunks: &mut [u8] = &mut bytes;
    let mut kind = 1;
    while let Some(([_, _, _, slot, _, _, _, _, stream], rest)) = chunks.split_first_chunk_mut() {
        *slot = kind;
        *stream = 1;
        kind = 9;
        chunks = rest;
    }
    bytes
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.resize(HEAD + payload, 0);
        frame
    }

    /// How many frames pass.
    fn passed(frames: &[Vec<u8>]) -> usize {
        let mut budget = FrameBudget::new(0, Instant::now());
        let mut cycle = frames.iter().cycle().take(1_000_000);
        cycle
            .position(|frame| budget.scan(frame).is_err())
            .map_or(1_000_000, |last| last + 1)
    }

    #[test]
    fn each_kind_has_its_price() {
        let data = frame(0, 16 * 1024);
        let check = |frames: &[Vec<u8>], expect| assert_eq!(passed(frames), expect, "{frames:?}");
        check(&[frame(6, 8)], 10_000);
        check(&[frame(4, 0)], 1_000);
        check(&[frame(3, 4)], 1_000);
        check(&[frame(0xbe, 0)], 10_000);
        // A rapid reset; an ordinary request; an upload with more updates than anyone sends.
        check(&[frame(1, 30), frame(3, 4)], 2_500);
        check(&[frame(1, 30), frame(8, 4)], 1_000_000);
        check(&[data, frame(8, 4), frame(8, 4), frame(6, 8)], 1_000_000);
    }

    #[test]
    fn time_and_bytes_refill_it() {
        let now = Instant::now();
        let mut budget = FrameBudget::new(0, now);
        let pings = frame(6, 8).repeat(9_999);
        assert_eq!(budget.scan(&pings), Ok(()));
        assert!(budget.is_low());
        budget.refill(now + Duration::from_millis(5));
        budget.moved(5 * 1024);
        assert_eq!(budget.scan(&frame(6, 8).repeat(20)), Err(11 * 17));
    }

    #[test]
    fn the_preface_is_no_frame() {
        let mut budget = FrameBudget::new(24, Instant::now());
        let start = [vec![4; 24], frame(4, 6).repeat(999)].concat();
        assert_eq!(budget.scan(&start), Ok(()));
        assert_eq!(budget.scan(&frame(4, 6)), Err(15));
    }

    #[test]
    fn the_poison_is_one_head_that_does_not_end() {
        let mut kinds = FrameBudget::TOO_MUCH.chunks(HEAD).map(|frame| frame[3]);
        assert_eq!(kinds.next(), Some(1));
        assert_eq!(kinds.collect::<Vec<_>>(), [9; 16]);
    }

    #[test]
    fn a_promise_is_the_last_frame() {
        let mut budget = FrameBudget::new(0, Instant::now());
        let bytes = [frame(6, 8), frame(5, 5), frame(6, 8)].concat();
        assert_eq!(budget.scan(&bytes), Err(17 + 14));
        assert_eq!(budget.poison(), FrameBudget::OUT_OF_PLACE);
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            frames in proptest::collection::vec((0_u8..10, 0_usize..40), 0..40),
            spent in 0_usize..1_000,
            step in 1_usize..30,
        ) {
            let mut bytes = frame(4, 0).repeat(spent);
            let start = bytes.len();
            bytes.extend(frames.into_iter().flat_map(|(kind, payload)| frame(kind, payload)));
            let mut whole = FrameBudget::new(0, Instant::now());
            let expect = whole.scan(&bytes);
            let mut pieces = FrameBudget::new(0, Instant::now());
            let mut found = pieces.scan(&bytes[..start]);
            let mut at = start;
            for piece in bytes[start..].chunks(step) {
                if found.is_err() {
                    break;
                }
                found = pieces.scan(piece).map_err(|end| at + end);
                at += piece.len();
            }
            prop_assert_eq!(found, expect);
        }
    }
}

//! The part of a request's body that is held in memory, within a worker's budget.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// Bytes of request bodies that one worker holds.
const BUDGET: usize = 64 * 1024 * 1024;
/// Bytes of one body; what comes after them is streamed.
const LONGEST: usize = 16 * 1024 * 1024;
/// What a piece costs beside its bytes, so that a client that sends single bytes is bounded too.
const PIECE: usize = 64;

/// What a worker may hold.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    used: Cell<usize>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Buffer {
    pieces: Vec<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    /// The next piece to give; the one after the last is the trailers.
    pub(super) next: usize,
    /// Whether what came after it was given: then it is not the whole.
    pub(super) is_overrun: bool,
    /// Shared by replicas, whose bytes are the same.
    hold: Rc<Hold>,
}

/// A part of the budget, given back at its end.
#[derive(Debug)]
struct Hold {
    bytes: Cell<usize>,
    budget: Rc<Budget>,
}

impl Buffer {
    pub(super) fn new(budget: Rc<Budget>) -> Self {
        let bytes = Cell::new(0);
        Self::holding(Rc::new(Hold { bytes, budget }))
    }

    const fn holding(hold: Rc<Hold>) -> Self {
        Self {
            pieces: Vec::new(),
            trailers: None,
            next: 0,
            is_overrun: false,
            hold,
        }
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        let cost = piece.len() + PIECE;
        let hold = &self.hold;
        hold.bytes.set(hold.bytes.get() + cost);
        hold.budget.used.set(hold.budget.used.get() + cost);
        self.pieces.push(piece);
    }

    pub(super) fn is_full(&self) -> bool {
        self.hold.bytes.get() >= LONGEST || self.hold.budget.used.get() >= BUDGET
    }

    /// The bytes that are still to be given.
    pub(super) fn left(&self) -> u64 {
        let left = self.pieces.iter().skip(self.next);
        left.map(|piece| piece.len() as u64).sum()
    }

    pub(super) fn is_drained(&self) -> bool {
        let frames = self.pieces.len() + usize::from(self.trailers.is_some());
        self.next >= frames
    }

    pub(super) fn take(&mut self) -> Option<Frame<Bytes>> {
        let place = self.next;
        let trailers = || (place == self.pieces.len()).then(|| self.trailers.clone());
        let frame = match self.pieces.get(place) {
            Some(piece) => Frame::data(piece.clone()),
            None => Frame::trailers(trailers()??),
        };
        self.next += 1;
        Some(frame)
    }

    /// The same from its start.
    pub(super) fn replica(&self) -> Self {
        Self {
            pieces: self.pieces.clone(),
            trailers: self.trailers.clone(),
            ..Self::holding(Rc::clone(&self.hold))
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let used = &self.budget.used;
        used.set(used.get() - self.bytes.get());
    }
}

//! How often a request is tried, and on which endpoints.

use std::rc::Rc;

use http::StatusCode;
use l7_ingress_core::upstream::{Choice, Condition, Conditions};
use tokio::time::Instant;

use super::Job;
use super::attempt::Failure;
use crate::body::RequestBody;
use crate::upstream::{Group, Peer};

/// The tries of one request.
pub(super) struct Tries {
    on: Conditions,
    left: usize,
    until: Option<Instant>,
    /// Whether it may be executed twice.
    is_repeatable: bool,
    /// Not to be tried while there is another one.
    tried: Vec<Rc<Peer>>,
    /// Those of them that did answer: better than none.
    answered: Vec<Rc<Peer>>,
}

impl Tries {
    pub(super) fn new(job: &Job<'_>, group: &Group, started: Instant) -> Self {
        let retry = &job.route.policy.upstream.retry;
        let left = match retry.tries {
            None => job.global.tries,
            Some(0) => group.len().max(1),
            Some(tries) => tries,
        };
        Self {
            on: retry.on,
            left,
            until: retry.timeout.map(|timeout| started + timeout),
            is_repeatable: job.is_repeatable(),
            tried: Vec::new(),
            answered: Vec::new(),
        }
    }

    /// Where to try next.
    pub(super) fn next(&mut self, group: &Group, choice: Choice, now: Instant) -> Option<Rc<Peer>> {
        self.left = self.left.saturating_sub(1);
        let next = group.pick(choice, &self.tried, now);
        if next.is_some() || self.answered.is_empty() {
            return next;
        }
        let answered = std::mem::take(&mut self.answered);
        let failed = |peer: &Rc<Peer>| !answered.iter().any(|own| Rc::ptr_eq(own, peer));
        self.tried.retain(failed);
        group.pick(choice, &self.tried, now)
    }

    /// A second body, if an answer may be one that another try is better than.
    pub(super) fn spare(&self, body: Option<&RequestBody>) -> Option<RequestBody> {
        (self.on.rejects_any() && self.is_repeatable && self.left > 0)
            .then(|| body?.replica())
            .flatten()
    }

    /// Whether to try again after an answer with this status.
    pub(super) fn goes_on_after(&self, status: StatusCode, now: Instant) -> bool {
        self.on.rejects(status) && self.has_time(now)
    }

    /// Whether to try again after a failure.
    pub(super) fn goes_on(
        &self,
        failure: &Failure,
        body: Option<&RequestBody>,
        now: Instant,
    ) -> bool {
        let condition = failure.condition();
        condition.is_some_and(|condition: Condition| self.on.holds(condition))
            && self.has_time(now)
            && failure.may_repeat(self.is_repeatable, body)
    }

    pub(super) fn failed(&mut self, peer: Rc<Peer>) {
        self.tried.push(peer);
    }

    pub(super) fn answered(&mut self, peer: Rc<Peer>) {
        self.answered.push(Rc::clone(&peer));
        self.tried.push(peer);
    }

    pub(super) fn tried(&self) -> &[Rc<Peer>] {
        &self.tried
    }

    fn has_time(&self, now: Instant) -> bool {
        self.left > 0 && self.until.is_none_or(|until| now < until)
    }
}

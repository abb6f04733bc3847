//! Which endpoint a request wants, and the cookie that brings its client back there.

use std::rc::Rc;
use std::time::SystemTime;

use http::HeaderValue;
use l7_ingress_core::filter::Facts;
use l7_ingress_core::upstream::{Affinity, Choice, Destination, Mode, Setting};

use super::Job;
use crate::upstream::{Group, Peer};

/// How often a key is drawn that is not to lead to an endpoint that has just failed.
const DRAWS: usize = 20;

/// The session of a request.
#[derive(Clone, Copy)]
pub(super) struct Session {
    pub(super) choice: Choice,
    /// The number of a key that the client has not got yet.
    drawn: Option<u64>,
}

impl Session {
    pub(super) fn new(destination: &Destination<'_>, facts: &Facts<'_>) -> Self {
        let mut drawn = None;
        let choice = destination.choose(facts, || *drawn.insert(fastrand::u64(..)));
        Self { choice, drawn }
    }

    /// The endpoints `tried` failed: takes the session elsewhere for good, if that is asked for.
    pub(super) fn failed(&mut self, affinity: &Affinity, group: &Group, tried: &[Rc<Peer>]) {
        if !affinity.changes_on_failure {
            return;
        }
        if affinity.mode == Mode::Persistent {
            self.choice = Choice::Any;
            return;
        }
        for _ in 0..DRAWS {
            let number = fastrand::u64(..);
            let key = Affinity::key_of(number);
            let owner = group.owner(key);
            let is_well = |owner: Rc<Peer>| !tried.iter().any(|peer| Rc::ptr_eq(peer, &owner));
            if owner.is_some_and(is_well) {
                self.choice = Choice::Key(key);
                self.drawn = Some(number);
                return;
            }
        }
    }

    /// The cookie for a client that `peer` answered; none where it has the right one.
    pub(super) fn cookie(&self, job: &Job<'_>, group: &Group, peer: &Peer) -> Option<HeaderValue> {
        let Destination {
            affinity, backend, ..
        } = job.destination();
        let affinity = affinity?;
        let number = match (affinity.mode, self.choice) {
            (Mode::Balanced, _) => self.drawn?,
            (Mode::Persistent, Choice::Endpoint(number)) if group.find(number).is_some() => {
                return None;
            }
            (Mode::Persistent, _) => peer.number.0,
        };
        let setting = Setting {
            headers: &job.head.headers,
            https: job.told.forwarded.scheme == "https",
            path: &job.route.path,
            backend,
        };
        affinity.set(number, &setting, SystemTime::now())
    }
}

//! Misbehaviour on demand, for tests of the clients.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use tokio::sync::watch;

use crate::{
    server::ApiServer,
    status::{Details, Status},
};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of Kubernetes' RBAC verbs")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

/// Which requests misbehave, and how.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Only this verb; all if none.
    pub verb: Option<Verb>,
    /// Only this plural resource name; all if none.
    pub resource: Option<String>,
    /// How many requests are hit; all until [`Faults::clear`] if none.
    pub times: Option<u32>,
    /// What happens to them.
    pub effect: Effect,
}

/// How a request misbehaves.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Answered with this status, and `Retry-After` if seconds are given.
    Refuse {
        /// Such as 410, 429 or 500.
        code: StatusCode,
        /// Value of the `Retry-After` header.
        retry_after: Option<u32>,
    },
    /// The connection closes without an answer.
    Close,
    /// The answer comes late.
    Delay(Duration),
    /// A watch sends every event twice.
    Duplicate,
    /// A watch starts this many versions before the one that was asked for.
    Replay(u64),
    /// A watch breaks after this many events.
    BreakAfter(u32),
}

/// The handle to inject faults; all of them together apply to a request.
#[derive(Debug)]
pub struct Faults {
    // A mutex: it guards a short list that is read once per request.
    rules: Mutex<Vec<Fault>>,
    cut: watch::Sender<Cut>,
}

/// How running watches were told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Never,
    Cleanly,
    Broken,
}

/// What one request has to suffer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suffering {
    pub(crate) delay: Duration,
    pub(crate) close: bool,
    pub(crate) refuse: Option<Status>,
    pub(crate) duplicate: bool,
    pub(crate) replay: u64,
    pub(crate) break_after: Option<u32>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self {
            rules: Mutex::new(Vec::new()),
            cut: watch::Sender::new(Cut::Never),
        }
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.rules().push(fault);
    }

    /// Refuses the next `times` requests that match.
    pub fn refuse(&self, verb: Verb, resource: &str, times: u32, code: StatusCode) {
        self.inject(Fault {
            verb: Some(verb),
            resource: Some(resource.to_owned()),
            times: Some(times),
            effect: Effect::Refuse {
                code,
                retry_after: None,
            },
        });
    }

    /// Behaves well again.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// How many hits are left of faults that are counted.
    pub fn pending(&self) -> u32 {
        self.rules().iter().filter_map(|fault| fault.times).sum()
    }

    /// Breaks every running watch, as a crash of the server does.
    pub fn drop_watches(&self) {
        self.cut.send_replace(Cut::Broken);
    }

    /// Ends every running watch in order, as a server's time limit does.
    pub fn end_watches(&self) {
        self.cut.send_replace(Cut::Cleanly);
    }

    pub(crate) fn cuts(&self) -> watch::Receiver<Cut> {
        self.cut.subscribe()
    }

    /// What applies to this request; counts it.
    pub(crate) fn strike(&self, verb: Verb, resource: &str) -> Suffering {
        let mut suffering = Suffering::default();
        self.rules().retain_mut(|fault| {
            let hit = fault.verb.is_none_or(|it| it == verb)
                && fault.resource.as_deref().is_none_or(|it| it == resource)
                && fault.effect.concerns(verb);
            if hit {
                suffering.add(&fault.effect);
                if let Some(times) = &mut fault.times {
                    *times = times.saturating_sub(1);
                }
            }
            fault.times != Some(0)
        });
        suffering
    }
}

impl Effect {
    fn concerns(&self, verb: Verb) -> bool {
        match self {
            Self::Refuse { .. } | Self::Close | Self::Delay(_) => true,
            Self::Duplicate | Self::Replay(_) | Self::BreakAfter(_) => verb == Verb::Watch,
        }
    }
}

impl Suffering {
    fn add(&mut self, effect: &Effect) {
        match effect {
            Effect::Refuse { code, retry_after } => {
                self.refuse = Some(refusal(*code, *retry_after));
            }
            Effect::Close => self.close = true,
            Effect::Delay(delay) => self.delay += *delay,
            Effect::Duplicate => self.duplicate = true,
            Effect::Replay(versions) => self.replay = self.replay.max(*versions),
            Effect::BreakAfter(events) => self.break_after = Some(*events),
        }
    }
}

impl ApiServer {
    /// Forgets the history: watches and lists at older versions answer 410 from now on.
    pub fn compact(&self) {
        self.store().compact();
    }
}

fn refusal(code: StatusCode, retry_after: Option<u32>) -> Status {
    let reason = match code {
        StatusCode::GONE => "Expired",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        StatusCode::GATEWAY_TIMEOUT => "Timeout",
        _ => "InternalError",
    };
    Status::new(code, reason, format!("injected fault: {code}")).about(Details {
        retry_after_seconds: retry_after,
        ..Details::default()
    })
}

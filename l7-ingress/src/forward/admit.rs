//! Answers what filters ask: what only the proxy knows.

use std::sync::Arc;

use http::StatusCode;
use l7_ingress_core::Route;
use l7_ingress_core::client_auth::ClientAuth;
use l7_ingress_core::filter::{
    self, Basic, Credentials, Facts, Limits, Next, Question, Run, Verdict,
};
use l7_ingress_core::snippet::State;

use super::external;
use crate::record::Record;
use crate::reply::Reply;
use crate::worker::Worker;

/// What becomes of a request that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It is passed on.
    Here,
    /// A snippet leads it to another path.
    Elsewhere,
}

/// Runs the filters of a route.
///
/// # Errors
/// The answer of the one that has one.
pub(super) async fn admit(
    worker: &Worker,
    (route, state): (&Arc<Route>, Option<&mut State>),
    facts: &Facts<'_>,
    record: &mut Record,
) -> Result<Admitted, Reply> {
    let mut run = Run::new(route, state);
    loop {
        let (stage, question) = match run.next(facts) {
            Next::Pass => return Ok(Admitted::Here),
            Next::Elsewhere => return Ok(Admitted::Elsewhere),
            Next::Answer(_, answer) => return Err(Reply::Filtered(Box::new(answer))),
            Next::Ask(stage, question) => (stage, question),
        };
        let verdict = match question {
            Question::Certificate(auth) => certificate(auth, facts, record),
            Question::Name(auth) => auth.admit_name(subject(record)),
            Question::Rate(limits) => rate(worker, route, limits, (facts, record)),
            Question::Connections(limits) => connections(worker, route, limits, (facts, record)),
            // Boxed: routes that do not ask are not to carry it.
            Question::Password(basic, credentials) => {
                Box::pin(password(worker, basic, credentials)).await
            }
            Question::External(external) => {
                Box::pin(external::ask(worker, (route, external), facts, record)).await
            }
        };
        if let Some(answer) = run.tell(stage, verdict, facts) {
            return Err(Reply::Filtered(Box::new(answer)));
        }
    }
}

fn certificate<'r>(auth: &Arc<ClientAuth>, facts: &Facts<'_>, record: &Record) -> Verdict<'r> {
    // A stage that asks this has seen that there is TLS.
    let Some(session) = &record.client.session else {
        return Verdict::Continue;
    };
    auth.admit(
        facts.host,
        session.server_name.as_deref(),
        session.judge(auth),
    )
}

fn subject(record: &Record) -> &str {
    let session = record.client.session.as_ref();
    session.map_or("", |session| session.subject())
}

fn rate<'r>(
    worker: &Worker,
    route: &Arc<Route>,
    limits: &Limits,
    (facts, record): (&Facts<'_>, &Record),
) -> Verdict<'r> {
    let zone = worker.zones.of(route);
    let admitted = zone.admits(record.started, facts.forwarded.real_ip, limits);
    verdict(admitted, limits.status[0])
}

fn connections<'r>(
    worker: &Worker,
    route: &Arc<Route>,
    limits: &Limits,
    (facts, record): (&Facts<'_>, &mut Record),
) -> Verdict<'r> {
    let Some(most) = limits.connections else {
        return Verdict::Continue;
    };
    record.open = worker.zones.of(route).open(facts.forwarded.real_ip, most);
    verdict(record.open.is_some(), limits.status[1])
}

async fn password<'r>(
    worker: &Worker,
    basic: &'r Arc<Basic>,
    credentials: Credentials,
) -> Verdict<'r> {
    match worker.checks.check(basic, credentials).await {
        Ok(true) => Verdict::Granted,
        Ok(false) => Verdict::Answer(basic.refusal()),
        Err(_) => Verdict::Answer(filter::Answer::status(StatusCode::SERVICE_UNAVAILABLE)),
    }
}

fn verdict<'r>(admitted: bool, status: StatusCode) -> Verdict<'r> {
    match admitted {
        true => Verdict::Continue,
        false => Verdict::Answer(filter::Answer::status(status)),
    }
}

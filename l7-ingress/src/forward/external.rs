//! Asks another server whether a request may come in.

use std::rc::Rc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue};
use l7_ingress_core::Route;
use l7_ingress_core::filter::{Asking, External, Facts, Heard, Verdict};
use l7_ingress_core::global::{Global, Patience};
use tokio::time::{Instant, timeout};

use super::{patience, request_id};
use crate::body::RequestBody;
use crate::calls::{self, Answered, Call};
use crate::record::Record;
use crate::session::{self, Session};
use crate::upstream::Framing;
use crate::worker::Worker;

/// What the server says, or has said, decides; its answer goes into the record.
pub(super) async fn ask<'r>(
    worker: &Worker,
    (route, external): (&Route, &External),
    facts: &Facts<'_>,
    record: &mut Record,
) -> Verdict<'r> {
    let global = worker.global();
    let id = match record.request_id.take() {
        Some(id) => id,
        None => request_id(&global, &facts.head.headers).into(),
    };
    let key = external.key(route, facts, &id);
    let known = key
        .as_ref()
        .and_then(|key| worker.answers.get(key, &facts.head.headers, Instant::now()));
    record.heard = match known {
        Some(known) => {
            worker.metrics.auth_remembered.add(1);
            Some(known)
        }
        None => {
            let asked = (route, external, key.as_deref());
            let heard = hear(worker, (&global, asked), facts, (&id, record)).await;
            worker.metrics.auth(heard.as_deref()).add(1);
            heard
        }
    };
    record.request_id = Some(id);
    external.judge(record.heard.as_deref())
}

/// Asks; what is said is remembered under `key`, if it may be.
async fn hear(
    worker: &Worker,
    (global, (route, external, key)): (&Global, (&Route, &External, Option<&[u8]>)),
    facts: &Facts<'_>,
    (id, record): (&str, &Record),
) -> Option<Rc<Heard>> {
    if calls::is_loop(&facts.head.headers, &worker.loop_mark) {
        tracing::debug!(ingress = %route.ingress, "auth-url: leads back here");
        return None;
    }
    let Some(mut asking) = external.asking((global, route), facts, id) else {
        tracing::debug!(ingress = %route.ingress, "auth-url: no request can be made of it");
        return None;
    };
    if let Some(traced) = &record.traced {
        traced.tell_in(&mut asking.fields);
    }
    show(route, record.client.session.as_deref(), &mut asking.fields);
    asking.fields.append(calls::LOOP, worker.loop_mark.clone());
    let answered = send(worker, (global, external), asking, patience(global, route)).await?;
    let heard = Rc::new(external.hear(answered.status, &answered.headers));
    if let Some(key) = key {
        remember(worker, (external, key), facts, (&answered, &heard));
    }
    answered.discard();
    Some(heard)
}

/// The server is told of the client's certificate what endpoints are told, and by nobody else.
fn show(route: &Route, session: Option<&Session>, fields: &mut HeaderMap) {
    for name in session::FIELDS {
        fields.remove(name);
    }
    if let (Some(auth), Some(session)) = (&route.client_auth, session) {
        session.tell(auth, |name, value| {
            if let Ok(value) = HeaderValue::from_str(value) {
                fields.insert(name, value);
            }
        });
    }
}

async fn send(
    worker: &Worker,
    (global, external): (&Global, &External),
    asking: Asking<'_>,
    patience: Patience,
) -> Option<Answered> {
    let call = Call {
        method: &asking.method,
        url: &asking.url,
        fields: &asking.fields,
        framing: Framing::None,
        // It is a question, whatever its method.
        is_repeatable: true,
        patience,
        keep_alive: external.keep_alive(global.keep_alive),
    };
    // Whatever it does: a head that comes in drops, one address after the other.
    let whole = patience.connect + patience.send + patience.read;
    let sent = timeout(whole, call.send(worker, RequestBody::empty())).await;
    let error = match sent {
        Ok(Ok(answered)) => return Some(answered),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "not in time".to_owned(),
    };
    let host = &asking.url.host;
    match worker.sites.complains(Instant::now()) {
        true => tracing::warn!("auth-url: {host} does not answer: {error}"),
        false => tracing::debug!("auth-url: {host} does not answer: {error}"),
    }
    None
}

fn remember(
    worker: &Worker,
    (external, key): (&External, &[u8]),
    facts: &Facts<'_>,
    (answered, heard): (&Answered, &Rc<Heard>),
) {
    let asked = &facts.head.headers;
    let said = (answered.status, &answered.headers);
    let caching = external.caching.as_ref();
    let freshness = caching.and_then(|caching| caching.freshness(asked, said, SystemTime::now()));
    if let Some(freshness) = freshness {
        let heard = Rc::clone(heard);
        worker.answers.add(key, heard, freshness, Instant::now());
    }
}

//! Requests of routes with snippets: where these lead them, and what is done to them on the way.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderName, HeaderValue};
use l7_ingress_core::filter::{self, Facts, Rewritten};
use l7_ingress_core::snippet::State;
use l7_ingress_core::{Route, Table, host};

use super::admit::{self, Admitted};
use super::request_id;
use crate::record::Record;
use crate::reply::Reply;
use crate::worker::Worker;

/// Where a request has been led to.
pub(super) struct Led {
    pub(super) route: Arc<Route>,
    pub(super) rewritten: Option<Rewritten>,
    /// What the endpoint is told in place of other fields of these names.
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    /// The same for its `Host`.
    pub(super) host: Option<HeaderValue>,
}

/// Runs the filters of a route with snippets, and of those that they lead to.
///
/// # Errors
/// The answer of the filter that has one.
pub(super) async fn lead(
    worker: &Worker,
    (table, first): (&Table, &Arc<Route>),
    facts: &Facts<'_>,
    record: &mut Record,
) -> Result<Led, Reply> {
    let request_id = request_id(table.global(), &facts.head.headers);
    let mut state = State::new(&request_id);
    record.request_id = Some(request_id.into());
    let mut route = Arc::clone(first);
    let admitted = loop {
        let before = state.clone();
        let here = before.facts(facts);
        let on = (&route, Some(&mut state));
        match admit::admit(worker, on, &here, record).await {
            Ok(Admitted::Here) => break Ok(()),
            Err(reply) => break Err(reply),
            Ok(Admitted::Elsewhere) => {}
        }
        let Some(found) = table.find(facts.host, state.facts(facts).path) else {
            break Err(Reply::NotFound);
        };
        route = Arc::clone(found);
        record.route = Some(Arc::clone(found));
    };
    record.outcome = state.outcome(&route, facts).map(Box::new);
    admitted?;
    let rewritten = filter::target(&route, facts, Some(&state));
    let rewritten = rewritten.map_err(|answer| Reply::Filtered(Box::new(answer)))?;
    let mut fields = state.told(&route, facts);
    let host = take_host(&mut fields)?;
    Ok(Led {
        route,
        rewritten,
        fields,
        host,
    })
}

/// `Host` is no field like others: what is no host would make another request of this one.
fn take_host(fields: &mut Vec<(HeaderName, HeaderValue)>) -> Result<Option<HeaderValue>, Reply> {
    let mut hosts = fields.extract_if(.., |(name, _)| *name == HOST);
    let Some((_, told)) = hosts.by_ref().last() else {
        return Ok(None);
    };
    let is_host = told
        .to_str()
        .is_ok_and(|text| host::canonical(text).is_ok());
    match is_host {
        true => Ok(Some(told)),
        false => Err(Reply::BadRequest),
    }
}

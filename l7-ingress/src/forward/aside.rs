//! A request that the default backend answers, because no endpoint can or because what it said is not for clients.

use http::{HeaderValue, StatusCode, header};
use l7_ingress_core::upstream::{Choice, Errors};
use l7_ingress_core::{Backend, Resolution};
use std::sync::Arc;
use tokio::time::Instant;

use super::attempt::{self, Answer};
use super::outgoing::Outgoing;
use super::{Job, Tries};
use crate::body::RequestBody;
use crate::record::Record;
use crate::reply::Reply;

/// What the default backend is told.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) status: StatusCode,
    /// Whether it is asked for `/`, and told what the client asked for.
    pub(super) at_root: bool,
}

/// The fields that say it; what clients send of them is dropped.
const FIELDS: [&str; 7] = [
    "x-code",
    "x-format",
    "x-original-uri",
    "x-namespace",
    "x-ingress-name",
    "x-service-name",
    "x-service-port",
];

impl Aside {
    pub(super) fn is_ours(name: &str) -> bool {
        FIELDS.contains(&name)
    }

    /// Gives the fields.
    pub(super) fn write(&self, job: &Job<'_>, mut write: impl FnMut(&'static str, &str)) {
        let route = job.route;
        let format = job.head.headers.get(header::ACCEPT);
        let format = format.map(HeaderValue::to_str).and_then(Result::ok);
        let target = job.head.uri.path_and_query();
        let target = self
            .at_root
            .then(|| target.map_or("/", |target| target.as_str()));
        let port = route.backend.port.to_string();
        let values = [
            self.status.as_str(),
            format.unwrap_or_default(),
            target.unwrap_or_default(),
            &route.ingress.namespace,
            &route.ingress.name,
            &route.backend.service.name,
            &port,
        ];
        for (name, value) in FIELDS.into_iter().zip(values) {
            if !value.is_empty() {
                write(name, value);
            }
        }
    }
}

impl Job<'_> {
    /// Who stands in for a Service that has no endpoint.
    pub(super) fn stand_in(&self) -> Option<&Arc<Backend>> {
        let errors = self.route.errors.as_ref()?;
        let asked = self.errors()?.service.is_some();
        if self.told.canary {
            return None;
        }
        let endpoints = self.route.backend.endpoints();
        let is_cluster = matches!(
            endpoints.resolution,
            Resolution::Slices | Resolution::Missing
        );
        (asked && is_cluster && endpoints.addresses.is_empty()).then_some(errors)
    }

    /// Whether the default backend answers in place of this.
    pub(super) fn is_replaced(&self, status: StatusCode, own: bool) -> bool {
        let replaces = |errors: &Errors| errors.replaces(status, own);
        self.route.errors.is_some() && self.errors().is_some_and(replaces)
    }

    fn errors(&self) -> Option<&Errors> {
        self.route.policy.upstream.errors.as_deref()
    }

    /// What the default backend answers for `status`. Its own status is the client's.
    pub(super) async fn ask(
        &self,
        status: StatusCode,
        record: &mut Record,
    ) -> Result<Answer, Reply> {
        let backend = self.route.errors.as_ref().ok_or(Reply::NotFound)?;
        let mut now = Instant::now();
        let upstreams = &self.worker.upstreams;
        let group = upstreams.group(backend, backend.manner.protocol, now);
        let at_root = true;
        let outgoing = Outgoing::new(self, None, false).aside(Aside { status, at_root });
        let mut tries = Tries::new(self, &group, now);
        let mut reply = Reply::NoEndpoint;
        while let Some(peer) = tries.next(&group, Choice::Any, now) {
            let mut body = Some(RequestBody::empty());
            match attempt::run(&outgoing, &peer, &mut body, (record, now)).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    now = Instant::now();
                    let again = tries.goes_on(&failure, body.as_ref(), now);
                    tries.failed(peer);
                    reply = failure.into_reply();
                    if !again {
                        break;
                    }
                }
            }
        }
        Err(reply)
    }
}

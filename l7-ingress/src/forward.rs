//! One request: find its route, pass it to an endpoint, pass the response back.

mod admit;
mod aside;
mod attempt;
mod external;
mod outgoing;
mod scripted;
mod session;
mod tries;
mod tunnel;

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use l7_ingress_core::filter::{self, Asked, Facts, Rewritten, Scripted};
use l7_ingress_core::forwarded::Forwarded;
use l7_ingress_core::global::{Global, Patience};
use l7_ingress_core::upstream::{Condition, Destination};
use l7_ingress_core::{Resolution, Route, Table, forwarded, host, path};
use tokio::time::Instant;

use crate::body::{RequestBody, ResponseBody};
use crate::client::Client;
use crate::forwarding;
use crate::record::Record;
use crate::reply::Reply;
use crate::traces::Traced;
use crate::worker::Worker;

use aside::Aside;
use attempt::Answer;
use outgoing::Outgoing;
use scripted::Led;
use session::Session;
use tries::Tries;

pub(crate) use tunnel::{Moved, pipe};

/// Answers a request, in one way or another.
///
/// # Errors
/// Never: what cannot be answered by an endpoint is answered by a [`Reply`].
pub(crate) async fn answer(
    worker: &Rc<Worker>,
    client: &Arc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, std::convert::Infallible> {
    let upgrade = upgrade(&mut request);
    let (head, incoming) = request.into_parts();
    let table = worker.table();
    let global = table.global();
    let mut record = Record::begin(worker, client, (global, &head));
    let mut body = Some(RequestBody::new(
        incoming,
        global.client.body,
        Rc::clone(&record.request_bytes),
    ));
    let answered = match route(worker, &table, (client, &head), &mut record).await {
        Ok((route, told)) => {
            if let (Some(limit), Some(body)) = (route.policy.body_limit, &mut body) {
                body.limit(limit);
            }
            let job = Job {
                worker,
                client,
                global,
                head: &head,
                route: &route,
                told,
            };
            match job.read_ahead(body.as_mut(), upgrade.is_some()).await {
                Ok(()) => job.forward(&mut body, upgrade, &mut record).await,
                Err(reply) => Err(reply),
            }
        }
        Err(reply) => Err(reply),
    };
    // Whoever sends what means two things may mean the next request to be another's.
    let refused = match &answered {
        Err(Reply::BadRequest | Reply::TargetTooLong) => true,
        // Only another handshake can show another certificate.
        Err(Reply::Filtered(answer)) => answer.detail.is_some(),
        _ => false,
    };
    let mut response = answered.unwrap_or_else(Reply::into_response);
    let asked = Asked {
        head: &head,
        tls: client.tls,
        scripted: record.outcome.as_deref().map(|outcome| Scripted {
            outcome,
            status: response.status(),
            now: SystemTime::now(),
        }),
    };
    filter::respond(
        global,
        record.route.as_deref(),
        &asked,
        response.headers_mut(),
    );
    let status = response.status();
    if let Some(heard) = &record.heard {
        heard.set_cookies(status, response.headers_mut());
    }
    let mut response = compressed(global, &head, response);
    client.upgrade_answered(status == StatusCode::SWITCHING_PROTOCOLS);
    let ends = closes(worker, global, (client, head.version), status);
    if ends || refused && head.version < Version::HTTP_2 {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    record.answered(status, response.headers());
    let pace = record.route.as_ref().and_then(|route| route.policy.pace);
    Ok(response.map(|body| body.paced(pace).recorded(record)))
}

/// The response, compressed where that is asked for.
fn compressed(
    global: &Global,
    head: &Parts,
    mut response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let Some(compression) = &global.compression else {
        return response;
    };
    let (status, length) = (response.status(), response.body().size_hint().exact());
    let encoding = compression.choose(head, status, response.headers_mut(), length);
    match encoding {
        Some(encoding) => response.map(|body| body.coded(encoding)),
        None => response,
    }
}

/// What to wait for if an endpoint agrees to switch protocols: only HTTP/1.1 clients can ask.
fn upgrade(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    let asks = request.version() == Version::HTTP_11
        && request.headers().contains_key(http::header::UPGRADE)
        && request.method() != Method::CONNECT;
    asks.then(|| hyper::upgrade::on(request))
}

/// Whether the connection ends with this response.
fn closes(
    worker: &Worker,
    global: &Global,
    (client, version): (&Client, Version),
    status: StatusCode,
) -> bool {
    version < Version::HTTP_2
        && status != StatusCode::SWITCHING_PROTOCOLS
        && (worker.is_draining()
            || client.requests() >= global.keep_alive_requests
            || global.client.keep_alive.is_zero()
            || status == StatusCode::REQUEST_TIMEOUT)
}

/// Finds the route, or what the proxy answers by itself.
async fn route<'h>(
    worker: &Worker,
    table: &Table,
    (client, head): (&'h Client, &'h Parts),
    record: &mut Record,
) -> Result<(Arc<Route>, Told<'h>), Reply> {
    let refused = |reply| {
        worker.metrics.bad_requests.add(1);
        reply
    };
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(refused(Reply::Method));
    }
    let target = head.uri.path();
    if head
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len())
        > table.global().max_target
    {
        return Err(refused(Reply::TargetTooLong));
    }
    let authority = authority(head).ok_or_else(|| refused(Reply::BadRequest))?;
    let name = host::canonical(authority).map_err(|_| refused(Reply::BadRequest))?;
    let path = path::normalise(target).map_err(|_| refused(Reply::BadRequest))?;
    if let Some(line) = &mut record.line {
        line.host = name.as_ref().into();
    }
    let found = table.find(&name, &path);
    record.routed(found, &name);
    let Some(route) = found else {
        worker.metrics.unmatched.add(1);
        return Err(if path == "/healthz" {
            Reply::Healthy
        } else {
            Reply::NotFound
        });
    };
    if route.policy.is_unlogged {
        record.line = None;
    }
    let forwarded = forwarding::told(table.global(), client, authority, &head.headers);
    let facts = Facts {
        head,
        host: &name,
        authority,
        path: &path,
        query: head.uri.query(),
        tls: client.tls,
        forwarded: &forwarded,
    };
    if let Some(trace) = &route.policy.trace {
        let on = (&**table.global(), &**route, &**trace);
        record.traced = Some(Traced::begin(on, &facts, client, record.started));
    }
    let led = match route.has_snippets() {
        // Boxed: routes that have none are not to carry it.
        true => Box::pin(scripted::lead(worker, (table, route), &facts, record)).await?,
        false => lead(worker, route, &facts, record).await?,
    };
    let route = &led.route;
    record.canary = route.takes_canary(&head.headers, |below| fastrand::u32(..below));
    let mut fields = extra_fields(table.global(), &facts);
    fields.retain(|(name, _)| led.fields.iter().all(|(own, _)| own != name));
    fields.extend(led.fields);
    if let Some(external) = &route.policy.external {
        external.tell(record.heard.as_deref(), &head.headers, &mut fields);
    }
    if let Some(traced) = &record.traced {
        traced.tell(&mut fields);
    }
    let told = Told {
        session: Session::new(&route.destination(record.canary), &facts),
        canary: record.canary,
        host: authority,
        upstream_host: led.host,
        request_id: record.request_id.take(),
        fields,
        rewritten: led.rewritten,
        forwarded,
    };
    Ok((Arc::clone(route), told))
}

/// Runs the filters of a route without snippets.
async fn lead(
    worker: &Worker,
    route: &Arc<Route>,
    facts: &Facts<'_>,
    record: &mut Record,
) -> Result<Led, Reply> {
    if !route.stages.is_empty() {
        admit::admit(worker, (route, None), facts, record).await?;
    }
    let rewritten = filter::target(route, facts, None);
    Ok(Led {
        route: Arc::clone(route),
        rewritten: rewritten.map_err(|answer| Reply::Filtered(Box::new(answer)))?,
        fields: Vec::new(),
        host: None,
    })
}

/// The number of a request: all who are asked something for it are told the same one.
fn request_id(global: &Global, headers: &HeaderMap) -> String {
    let own = headers.get("x-request-id");
    let own = own.and_then(|own| own.to_str().ok()).unwrap_or_default();
    match global.generates_request_id {
        true => forwarded::request_id(own, || fastrand::u128(..)).into_owned(),
        false => own.to_owned(),
    }
}

/// How long an endpoint of this route may take.
fn patience(global: &Global, route: &Route) -> Patience {
    let all = global.upstream;
    let own = &route.policy.upstream;
    Patience {
        connect: own.timeouts.connect.unwrap_or(all.connect),
        read: own.timeouts.read.unwrap_or(all.read),
        send: own.timeouts.send.unwrap_or(all.send),
        head: own
            .response_head
            .map_or(all.head, |head| head.max(all.head)),
    }
}

/// What all endpoints are told beside the client's fields.
fn extra_fields(global: &Global, facts: &Facts<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let fields = global.fields.told.iter();
    let fields = fields.filter_map(|(name, expression)| {
        // Made of what the client's fields are made of: it is a field value.
        let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(expression.text(facts)));
        Some((name.clone(), value.ok()?))
    });
    fields.collect()
}

/// The host that the request is for, as the client wrote it: the request target's authority if it
/// has one, which must not disagree with the Host field (RFC 9112 §3.2.2), else the field.
///
/// An HTTP/1.0 request may do without: it is for the catch-all routes.
fn authority(head: &Parts) -> Option<&str> {
    let mut fields = head.headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (None, _) => None,
        (Some(field), None) => Some(field.to_str().ok()?),
        (Some(_), Some(_)) => return None,
    };
    match (head.uri.authority(), field) {
        (Some(target), None) => Some(target.as_str()),
        (Some(target), Some(field)) => host::same_authority(target.as_str(), field)
            .ok()?
            .then_some(target.as_str()),
        (None, Some(field)) => Some(field),
        (None, None) => (head.version == Version::HTTP_10).then_some(""),
    }
}

/// A request on its way to an endpoint.
struct Job<'r> {
    worker: &'r Rc<Worker>,
    client: &'r Client,
    global: &'r Global,
    head: &'r Parts,
    route: &'r Arc<Route>,
    told: Told<'r>,
}

/// What an endpoint is told of where the request came from.
struct Told<'r> {
    /// The host as the client wrote it.
    host: &'r str,
    /// What a snippet says in its place.
    upstream_host: Option<HeaderValue>,
    /// The number of the request, if it is known already.
    request_id: Option<Box<str>>,
    /// What stands for the target that the client wrote.
    rewritten: Option<Rewritten>,
    /// Fields that replace all others of their names; an empty value alone takes them away.
    fields: Vec<(HeaderName, HeaderValue)>,
    forwarded: Forwarded<'r>,
    /// Whether it is the canary's.
    canary: bool,
    session: Session,
}

impl Job<'_> {
    /// Reads the body before an endpoint is contacted, where that is asked for.
    async fn read_ahead(
        &self,
        body: Option<&mut RequestBody>,
        upgrades: bool,
    ) -> Result<(), Reply> {
        let upstream = &self.route.policy.upstream;
        let Some(body) = body.filter(|body| !upgrades && !body.is_end_stream()) else {
            return Ok(());
        };
        let has_length = body.size_hint().exact().is_some();
        if upstream.buffers_requests || upstream.is_http10 && !has_length {
            body.buffer(&self.worker.buffered).await?;
        }
        // HTTP/1.0 has no chunks.
        match upstream.is_http10 && body.size_hint().exact().is_none() {
            true => Err(Reply::BodyTooLong),
            false => Ok(()),
        }
    }

    /// Where it goes.
    fn destination(&self) -> Destination<'_> {
        self.route.destination(self.told.canary)
    }

    /// How long an endpoint may take.
    fn patience(&self) -> Patience {
        patience(self.global, self.route)
    }

    /// Whether it may be executed twice.
    fn is_repeatable(&self) -> bool {
        let retry = &self.route.policy.upstream.retry;
        self.head.method.is_idempotent() || retry.on.holds(Condition::NonIdempotent)
    }

    /// Passes the request on, and says what comes of it.
    async fn forward(
        &self,
        body: &mut Option<RequestBody>,
        upgrade: Option<OnUpgrade>,
        record: &mut Record,
    ) -> Result<Response<ResponseBody>, Reply> {
        let answered = self.answer(body, upgrade.is_some(), record).await;
        let (status, own) = match &answered {
            Ok((answer, _)) => (answer.status, false),
            Err(reply) => (reply.status(), true),
        };
        if self.is_replaced(status, own) {
            drop(answered);
            let page = self.ask(status, record).await?;
            return Ok(self.finish(page, None, None));
        }
        let (mut answer, cookie) = answered?;
        if let Some(outcome) = &mut record.outcome {
            let endpoint = record.attempts.last();
            let endpoint = endpoint.map_or("", |attempt| &attempt.peer.name);
            outcome.take(answer.status, endpoint, &mut answer.headers);
        }
        Ok(self.finish(answer, upgrade, cookie))
    }

    /// Tries endpoints until one answers, as often as it is safe to; with the cookie that leads back to it.
    async fn answer(
        &self,
        body: &mut Option<RequestBody>,
        upgrades: bool,
        record: &mut Record,
    ) -> Result<(Answer, Option<HeaderValue>), Reply> {
        let stand_in = self.stand_in();
        let destination = self.destination();
        let backend = stand_in.unwrap_or(destination.backend);
        let group = self.worker.upstreams.group(
            backend,
            backend.protocol(record.client.tls),
            record.started,
        );
        let mut outgoing = Outgoing::new(self, body.as_ref(), upgrades);
        if stand_in.is_some() {
            outgoing = outgoing.aside(Aside {
                status: StatusCode::SERVICE_UNAVAILABLE,
                at_root: false,
            });
        }
        if let Some(line) = &mut record.line {
            line.request_id = outgoing.request_id().into();
        }
        let limit = self.route.policy.body_limit.unwrap_or(u64::MAX);
        let mut tries = Tries::new(self, &group, record.started);
        let mut session = self.told.session;
        let mut last = None;
        let mut now = record.started;
        while let Some(peer) = tries.next(&group, session.choice, now) {
            let spare = tries.spare(body.as_ref());
            let tried = attempt::run(&outgoing, &peer, body, (record, now)).await;
            match tried {
                Ok(answer) if spare.is_some() && tries.goes_on_after(answer.status, answer.at) => {
                    now = answer.at;
                    *body = spare;
                    tries.answered(peer);
                }
                Ok(answer) => {
                    let cookie = session.cookie(self, &group, &peer);
                    return Ok((answer, cookie));
                }
                Err(failure) => {
                    now = Instant::now();
                    if failure.blames_endpoint() && record.request_bytes.get() <= limit {
                        peer.failed(now);
                    }
                    tries.failed(peer);
                    let again = tries.goes_on(&failure, body.as_ref(), now);
                    last = Some(failure);
                    if !again {
                        break;
                    }
                }
            }
            if let Some(affinity) = destination.affinity {
                session.failed(affinity, &group, tries.tried());
            }
            self.worker.metrics.retries.add(1);
        }
        Err(match last {
            // Over HTTP/2 the cause is lost on the way.
            Some(_) if record.request_bytes.get() > limit => Reply::BodyTooLong,
            Some(failure) => failure.into_reply(),
            None => self.no_endpoint(),
        })
    }

    /// Makes the client's response of an endpoint's.
    fn finish(
        &self,
        answer: Answer,
        upgrade: Option<OnUpgrade>,
        cookie: Option<HeaderValue>,
    ) -> Response<ResponseBody> {
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        outgoing::strip_hop_by_hop(response.headers_mut(), answer.tunnel.is_some());
        filter::take(self.global, &self.route.policy, response.headers_mut());
        if let Some(cookie) = cookie {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        if let (Some(tunnel), Some(upgrade)) = (answer.tunnel, upgrade) {
            let limit = self.patience().read;
            tunnel::start(self.worker, *tunnel, upgrade, limit);
        }
        response
    }

    fn no_endpoint(&self) -> Reply {
        match self.destination().backend.endpoints().resolution {
            Resolution::Slices | Resolution::Missing => Reply::NoEndpoint,
            Resolution::Dns { .. } => Reply::BadGateway,
            Resolution::NotFound => Reply::NotFound,
        }
    }
}

//! What becomes of one request: counted and logged when its last byte has gone, or when it is
//! given up.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, REFERER, USER_AGENT};
use http::request::Parts;
use http::{Method, StatusCode, Uri, Version};
use l7_ingress_core::Route;
use l7_ingress_core::filter::Heard;
use l7_ingress_core::global::{Global, Log, LogForm};
use l7_ingress_core::snippet::Outcome;
use l7_ingress_core::trace::Ending;
use tokio::time::Instant;

use crate::client::Client;
use crate::limits::Open;
use crate::metrics::{Counted, Hosts, Sample};
use crate::traces::Traced;
use crate::upstream::Peer;
use crate::worker::Worker;

/// The status that logs and metrics give to a request whose client did not wait (nginx's own).
pub(crate) const CLIENT_CLOSED: u16 = 499;

/// One request, from its head to its end.
#[derive(Debug)]
pub(crate) struct Record {
    worker: Rc<Worker>,
    pub(crate) client: Arc<Client>,
    pub(crate) started: Instant,
    pub(crate) method: Method,
    pub(crate) status: u16,
    pub(crate) route: Option<Arc<Route>>,
    /// The host that the client wrote, where it tells requests apart in metrics.
    pub(crate) host: Option<Box<str>>,
    /// Whether it went to the route's canary.
    pub(crate) canary: bool,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) request_bytes: Rc<Cell<u64>>,
    pub(crate) response_bytes: u64,
    /// How long the two heads are, as HTTP/1 writes them.
    request_head: usize,
    response_head: usize,
    /// Where it belongs, if it is traced.
    pub(crate) traced: Option<Box<Traced>>,
    /// Only while an access log is written.
    pub(crate) line: Option<Box<Line>>,
    /// Its number, if it is known before an endpoint is told.
    pub(crate) request_id: Option<Box<str>>,
    /// What another server says of whether it may come in.
    pub(crate) heard: Option<Rc<Heard>>,
    /// What snippets have made of it.
    pub(crate) outcome: Option<Box<Outcome>>,
    /// Its place among the client's open requests, where those are limited.
    pub(crate) open: Option<Open>,
    ended: bool,
}

/// One try on one endpoint.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) peer: Rc<Peer>,
    pub(crate) started: Instant,
    /// How long it took to connect, where no connection was idle.
    pub(crate) connected: Option<Duration>,
    /// How long it took until the response's head.
    pub(crate) answered: Option<Duration>,
    pub(crate) status: Option<StatusCode>,
}

/// What only a log line needs.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) host: Box<str>,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) request_id: Box<str>,
    pub(crate) form: LogForm,
    /// Fields of the request and of the response that the form asks for.
    pub(crate) asked: Box<[Option<HeaderValue>]>,
    pub(crate) answered: Box<[Option<HeaderValue>]>,
}

impl Line {
    /// The line of a request, unless none is wanted.
    fn new(log: &Log, head: &Parts) -> Option<Box<Self>> {
        if log.form == LogForm::Off {
            return None;
        }
        let (uri, headers) = (&head.uri, &head.headers);
        let target = uri.path_and_query();
        let target = target.map_or("/", |target| target.as_str()).as_bytes();
        if log.skipped.iter().any(|skipped| skipped.is(target)) {
            return None;
        }
        let asked = match &log.form {
            LogForm::Template(template) => fields(&template.asked, headers),
            _ => Box::default(),
        };
        Some(Box::new(Self {
            uri: uri.clone(),
            version: head.version,
            host: Box::default(),
            referer: headers.get(REFERER).cloned(),
            user_agent: headers.get(USER_AGENT).cloned(),
            request_id: Box::default(),
            form: log.form.clone(),
            asked,
            answered: Box::default(),
        }))
    }

    /// Notes what the form asks of a response.
    fn answer(&mut self, headers: &HeaderMap) {
        if let LogForm::Template(template) = &self.form {
            self.answered = fields(&template.answered, headers);
        }
    }
}

fn fields(names: &[HeaderName], headers: &HeaderMap) -> Box<[Option<HeaderValue>]> {
    let values = names.iter().map(|name| headers.get(name).cloned());
    values.collect()
}

impl Record {
    /// The canary that it went to, as ingress-nginx names it.
    pub(crate) fn alternative(&self) -> &str {
        let route = self.route.as_ref().filter(|_| self.canary);
        let canary = route.and_then(|route| route.canary.as_ref());
        canary.map_or("", |canary| &canary.backend.upstream_name)
    }

    /// Begins the record of a request.
    pub(crate) fn begin(
        worker: &Rc<Worker>,
        client: &Arc<Client>,
        (global, head): (&Global, &Parts),
    ) -> Self {
        worker.metrics.requests.add(1);
        if client.begin() {
            worker.metrics.busy.add(1);
        }
        let line = Line::new(&global.log, head);
        Self {
            worker: Rc::clone(worker),
            client: Arc::clone(client),
            started: Instant::now(),
            method: head.method.clone(),
            status: CLIENT_CLOSED,
            route: None,
            host: None,
            canary: false,
            attempts: Vec::new(),
            request_bytes: Rc::default(),
            response_bytes: 0,
            request_head: request_line(head) + fields_length(&head.headers),
            response_head: 0,
            traced: None,
            line,
            request_id: None,
            heard: None,
            outcome: None,
            open: None,
            ended: false,
        }
    }

    /// It is for `host`, and `route`'s, if there is one.
    pub(crate) fn routed(&mut self, route: Option<&Arc<Route>>, host: &str) {
        let pattern = route.map_or("", |route| &route.host);
        let is_exact = !pattern.is_empty() && !pattern.starts_with('*');
        if !is_exact && self.worker.metrics.hosts() == Hosts::Written {
            self.host = Some(host.into());
        }
        self.route = route.cloned();
    }

    /// Its response has this status and these fields.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = status.as_u16();
        let reason = status.canonical_reason().unwrap_or_default();
        self.response_head = "HTTP/1.1 200 \r\n".len() + reason.len() + fields_length(headers);
        if let Some(line) = &mut self.line {
            line.answer(headers);
        }
    }

    /// How long the request is with its head.
    pub(crate) fn request_length(&self) -> u64 {
        self.request_bytes.get() + self.request_head as u64
    }

    /// How long the response is with its head.
    pub(crate) const fn response_length(&self) -> u64 {
        self.response_bytes + self.response_head as u64
    }

    /// That many bytes of the response's body are on their way.
    pub(crate) const fn sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// The response's body is complete.
    pub(crate) fn complete(&mut self) {
        self.end();
    }

    /// The endpoint broke off in the middle of its response.
    pub(crate) fn failed(&mut self) {
        self.worker.metrics.aborted.add(1);
        self.end();
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let now = Instant::now();
        self.open = None;
        if self.client.end(now) {
            self.worker.metrics.busy.sub(1);
        }
        let counted = Counted {
            route: self.route.as_deref(),
            host: self.host.as_deref(),
            method: &self.method,
            status: self.status,
            canary: self.canary,
        };
        self.worker.metrics.count(&counted, &self.sample(now));
        if self.line.is_some() {
            self.worker.log.write(self, now);
        }
        if let (Some(traced), Some(route)) = (self.traced.take(), &self.route) {
            let ending = Ending {
                status: self.status,
                took: now - self.started,
                canary: self.canary,
            };
            let worker = &*self.worker;
            worker.spans.end(*traced, route, ending, &worker.metrics);
        }
    }

    fn sample(&self, now: Instant) -> Sample {
        let last = self.attempts.last();
        Sample {
            total: now - self.started,
            response: last.map(|attempt| now - attempt.started),
            header: last.and_then(|attempt| attempt.answered),
            connect: last.and_then(|attempt| attempt.connected),
            request_bytes: self.request_length(),
            response_bytes: self.response_length(),
        }
    }
}

/// `GET /path HTTP/1.1` with its line's end.
fn request_line(head: &Parts) -> usize {
    let target = head.uri.path_and_query();
    let target = target.map_or(1, |target| target.as_str().len());
    head.method.as_str().len() + target + "  HTTP/1.1\r\n".len()
}

/// Fields, as lines, and the empty line after them.
fn fields_length(headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    let lengths = fields.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    lengths.sum::<usize>() + "\r\n".len()
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end();
    }
}

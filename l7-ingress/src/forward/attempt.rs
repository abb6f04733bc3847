//! One try on one endpoint.

use std::rc::Rc;

use http::StatusCode;
use http::header::HeaderMap;
use l7_ingress_core::upstream::Condition;
use l7_ingress_core::{BackendProtocol, ResponseError};
use tokio::time::{Instant, timeout};

use super::outgoing::Outgoing;
use super::tunnel::Tunnel;
use crate::body::{RequestBody, ResponseBody};
use crate::record::{Attempt, Record};
use crate::reply::Reply;
use crate::stream::Stream;
use crate::upstream::{
    ConnectError, Connection, Exchange, ExchangeError, Http2Connection, InFlight, Peer, Sending,
};
use crate::worker::Worker;

/// What an endpoint answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// When it came.
    pub(super) at: Instant,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: ResponseBody,
    /// The connection, once the endpoint has switched protocols. Boxed: few answers have one, and
    /// all are moved.
    pub(super) tunnel: Option<Box<Tunnel>>,
}

/// Why an endpoint did not answer.
#[derive(Debug)]
pub(super) struct Failure {
    cause: Cause,
    /// Whether it may have begun to act on the request.
    sent: bool,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Http1(#[from] ExchangeError),
    #[error(transparent)]
    Http2(#[from] hyper::Error),
    #[error("backend did not answer in time")]
    Timeout,
}

impl Failure {
    fn unsent(cause: impl Into<Cause>) -> Self {
        Self {
            cause: cause.into(),
            sent: false,
        }
    }

    /// Whether another try cannot execute the request twice, unless executing it twice is the same
    /// as once (RFC 9110 §9.2.2) or asked for, and nothing of its body is lost.
    pub(super) fn may_repeat(&self, is_repeatable: bool, body: Option<&RequestBody>) -> bool {
        self.blames_endpoint()
            && body.is_some_and(|body| !body.is_touched())
            && (!self.sent || is_repeatable)
    }

    /// What happened, if the endpoint is to blame.
    pub(super) const fn condition(&self) -> Option<Condition> {
        Some(match &self.cause {
            Cause::Http1(ExchangeError::Request(_)) => return None,
            Cause::Connect(ConnectError::Timeout)
            | Cause::Http1(ExchangeError::Timeout)
            | Cause::Timeout => Condition::Timeout,
            Cause::Http1(ExchangeError::Response(ResponseError::Incomplete)) => Condition::Error,
            Cause::Http1(ExchangeError::Response(_)) => Condition::InvalidHeader,
            Cause::Connect(_) | Cause::Http1(_) | Cause::Http2(_) => Condition::Error,
        })
    }

    /// Whether it is the endpoint's fault, and not the client's.
    pub(super) const fn blames_endpoint(&self) -> bool {
        !matches!(self.cause, Cause::Http1(ExchangeError::Request(_)))
    }

    /// Whether a connection was found closed: says nothing of the endpoint if it had idled.
    const fn is_closed(&self) -> bool {
        matches!(
            self.cause,
            Cause::Http1(ExchangeError::Closed | ExchangeError::Io(_))
        )
    }

    pub(super) fn into_reply(self) -> Reply {
        match self.cause {
            Cause::Connect(ConnectError::Timeout)
            | Cause::Http1(ExchangeError::Timeout)
            | Cause::Timeout => Reply::GatewayTimeout,
            Cause::Http1(ExchangeError::Request(error)) => error.into(),
            Cause::Connect(_) | Cause::Http1(_) | Cause::Http2(_) => Reply::BadGateway,
        }
    }
}

/// Sends the request to `peer`. The body is gone once the endpoint has answered.
pub(super) async fn run(
    outgoing: &Outgoing<'_>,
    peer: &Rc<Peer>,
    body: &mut Option<RequestBody>,
    (record, started): (&mut Record, Instant),
) -> Result<Answer, Failure> {
    let mut attempt = Try {
        worker: outgoing.worker(),
        outgoing,
        peer,
        started,
        connected: None,
    };
    let in_flight = InFlight::new(Rc::clone(peer), started);
    let answer = match peer.protocol {
        BackendProtocol::Http | BackendProtocol::Https => attempt.http1(body, in_flight).await,
        BackendProtocol::H2c | BackendProtocol::H2Tls => attempt.http2(body, in_flight).await,
    };
    if let Err(failure) = &answer {
        tracing::debug!(endpoint = %peer.name, "no answer: {}", failure.cause);
    }
    record.attempts.push(Attempt {
        peer: Rc::clone(peer),
        started,
        connected: attempt.connected.map(|at| at - started),
        answered: answer.as_ref().ok().map(|answer| answer.at - started),
        status: answer.as_ref().ok().map(|answer| answer.status),
    });
    answer
}

struct Try<'t> {
    worker: &'t Rc<Worker>,
    outgoing: &'t Outgoing<'t>,
    peer: &'t Rc<Peer>,
    started: Instant,
    connected: Option<Instant>,
}

impl Try<'_> {
    async fn connect(&mut self) -> Result<Stream, ConnectError> {
        let connected = {
            let patience = self.outgoing.patience().connect;
            self.worker.connector.connect(self.peer, patience).await
        };
        match &connected {
            Ok(_) => self.connected = Some(Instant::now()),
            Err(_) => self.worker.metrics.connect_errors.add(1),
        }
        connected
    }

    /// HTTP/1.1, on an idle connection if there is one. That one may have been closed this very
    /// moment: then once more, on a new one.
    async fn http1(
        &mut self,
        body: &mut Option<RequestBody>,
        in_flight: InFlight,
    ) -> Result<Answer, Failure> {
        let is_repeatable = self.outgoing.is_repeatable();
        if let Some(connection) = self.peer.checkout(self.started, !is_repeatable) {
            match self.exchange(connection, body).await {
                Err(failure)
                    if failure.is_closed() && failure.may_repeat(is_repeatable, body.as_ref()) => {}
                Err(failure) => return Err(failure),
                Ok(done) => return Ok(done.answer(in_flight)),
            }
        }
        let stream = self.connect().await.map_err(Failure::unsent)?;
        let connection = Connection::new(stream, self.connected.unwrap_or(self.started));
        Ok(self.exchange(connection, body).await?.answer(in_flight))
    }

    async fn exchange(
        &self,
        mut connection: Box<Connection>,
        body: &mut Option<RequestBody>,
    ) -> Result<Done, Failure> {
        let patience = self.outgoing.patience();
        self.outgoing.write(connection.head());
        let mut sending = Sending::new(
            self.outgoing.framing(),
            self.connected.unwrap_or(self.started),
        );
        let method = self.outgoing.method();
        let pending = body.as_mut().expect("a request that is tried has its body");
        pending.rewind();
        let head = connection
            .start(method, &mut sending, pending, patience)
            .await;
        let head = head.map_err(|cause| Failure {
            cause: cause.into(),
            sent: connection.touched(),
        })?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS && !self.outgoing.is_upgrade() {
            let cause = ExchangeError::from(ResponseError::Head);
            return Err(Failure {
                cause: cause.into(),
                sent: true,
            });
        }
        let body = body.take().expect("it was there a moment ago");
        Ok(Done {
            connection,
            head,
            sending,
            body,
            patience,
        })
    }

    /// HTTP/2, on the connection that all share.
    async fn http2(
        &mut self,
        body: &mut Option<RequestBody>,
        in_flight: InFlight,
    ) -> Result<Answer, Failure> {
        let mut connection = self.http2_connection().await?;
        let mut sent = body.take().expect("a request that is tried has its body");
        sent.rewind();
        // Another try needs a body.
        *body = sent.replica();
        let request = self.outgoing.request(self.peer, sent);
        let patience = self.outgoing.patience().read;
        let answered = timeout(patience, connection.send(request)).await;
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(refused)) => {
                let sent = refused.unsent.is_none();
                *body = refused.unsent.or_else(|| body.take());
                return Err(Failure {
                    cause: refused.error.into(),
                    sent,
                });
            }
            Err(_) => {
                return Err(Failure {
                    cause: Cause::Timeout,
                    sent: true,
                });
            }
        };
        let at = Instant::now();
        in_flight.answered(at);
        let (head, incoming) = response.into_parts();
        Ok(Answer {
            at,
            status: head.status,
            headers: head.headers,
            body: ResponseBody::http2(incoming, patience, in_flight),
            tunnel: None,
        })
    }

    async fn http2_connection(&mut self) -> Result<Http2Connection, Failure> {
        if let Some(connection) = &*self.peer.h2.borrow()
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let stream = self.connect().await.map_err(Failure::unsent)?;
        let connection = Http2Connection::open(stream)
            .await
            .map_err(|error| Failure::unsent(ConnectError::Http2(error)))?;
        *self.peer.h2.borrow_mut() = Some(connection.clone());
        Ok(connection)
    }
}

/// A response's head, and what its body comes from.
struct Done {
    connection: Box<Connection>,
    head: l7_ingress_core::ResponseHead,
    sending: Sending,
    body: RequestBody,
    patience: l7_ingress_core::global::Patience,
}

impl Done {
    fn answer(self, in_flight: InFlight) -> Answer {
        let Self {
            connection,
            mut head,
            sending,
            body,
            patience,
        } = self;
        let at = sending.progress();
        in_flight.answered(at);
        let headers = std::mem::take(&mut head.headers);
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let (backend, early) = connection.into_tunnel();
            let tunnel = Some(Box::new(Tunnel {
                backend,
                early,
                in_flight,
            }));
            return Answer {
                at,
                status: head.status,
                headers,
                body: ResponseBody::empty(),
                tunnel,
            };
        }
        let exchange = Exchange::new(connection, &head, (sending, body), patience, in_flight);
        let body = ResponseBody::http1(exchange);
        Answer {
            at,
            status: head.status,
            headers,
            body,
            tunnel: None,
        }
    }
}

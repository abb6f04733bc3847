//! Requests that the proxy makes by itself: to a URL, over HTTP/1.1 in the clear or under TLS, on connections that are
//! kept.
//!
//! ```text
//!  Call (method, URL, fields) ─▶ Site: addresses by DNS, idle connections ─▶ h1 ─▶ Answered (head, body)
//! ```
//! A worker has sites of its own: nothing is shared with other threads. Certificates are not verified, as
//! ingress-nginx does not; the URL's host is asked for by name (SNI).

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use l7_ingress_core::global::{KeepAlive, Patience};
use l7_ingress_core::{ResponseError, Url};
use tokio::time::{Instant, timeout};

use crate::body::RequestBody;
use crate::upstream::{
    ConnectError, Connection, Exchange, ExchangeError, Framing, InFlight, Peer, Sending, Site,
    SiteError, write_field,
};
use crate::worker::Worker;

/// Addresses that are tried.
const TRIES: usize = 3;
/// What is read of a body that nobody wants, so that its connection can be kept, and for how long.
const DISCARDED: (u64, Duration) = (64 * 1024, Duration::from_secs(5));

/// A server that is asked may itself be a host here that asks another one.
const MOST_ROUNDS: usize = 3;

/// What tells a request that comes back to the process that made it: RFC 8586.
pub(crate) const LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// This process, as [`LOOP`] names it.
pub(crate) fn loop_mark() -> HeaderValue {
    let mark = format!("penstock-{:016x}", fastrand::u64(..));
    HeaderValue::try_from(mark).expect("letters and digits are a field value")
}

/// Whether a request with these fields goes round: it has been made because of one that was, again and again, made by
/// this process.
pub(crate) fn is_loop(headers: &HeaderMap, mark: &HeaderValue) -> bool {
    let lines = headers.get_all(LOOP).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let own = names.filter(|name| name.trim_ascii() == mark.as_bytes());
    own.count() >= MOST_ROUNDS
}

/// Why a site did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// A request.
#[derive(Debug)]
pub(crate) struct Call<'c> {
    pub(crate) method: &'c Method,
    pub(crate) url: &'c Url,
    /// `Host` is the URL's, unless it is among them; what frames the body is left out.
    pub(crate) fields: &'c HeaderMap,
    /// How the body that is sent with it is framed.
    pub(crate) framing: Framing,
    /// Whether it does no harm if it is executed twice.
    pub(crate) is_repeatable: bool,
    pub(crate) patience: Patience,
    /// How its connections are kept.
    pub(crate) keep_alive: KeepAlive,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Exchange,
}

impl Call<'_> {
    /// Sends it with `body`, to one address after the other as long as that cannot execute it twice.
    ///
    /// # Errors
    /// When none answers.
    pub(crate) async fn send(
        &self,
        worker: &Worker,
        mut body: RequestBody,
    ) -> Result<Answered, CallError> {
        let now = Instant::now();
        let site = worker.sites.of(self.url, self.keep_alive, now);
        let mut last = CallError::from(SiteError::Nowhere);
        for peer in site.peers(&worker.sites, now).await?.iter().take(TRIES) {
            match self.ask(worker, (&site, peer), body).await {
                Ok(answered) => return Ok(answered),
                Err(failed) => {
                    peer.failed(Instant::now());
                    last = failed.error;
                    match failed.unsent {
                        Some(unsent) => body = unsent,
                        None => break,
                    }
                }
            }
        }
        Err(last)
    }

    /// Asks one address: on an idle connection, if there is one; where it was closed meanwhile, on a new one.
    async fn ask(
        &self,
        worker: &Worker,
        (site, peer): (&Site, &Rc<Peer>),
        mut body: RequestBody,
    ) -> Result<Answered, Failed> {
        let now = Instant::now();
        let idle = peer.checkout(now, !self.is_repeatable);
        if let Some(connection) = idle {
            match self.exchange(site, (peer, connection), body).await {
                Err(Failed {
                    unsent: Some(unsent),
                    ..
                }) => body = unsent,
                done => return done,
            }
        }
        let patience = self.patience.connect;
        let connector = &worker.connector;
        let stream = match connector.connect(peer, patience).await {
            Ok(stream) => stream,
            Err(error) => {
                return Err(Failed {
                    error: error.into(),
                    unsent: Some(body),
                });
            }
        };
        let connection = Connection::new(stream, Instant::now());
        self.exchange(site, (peer, connection), body).await
    }

    async fn exchange(
        &self,
        site: &Site,
        (peer, mut connection): (&Rc<Peer>, Box<Connection>),
        mut body: RequestBody,
    ) -> Result<Answered, Failed> {
        let now = Instant::now();
        let in_flight = InFlight::new(Rc::clone(peer), now);
        body.rewind();
        self.write(connection.head(), site.keeps_alive());
        let mut sending = Sending::new(self.framing, now);
        let started = connection.start(self.method, &mut sending, &mut body, self.patience);
        let head = match started.await {
            Ok(head) if head.status != StatusCode::SWITCHING_PROTOCOLS => head,
            Ok(_) => return Err(Failed::sent(ResponseError::Head.into())),
            Err(error) => {
                let is_lost = matches!(error, ExchangeError::Closed | ExchangeError::Io(_));
                let may_repeat = !connection.touched() || is_lost && self.is_repeatable;
                return Err(Failed {
                    error: error.into(),
                    unsent: Some(body).filter(|body| may_repeat && !body.is_touched()),
                });
            }
        };
        in_flight.answered(sending.progress());
        let mut head = head;
        let headers = std::mem::take(&mut head.headers);
        let sent = (sending, body);
        Ok(Answered {
            status: head.status,
            headers,
            body: Exchange::new(connection, &head, sent, self.patience, in_flight),
        })
    }

    /// Writes the head.
    fn write(&self, out: &mut BytesMut, keeps_alive: bool) {
        out.reserve(512);
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.extend_from_slice(b" ");
        out.extend_from_slice(self.url.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        if !self.fields.contains_key(HOST) {
            out.extend_from_slice(b"host: ");
            out.extend_from_slice(self.url.host.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        for (name, value) in self.fields {
            if ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                write_field(out, name.as_str(), value);
            }
        }
        match self.framing {
            Framing::None => {}
            Framing::Length(length) => {
                out.extend_from_slice(b"content-length: ");
                out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        if !keeps_alive {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// An address that did not answer.
#[derive(Debug)]
struct Failed {
    error: CallError,
    /// The body, if the request may be sent again.
    unsent: Option<RequestBody>,
}

impl Failed {
    fn sent(error: ExchangeError) -> Self {
        Self {
            error: error.into(),
            unsent: None,
        }
    }
}

impl Answered {
    /// Nobody wants the body. What is left of a short one is read meanwhile, so that the connection can be kept.
    pub(crate) fn discard(self) {
        let mut body = self.body;
        if body.remaining().is_some_and(|rest| rest > DISCARDED.0) {
            return;
        }
        let mut read = 0;
        // Most of them have come with the head.
        let mut cx = Context::from_waker(Waker::noop());
        if poll_rest(&mut body, &mut cx, &mut read).is_pending() {
            tokio::task::spawn_local(timeout(
                DISCARDED.1,
                poll_fn(move |cx| poll_rest(&mut body, cx, &mut read)),
            ));
        }
    }
}

/// Ready when there is no more to read, or more than is read.
fn poll_rest(body: &mut Exchange, cx: &mut Context<'_>, read: &mut u64) -> Poll<()> {
    while let Some(Ok(frame)) = ready!(body.poll_frame(cx)) {
        *read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if *read > DISCARDED.0 {
            break;
        }
    }
    Poll::Ready(())
}

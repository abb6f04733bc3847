//! What happens to a request before it is passed on: filters, in the order that decides whose answer wins.
//!
//! Each filter is a function of what was configured and of the request; what needs more than that (a counter, a
//! password hash, another server) is a question that the proxy answers. Nothing is run on a route that does not
//! ask for it: a route knows its [`Stages`].

mod access;
mod basic;
mod blocked;
mod compress;
mod cors;
mod external;
mod limit;
mod proxied;
mod redirect;
mod response;
mod rewrite;

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::Route;
use crate::client_auth::ClientAuth;
use crate::forwarded::Forwarded;
use crate::snippet::{self, Ran, Snippet, State};
use crate::trace::Trace;
use crate::upstream::Upstream;

pub use access::{SourceRanges, Sources};
pub use basic::{Basic, Credentials};
pub use blocked::{Blocked, Text};
pub use compress::{Coding, Compression, Encoding};
pub use cors::{Cors, OriginPattern, Origins};
pub use external::{Asking, Caching, External, Freshness, Heard, Kept, Lifetime};
pub use limit::{Limits, Pace, Rate, Zone};
pub use proxied::Proxied;
pub(crate) use proxied::Replacement;
pub(crate) use redirect::here;
pub use redirect::{Moved, Redirect};
pub use response::{Asked, FieldList, Scripted, respond, take};
pub use rewrite::{Pattern, Rewrite, Rewritten, target};
pub(crate) use rewrite::{Template, compile as compile_expression};
pub(crate) use rewrite::{encode, tidy};

/// What a route does besides passing requests on, as its Ingress asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long a request's body may be, in bytes; `None` for any length.
    pub body_limit: Option<u64>,
    /// Where everything is sent to instead.
    pub redirect: Option<Redirect>,
    /// Whether redirects to HTTPS keep the request's trailing slash.
    pub keep_trailing_slash: bool,
    /// Whether something that is needed to judge requests is missing or bad: then none is let in.
    pub denied: bool,
    /// Who is kept out of all hosts.
    pub blocked: Option<Arc<Blocked>>,
    /// What pages of other origins may do.
    pub cors: Option<Box<Cors>>,
    /// Who may come in by address.
    pub sources: Option<Box<Sources>>,
    /// How much one client may ask for.
    pub limits: Option<Box<Limits>>,
    /// How fast responses are sent.
    pub pace: Option<Pace>,
    /// Who may come in with a password.
    pub basic: Option<Arc<Basic>>,
    /// Whom another server lets in.
    pub external: Option<Arc<External>>,
    /// Whether one of the access stages that lets a request in is enough.
    pub satisfy_any: bool,
    /// The port that redirects to HTTPS name, where they name one; others then name an unusual one too.
    pub redirect_port: Option<u16>,
    /// Whether redirects within the host name the path alone.
    pub relative_redirects: bool,
    /// What backends get in place of the path.
    pub rewrite: Option<Box<Rewrite>>,
    /// Fields of all responses.
    pub custom_headers: Option<FieldList>,
    /// What is changed of endpoints' responses.
    pub proxied: Option<Box<Proxied>>,
    /// What endpoints are told of the connection.
    pub connection: Option<HeaderValue>,
    /// Whether requests are left out of the access log.
    pub is_unlogged: bool,
    /// How requests are traced, where they are.
    pub trace: Option<Arc<Trace>>,
    /// What backends get in place of the host.
    pub upstream_host: Option<HeaderValue>,
    /// What is done with endpoints.
    pub upstream: Upstream,
    /// What its paths are to do besides.
    pub snippet: Option<Arc<Snippet>>,
}

/// A filter's place in the order of all. What stands first answers first.
///
/// The order is the one of nginx's phases as ingress-nginx's template uses them: server rewrite, location, rewrite,
/// preaccess, access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// `auth-tls-*`: 400, 421. nginx looks at certificates before it does anything.
    ClientCertificate,
    /// `block-cidrs`, `block-user-agents`, `block-referers`: 403.
    Blocked,
    /// `from-to-www-redirect`: nothing else is done on the other host.
    OtherHost,
    /// `auth-tls-match-cn`, and all of `auth-tls-*` where their Secret is missing or bad: 403.
    ClientName,
    /// `server-snippet`.
    ServerSnippet,
    /// `app-root`.
    AppRoot,
    /// A body that is too long for `proxy-body-size`: 413.
    BodySize,
    /// To the same path with a slash.
    TrailingSlash,
    /// OPTIONS of a page of another origin: 204.
    Preflight,
    /// A Secret, network or URL that an annotation needs is bad: 503.
    Denied,
    /// `configuration-snippet`.
    Snippet,
    /// `temporal-redirect`, `permanent-redirect`.
    Redirect,
    /// From HTTP to HTTPS.
    HttpsRedirect,
    /// To where a snippet has rewritten to.
    Elsewhere,
    /// Plain HTTP where a client certificate has to be shown: 400.
    Unencrypted,
    /// `limit-rps`, `limit-rpm`: 503.
    RequestRate,
    /// `limit-connections`: 503.
    Connections,
    /// `allowlist-source-range`, `denylist-source-range`: 403.
    Sources,
    /// `auth-type: basic`: 401.
    Basic,
    /// `auth-url`: 401, 403, 500.
    External,
}

impl Stage {
    /// All, in the order in which they run.
    pub const ORDER: [Self; 20] = [
        Self::ClientCertificate,
        Self::Blocked,
        Self::OtherHost,
        Self::ClientName,
        Self::ServerSnippet,
        Self::AppRoot,
        Self::BodySize,
        Self::TrailingSlash,
        Self::Preflight,
        Self::Denied,
        Self::Snippet,
        Self::Redirect,
        Self::HttpsRedirect,
        Self::Elsewhere,
        Self::Unencrypted,
        Self::RequestRate,
        Self::Connections,
        Self::Sources,
        Self::Basic,
        Self::External,
    ];

    /// Whether a route has something for it to do.
    fn is_needed(self, route: &Route) -> bool {
        match self {
            Self::Blocked => route.policy.blocked.is_some(),
            Self::OtherHost => matches!(route.moved, Some(Moved::Host(..))),
            Self::ServerSnippet => route.server.as_ref().is_some_and(|server| server.runs()),
            Self::ClientCertificate | Self::ClientName | Self::Unencrypted => {
                route.client_auth.is_some()
            }
            Self::AppRoot => route.app_root.is_some(),
            Self::BodySize => route.policy.body_limit.is_some(),
            Self::TrailingSlash => matches!(route.moved, Some(Moved::Slash)),
            Self::Preflight => route.policy.cors.is_some(),
            Self::Denied => route.policy.denied,
            Self::Snippet => route.snippet().is_some_and(Snippet::runs),
            Self::Elsewhere => route.snippet().is_some_and(Snippet::relocates),
            Self::Redirect => route.policy.redirect.is_some(),
            Self::HttpsRedirect => route.https_redirect.is_some(),
            Self::RequestRate => {
                let limits = route.policy.limits.as_ref();
                limits.is_some_and(|limits| limits.count_requests())
            }
            Self::Connections => {
                let limits = route.policy.limits.as_ref();
                limits.is_some_and(|limits| limits.connections.is_some())
            }
            Self::Sources => route.policy.sources.is_some() || !route.rules().is_empty(),
            Self::Basic => route.policy.basic.is_some(),
            Self::External => route.policy.external.is_some(),
        }
    }

    /// Whether it is one of those that `satisfy` combines.
    const fn is_access(self) -> bool {
        matches!(self, Self::Sources | Self::Basic | Self::External)
    }

    fn run<'r>(self, route: &'r Route, facts: &Facts<'_>) -> Verdict<'r> {
        let policy = &*route.policy;
        match self {
            Self::Blocked => {
                let blocked = policy.blocked.as_ref();
                blocked.and_then(|blocked| blocked.judge(facts)).into()
            }
            Self::OtherHost | Self::TrailingSlash => redirect::moved(route, facts).into(),
            Self::ClientCertificate | Self::ClientName | Self::Unencrypted => {
                let auth = route.client_auth.as_ref();
                auth.map_or(Verdict::Continue, |auth| self.client(route, auth, facts))
            }
            Self::AppRoot => redirect::to_app_root(route, facts).into(),
            Self::BodySize => body_size(route, facts).into(),
            Self::Preflight => {
                let cors = policy.cors.as_ref();
                cors.and_then(|cors| cors.preflight(facts.head)).into()
            }
            Self::Denied => Verdict::Answer(Answer::status(StatusCode::SERVICE_UNAVAILABLE)),
            // What scripts do is the run's.
            Self::ServerSnippet | Self::Snippet | Self::Elsewhere => Verdict::Continue,
            Self::Redirect => {
                let redirect = policy.redirect.as_ref();
                redirect
                    .map(|redirect| redirect.answer(route, facts))
                    .into()
            }
            Self::HttpsRedirect => redirect::to_https(route, facts).into(),
            Self::RequestRate | Self::Connections => {
                let Some(limits) = &policy.limits else {
                    return Verdict::Continue;
                };
                let exempt = limits.exempt.as_ref();
                if exempt.is_some_and(|exempt| exempt.contain(facts.forwarded.real_ip)) {
                    return Verdict::Continue;
                }
                Verdict::Ask(match self {
                    Self::RequestRate => Question::Rate(limits),
                    _ => Question::Connections(limits),
                })
            }
            Self::Sources => {
                let address = facts.forwarded.real_ip;
                let sources = policy.sources.as_ref();
                match sources.map_or(Verdict::Continue, |sources| sources.judge(address)) {
                    Verdict::Continue => snippet::judge(route.rules(), address),
                    verdict => verdict,
                }
            }
            Self::Basic => {
                let basic = policy.basic.as_ref();
                basic.map_or(Verdict::Continue, |basic| basic.judge(facts.head))
            }
            Self::External => {
                let external = policy.external.as_ref();
                external.map_or(Verdict::Continue, |external| {
                    Verdict::Ask(Question::External(external))
                })
            }
        }
    }
}

impl Stage {
    fn client<'r>(
        self,
        route: &Route,
        auth: &'r Arc<ClientAuth>,
        facts: &Facts<'_>,
    ) -> Verdict<'r> {
        match (self, facts.tls) {
            (Self::ClientCertificate, true) if auth.asks() => {
                Verdict::Ask(Question::Certificate(auth))
            }
            (Self::ClientName, true) if auth.names() => Verdict::Ask(Question::Name(auth)),
            (Self::ClientName, _) => auth.admit_name(""),
            (Self::Unencrypted, false) => auth.admit_plain(&route.path),
            _ => Verdict::Continue,
        }
    }
}

// A bit of [`Stages`] is a place in the order.
const _: () = {
    let mut place = 0;
    while place < Stage::ORDER.len() {
        assert!(Stage::ORDER[place] as usize == place);
        place += 1;
    }
};

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Blocked => "kept out of all hosts",
            Self::OtherHost => "redirect to the other host",
            Self::ServerSnippet => "server-snippet",
            Self::Snippet => "configuration-snippet",
            Self::Elsewhere => "rewritten too often",
            Self::ClientCertificate => "client certificate",
            Self::ClientName => "name in the client certificate",
            Self::Unencrypted => "a client certificate cannot be shown without TLS",
            Self::AppRoot => "redirect to the application's root",
            Self::BodySize => "the body is too long",
            Self::TrailingSlash => "redirect to the path with a slash",
            Self::Preflight => "CORS preflight",
            Self::Denied => "something that the Ingress needs is missing or bad",
            Self::Redirect => "redirect",
            Self::HttpsRedirect => "redirect to HTTPS",
            Self::RequestRate => "request rate",
            Self::Connections => "concurrent requests",
            Self::Sources => "source ranges",
            Self::Basic => "user and password",
            Self::External => "another server",
        })
    }
}

/// The stages that a route needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages(u32);

impl Stages {
    pub(crate) fn of(route: &Route) -> Self {
        let needed = Stage::ORDER
            .into_iter()
            .filter(|stage| stage.is_needed(route));
        Self(needed.fold(0, |bits, stage| bits | 1 << stage as u8))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order in which they run.
    pub fn iter(self) -> impl Iterator<Item = Stage> {
        let all = Stage::ORDER.into_iter();
        all.filter(move |stage| self.0 & (1 << *stage as u8) != 0)
    }
}

/// What filters may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'r> {
    /// The request's head.
    pub head: &'r Parts,
    /// The host that is asked for, canonical: lower case, without port.
    pub host: &'r str,
    /// The same as the client wrote it; empty if it wrote none.
    pub authority: &'r str,
    /// The path, normalised.
    pub path: &'r str,
    /// The query.
    pub query: Option<&'r str>,
    /// Whether the connection is TLS, whatever a proxy in front says.
    pub tls: bool,
    /// What is known of the client and of how it came here.
    pub forwarded: &'r Forwarded<'r>,
}

impl<'r> Facts<'r> {
    /// The request's target as the client wrote it.
    #[must_use]
    pub fn target(&self) -> &'r str {
        let target = self.head.uri.path_and_query();
        target.map_or("/", |target| target.as_str())
    }
}

/// What a filter answers in place of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Fields of the response.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Whether a page that shows the status is the body.
    pub page: bool,
    /// The body, where it is no such page.
    pub body: Vec<u8>,
    /// What the page says, too.
    pub detail: Option<&'static str>,
}

impl Answer {
    /// A page that says no more than the status.
    #[must_use]
    pub const fn status(status: StatusCode) -> Self {
        Self {
            status,
            fields: Vec::new(),
            page: true,
            body: Vec::new(),
            detail: None,
        }
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, content_type: HeaderValue, body: Vec<u8>) -> Self {
        self.page = false;
        self.body = body;
        self.with(CONTENT_TYPE, content_type)
    }

    /// With this field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }
}

/// Runs the filters of `route` as if all that only the proxy knows spoke for the request: the answer of the first one
/// that has one, and the stages that depend on more.
#[must_use]
pub fn assume(
    route: &Route,
    facts: &Facts<'_>,
    state: Option<&mut State>,
) -> (Assumed, Vec<Stage>) {
    let mut run = Run::new(route, state);
    let mut assumed = Vec::new();
    loop {
        match run.next(facts) {
            Next::Pass => return (Assumed::Pass, assumed),
            Next::Answer(stage, answer) => return (Assumed::Answer(stage, answer), assumed),
            Next::Elsewhere => return (Assumed::Elsewhere, assumed),
            Next::Ask(stage, _) => {
                assumed.push(stage);
                run.tell(stage, Verdict::Granted, facts);
            }
        }
    }
}

/// What filters come to if all that only the proxy knows speaks for the request.
#[derive(Debug)]
pub enum Assumed {
    /// It is passed on.
    Pass,
    /// It is answered.
    Answer(Stage, Answer),
    /// It is led to another path.
    Elsewhere,
}

/// What a stage makes of a request.
#[derive(Debug)]
pub enum Verdict<'r> {
    /// Nothing: the next one decides.
    Continue,
    /// It may come in; where `satisfy` is `any`, whatever the other access stages would say.
    Granted,
    /// It is answered here.
    Answer(Answer),
    /// That depends on what only the proxy knows.
    Ask(Question<'r>),
}

impl From<Option<Answer>> for Verdict<'_> {
    fn from(answer: Option<Answer>) -> Self {
        answer.map_or(Self::Continue, Self::Answer)
    }
}

/// What a stage wants to know of the proxy.
#[derive(Debug)]
pub enum Question<'r> {
    /// Whether the client has shown a certificate as it is asked for.
    Certificate(&'r Arc<ClientAuth>),
    /// Whose certificate it is.
    Name(&'r Arc<ClientAuth>),
    /// Whether the client keeps to the rates.
    Rate(&'r Limits),
    /// Whether it has fewer requests open than it may.
    Connections(&'r Limits),
    /// Whether the password is the user's.
    Password(&'r Arc<Basic>, Credentials),
    /// Whether another server lets the request in.
    External(&'r Arc<External>),
}

/// What comes next for a request.
#[derive(Debug)]
pub enum Next<'r> {
    /// It is passed on.
    Pass,
    /// It is answered.
    Answer(Stage, Answer),
    /// Once this is known and told by [`Run::tell`], it goes on.
    Ask(Stage, Question<'r>),
    /// The route of [`State::place`] goes on with it.
    Elsewhere,
}

/// The filters of a route, on their way through one request.
#[derive(Debug)]
pub struct Run<'r, 's> {
    route: &'r Route,
    left: u32,
    /// What snippets have made of the request, where there are any.
    state: Option<&'s mut State>,
    /// What an access stage had against the request, unless another one lets it in.
    refused: Option<(Stage, Answer)>,
}

impl<'r, 's> Run<'r, 's> {
    /// At the first filter; at the first that is not run once for all where the request has been led to this route.
    #[must_use]
    pub fn new(route: &'r Route, state: Option<&'s mut State>) -> Self {
        let is_resumed = state.as_ref().is_some_and(|state| state.is_resumed());
        let done = match is_resumed {
            true => (1 << Stage::AppRoot as u8) - 1,
            false => 0,
        };
        Self {
            route,
            left: route.stages.0 & !done,
            state,
            refused: None,
        }
    }

    /// Runs filters until one has an answer or a question.
    pub fn next(&mut self, facts: &Facts<'_>) -> Next<'r> {
        while self.left != 0 {
            let stage = Stage::ORDER[self.left.trailing_zeros() as usize];
            self.left &= self.left - 1;
            match self.verdict(stage, facts) {
                None => return Next::Elsewhere,
                Some(Verdict::Ask(question)) => return Next::Ask(stage, question),
                Some(verdict) => {
                    if let Some(answer) = self.tell(stage, verdict, facts) {
                        return Next::Answer(stage, answer);
                    }
                }
            }
        }
        if let Some(state) = &mut self.state {
            state.enter(self.route, facts);
        }
        match self.refused.take() {
            Some((stage, answer)) => Next::Answer(stage, self.signed_out(stage, answer, facts)),
            None => Next::Pass,
        }
    }

    /// What a stage says; `None` where the request is led elsewhere.
    fn verdict(&mut self, stage: Stage, facts: &Facts<'_>) -> Option<Verdict<'r>> {
        let route = self.route;
        let Some(state) = self.state.as_deref_mut() else {
            return Some(stage.run(route, facts));
        };
        if stage >= Stage::BodySize {
            state.enter(route, facts);
        }
        let snippet = match stage {
            Stage::ServerSnippet => route.server.as_deref(),
            Stage::Snippet => route.snippet(),
            Stage::Elsewhere => None,
            Stage::Redirect if state.stopped() => return Some(Verdict::Continue),
            stage => return Some(stage.run(route, facts)),
        };
        if let Some(snippet) = snippet
            && let Ran::Answer(answer) = state.run(snippet, route, facts)
        {
            return Some(Verdict::Answer(answer));
        }
        if stage == Stage::Snippet {
            return Some(Verdict::Continue);
        }
        match state.moves(route, facts) {
            Ok(true) => None,
            Ok(false) => Some(Verdict::Continue),
            Err(answer) => Some(Verdict::Answer(answer)),
        }
    }

    /// Takes what became of the question that `stage` asked; returns what the request is answered with, if that ends
    /// it.
    pub fn tell(
        &mut self,
        stage: Stage,
        verdict: Verdict<'r>,
        facts: &Facts<'_>,
    ) -> Option<Answer> {
        let any = self.route.policy.satisfy_any && stage.is_access();
        match verdict {
            Verdict::Granted if any => {
                self.refused = None;
                for access in Stage::ORDER.into_iter().filter(|stage| stage.is_access()) {
                    self.left &= !(1 << access as u8);
                }
                None
            }
            Verdict::Answer(answer) if any && is_refusal(answer.status) => {
                let unauthorized = self
                    .refused
                    .as_ref()
                    .is_some_and(|(_, refused)| refused.status == StatusCode::UNAUTHORIZED);
                if !unauthorized {
                    self.refused = Some((stage, answer));
                }
                None
            }
            Verdict::Answer(answer) => Some(self.signed_out(stage, answer, facts)),
            Verdict::Continue | Verdict::Granted | Verdict::Ask(_) => None,
        }
    }

    /// Whoever is to prove first who they are, is led to where that is done, if there is such a place: whichever of the
    /// path's stages says so.
    fn signed_out(&self, stage: Stage, answer: Answer, facts: &Facts<'_>) -> Answer {
        let external = self.route.policy.external.as_ref();
        let external = external
            .filter(|_| stage >= Stage::Snippet && answer.status == StatusCode::UNAUTHORIZED);
        let signin = external.and_then(|external| external.signin(self.route, facts));
        signin.unwrap_or(answer)
    }
}

/// What another access stage may overrule; a fault is none.
fn is_refusal(status: StatusCode) -> bool {
    status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN
}

/// A length that the client announces is judged before a byte of the body is read; one that it does not announce is
/// counted as it comes.
fn body_size(route: &Route, facts: &Facts<'_>) -> Option<Answer> {
    let limit = route.policy.body_limit?;
    if facts.head.method == Method::CONNECT {
        return None;
    }
    let length = facts.head.headers.get(http::header::CONTENT_LENGTH)?;
    let length: u64 = length.to_str().ok()?.parse().ok()?;
    (length > limit).then(|| Answer::status(StatusCode::PAYLOAD_TOO_LARGE))
}

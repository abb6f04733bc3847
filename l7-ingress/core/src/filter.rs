//! What happens to a request before it is passed on: filters, in the order that decides whose answer wins.
//!
//! Each filter is a function of what was configured and of the request; what needs more than that (a counter, a
//! password hash, another server) is a question that the proxy answers. Nothing is run on a route that does not
//! ask for it: a route knows its [`Stages`].

mod proxied;
mod redirect;
mod rewrite;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::Route;
use crate::forwarded::Forwarded;
use crate::upstream::Upstream;

pub use proxied::Proxied;
pub(crate) use proxied::Replacement;
pub use redirect::{Moved, Redirect};
pub(crate) use rewrite::Template;
pub use rewrite::{Pattern, Rewrite, Rewritten, rewrite};

/// What a route does besides passing requests on, as its Ingress asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long a request's body may be, in bytes; `None` for any length.
    pub body_limit: Option<u64>,
    /// Where everything is sent to instead.
    pub redirect: Option<Redirect>,
    /// Whether redirects to HTTPS keep the request's trailing slash.
    pub keep_trailing_slash: bool,
    /// The port that redirects to HTTPS name, where they name one; others then name an unusual one too.
    pub redirect_port: Option<u16>,
    /// Whether redirects within the host name the path alone.
    pub relative_redirects: bool,
    /// What backends get in place of the path.
    pub rewrite: Option<Box<Rewrite>>,
    /// What is changed of endpoints' responses.
    pub proxied: Option<Box<Proxied>>,
    /// What endpoints are told of the connection.
    pub connection: Option<HeaderValue>,
    /// Whether requests are left out of the access log.
    pub is_unlogged: bool,
    /// What backends get in place of the host.
    pub upstream_host: Option<HeaderValue>,
    /// What is done with endpoints.
    pub upstream: Upstream,
}

/// A filter's place in the order of all. What stands first answers first.
///
/// The order is the one of nginx's phases as ingress-nginx's template uses them: server rewrite, location, rewrite,
/// preaccess, access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// `from-to-www-redirect`: nothing else is done on the other host.
    OtherHost,
    /// `app-root`.
    AppRoot,
    /// A body that is too long for `proxy-body-size`: 413.
    BodySize,
    /// To the same path with a slash.
    TrailingSlash,
    /// `temporal-redirect`, `permanent-redirect`.
    Redirect,
    /// From HTTP to HTTPS.
    HttpsRedirect,
}

impl Stage {
    /// All, in the order in which they run.
    pub const ORDER: [Self; 6] = [
        Self::OtherHost,
        Self::AppRoot,
        Self::BodySize,
        Self::TrailingSlash,
        Self::Redirect,
        Self::HttpsRedirect,
    ];

    /// Whether a route has something for it to do.
    fn is_needed(self, route: &Route) -> bool {
        match self {
            Self::OtherHost => matches!(route.moved, Some(Moved::Host(..))),
            Self::AppRoot => route.app_root.is_some(),
            Self::BodySize => route.policy.body_limit.is_some(),
            Self::TrailingSlash => matches!(route.moved, Some(Moved::Slash)),
            Self::Redirect => route.policy.redirect.is_some(),
            Self::HttpsRedirect => route.https_redirect.is_some(),
        }
    }

    fn run(self, route: &Route, facts: &Facts<'_>) -> Option<Answer> {
        match self {
            Self::OtherHost | Self::TrailingSlash => redirect::moved(route, facts),
            Self::AppRoot => redirect::to_app_root(route, facts),
            Self::BodySize => body_size(route, facts),
            Self::Redirect => {
                let redirect = route.policy.redirect.as_ref();
                redirect.map(|redirect| redirect.answer(route, facts))
            }
            Self::HttpsRedirect => redirect::to_https(route, facts),
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::OtherHost => "redirect to the other host",
            Self::AppRoot => "redirect to the application's root",
            Self::BodySize => "the body is too long",
            Self::TrailingSlash => "redirect to the path with a slash",
            Self::Redirect => "redirect",
            Self::HttpsRedirect => "redirect to HTTPS",
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
    /// Whether a page that shows the status is the body; without, there is none.
    pub page: bool,
}

impl Answer {
    /// A page that says no more than the status.
    #[must_use]
    pub const fn status(status: StatusCode) -> Self {
        Self {
            status,
            fields: Vec::new(),
            page: true,
        }
    }

    /// With this field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }
}

/// Runs the filters of `route`: the answer of the first one that has one.
#[must_use]
pub fn run(route: &Route, facts: &Facts<'_>) -> Option<(Stage, Answer)> {
    route
        .stages
        .iter()
        .find_map(|stage| Some((stage, stage.run(route, facts)?)))
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

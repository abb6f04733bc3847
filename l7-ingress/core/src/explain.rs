//! Says step by step who would answer a request, and why the others would not.
//!
//! It walks the published hosts with its own plain reading of the rules, so that it does not repeat a mistake of
//! the lookup that it explains.

mod text;

use std::net::Ipv4Addr;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, StatusCode};
use model::ObjectName;

use crate::compile::EndpointCounts;
use crate::filter::{self, Assumed, Facts, Rewritten, Stage};
use crate::forwarded::{self, Client, Connection, Forwarded};
use crate::snippet::State;
use crate::table::Host;
use crate::upstream::{Share, Turn};
use crate::{Backend, Compiler, PathType, Resolution, Route, host, path};

/// The request to explain.
#[derive(Clone, Copy, Debug)]
pub struct Query<'q> {
    /// Whether it comes over TLS.
    pub https: bool,
    /// Its `Host` or `:authority`.
    pub host: &'q str,
    /// Its method, target and fields.
    pub head: &'q Parts,
    /// The name that the handshake asks for; the host's, unless given.
    pub sni: Option<&'q str>,
}

/// What happens to a request.
#[derive(Debug)]
pub struct Explanation {
    /// What is looked at, in this order.
    pub steps: Vec<Step>,
    /// What comes of it.
    pub answer: Answer,
}

/// One thing that is looked at.
#[derive(Debug)]
pub enum Step {
    /// The certificate of the handshake.
    Certificate {
        /// The name that was asked for.
        name: String,
        /// The pattern whose certificates are served; `None` for the default certificate.
        pattern: Option<String>,
        /// The Secrets to choose from; empty for the default certificate.
        secrets: Vec<ObjectName>,
    },
    /// A host pattern that covers the request's host.
    Host {
        /// The pattern; empty for rules without a host.
        pattern: String,
        /// What becomes of it.
        verdict: HostVerdict,
    },
    /// A path of the chosen pattern.
    Path {
        /// The route.
        route: Arc<Route>,
        /// What becomes of it.
        verdict: PathVerdict,
    },
    /// So many paths of the chosen pattern have nothing in common with the request's and are not listed.
    OtherPaths(usize),
    /// An Ingress that says the same as the chosen one and lost.
    Conflict {
        /// The loser.
        ingress: ObjectName,
        /// Where it says so.
        field: String,
    },
    /// An Ingress that speaks of the host but is not served, or not in its newest version.
    Unserved {
        /// The Ingress.
        ingress: ObjectName,
        /// Why.
        reason: String,
    },
    /// Another path of the chosen pattern that a snippet leads to.
    Elsewhere(String),
    /// What the backend gets in place of the request's target.
    Rewrite(String),
    /// A filter that depends on more than the request; it is taken to let it in.
    Assumed(Stage),
    /// Another server is asked, with this method at this URL; it is taken to let it in.
    Asked(Method, String),
    /// The chosen route's requests are traced.
    Traced {
        /// Whether a trace that the client says it belongs to is gone on with.
        trusts: bool,
    },
    /// The chosen route has a canary.
    Canary {
        /// The route.
        route: Arc<Route>,
        /// Whether the request is the canary's.
        turn: Turn,
    },
    /// The Service that the chosen route leads to.
    Backend {
        /// It, and what is spoken to it.
        backend: Arc<Backend>,
        /// Its endpoints, by state.
        endpoints: EndpointCounts,
    },
}

/// What becomes of a host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostVerdict {
    /// Its rules answer.
    Chosen,
    /// A more specific one answers.
    LessSpecific,
    /// No Ingress has rules for it.
    Absent,
}

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathVerdict {
    /// It answers.
    Chosen,
    /// It matches too, but another one comes first.
    LessSpecific,
    /// It is equal but for upper and lower case.
    OtherCase,
    /// It is equal but for a trailing slash, which Exact does not forgive.
    TrailingSlash,
    /// The request's path begins with it, but Exact means the whole.
    NotWhole,
    /// The request's path begins with it, but not up to a slash.
    NotElement,
    /// It has nothing in common with the request's path.
    Other,
}

/// What the client gets.
#[derive(Debug)]
pub enum Answer {
    /// A response of the controller's own.
    Status {
        /// Its code.
        code: u16,
        /// Why.
        reason: String,
    },
    /// A filter's answer.
    Filter(Stage, filter::Answer),
    /// The response of one of the backend's endpoints.
    Forward(Arc<Backend>),
    /// The same, unseen: the endpoint ends TLS.
    PassedThrough(Arc<Backend>),
    /// The same of one of two backends, as chance has it.
    Either {
        /// Of most requests, or of fewer.
        main: Arc<Backend>,
        /// Of so many of so many requests.
        canary: (Arc<Backend>, Share),
    },
}

/// How many paths without a connection to the request are listed.
const LISTED: usize = 8;

/// Explains what the objects that were compiled last do with a request.
#[must_use]
pub fn explain(compiler: &Compiler, query: &Query<'_>) -> Explanation {
    let refused = |reason: String| Explanation {
        steps: Vec::new(),
        answer: Answer::Status { code: 400, reason },
    };
    let host = match host::canonical(query.host) {
        Ok(host) => host,
        Err(error) => return refused(error.to_string()),
    };
    let path = match path::normalise(query.head.uri.path()) {
        Ok(path) => path,
        Err(error) => return refused(error.to_string()),
    };
    let mut steps = Vec::new();
    if query.https {
        let name = query.sni.unwrap_or(&host).to_ascii_lowercase();
        if let Some(passed) = passed(compiler, &name) {
            return passed;
        }
        steps.push(certificate(compiler, name));
    }
    let chosen = hosts(compiler, &host, &mut steps);
    let mut route = chosen.and_then(|chosen| paths(chosen, &path, &mut steps));
    if let Some(route) = &route {
        let losers = compiler.conflicts(route).into_iter();
        steps.extend(losers.map(|(ingress, field)| Step::Conflict { ingress, field }));
    }
    let unserved = compiler.unserved(&host).into_iter();
    steps.extend(unserved.map(|(ingress, reason)| Step::Unserved { ingress, reason }));
    let filtered = chosen.and_then(|chosen| {
        let by = (&*host, &*path);
        filtered_by(query, (chosen, by), &mut route, &mut steps)
    });
    let answer = match filtered {
        Some(Filtered::Answered(stage, answer)) => Answer::Filter(stage, answer),
        Some(Filtered::Passed(rewritten)) => {
            steps.extend(rewritten.map(|rewritten| Step::Rewrite(rewritten.target)));
            answer(compiler, route.as_ref(), query.head, &mut steps)
        }
        Some(Filtered::NotRewritten(status)) => Answer::Status {
            code: status.as_u16(),
            reason: "the path would be rewritten to one that climbs, or is too long".to_owned(),
        },
        None => answer(compiler, None, query.head, &mut steps),
    };
    Explanation { steps, answer }
}

/// What happens to a request that is not seen, for the TLS of its host is ended by endpoints.
fn passed(compiler: &Compiler, name: &str) -> Option<Explanation> {
    let mut steps = Vec::new();
    let passthrough = hosts(compiler, name, &mut steps)?.passthrough()?;
    let backend = Arc::clone(&passthrough.backend);
    steps.push(Step::Backend {
        backend: Arc::clone(&backend),
        endpoints: compiler.endpoint_counts(&backend),
    });
    let answer = Answer::PassedThrough(backend);
    Some(Explanation { steps, answer })
}

fn certificate(compiler: &Compiler, name: String) -> Step {
    let mut patterns = patterns(&name).into_iter();
    let pattern = patterns.find(|pattern| {
        let host = compiler.pattern(pattern);
        host.is_some_and(|host| host.certificates().is_some())
    });
    let secrets = pattern
        .as_deref()
        .map(|pattern| compiler.secrets_of(pattern));
    let secrets = secrets.unwrap_or_default();
    Step::Certificate {
        name,
        pattern: pattern.filter(|_| !secrets.is_empty()),
        secrets,
    }
}

/// The patterns that cover a host, the most specific first.
fn patterns(host: &str) -> Vec<String> {
    let wildcard = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    std::iter::once(host.to_owned()).chain(wildcard).collect()
}

fn hosts<'c>(compiler: &'c Compiler, host: &str, steps: &mut Vec<Step>) -> Option<&'c Host> {
    let mut chosen = None;
    for pattern in patterns(host).into_iter().chain([String::new()]) {
        let found = compiler.pattern(&pattern).filter(|host| host.is_served());
        let found = found.filter(|host| !pattern.is_empty() || host.routes().next().is_some());
        let verdict = match (found, chosen) {
            (None, _) => HostVerdict::Absent,
            (Some(_), Some(_)) => HostVerdict::LessSpecific,
            (Some(found), None) => {
                chosen = Some(found);
                HostVerdict::Chosen
            }
        };
        steps.push(Step::Host { pattern, verdict });
    }
    chosen
}

fn paths(host: &Host, path: &str, steps: &mut Vec<Step>) -> Option<Arc<Route>> {
    let mut chosen = None;
    let mut others = 0;
    let routes = host.routes().map(|route| (route, relation(route, path)));
    let mut routes: Vec<_> = routes.collect();
    // `/foo` comes before `/foo/` for the request `/foo`, and after it for all that lies below.
    routes.sort_by_key(|(route, relation)| {
        if route.pattern.is_some() {
            return false;
        }
        let shorter = *relation == Relation::Whole && route.path.len() == path.len();
        !shorter
    });
    for (route, relation) in routes {
        let verdict = match relation {
            Relation::Whole | Relation::Below if chosen.is_none() => {
                chosen = Some(Arc::clone(route));
                PathVerdict::Chosen
            }
            Relation::Whole | Relation::Below => PathVerdict::LessSpecific,
            Relation::None(verdict) => verdict,
        };
        if verdict == PathVerdict::Other {
            others += 1;
            if others > LISTED {
                continue;
            }
        }
        let route = Arc::clone(route);
        steps.push(Step::Path { route, verdict });
    }
    if others > LISTED {
        steps.push(Step::OtherPaths(others - LISTED));
    }
    chosen
}

/// How a route's path relates to a request's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// It matches the whole.
    Whole,
    /// It matches what lies above.
    Below,
    /// It does not match.
    None(PathVerdict),
}

/// The rules of the API, read one path at a time.
fn relation(route: &Route, path: &str) -> Relation {
    if let Some(pattern) = &route.pattern {
        return match pattern.matches(path) {
            true => Relation::Whole,
            false => Relation::None(PathVerdict::Other),
        };
    }
    let own = &*route.path;
    let bare = |path: &str| path.strip_suffix('/').unwrap_or(path).to_owned();
    let (own_bare, path_bare) = (bare(own), bare(path));
    let same = match route.path_type {
        PathType::Exact => own == path,
        PathType::Prefix => own_bare == path_bare,
    };
    if same {
        return Relation::Whole;
    }
    let is_element = path.starts_with(&format!("{own_bare}/"));
    if route.path_type == PathType::Prefix && is_element {
        return Relation::Below;
    }
    Relation::None(if own_bare == path_bare {
        PathVerdict::TrailingSlash
    } else if own_bare.eq_ignore_ascii_case(&path_bare) {
        PathVerdict::OtherCase
    } else if is_element {
        PathVerdict::NotWhole
    } else if path.starts_with(&own_bare) {
        PathVerdict::NotElement
    } else {
        PathVerdict::Other
    })
}

/// What filters make of a request.
enum Filtered {
    Answered(Stage, filter::Answer),
    Passed(Option<Rewritten>),
    NotRewritten(StatusCode),
}

/// What the filters of `route`, and of those that its snippets lead to, do for a client that sets no forwarding fields.
fn filtered_by(
    query: &Query<'_>,
    (chosen, (host, path)): (&Host, (&str, &str)),
    route: &mut Option<Arc<Route>>,
    steps: &mut Vec<Step>,
) -> Option<Filtered> {
    let connection = Connection {
        peer: Ipv4Addr::LOCALHOST.into(),
        peer_text: "127.0.0.1",
        port: if query.https { "443" } else { "80" },
        tls: query.https,
        proxied: false,
    };
    let client = Client {
        host: query.host,
        ..Client::default()
    };
    let facts = Facts {
        head: query.head,
        host,
        authority: query.host,
        path,
        query: query.head.uri.query(),
        tls: query.https,
        forwarded: &Forwarded::new(&forwarded::Settings::default(), &connection, &client),
    };
    let mut state = State::new(REQUEST_ID);
    loop {
        let on = route.as_deref()?;
        let before = state.clone();
        let facts = before.facts(&facts);
        let (came, assumed) = filter::assume(on, &facts, Some(&mut state));
        steps.extend(assumed.into_iter().map(|stage| step(stage, on, &facts)));
        match came {
            Assumed::Answer(stage, answer) => return Some(Filtered::Answered(stage, answer)),
            Assumed::Pass => {
                return Some(match filter::target(on, &facts, Some(&state)) {
                    Ok(rewritten) => Filtered::Passed(rewritten),
                    Err(answer) => Filtered::NotRewritten(answer.status),
                });
            }
            Assumed::Elsewhere => {
                let path = state.facts(&facts).path.to_owned();
                steps.push(Step::Elsewhere(path.clone()));
                *route = paths(chosen, &path, steps);
            }
        }
    }
}

/// What a filter comes to that depends on more than the request.
fn step(stage: Stage, route: &Route, facts: &Facts<'_>) -> Step {
    let external = route.policy.external.as_ref();
    match external.filter(|_| stage == Stage::External) {
        None => Step::Assumed(stage),
        Some(external) => {
            let method = external.method.clone().unwrap_or(Method::GET);
            let url = external.url.as_ref();
            let url = url.map(|url| match url.of(route, facts, REQUEST_ID) {
                Ok(made) => made.to_string(),
                Err(error) => format!("{}, which {error}", url.text()),
            });
            Step::Asked(method, url.unwrap_or_else(|| "no URL".to_owned()))
        }
    }
}

/// The number that a request has that nobody sent.
const REQUEST_ID: &str = "00000000000000000000000000000000";

fn answer(
    compiler: &Compiler,
    route: Option<&Arc<Route>>,
    head: &Parts,
    steps: &mut Vec<Step>,
) -> Answer {
    let status = |code, reason: &str| Answer::Status {
        code,
        reason: reason.to_owned(),
    };
    let Some(route) = route else {
        return status(404, "no rule matches, and there is no default backend");
    };
    if let Some(trace) = &route.policy.trace {
        let trusts = trace.trusts;
        steps.push(Step::Traced { trusts });
    }
    let turn = route
        .canary
        .as_ref()
        .map(|canary| canary.turn(route, &head.headers));
    if let Some(turn) = turn {
        let route = Arc::clone(route);
        steps.push(Step::Canary { route, turn });
    }
    let is_canary = match turn {
        Some(Turn::Canary(_)) => true,
        Some(Turn::Chance(share)) => share.weight == share.total,
        _ => false,
    };
    let backend = route.destination(is_canary).backend;
    let endpoints = backend.endpoints();
    let none = endpoints.addresses.is_empty();
    if endpoints.resolution != Resolution::NotFound {
        steps.push(Step::Backend {
            backend: Arc::clone(backend),
            endpoints: compiler.endpoint_counts(backend),
        });
    }
    match &endpoints.resolution {
        Resolution::NotFound => status(
            404,
            "no path of the host matches, and there is no default backend",
        ),
        Resolution::Missing => status(503, "the Service or its port does not exist or is refused"),
        Resolution::Slices if none => status(503, "no endpoint is ready"),
        Resolution::Slices | Resolution::Dns { .. } => match turn {
            Some(Turn::Chance(share)) if !is_canary && share.weight > 0 => Answer::Either {
                main: Arc::clone(backend),
                canary: (Arc::clone(route.destination(true).backend), share),
            },
            _ => Answer::Forward(Arc::clone(backend)),
        },
    }
}

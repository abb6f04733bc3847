//! Explanations as people read them: one line for each thing that was looked at.

use std::fmt;

use http::header::LOCATION;
use model::ObjectName;

use super::{Answer, Explanation, HostVerdict, PathVerdict, Step};
use crate::upstream::{Decider, Share, Turn};
use crate::{Backend, EndpointCounts, Resolution, Route};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        write!(f, "answer       {}", self.answer)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate {
                name,
                pattern,
                secrets,
            } => {
                write!(f, "certificate  {name}: ")?;
                match pattern {
                    Some(pattern) => write!(f, "Secret {} by {pattern}", join(secrets)),
                    None => f.write_str("the default certificate, no other is good for it"),
                }
            }
            Self::Host { pattern, verdict } => match pattern.as_str() {
                "" => write!(f, "host         (any): {verdict}"),
                pattern => write!(f, "host         {pattern}: {verdict}"),
            },
            Self::Path { route, verdict } => write!(
                f,
                "path         {} {} ({}): {verdict}",
                PathKind(route),
                route.path,
                Origin(&route.ingress, &route.field),
            ),
            Self::OtherPaths(count) => write!(f, "path         {count} more that do not match"),
            Self::Conflict { ingress, field } => {
                let origin = Origin(ingress, field);
                write!(
                    f,
                    "conflict     {origin}: wants the same path, and is younger or stands later"
                )
            }
            Self::Unserved { ingress, reason } => {
                write!(f, "not served   Ingress {ingress}: {reason}")
            }
            Self::Elsewhere(path) => write!(f, "rewrite      to the path {path}"),
            Self::Rewrite(target) => write!(f, "rewrite      to {target}"),
            Self::Assumed(stage) => write!(f, "filter       {stage}: taken to let it in"),
            Self::Asked(method, url) => {
                write!(
                    f,
                    "filter       {method} {url}: asked who may come in, and taken to let it in"
                )
            }
            Self::Traced { trusts } => {
                let which = match trusts {
                    true => "the client's, or a new one",
                    false => "a new one, whatever the client says",
                };
                write!(f, "trace        {which}")
            }
            Self::Canary { route, turn } => write_turn(f, route, *turn),
            Self::Backend { backend, endpoints } => {
                write!(
                    f,
                    "backend      Service {}:{}",
                    backend.service, backend.port
                )?;
                write!(f, ", {}, ", spoken(backend))?;
                if let Some(tls) = &backend.tls {
                    write!(f, "{}, ", tls.describe())?;
                }
                write_endpoints(f, backend, *endpoints)
            }
        }
    }
}

/// How a path is matched.
struct PathKind<'r>(&'r Route);

impl fmt::Display for PathKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.pattern {
            Some(_) => f.write_str("regular expression"),
            None => write!(f, "{}", self.0.path_type),
        }
    }
}

fn write_endpoints(
    f: &mut fmt::Formatter<'_>,
    backend: &Backend,
    counts: EndpointCounts,
) -> fmt::Result {
    let set = backend.endpoints();
    match &set.resolution {
        Resolution::Slices => write!(
            f,
            "endpoints: {} ready, {} draining, {} down",
            counts.ready, counts.draining, counts.down
        )?,
        Resolution::Dns { host, port } => write!(f, "endpoints by DNS: {host}:{port}")?,
        Resolution::Missing | Resolution::NotFound => f.write_str("no endpoints")?,
    }
    match set.addresses.as_ref() {
        [] => Ok(()),
        addresses => write!(f, " ({})", join(addresses)),
    }
}

fn spoken(backend: &Backend) -> &'static str {
    use crate::BackendProtocol::{H2Tls, H2c, Http, Https};
    match backend.manner.protocol {
        Http => "HTTP/1.1",
        Https => "HTTP/1.1 over TLS",
        H2c => "HTTP/2",
        H2Tls => "HTTP/2 over TLS",
    }
}

fn write_turn(f: &mut fmt::Formatter<'_>, route: &Route, turn: Turn) -> fmt::Result {
    let Some(canary) = &route.canary else {
        return Ok(());
    };
    write!(
        f,
        "canary       {}: ",
        Origin(&canary.ingress, &canary.field)
    )?;
    match turn {
        Turn::Canary(decider) => write!(f, "takes it, {decider}"),
        Turn::Main(decider) => write!(f, "does not take it, {decider}"),
        Turn::Chance(Share { weight, total }) => write!(f, "takes {weight} of {total} requests"),
    }
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "the session's cookie says so",
            Self::Field => "a field of the request says so",
            Self::Cookie => "a cookie says so",
            Self::Endpoints => "it has no endpoint",
        })
    }
}

fn join<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(", ")
}

/// Where a route was written.
struct Origin<'a>(&'a ObjectName, &'a str);

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ingress, field) = self;
        match (ingress.name.is_empty(), *field) {
            (true, _) => f.write_str("the controller's default backend"),
            (false, "") => write!(
                f,
                "the controller's default backend, as Ingress {ingress} sets it"
            ),
            (false, field) => write!(f, "Ingress {ingress} {field}"),
        }
    }
}

impl fmt::Display for HostVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chosen => "chosen",
            Self::LessSpecific => "not asked, a more specific host has rules",
            Self::Absent => "nobody has rules for it",
        })
    }
}

impl fmt::Display for PathVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chosen => "chosen",
            Self::LessSpecific => "matches, but comes after the chosen one",
            Self::OtherCase => "no match, upper and lower case differ",
            Self::TrailingSlash => "no match, the trailing slash differs",
            Self::NotWhole => "no match, Exact means the whole path",
            Self::NotElement => "no match, Prefix means whole elements",
            Self::Other => "no match",
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, reason } => write!(f, "{code}: {reason}"),
            Self::Filter(stage, answer) => {
                write!(f, "{}: {stage}", answer.status.as_u16())?;
                let mut fields = answer.fields.iter();
                match fields.find(|(name, _)| *name == LOCATION) {
                    Some((_, location)) => {
                        write!(f, ", {}", String::from_utf8_lossy(location.as_bytes()))
                    }
                    None => Ok(()),
                }
            }
            Self::PassedThrough(backend) => write!(
                f,
                "whatever an endpoint of Service {}:{} says, which ends TLS itself (ssl-passthrough)",
                backend.service, backend.port
            ),
            Self::Forward(backend) => {
                write!(f, "from Service {}:{}", backend.service, backend.port)
            }
            Self::Either {
                main,
                canary: (canary, Share { weight, total }),
            } => write!(
                f,
                "from Service {}:{} ({weight} of {total} requests) or Service {}:{} (the others)",
                canary.service, canary.port, main.service, main.port
            ),
        }
    }
}

//! A line in the form that the ConfigMap asks for.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::HeaderValue;
use l7_ingress_core::log_format::{Escape, LogPiece, LogTemplate, LogVariable};

use super::{Clock, Entry, INFALLIBLE, version};
use crate::record::{Attempt, Line};

impl Entry<'_> {
    /// Writes the line.
    pub(super) fn template(&self, out: &mut String, clock: &Clock, template: &LogTemplate) {
        let Some(line) = &self.record.line else {
            return;
        };
        let mut value = String::new();
        for piece in &template.pieces {
            match piece {
                LogPiece::Text(text) => out.push_str(text),
                LogPiece::Variable(variable) => {
                    value.clear();
                    self.value(&mut value, *variable, (line, clock));
                    escape(out, value.as_bytes(), template.escape);
                }
            }
        }
        out.push('\n');
    }

    fn value(&self, out: &mut String, variable: LogVariable, (line, clock): (&Line, &Clock)) {
        use LogVariable as V;
        let record = self.record;
        let client = &record.client;
        let target = line.uri.path_and_query();
        let target = target.map_or("", |target| target.as_str());
        let text = match variable {
            V::Nothing | V::RemoteUser => "",
            V::RemoteAddr => &client.ip,
            V::TimeLocal => &clock.local,
            V::TimeIso => &clock.iso,
            V::Method => record.method.as_str(),
            V::RequestUri => target,
            V::Uri => line.uri.path(),
            V::Args => line.uri.query().unwrap_or_default(),
            V::Protocol => version(line.version),
            V::Scheme if client.tls => "https",
            V::Scheme => "http",
            V::Https if client.tls => "on",
            V::Https => "",
            V::Host | V::HttpHost => &line.host,
            V::ServerPort => &client.port,
            V::RequestId => &line.request_id,
            V::Pipe => ".",
            V::AlternativeName => record.alternative(),
            V::Transport => "TCP",
            V::Asked(place) => return field(out, line.asked.get(place)),
            V::Answered(place) => return field(out, line.answered.get(place)),
            _ => return self.counted(out, variable, line),
        };
        out.push_str(text);
    }

    /// Numbers, and what the route and its endpoints say.
    fn counted(&self, out: &mut String, variable: LogVariable, line: &Line) {
        use LogVariable as V;
        let record = self.record;
        if let Some(route) = &record.route {
            match variable {
                V::UpstreamName => return out.push_str(&route.backend.upstream_name),
                V::Namespace => return out.push_str(&route.ingress.namespace),
                V::Ingress => return out.push_str(&route.ingress.name),
                V::Service => return out.push_str(&route.backend.service.name),
                V::ServicePort => return write!(out, "{}", route.backend.port).expect(INFALLIBLE),
                V::Path => return out.push_str(&route.path),
                _ => {}
            }
        }
        let context = record.traced.as_ref().map(|traced| &traced.context);
        match variable {
            V::TraceId => match context {
                Some(context) => write!(out, "{:032x}", context.trace),
                None => Ok(()),
            },
            V::SpanId => match context {
                Some(context) => write!(out, "{:016x}", context.span),
                None => Ok(()),
            },
            V::RemotePort => write!(out, "{}", record.client.address.port()),
            V::Msec => write!(out, "{:.3}", self.since_epoch.as_secs_f64()),
            V::Status => write!(out, "{}", record.status),
            V::BytesSent => write!(out, "{}", record.response_bytes),
            V::WholeSent => write!(out, "{}", record.response_length()),
            V::RequestLength => write!(out, "{}", record.request_length()),
            V::BytesReceived => {
                write!(out, "{}", record.request_bytes.get())
            }
            V::RequestTime => write!(out, "{:.3}", self.total.as_secs_f64()),
            V::ConnectionRequests => write!(out, "{}", record.client.requests()),
            V::Request => {
                let target = line.uri.path_and_query();
                let target = target.map_or("-", |target| target.as_str());
                write!(out, "{} {target} {}", record.method, version(line.version))
            }
            other => {
                self.upstream(out, other);
                Ok(())
            }
        }
        .expect(INFALLIBLE);
    }

    /// What nginx says of each endpoint that was tried.
    fn upstream(&self, out: &mut String, variable: LogVariable) {
        use LogVariable as V;
        let seconds = |out: &mut String, time: Option<Duration>| {
            match time {
                Some(time) => write!(out, "{:.3}", time.as_secs_f64()),
                None => out.write_char('-'),
            }
            .expect(INFALLIBLE);
        };
        let attempts = &self.record.attempts;
        for (index, attempt) in attempts.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            let attempt: &Attempt = attempt;
            let last = index + 1 == attempts.len();
            match variable {
                V::UpstreamAddr => out.push_str(&attempt.peer.name),
                V::UpstreamStatus => {
                    let status = attempt.status.map_or(502, |status| status.as_u16());
                    write!(out, "{status}").expect(INFALLIBLE);
                }
                V::UpstreamTime => seconds(out, Some(self.upstream_time(attempt, last))),
                V::UpstreamHeaderTime => seconds(out, attempt.answered),
                V::UpstreamConnectTime => seconds(out, attempt.connected.or(Some(Duration::ZERO))),
                V::UpstreamLength => {
                    let bytes = if last { self.record.response_bytes } else { 0 };
                    write!(out, "{bytes}").expect(INFALLIBLE);
                }
                _ => return,
            }
        }
    }
}

fn field(out: &mut String, value: Option<&Option<HeaderValue>>) {
    if let Some(Some(value)) = value {
        out.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
}

/// As nginx's `escape=` parameter has it.
pub(super) fn escape(out: &mut String, bytes: &[u8], escape: Escape) {
    match escape {
        Escape::None => out.push_str(&String::from_utf8_lossy(bytes)),
        Escape::Default if bytes.is_empty() => out.push('-'),
        Escape::Default => super::escape_bytes(out, bytes),
        Escape::Json => {
            for character in String::from_utf8_lossy(bytes).chars() {
                match character {
                    '"' => out.push_str("\\\""),
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    '\u{8}' => out.push_str("\\b"),
                    '\u{c}' => out.push_str("\\f"),
                    '\0'..='\u{1f}' => {
                        write!(out, "\\u{:04X}", u32::from(character)).expect(INFALLIBLE);
                    }
                    other => out.push(other),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_as_nginx_escapes_them() {
        let check = |how, text: &str, want: &str| {
            let mut out = String::new();
            escape(&mut out, text.as_bytes(), how);
            assert_eq!(out, want);
        };
        check(Escape::Default, "", "-");
        check(Escape::Default, "a\"\n", "a\\x22\\x0A");
        check(Escape::Json, "", "");
        check(Escape::Json, "a\"\\\n\u{1}é", "a\\\"\\\\\\n\\u0001é");
        check(Escape::None, "a\"", "a\"");
    }
}

//! `log-format-upstream`: text with nginx's variables, compiled once; the proxy fills them in.

use std::collections::BTreeMap;

use http::HeaderName;

/// ingress-nginx's `log-format-stream`.
pub const STREAM: &str =
    "[$remote_addr] [$time_local] $protocol $status $bytes_sent $bytes_received $session_time";

/// A log line's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTemplate {
    /// In order.
    pub pieces: Box<[LogPiece]>,
    /// How values are written.
    pub escape: Escape,
    /// Fields of requests that it asks for.
    pub asked: Box<[HeaderName]>,
    /// Fields of responses that it asks for.
    pub answered: Box<[HeaderName]>,
}

/// How values are written, so that none can end a line or look like another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// What is not printable, quotes and backslashes as `\xHH`; `-` for nothing.
    #[default]
    Default,
    /// As in a JSON string; nothing for nothing.
    Json,
    /// As they are.
    None,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPiece {
    /// Itself.
    Text(Box<str>),
    /// What the request's end says.
    Variable(LogVariable),
}

/// What a line may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogVariable {
    /// Nothing that is known here has a value.
    Nothing,
    /// `$remote_addr`, `$the_real_ip`
    RemoteAddr,
    /// `$remote_port`
    RemotePort,
    /// `$remote_user`
    RemoteUser,
    /// `$time_local`
    TimeLocal,
    /// `$time_iso8601`
    TimeIso,
    /// `$msec`
    Msec,
    /// `$request`
    Request,
    /// `$request_method`
    Method,
    /// `$request_uri`
    RequestUri,
    /// `$uri`
    Uri,
    /// `$args`
    Args,
    /// `$server_protocol`
    Protocol,
    /// `$scheme`
    Scheme,
    /// `$host`
    Host,
    /// `$http_host`
    HttpHost,
    /// `$server_port`
    ServerPort,
    /// `$status`
    Status,
    /// `$body_bytes_sent`
    BytesSent,
    /// `$bytes_sent`: with the head, where there is one
    WholeSent,
    /// `$opentelemetry_trace_id`
    TraceId,
    /// `$opentelemetry_span_id`
    SpanId,
    /// `$request_length`
    RequestLength,
    /// `$request_time`
    RequestTime,
    /// `$req_id`, `$request_id`
    RequestId,
    /// `$proxy_upstream_name`
    UpstreamName,
    /// `$proxy_alternative_upstream_name`
    AlternativeName,
    /// `$upstream_addr`
    UpstreamAddr,
    /// `$upstream_status`
    UpstreamStatus,
    /// `$upstream_response_time`
    UpstreamTime,
    /// `$upstream_header_time`
    UpstreamHeaderTime,
    /// `$upstream_connect_time`
    UpstreamConnectTime,
    /// `$upstream_response_length`
    UpstreamLength,
    /// `$namespace`
    Namespace,
    /// `$ingress_name`
    Ingress,
    /// `$service_name`
    Service,
    /// `$service_port`
    ServicePort,
    /// `$location_path`
    Path,
    /// `$ssl_protocol`, `$https` …: whether TLS ends here
    Https,
    /// `$connection_requests`
    ConnectionRequests,
    /// `$pipe`
    Pipe,
    /// `$protocol`: `TCP` or `UDP`
    Transport,
    /// `$bytes_received`
    BytesReceived,
    /// `$http_NAME`: a place in [`LogTemplate::asked`]
    Asked(usize),
    /// `$sent_http_NAME`, `$upstream_http_NAME`: a place in [`LogTemplate::answered`]
    Answered(usize),
}

/// There is no such variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("${0} is no variable that is known here")]
pub struct UnknownLogVariable(Box<str>);

impl LogTemplate {
    /// The same as [`Self::stream`], as one JSON object.
    #[must_use]
    pub fn stream_json() -> Self {
        const TEXT: &str = concat!(
            r#"{"time":"$time_iso8601","client":"$remote_addr","protocol":"$protocol","port":$server_port,"#,
            r#""status":$status,"request_bytes":$bytes_received,"response_bytes":$bytes_sent,"#,
            r#""seconds":$session_time,"endpoint":"$upstream_addr"}"#
        );
        Self::parse(TEXT, Escape::Json).expect("its variables are known")
    }

    /// The default of TCP and UDP.
    #[must_use]
    pub fn stream() -> Self {
        Self::parse(STREAM, Escape::Default).expect("its variables are known")
    }

    /// Reads a format. A `$` that begins no name is itself.
    ///
    /// # Errors
    /// For the first variable that is not known.
    pub fn parse(text: &str, escape: Escape) -> Result<Self, UnknownLogVariable> {
        let mut reading = Reading::default();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, after) = rest.split_at(dollar);
            let after = after.strip_prefix('$').unwrap_or(after);
            let (name, left) = name(after);
            reading.text(before);
            if name.is_empty() {
                reading.text("$");
                rest = after;
                continue;
            }
            let variable = reading.variable(name)?;
            reading.pieces.push(LogPiece::Variable(variable));
            rest = left;
        }
        reading.text(rest);
        Ok(Self {
            pieces: reading.pieces.into(),
            escape,
            asked: reading.asked.names(),
            answered: reading.answered.names(),
        })
    }
}

#[derive(Default)]
struct Reading {
    pieces: Vec<LogPiece>,
    asked: Places,
    answered: Places,
}

/// Names, and where they first came.
#[derive(Default)]
struct Places(BTreeMap<Box<str>, (usize, Option<HeaderName>)>);

impl Places {
    fn of(&mut self, name: &str) -> Option<usize> {
        let name = name.replace('_', "-");
        let field: HeaderName = name.parse().ok()?;
        let next = self.0.len();
        let (place, _) = self
            .0
            .entry(name.into())
            .or_insert_with(|| (next, Some(field)));
        Some(*place)
    }

    fn names(self) -> Box<[HeaderName]> {
        let mut names: Vec<_> = self.0.into_values().collect();
        names.sort_unstable_by_key(|(place, _)| *place);
        names.into_iter().filter_map(|(_, name)| name).collect()
    }
}

/// The name at the start of what follows a `$`, and what is left after it.
fn name(text: &str) -> (&str, &str) {
    if let Some(inner) = text.strip_prefix('{') {
        return inner.split_once('}').unwrap_or(("", text));
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    text.split_at(end.unwrap_or(text.len()))
}

impl Reading {
    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.pieces.push(LogPiece::Text(text.into()));
        }
    }

    fn variable(&mut self, name: &str) -> Result<LogVariable, UnknownLogVariable> {
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        if let Some((_, variable)) = known {
            return Ok(*variable);
        }
        let field = |prefix: &str| name.strip_prefix(prefix).filter(|name| !name.is_empty());
        let found = if let Some(name) = field("http_") {
            self.asked.of(name).map(LogVariable::Asked)
        } else {
            let name = field("sent_http_").or_else(|| field("upstream_http_"));
            name.and_then(|name| self.answered.of(name))
                .map(LogVariable::Answered)
        };
        found.ok_or_else(|| UnknownLogVariable(name.into()))
    }
}

/// nginx's variables, and those of ingress-nginx's template. Some have no value here: users print them all the same.
const KNOWN: [(&str, LogVariable); 63] = {
    use LogVariable::*;
    [
        ("remote_addr", RemoteAddr),
        ("the_real_ip", RemoteAddr),
        ("realip_remote_addr", RemoteAddr),
        ("proxy_protocol_addr", RemoteAddr),
        ("remote_port", RemotePort),
        ("remote_user", RemoteUser),
        ("time_local", TimeLocal),
        ("time_iso8601", TimeIso),
        ("msec", Msec),
        ("request", Request),
        ("request_method", Method),
        ("request_uri", RequestUri),
        ("uri", Uri),
        ("document_uri", Uri),
        ("args", Args),
        ("query_string", Args),
        ("server_protocol", Protocol),
        ("scheme", Scheme),
        ("pass_access_scheme", Scheme),
        ("host", Host),
        ("best_http_host", HttpHost),
        ("http_host", HttpHost),
        ("server_name", Host),
        ("server_port", ServerPort),
        ("pass_server_port", ServerPort),
        ("pass_port", ServerPort),
        ("status", Status),
        ("body_bytes_sent", BytesSent),
        ("bytes_sent", WholeSent),
        ("content_length", BytesReceived),
        ("request_length", RequestLength),
        ("request_time", RequestTime),
        ("req_id", RequestId),
        ("request_id", RequestId),
        ("proxy_upstream_name", UpstreamName),
        ("proxy_alternative_upstream_name", AlternativeName),
        ("upstream_addr", UpstreamAddr),
        ("upstream_status", UpstreamStatus),
        ("upstream_response_time", UpstreamTime),
        ("upstream_header_time", UpstreamHeaderTime),
        ("upstream_connect_time", UpstreamConnectTime),
        ("upstream_response_length", UpstreamLength),
        ("upstream_bytes_received", UpstreamLength),
        ("upstream_cache_status", Nothing),
        ("namespace", Namespace),
        ("ingress_name", Ingress),
        ("service_name", Service),
        ("service_port", ServicePort),
        ("location_path", Path),
        ("https", Https),
        ("ssl_protocol", Nothing),
        ("ssl_cipher", Nothing),
        ("ssl_server_name", Nothing),
        ("connection", Nothing),
        ("connection_requests", ConnectionRequests),
        ("pipe", Pipe),
        ("opentelemetry_trace_id", TraceId),
        ("opentelemetry_span_id", SpanId),
        ("geoip2_city_country_code", Nothing),
        ("protocol", Transport),
        ("bytes_received", BytesReceived),
        ("session_time", RequestTime),
        ("upstream_bytes_sent", BytesReceived),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_text_and_variables() {
        let read = |text| LogTemplate::parse(text, Escape::Json).unwrap();
        let text = |text: &str| LogPiece::Text(text.into());
        let template = read(
            "{\"ip\": \"$remote_addr\", \"a\": \"${http_x_a}\", \"b\": \"$sent_http_x_b $http_x_a\"}",
        );
        assert_eq!(
            *template.pieces,
            [
                text("{\"ip\": \""),
                LogPiece::Variable(LogVariable::RemoteAddr),
                text("\", \"a\": \""),
                LogPiece::Variable(LogVariable::Asked(0)),
                text("\", \"b\": \""),
                LogPiece::Variable(LogVariable::Answered(0)),
                text(" "),
                LogPiece::Variable(LogVariable::Asked(0)),
                text("\"}"),
            ][..]
        );
    }

    #[test]
    fn an_unknown_variable_is_named() {
        let read = |text| LogTemplate::parse(text, Escape::Default);
        let unknown = |name: &str| Err(UnknownLogVariable(name.into()));
        assert_eq!(read("$status $nobody"), unknown("nobody"));
        assert_eq!(read("${http_}"), unknown("http_"));
        assert!(read("5 $ and $-").is_ok());
    }
}

//! The line of a TCP connection or a UDP session.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use l7_ingress_core::global::LogForm;
use l7_ingress_core::log_format::{LogPiece, LogTemplate, LogVariable};
use model::Protocol;

use super::{AccessLog, Clock, INFALLIBLE};

/// What became of a connection or session.
#[derive(Debug)]
pub(crate) struct StreamLine {
    pub(crate) protocol: Protocol,
    pub(crate) client: SocketAddr,
    /// The port that it came in on.
    pub(crate) port: u16,
    pub(crate) endpoint: Option<SocketAddr>,
    /// nginx's: 200, 400 for a bad PROXY header, 502 where no endpoint accepted.
    pub(crate) status: u16,
    /// To the client.
    pub(crate) sent: u64,
    /// From the client.
    pub(crate) received: u64,
    pub(crate) lasted: Duration,
}

impl AccessLog {
    /// Adds the line of one that has ended.
    pub(crate) fn write_stream(&self, line: &StreamLine, form: &LogForm, template: &LogTemplate) {
        if *form == LogForm::Off {
            return;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut clock = self.clock.borrow_mut();
        clock.update(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let mut batch = self.batch.borrow_mut();
        line.write(&mut batch.text, template, (&clock, now));
        self.added(&mut batch);
    }
}

impl StreamLine {
    fn write(&self, out: &mut String, template: &LogTemplate, times: (&Clock, Duration)) {
        let mut value = String::new();
        for piece in &template.pieces {
            match piece {
                LogPiece::Text(text) => out.push_str(text),
                LogPiece::Variable(variable) => {
                    value.clear();
                    self.value(&mut value, *variable, times);
                    super::template::escape(out, value.as_bytes(), template.escape);
                }
            }
        }
        out.push('\n');
    }

    fn value(&self, out: &mut String, variable: LogVariable, (clock, now): (&Clock, Duration)) {
        use LogVariable as V;
        match variable {
            V::RemoteAddr => write!(out, "{}", self.client.ip().to_canonical()),
            V::RemotePort => write!(out, "{}", self.client.port()),
            V::ServerPort => write!(out, "{}", self.port),
            V::TimeLocal => out.write_str(&clock.local),
            V::TimeIso => out.write_str(&clock.iso),
            V::Msec => write!(out, "{:.3}", now.as_secs_f64()),
            V::Transport => out.write_str(match self.protocol {
                Protocol::Udp => "UDP",
                Protocol::Tcp | Protocol::Sctp => "TCP",
            }),
            V::Status => write!(out, "{}", self.status),
            V::BytesSent | V::WholeSent | V::UpstreamLength => write!(out, "{}", self.sent),
            V::BytesReceived | V::RequestLength => write!(out, "{}", self.received),
            V::RequestTime => write!(out, "{:.3}", self.lasted.as_secs_f64()),
            V::UpstreamAddr => match self.endpoint {
                Some(endpoint) => write!(out, "{endpoint}"),
                None => Ok(()),
            },
            _ => Ok(()),
        }
        .expect(INFALLIBLE);
    }
}

#[cfg(test)]
mod tests {
    use l7_ingress_core::log_format::Escape;

    use super::*;

    #[test]
    fn a_line_is_ingress_nginx_s() {
        let line = StreamLine {
            protocol: Protocol::Udp,
            client: ([1, 2, 3, 4], 5).into(),
            port: 53,
            endpoint: None,
            status: 502,
            sent: 7,
            received: 8,
            lasted: Duration::from_millis(1500),
        };
        let clock = Clock {
            local: "now".to_owned(),
            ..Clock::default()
        };
        let text = l7_ingress_core::log_format::STREAM;
        let template = LogTemplate::parse(text, Escape::Default).unwrap();
        let mut out = String::new();
        line.write(&mut out, &template, (&clock, Duration::ZERO));
        assert_eq!(out, "[1.2.3.4] [now] UDP 502 7 8 1.500\n");
    }
}

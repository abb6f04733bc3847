//! The access log: formatted by the workers, written by a thread of its own, dropped and counted
//! rather than waited for.

mod stream;
mod template;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Version;
use http::header::HeaderValue;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use l7_ingress_core::global::LogForm;
use tokio::time::Instant;

use crate::metrics::WorkerMetrics;
use crate::record::{Attempt, Record};

pub(crate) use stream::StreamLine;

/// What a worker gathers before it hands it over.
const BATCH: usize = 16 * 1024;
/// Batches that may wait for the writer, over all workers.
const QUEUE: usize = 256;

/// Where log lines are written from.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: SyncSender<Vec<u8>>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread that writes to standard output.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&receiver))?;
        Ok(Self { sender, thread })
    }

    /// A worker's end of it.
    pub(crate) fn handle(&self, metrics: Arc<WorkerMetrics>) -> AccessLog {
        AccessLog {
            sender: self.sender.clone(),
            metrics,
            batch: RefCell::default(),
            clock: RefCell::default(),
        }
    }

    /// Waits until all that the workers have handed over is written; they must be gone.
    pub(crate) fn finish(self) {
        drop(self.sender);
        // A writer that panicked has nothing left to write.
        let _ = self.thread.join();
    }
}

fn write_all(receiver: &Receiver<Vec<u8>>) {
    for batch in receiver {
        // Not held in between: others of the process may write there, too.
        let mut out = std::io::stdout().lock();
        // Nobody reads any more: traffic goes on without a log.
        let _ = out.write_all(&batch).and_then(|()| out.flush());
    }
}

/// One worker's access log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    sender: SyncSender<Vec<u8>>,
    metrics: Arc<WorkerMetrics>,
    batch: RefCell<Batch>,
    clock: RefCell<Clock>,
}

#[derive(Debug, Default)]
struct Batch {
    text: String,
    lines: u64,
}

/// The present second as text: most lines share it.
#[derive(Debug, Default)]
struct Clock {
    second: i64,
    local: String,
    iso: String,
}

impl Clock {
    fn update(&mut self, second: i64) {
        if self.second == second && !self.iso.is_empty() {
            return;
        }
        self.second = second;
        let time = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        let zoned = time.to_zoned(TimeZone::system());
        self.local = zoned.strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
        self.iso = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    }
}

impl AccessLog {
    /// Adds the line of a request that has ended.
    pub(crate) fn write(&self, record: &Record, now: Instant) {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut clock = self.clock.borrow_mut();
        clock.update(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX));
        let mut batch = self.batch.borrow_mut();
        let entry = Entry {
            record,
            total: now - record.started,
            now,
            since_epoch,
        };
        let Some(line) = &record.line else { return };
        match &line.form {
            LogForm::Off => return,
            LogForm::Json => entry.json(&mut batch.text, &clock.iso),
            LogForm::Nginx => entry.upstreaminfo(&mut batch.text, &clock.local),
            LogForm::Template(template) => entry.template(&mut batch.text, &clock, template),
        }
        self.added(&mut batch);
    }

    /// A line was added.
    fn added(&self, batch: &mut Batch) {
        batch.lines += 1;
        if batch.text.len() >= BATCH {
            self.hand_over(batch);
        }
    }

    /// Hands over what has been gathered; called now and then, so that no line waits long.
    pub(crate) fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        if !batch.text.is_empty() {
            self.hand_over(&mut batch);
        }
    }

    fn hand_over(&self, batch: &mut Batch) {
        let Batch { text, lines } = std::mem::take(batch);
        if self.sender.try_send(text.into_bytes()).is_err() {
            self.metrics.log_dropped.add(lines);
        }
    }
}

/// A line about to be written.
struct Entry<'r> {
    record: &'r Record,
    total: Duration,
    now: Instant,
    since_epoch: Duration,
}

/// Writing into a `String` cannot fail.
const INFALLIBLE: &str = "a buffer in memory grows";

impl Entry<'_> {
    /// ingress-nginx's default `log-format-upstream`.
    fn upstreaminfo(&self, out: &mut String, time: &str) {
        let Self { record, .. } = self;
        let Some(line) = &record.line else { return };
        let target = line
            .uri
            .path_and_query()
            .map_or("-", |target| target.as_str());
        let upstream = record
            .route
            .as_ref()
            .map_or("", |route| &route.backend.upstream_name);
        write!(out, "{} - - [{time}] \"", record.client.ip).expect(INFALLIBLE);
        escape(out, record.method.as_str());
        out.push(' ');
        escape(out, target);
        write!(out, " {}\" {} ", version(line.version), record.status).expect(INFALLIBLE);
        write!(out, "{} \"", record.response_bytes).expect(INFALLIBLE);
        escape_value(out, line.referer.as_ref());
        out.push_str("\" \"");
        escape_value(out, line.user_agent.as_ref());
        write!(out, "\" {} ", record.request_length()).expect(INFALLIBLE);
        write!(
            out,
            "{:.3} [{upstream}] [{}] ",
            self.total.as_secs_f64(),
            record.alternative()
        )
        .expect(INFALLIBLE);
        self.each_attempt(out, |out, attempt, _| out.push_str(&attempt.peer.name));
        out.push(' ');
        self.each_attempt(out, |out, _, last| {
            let bytes = if last { record.response_bytes } else { 0 };
            write!(out, "{bytes}").expect(INFALLIBLE);
        });
        out.push(' ');
        self.each_attempt(out, |out, attempt, last| {
            let time = self.upstream_time(attempt, last);
            write!(out, "{:.3}", time.as_secs_f64()).expect(INFALLIBLE);
        });
        out.push(' ');
        self.each_attempt(out, |out, attempt, _| {
            let status = attempt.status.map_or(502, |status| status.as_u16());
            write!(out, "{status}").expect(INFALLIBLE);
        });
        writeln!(out, " {}", line.request_id).expect(INFALLIBLE);
    }

    /// nginx separates the values of several upstreams by `, ` and writes `-` for none.
    fn each_attempt(&self, out: &mut String, mut write: impl FnMut(&mut String, &Attempt, bool)) {
        let attempts = &self.record.attempts;
        if attempts.is_empty() {
            out.push('-');
        }
        for (index, attempt) in attempts.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            write(out, attempt, index + 1 == attempts.len());
        }
    }

    fn upstream_time(&self, attempt: &Attempt, last: bool) -> Duration {
        let until_now = self.now - attempt.started;
        if last {
            until_now
        } else {
            attempt.answered.unwrap_or(until_now)
        }
    }

    /// One JSON object.
    fn json(&self, out: &mut String, time: &str) {
        let Self { record, .. } = self;
        let Some(line) = &record.line else { return };
        let target = line
            .uri
            .path_and_query()
            .map_or("-", |target| target.as_str());
        write!(
            out,
            "{{\"time\":\"{time}\",\"client\":\"{}\"",
            record.client.ip
        )
        .expect(INFALLIBLE);
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().map_or_else(String::new, |value| {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            })
        };
        let (referer, user_agent) = (text(&line.referer), text(&line.user_agent));
        for (name, value) in [
            ("method", record.method.as_str()),
            ("host", &line.host),
            ("target", target),
            ("protocol", version(line.version)),
            ("referer", &referer),
            ("user_agent", &user_agent),
            ("request_id", &line.request_id),
        ] {
            json_text(out, name, value);
        }
        write!(
            out,
            ",\"status\":{},\"request_bytes\":{},\"response_bytes\":{},\"seconds\":{:.6}",
            record.status,
            record.request_bytes.get(),
            record.response_bytes,
            self.total.as_secs_f64()
        )
        .expect(INFALLIBLE);
        if let Some(route) = &record.route {
            json_text(out, "namespace", &route.ingress.namespace);
            json_text(out, "ingress", &route.ingress.name);
            json_text(out, "service", &route.backend.service.name);
            json_text(out, "upstream", &route.backend.upstream_name);
            if record.canary {
                json_text(out, "alternative_upstream", record.alternative());
            }
        }
        out.push_str(",\"attempts\":[");
        for (index, attempt) in record.attempts.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let last = index + 1 == record.attempts.len();
            let status = attempt.status.map_or(0, |status| status.as_u16());
            write!(
                out,
                "{comma}{{\"address\":\"{}\",\"status\":{status},\"seconds\":{:.6}}}",
                attempt.peer.name,
                self.upstream_time(attempt, last).as_secs_f64()
            )
            .expect(INFALLIBLE);
        }
        out.push_str("]}\n");
    }
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

fn json_text(out: &mut String, name: &str, value: &str) {
    write!(out, ",\"{name}\":").expect(INFALLIBLE);
    out.push_str(&serde_json::to_string(value).expect("text is always JSON"));
}

/// nginx's escaping: what could end or split a line becomes `\xHH`.
fn escape(out: &mut String, text: &str) {
    escape_bytes(out, text.as_bytes());
}

fn escape_value(out: &mut String, value: Option<&HeaderValue>) {
    match value {
        None => out.push('-'),
        Some(value) => escape_bytes(out, value.as_bytes()),
    }
}

fn escape_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => write!(out, "\\x{byte:02X}").expect(INFALLIBLE),
            _ => out.push(char::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_split_a_line_is_escaped() {
        let mut out = String::new();
        escape(&mut out, "/a\"b\\c\nd\u{e9}");
        assert_eq!(out, "/a\\x22b\\x5Cc\\x0Ad\\xC3\\xA9");
    }

    #[test]
    fn the_second_is_rendered_as_nginx_and_as_iso_8601_do() {
        let mut clock = Clock::default();
        clock.update(0);
        assert_eq!(clock.local.len(), "01/Jan/1970:00:00:00 +0000".len());
        assert!(clock.iso.contains('T'));
    }
}

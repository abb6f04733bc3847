//! Finds where HTTP/1 requests end, strictly, ahead of hyper's parser; what they ask for it does not read.
//!
//! hyper forgives what request smuggling is made of: Content-Length beside Transfer-Encoding, repeated fields, bare
//! line feeds, a missing Host (RFC 9112 §11.2). Everything that a client sends passes here first.
//!
//! ```text
//!          ┌───────────────────────────── end of message ────────────────────────────┐
//!          ▼                                                                         │
//!        Idle ─▶ Method ─▶ Target ─▶ Version ─▶ Field ─▶ Name ─▶ Value ─┐            │
//!          ▲                                    │  ▲ ▲                  │            │
//!          │                                    │  │ └──────────────────┘            │
//!          │resume_http            empty line ──┤  └─ trailers ── last chunk         │
//!        Paused ◀── Upgrade, CONNECT            ├─▶ Sized ──────────────▲────────────┤
//!                                               ├─▶ ChunkSize ⇄ ChunkData            │
//!                                               └────────────────────────────────────┘
//! ```

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use thiserror::Error;

use self::bytes::{printable, token};

mod bytes;
#[cfg(test)]
mod tests;

/// What a head may measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request target; more is [`Violation::TargetTooLong`].
    pub target: usize,
    /// Bytes of one field line or of one chunk's size line.
    pub line: usize,
    /// Bytes of the whole head but its empty line; the trailers of one message are a head again.
    pub head: usize,
    /// Field lines of a head.
    pub fields: usize,
    /// Whether a field name with `_` is refused. nginx drops such fields, because CGI-like backends read `a_b` and
    /// `a-b` as one.
    pub refuse_underscores: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target: 16 << 10,
            line: 32 << 10,
            head: 64 << 10,
            fields: 100,
            refuse_underscores: false,
        }
    }
}

/// What [`HeadGuard::scan`] found. `at` counts from the start of the bytes that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// All of it is in order.
    Pass,
    /// A message that carries Upgrade (HTTP/1.1) or CONNECT ends at `at`. What follows is either the next request or
    /// the other protocol's: hold it back until the answer is known, then call [`HeadGuard::resume_http`] and scan
    /// it, or never ask again.
    Pause {
        /// The first byte after the message.
        at: usize,
    },
    /// The bytes before `at` are in order, the one there is not. The message that it belongs to is not complete
    /// before `at`, so a parser that is given only these, then [`HeadGuard::poison`], has not seen it.
    Refuse {
        /// The first byte that the parser may not see.
        at: usize,
        /// The rule that it breaks.
        why: Violation,
    },
}

/// The rule that a request breaks. The client is at fault; the connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Violation {
    /// Not `method SP target SP`.
    #[error("malformed request line")]
    RequestLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("unknown HTTP version")]
    Version,
    /// More than [`Limits::target`].
    #[error("request target too long")]
    TargetTooLong,
    /// More than [`Limits::line`], [`Limits::head`] or [`Limits::fields`].
    #[error("request head too large")]
    HeadTooLarge,
    /// A control character, of which CR without LF and LF without CR are two.
    #[error("control character or line end other than CRLF")]
    Control,
    /// Empty, not a token, followed by white space, or with a refused underscore.
    #[error("malformed field name")]
    FieldName,
    /// A line that starts with white space (RFC 9112 §5.2).
    #[error("folded field line")]
    Fold,
    /// Missing in HTTP/1.1, or there twice (RFC 9112 §3.2).
    #[error("missing or repeated Host")]
    Host,
    /// Not one number (RFC 9112 §6.3), or there twice.
    #[error("malformed or repeated Content-Length")]
    ContentLength,
    /// Other than exactly `chunked`, there twice, beside a Content-Length, or in HTTP/1.0 (RFC 9112 §6.1).
    #[error("Transfer-Encoding other than chunked, repeated, beside Content-Length or in HTTP/1.0")]
    TransferEncoding,
    /// A chunk that is not `size [;extension] CRLF data CRLF` (RFC 9112 §7.1).
    #[error("malformed chunk")]
    Chunk,
    /// A trailer field that says how to frame or to route (RFC 9110 §6.5.1).
    #[error("trailer field that frames or routes")]
    Trailer,
}

impl Violation {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::HeadTooLarge => 431,
            _ => 400,
        }
    }
}

/// Where a connection stands, for its timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between messages: no byte of the next head was seen.
    Idle,
    /// Within a head.
    Head,
    /// Within a body or its trailers.
    Body,
}

/// The guard of one connection.
#[derive(Debug)]
pub struct HeadGuard {
    limits: Limits,
    state: State,
    message: Message,
    word: Word,
    /// What is left of [`Limits::line`] (or of its counterpart), [`Limits::head`] and [`Limits::fields`].
    line: usize,
    head: usize,
    fields: usize,
    /// Bytes left of the body or chunk.
    body: u64,
    /// Digits of a chunk size so far.
    digits: u8,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Empty lines may precede a request line (RFC 9112 §2.2); so many are left.
    Idle(u8),
    Method,
    Target,
    /// So many bytes of `HTTP/1.` matched.
    Version(u8),
    Field,
    Name,
    Value(Value),
    /// CR comes next.
    Cr(Line),
    /// LF comes next.
    Lf(Line),
    Sized,
    ChunkSize,
    /// White space between size and `;`.
    ChunkSpace,
    ChunkExtension,
    ChunkData,
    Paused,
    Refused(Violation),
}

/// The line that ends.
#[derive(Clone, Copy, Debug)]
enum Line {
    Empty(u8),
    Request,
    Field,
    Head,
    ChunkSize,
    ChunkData,
}

/// What a field's value is read as, and how far.
#[derive(Clone, Copy, Debug)]
enum Value {
    Text,
    Length(Progress),
    Coding(Progress),
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    seen: u8,
    /// White space followed.
    ended: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Message {
    http_11: bool,
    connect: bool,
    upgrade: bool,
    host: bool,
    length: Option<u64>,
    chunked: bool,
    trailers: bool,
}

/// The start of a word that was cut off by the end of a read.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Word {
    /// One more than the longest name that means anything here, so that longer ones differ from it.
    const MAX: usize = "transfer-encoding".len() + 1;

    fn push(&mut self, part: &[u8]) {
        for (slot, &byte) in self.bytes.iter_mut().skip(self.len).zip(part) {
            *slot = byte;
        }
        self.len = self.len.saturating_add(part.len()).min(Self::MAX);
    }

    /// The word that ends with `part`.
    fn complete<'a>(&'a mut self, part: &'a [u8]) -> &'a [u8] {
        if self.len == 0 {
            return part;
        }
        self.push(part);
        let len = std::mem::take(&mut self.len);
        self.bytes.get(..len).unwrap_or_default()
    }
}

/// A violation and what was left to scan when it was met.
type Refusal<'a> = (&'a [u8], Violation);

impl HeadGuard {
    /// Ends whatever hyper's parser is in with an error: NUL is refused everywhere but in chunk extensions, LF is
    /// refused there, and the empty line wakes a parser that waits for one.
    const POISON: &'static [u8] = b"\0\n\r\n\r\n";
    /// More than hyper takes for a target.
    const LONGEST_TARGET: usize = 65_534;

    const EMPTY_LINES: u8 = 4;
    const METHOD: usize = 64;

    /// A guard that awaits a connection's first request.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Idle(Self::EMPTY_LINES),
            message: Message::default(),
            word: Word::default(),
            line: 0,
            head: 0,
            fields: 0,
            body: 0,
            digits: 0,
        }
    }

    /// Reads on. The bytes may be cut anywhere; what is found does not depend on the cuts.
    ///
    /// After [`Scan::Refuse`] nothing else is ever found.
    pub fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut rest = bytes;
        loop {
            let at = bytes.len().saturating_sub(rest.len());
            match self.state {
                State::Paused => return Scan::Pause { at },
                State::Refused(why) => return Scan::Refuse { at, why },
                _ if rest.is_empty() => return Scan::Pass,
                _ => {}
            }
            rest = self.step(rest).unwrap_or_else(|(rest, why)| {
                self.state = State::Refused(why);
                rest
            });
        }
    }

    /// Goes on after [`Scan::Pause`]: the answer was not 101 (or 2xx to CONNECT), HTTP follows.
    pub fn resume_http(&mut self) {
        if matches!(self.state, State::Paused) {
            self.state = State::Idle(Self::EMPTY_LINES);
        }
    }

    /// What to give to hyper's parser in place of the bytes from [`Scan::Refuse`] on, so that it ends with an error and
    /// answers with the status of the violation. It has to be limited to [`Limits::fields`] as well.
    #[must_use]
    pub fn poison(&self) -> Vec<u8> {
        match self.state {
            State::Refused(Violation::TargetTooLong) => {
                let passed = self.limits.target.saturating_sub(self.line);
                let mut more = vec![b'x'; Self::LONGEST_TARGET.saturating_sub(passed)];
                more.extend_from_slice(b"x HTTP/1.1\r\n\r\n");
                more
            }
            State::Refused(Violation::HeadTooLarge) if !self.message.trailers => {
                let mut more = b"x:\r\n".repeat(self.limits.fields.saturating_add(1));
                more.extend_from_slice(b"\r\n");
                more
            }
            _ => Self::POISON.to_vec(),
        }
    }

    /// Where the connection stands after all that was scanned.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Idle(_) | State::Cr(Line::Empty(_)) | State::Lf(Line::Empty(_)) => Phase::Idle,
            State::Paused | State::Refused(_) => Phase::Idle,
            State::Sized | State::ChunkSize | State::ChunkSpace | State::ChunkExtension => {
                Phase::Body
            }
            State::ChunkData | State::Cr(Line::ChunkData) => Phase::Body,
            State::Lf(Line::ChunkData | Line::ChunkSize) => Phase::Body,
            _ if self.message.trailers => Phase::Body,
            _ => Phase::Head,
        }
    }

    /// Consumes what belongs to the state, at least one byte or the state; `rest` is not empty.
    fn step<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        match self.state {
            State::Field => self.field(rest),
            State::Name => self.name(rest),
            State::Value(value) => self.value(rest, value),
            State::Cr(line) => self.line_end(rest, line),
            State::Lf(line) => self.line_feed(rest, line),
            State::Idle(empty_lines) => self.idle(rest, empty_lines),
            State::Method => self.method(rest),
            State::Target => self.target(rest),
            State::Version(seen) => self.version(rest, seen),
            State::Sized | State::ChunkData => Ok(self.skip_body(rest)),
            State::ChunkSize => self.chunk_size(rest),
            State::ChunkSpace => self.chunk_space(rest),
            State::ChunkExtension => self.chunk_extension(rest),
            State::Paused | State::Refused(_) => Ok(rest),
        }
    }

    /// Takes `len` bytes off `rest` and off the budgets; the first byte beyond them is the one refused.
    fn take<'a>(
        &mut self,
        rest: &'a [u8],
        len: usize,
        too_long: Violation,
    ) -> Result<(&'a [u8], &'a [u8]), Refusal<'a>> {
        let budget = self.line.min(self.head);
        if len > budget {
            self.line = self.line.saturating_sub(budget);
            return Err((rest.get(budget..).unwrap_or_default(), too_long));
        }
        self.line = self.line.saturating_sub(len);
        self.head = self.head.saturating_sub(len);
        Ok(rest.split_at_checked(len).unwrap_or((rest, &[])))
    }

    fn idle<'a>(&mut self, rest: &'a [u8], empty_lines: u8) -> Result<&'a [u8], Refusal<'a>> {
        match rest.first() {
            Some(b'\r') => match empty_lines.checked_sub(1) {
                Some(left) => self.line_end(rest, Line::Empty(left)),
                None => Err((rest, Violation::RequestLine)),
            },
            Some(b'\n') => Err((rest, Violation::Control)),
            _ => {
                self.message = Message::default();
                self.head = self.limits.head.saturating_sub("  HTTP/1.x".len());
                self.fields = self.limits.fields;
                self.line = Self::METHOD;
                self.word.len = 0;
                self.method(rest)
            }
        }
    }

    fn method<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        self.state = State::Method;
        let (method, rest) = self.take(rest, token(rest), Violation::RequestLine)?;
        let Some((&end, after)) = rest.split_first() else {
            self.word.push(method);
            return Ok(rest);
        };
        let method = self.word.complete(method);
        if end != b' ' || method.is_empty() {
            return Err((rest, Violation::RequestLine));
        }
        self.message.connect = method == b"CONNECT";
        self.line = self.limits.target;
        self.state = State::Target;
        Ok(after)
    }

    fn target<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        let (_, rest) = self.take(rest, printable::<b'!'>(rest), Violation::TargetTooLong)?;
        match rest.split_first() {
            None => Ok(rest),
            Some((b' ', after)) if self.line < self.limits.target => {
                self.state = State::Version(0);
                self.version(after, 0)
            }
            Some(_) => Err((rest, Violation::RequestLine)),
        }
    }

    fn version<'a>(&mut self, rest: &'a [u8], seen: u8) -> Result<&'a [u8], Refusal<'a>> {
        if seen == 0
            && let Some(rest) = rest.strip_prefix(b"HTTP/1.1\r\n")
        {
            self.message.http_11 = true;
            return Ok(self.next_field(rest));
        }
        let Some((&byte, after)) = rest.split_first() else {
            return Ok(rest);
        };
        match b"HTTP/1.".get(usize::from(seen)) {
            Some(&expect) if byte == expect => self.state = State::Version(seen.saturating_add(1)),
            None if matches!(byte, b'0' | b'1') => {
                self.message.http_11 = byte == b'1';
                self.state = State::Cr(Line::Request);
            }
            _ => return Err((rest, Violation::Version)),
        }
        Ok(after)
    }

    fn line_end<'a>(&mut self, rest: &'a [u8], line: Line) -> Result<&'a [u8], Refusal<'a>> {
        let Some(after) = rest.strip_prefix(b"\r") else {
            let why = match line {
                Line::ChunkData => Violation::Chunk,
                Line::Request => Violation::Version,
                _ => Violation::Control,
            };
            return Err((rest, why));
        };
        self.state = State::Lf(line);
        if after.is_empty() {
            return Ok(after);
        }
        self.line_feed(after, line)
    }

    fn line_feed<'a>(&mut self, rest: &'a [u8], line: Line) -> Result<&'a [u8], Refusal<'a>> {
        let Some(after) = rest.strip_prefix(b"\n") else {
            return Err((rest, Violation::Control));
        };
        match line {
            Line::Empty(left) => self.state = State::Idle(left),
            Line::Request | Line::Field => return Ok(self.next_field(after)),
            Line::Head if self.message.trailers => self.message_end(),
            Line::Head if self.message.http_11 && !self.message.host => {
                return Err((rest, Violation::Host));
            }
            Line::Head => self.head_end(),
            Line::ChunkSize if self.body == 0 => {
                self.message.trailers = true;
                self.head = self.limits.head;
                self.fields = self.limits.fields;
                return Ok(self.next_field(after));
            }
            Line::ChunkSize => self.state = State::ChunkData,
            Line::ChunkData => self.next_chunk(),
        }
        Ok(after)
    }

    fn next_field<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        self.line = self.limits.line;
        self.head = self.head.saturating_sub("\r\n".len());
        self.state = State::Field;
        rest
    }

    /// At the start of a line of a head or of trailers.
    fn field<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        match rest.first() {
            Some(b'\r') => self.line_end(rest, Line::Head),
            Some(b'\n') => Err((rest, Violation::Control)),
            Some(b' ' | b'\t') => Err((rest, Violation::Fold)),
            Some(b':') => Err((rest, Violation::FieldName)),
            _ => {
                let left = self.fields.checked_sub(1);
                self.fields = left.ok_or((rest, Violation::HeadTooLarge))?;
                self.state = State::Name;
                self.word.len = 0;
                self.name(rest)
            }
        }
    }

    fn name<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        let len = token(rest);
        if self.limits.refuse_underscores
            && let Some(at) = rest.iter().take(len).position(|&byte| byte == b'_')
        {
            self.take(rest, at, Violation::HeadTooLarge)?;
            return Err((rest.get(at..).unwrap_or_default(), Violation::FieldName));
        }
        let (name, rest) = self.take(rest, len, Violation::HeadTooLarge)?;
        let Some((&end, _)) = rest.split_first() else {
            self.word.push(name);
            return Ok(rest);
        };
        if end != b':' {
            let why = match end {
                b'\r' | b'\n' | 0 => Violation::Control,
                _ => Violation::FieldName,
            };
            return Err((rest, why));
        }
        let name = Name::of(self.word.complete(name));
        let value = self.begin_value(name).map_err(|why| (rest, why))?;
        let (_, rest) = self.take(rest, 1, Violation::HeadTooLarge)?;
        self.state = State::Value(value);
        self.value(rest, value)
    }

    fn begin_value(&mut self, name: Name) -> Result<Value, Violation> {
        let message = &mut self.message;
        match name {
            Name::Other => return Ok(Value::Text),
            _ if message.trailers => return Err(Violation::Trailer),
            Name::Upgrade => message.upgrade = true,
            Name::Host if message.host => return Err(Violation::Host),
            Name::Host => message.host = true,
            Name::ContentLength if message.chunked => return Err(Violation::TransferEncoding),
            Name::ContentLength if message.length.is_some() => {
                return Err(Violation::ContentLength);
            }
            Name::ContentLength => {
                message.length = Some(0);
                return Ok(Value::Length(Progress::default()));
            }
            Name::TransferEncoding => {
                if message.chunked || message.length.is_some() || !message.http_11 {
                    return Err(Violation::TransferEncoding);
                }
                message.chunked = true;
                return Ok(Value::Coding(Progress::default()));
            }
        }
        Ok(Value::Text)
    }

    fn value<'a>(&mut self, rest: &'a [u8], value: Value) -> Result<&'a [u8], Refusal<'a>> {
        match value {
            Value::Text => self.text(rest),
            Value::Length(progress) => self.length(rest, progress),
            Value::Coding(progress) => self.coding(rest, progress),
        }
    }

    fn text<'a>(&mut self, mut rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        loop {
            let len = printable::<b' '>(rest);
            (_, rest) = self.take(rest, len, Violation::HeadTooLarge)?;
            match rest.first() {
                None => return Ok(rest),
                Some(b'\t') => (_, rest) = self.take(rest, 1, Violation::HeadTooLarge)?,
                Some(_) => return self.line_end(rest, Line::Field),
            }
        }
    }

    fn length<'a>(
        &mut self,
        rest: &'a [u8],
        mut progress: Progress,
    ) -> Result<&'a [u8], Refusal<'a>> {
        let Some((&byte, after)) = rest.split_first() else {
            return Ok(rest);
        };
        match byte {
            b' ' | b'\t' => progress.ended = progress.seen > 0,
            b'0'..=b'9' if !progress.ended => {
                let length = self.message.length.unwrap_or(0).checked_mul(10);
                let length = length.and_then(|l| l.checked_add(u64::from(byte & 0xf)));
                // hyper keeps the two highest values for itself.
                let length = length.filter(|&length| length <= i64::MAX.unsigned_abs());
                self.message.length = Some(length.ok_or((rest, Violation::ContentLength))?);
                progress.seen = 1;
            }
            b'\r' if progress.seen > 0 => return self.line_end(rest, Line::Field),
            _ => return Err((rest, Violation::ContentLength)),
        }
        self.take(rest, 1, Violation::HeadTooLarge)?;
        self.state = State::Value(Value::Length(progress));
        Ok(after)
    }

    fn coding<'a>(
        &mut self,
        rest: &'a [u8],
        mut progress: Progress,
    ) -> Result<&'a [u8], Refusal<'a>> {
        let Some((&byte, after)) = rest.split_first() else {
            return Ok(rest);
        };
        let expect = b"chunked".get(usize::from(progress.seen));
        match byte {
            b' ' | b'\t' => progress.ended = progress.seen > 0,
            b'\r' if expect.is_none() => return self.line_end(rest, Line::Field),
            _ if expect == Some(&byte.to_ascii_lowercase()) && !progress.ended => {
                progress.seen = progress.seen.saturating_add(1);
            }
            _ => return Err((rest, Violation::TransferEncoding)),
        }
        self.take(rest, 1, Violation::HeadTooLarge)?;
        self.state = State::Value(Value::Coding(progress));
        Ok(after)
    }

    fn head_end(&mut self) {
        if self.message.chunked {
            return self.next_chunk();
        }
        self.body = self.message.length.unwrap_or(0);
        if self.body > 0 {
            self.state = State::Sized;
        } else {
            self.message_end();
        }
    }

    /// A client that asked for another protocol may speak it only after the whole request (RFC 9110 §7.8), and
    /// HTTP/1.0 has no Upgrade.
    fn message_end(&mut self) {
        let upgrade = self.message.upgrade && self.message.http_11;
        self.state = if upgrade || self.message.connect {
            State::Paused
        } else {
            State::Idle(Self::EMPTY_LINES)
        };
    }

    fn skip_body<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let len = usize::try_from(self.body).map_or(rest.len(), |body| body.min(rest.len()));
        self.body = self.body.saturating_sub(len as u64);
        if self.body == 0 {
            match self.state {
                State::ChunkData => self.state = State::Cr(Line::ChunkData),
                _ => self.message_end(),
            }
        }
        rest.get(len..).unwrap_or_default()
    }

    fn next_chunk(&mut self) {
        (self.body, self.digits) = (0, 0);
        (self.line, self.head) = (self.limits.line, usize::MAX);
        self.state = State::ChunkSize;
    }

    fn chunk_size<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        const DIGITS: u8 = 16;
        let Some((&byte, after)) = rest.split_first() else {
            return Ok(rest);
        };
        if let Some(digit) = char::from(byte).to_digit(16) {
            if self.digits == DIGITS {
                return Err((rest, Violation::Chunk));
            }
            self.digits = self.digits.saturating_add(1);
            self.body = self.body << 4 | u64::from(digit);
            return Ok(after);
        }
        match byte {
            _ if self.digits == 0 => return Err((rest, Violation::Chunk)),
            b'\r' => return self.line_end(rest, Line::ChunkSize),
            b';' => self.state = State::ChunkExtension,
            b' ' | b'\t' => self.state = State::ChunkSpace,
            _ => return Err((rest, Violation::Chunk)),
        }
        Ok(after)
    }

    /// White space is allowed before an extension only (RFC 9112 §7.1.1).
    fn chunk_space<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        let (byte, after) = self.take(rest, 1, Violation::Chunk)?;
        match byte {
            b" " | b"\t" => {}
            b";" => self.state = State::ChunkExtension,
            _ => return Err((rest, Violation::Chunk)),
        }
        Ok(after)
    }

    fn chunk_extension<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        let (_, rest) = self.take(rest, printable::<b' '>(rest), Violation::Chunk)?;
        match rest.first() {
            None => Ok(rest),
            Some(b'\t') => Ok(self.take(rest, 1, Violation::Chunk)?.1),
            Some(_) => self.line_end(rest, Line::ChunkSize),
        }
    }
}

/// The names that frame or route.
#[derive(Clone, Copy)]
enum Name {
    Host,
    Upgrade,
    ContentLength,
    TransferEncoding,
    Other,
}

impl Name {
    fn of(name: &[u8]) -> Self {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => Self::Host,
            7 if name.eq_ignore_ascii_case(b"upgrade") => Self::Upgrade,
            14 if name.eq_ignore_ascii_case(b"content-length") => Self::ContentLength,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Self::TransferEncoding,
            _ => Self::Other,
        }
    }
}

//! Directives that say what an annotation says: timeouts, sizes, buffers.

use std::time::Duration;

use super::Fault;
use super::syntax::Directive;
use crate::filter::Policy;
use crate::{configmap, size};

/// The longest head of a response that may be asked for.
const LONGEST_HEAD: u64 = 1 << 20;

/// A change of what a location has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Connect(Duration),
    Read(Duration),
    Send(Duration),
    BuffersRequests(bool),
    BodyLimit(Option<u64>),
    ResponseHead(usize),
    Unlogged,
    SatisfyAny(bool),
    Http10(bool),
    Nothing,
}

/// The wish of a directive of a location, if it is one.
pub(super) fn read(directive: &Directive) -> Option<Result<Wish, Fault>> {
    let wish = match directive.name.as_str() {
        "proxy_connect_timeout" => time(directive).map(Wish::Connect),
        "proxy_read_timeout" => time(directive).map(Wish::Read),
        "proxy_send_timeout" => time(directive).map(Wish::Send),
        "proxy_request_buffering" => on_off(directive).map(Wish::BuffersRequests),
        "client_max_body_size" => bytes(directive).map(|limit| match limit {
            0 => Wish::BodyLimit(None),
            limit => Wish::BodyLimit(Some(limit)),
        }),
        "proxy_buffer_size" => bytes(directive).map(|bytes| {
            let bytes = usize::try_from(bytes.min(LONGEST_HEAD));
            bytes.map_or(Wish::Nothing, Wish::ResponseHead)
        }),
        // Bodies are streamed with bounds of their own.
        "proxy_buffering" => on_off(directive).map(|_| Wish::Nothing),
        "proxy_buffers" => buffers(directive).map(|()| Wish::Nothing),
        "proxy_busy_buffers_size" | "proxy_max_temp_file_size" | "client_body_buffer_size" => {
            bytes(directive).map(|_| Wish::Nothing)
        }
        "access_log" => match only(directive) {
            Ok("off") => Ok(Wish::Unlogged),
            _ => Err(directive.fault("off is all that it can be here")),
        },
        "satisfy" => one_of(directive, &[("any", true), ("all", false)]).map(Wish::SatisfyAny),
        "proxy_http_version" => {
            one_of(directive, &[("1.0", true), ("1.1", false)]).map(Wish::Http10)
        }
        _ => return None,
    };
    Some(wish)
}

impl Wish {
    pub(super) fn apply(self, policy: &mut Policy) {
        let upstream = &mut policy.upstream;
        match self {
            Self::Connect(time) => upstream.timeouts.connect = Some(time),
            Self::Read(time) => upstream.timeouts.read = Some(time),
            Self::Send(time) => upstream.timeouts.send = Some(time),
            Self::BuffersRequests(buffers) => upstream.buffers_requests = buffers,
            Self::BodyLimit(limit) => policy.body_limit = limit,
            Self::ResponseHead(bytes) => upstream.response_head = Some(bytes),
            Self::Unlogged => policy.is_unlogged = true,
            Self::SatisfyAny(any) => policy.satisfy_any = any,
            Self::Http10(is_http10) => upstream.is_http10 = is_http10,
            Self::Nothing => {}
        }
    }
}

/// The one word of a directive.
pub(super) fn only(directive: &Directive) -> Result<&str, Fault> {
    match &*directive.words {
        [word] => Ok(word),
        words => Err(directive.fault(format!("one word expected, not {}", words.len()))),
    }
}

fn time(directive: &Directive) -> Result<Duration, Fault> {
    configmap::time(only(directive)?).map_err(|what| directive.fault(what))
}

fn bytes(directive: &Directive) -> Result<u64, Fault> {
    size(only(directive)?).map_err(|what| directive.fault(what))
}

fn buffers(directive: &Directive) -> Result<(), Fault> {
    let [number, bytes] = &*directive.words else {
        return Err(directive.fault("a number and a size expected"));
    };
    let is_number = number.parse::<u32>().is_ok_and(|number| number > 0);
    match is_number && size(bytes).is_ok() {
        true => Ok(()),
        false => Err(directive.fault("a number and a size expected")),
    }
}

fn on_off(directive: &Directive) -> Result<bool, Fault> {
    one_of(directive, &[("on", true), ("off", false)])
}

fn one_of(directive: &Directive, known: &[(&str, bool)]) -> Result<bool, Fault> {
    let word = only(directive)?;
    let found = known.iter().find(|(known, _)| *known == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|(known, _)| *known).collect();
        directive.fault(format!("{word:?} is not {}", known.join(" or ")))
    })
}

//! How endpoints are chosen, spoken to and tried again.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::reader::{Effect, Reader};
use crate::expression::Expression;
use crate::upstream::{
    Affinity, Condition, Conditions, Errors, HashBy, Mode, Retry, SameSite, Timeouts, Upstream,
};
use crate::{Balance, Settings};

/// The longest response head that may be asked for: one request's memory.
const LONGEST_HEAD: usize = 1 << 20;
/// ingress-nginx's.
const COOKIE: &str = "INGRESSCOOKIE";
const SUBSET: usize = 3;

/// What no annotation says is as `default` has it.
pub(super) fn read(reader: &mut Reader<'_>, settings: &Settings) -> Upstream {
    let default = &settings.policy.upstream;
    for name in ["proxy-busy-buffers-size", "proxy-max-temp-file-size"] {
        reader.size(name);
    }
    reader.integer("proxy-buffers-number");
    on_off(reader, "proxy-buffering");
    let head = reader.size("proxy-buffer-size");
    let head = head.map(|bytes| usize::try_from(bytes).unwrap_or(LONGEST_HEAD));
    Upstream {
        timeouts: timeouts(reader, default.timeouts),
        retry: retry(reader, default.retry, settings.retries_all),
        buffers_requests: on_off(reader, "proxy-request-buffering")
            .unwrap_or(default.buffers_requests),
        is_http10: http_version(reader).unwrap_or(default.is_http10),
        response_head: head
            .map(|bytes| bytes.min(LONGEST_HEAD))
            .or(default.response_head),
        hash: hash(reader),
        affinity: affinity(reader).map(Box::new),
        errors: errors(reader, default.errors.as_deref()),
    }
}

/// `load-balance`.
pub(super) fn balance(reader: &mut Reader<'_>) -> Option<Balance> {
    const NAME: &str = "load-balance";
    let known = [
        "round_robin",
        "ewma",
        "chash",
        "chashsubset",
        "sticky_balanced",
        "sticky_persistent",
    ];
    let chosen = reader.value(NAME, Effect::Refuse, |text| {
        let text = text.trim();
        match known.contains(&text) {
            true => Ok(text),
            false => Err(format!("{text:?} is none of {}", known.join(", "))),
        }
    })?;
    match chosen {
        "round_robin" => Some(Balance::RoundRobin),
        "ewma" => Some(Balance::Ewma),
        // What these need, other annotations say; without, there is nothing to hash.
        _ if reader.text("upstream-hash-by").is_some() || reader.text("affinity").is_some() => None,
        other => {
            let what = format!("{other} needs upstream-hash-by or affinity; the default is used");
            reader.fault(NAME, Effect::Skip, what);
            None
        }
    }
}

fn timeouts(reader: &mut Reader<'_>, default: Timeouts) -> Timeouts {
    let mut seconds = |name, default| match reader.integer(name) {
        None => default,
        Some(seconds @ 1..) => Some(Duration::from_secs(seconds.unsigned_abs())),
        Some(seconds) => {
            let what = format!("{seconds} is no number of seconds above 0; the default is used");
            reader.fault(name, Effect::Skip, what);
            default
        }
    };
    Timeouts {
        connect: seconds("proxy-connect-timeout", default.connect),
        read: seconds("proxy-read-timeout", default.read),
        send: seconds("proxy-send-timeout", default.send),
    }
}

fn retry(reader: &mut Reader<'_>, default: Retry, all: bool) -> Retry {
    let on = reader.value("proxy-next-upstream", Effect::Refuse, |text| {
        match text.trim().is_empty() {
            true => Ok(default.on),
            false => Conditions::read(text),
        }
    });
    let on = on.map(|on| {
        if all {
            on.with(Condition::NonIdempotent)
        } else {
            on
        }
    });
    let tries = natural(reader, "proxy-next-upstream-tries");
    let timeout = natural(reader, "proxy-next-upstream-timeout");
    let seconds = |seconds: usize| Duration::from_secs(seconds as u64);
    Retry {
        on: on.unwrap_or(default.on),
        tries: tries.or(default.tries),
        timeout: match timeout {
            Some(0) => None,
            Some(number) => Some(seconds(number)),
            None => default.timeout,
        },
    }
}

fn natural(reader: &mut Reader<'_>, name: &'static str) -> Option<usize> {
    let number = reader.integer(name)?;
    let read = usize::try_from(number).ok();
    if read.is_none() {
        reader.fault(name, Effect::Skip, format!("{number} is below 0"));
    }
    read
}

fn on_off(reader: &mut Reader<'_>, name: &'static str) -> Option<bool> {
    reader.value(name, Effect::Refuse, |text| match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    })
}

/// Whether it is 1.0.
fn http_version(reader: &mut Reader<'_>) -> Option<bool> {
    reader.value("proxy-http-version", Effect::Refuse, |text| match text {
        "1.0" => Ok(true),
        "1.1" => Ok(false),
        _ => Err(format!("{text:?} is neither 1.0 nor 1.1")),
    })
}

fn hash(reader: &mut Reader<'_>) -> Option<Box<HashBy>> {
    let expression = reader.value("upstream-hash-by", Effect::Refuse, |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_${}".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err(format!(
                "{text:?} holds something else than letters, digits and -_${{}}"
            ));
        }
        match text.is_empty() {
            true => Ok(None),
            false => Expression::parse(text)
                .map(Some)
                .map_err(|unknown| unknown.to_string()),
        }
    });
    let is_subset = reader.boolean("upstream-hash-by-subset").unwrap_or(false);
    let size = natural(reader, "upstream-hash-by-subset-size").unwrap_or(SUBSET);
    let size = NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN);
    Some(Box::new(HashBy {
        expression: expression??,
        subset: is_subset.then_some(size),
    }))
}

fn affinity(reader: &mut Reader<'_>) -> Option<Affinity> {
    let affinity = Affinity {
        mode: choice(
            reader,
            "affinity-mode",
            &[
                ("balanced", Mode::Balanced),
                ("persistent", Mode::Persistent),
            ],
        )
        .unwrap_or_default(),
        name: reader
            .value("session-cookie-name", Effect::Refuse, token)
            .unwrap_or(COOKIE)
            .into(),
        path: cookie_text(reader, "session-cookie-path"),
        domain: cookie_text(reader, "session-cookie-domain"),
        expires: reader.integer("session-cookie-expires"),
        max_age: reader.integer("session-cookie-max-age"),
        same_site: same_site(reader),
        same_site_none_if_understood: reader
            .boolean("session-cookie-conditional-samesite-none")
            .unwrap_or(false),
        is_secure: reader.boolean("session-cookie-secure").unwrap_or(false),
        changes_on_failure: reader
            .boolean("session-cookie-change-on-failure")
            .unwrap_or(false),
    };
    choice(reader, "affinity", &[("cookie", ())]).map(|()| affinity)
}

fn errors(reader: &mut Reader<'_>, default: Option<&Errors>) -> Option<Box<Errors>> {
    let statuses = reader.value("custom-http-errors", Effect::Refuse, error_statuses);
    let service = reader.value("default-backend", Effect::Refuse, |text| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match !text.is_empty() && text.len() <= 63 && text.bytes().all(allowed) {
            true => Ok(text),
            false => Err(format!("{text:?} is no name of a Service")),
        }
    });
    let passes = reader.boolean("disable-proxy-intercept-errors");
    let errors = Errors {
        statuses: statuses
            .or_else(|| default.map(|default| default.statuses.clone()))
            .unwrap_or_default(),
        intercepts: match passes {
            Some(passes) => !passes,
            None => default.is_none_or(|default| default.intercepts),
        },
        service: service.map(Into::into),
    };
    let is_asked = !errors.statuses.is_empty() || errors.service.is_some();
    is_asked.then(|| Box::new(errors))
}

/// Statuses, with commas between them.
pub(crate) fn error_statuses(text: &str) -> Result<Box<[u16]>, String> {
    let parts = text.split(',').map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    let read = |part: &str| match part.parse::<u16>() {
        Ok(status @ 400..=599) => Ok(status),
        _ => Err(format!("{part:?} is no status between 400 and 599")),
    };
    parts.map(read).collect()
}

fn same_site(reader: &mut Reader<'_>) -> Option<SameSite> {
    reader.value("session-cookie-samesite", Effect::Refuse, |text| match text
        .to_ascii_lowercase()
        .as_str()
    {
        "none" => Ok(SameSite::None),
        "lax" => Ok(SameSite::Lax),
        "strict" => Ok(SameSite::Strict),
        _ => Err(format!("{text:?} is none of None, Lax and Strict")),
    })
}

pub(super) fn choice<T: Copy>(
    reader: &mut Reader<'_>,
    name: &'static str,
    known: &[(&str, T)],
) -> Option<T> {
    reader.value(name, Effect::Refuse, |text| {
        let found = known.iter().find(|(known, _)| *known == text);
        let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("{text:?} is not {}", names().join(" or ")))
    })
}

/// RFC 6265 §4.1.1: the name of a cookie.
fn token(text: &str) -> Result<&str, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    match !text.is_empty() && text.bytes().all(allowed) {
        true => Ok(text),
        false => Err(format!("{text:?} is no name of a cookie")),
    }
}

/// An attribute's value: nothing in it can end it and begin another.
fn cookie_text(reader: &mut Reader<'_>, name: &'static str) -> Option<Box<str>> {
    let text = reader.value(name, Effect::Refuse, |text| {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b";,\"\\".contains(&byte);
        match text.bytes().all(allowed) {
            true => Ok(text),
            false => Err(format!("{text:?} cannot stand in a cookie")),
        }
    });
    text.filter(|text| !text.is_empty()).map(Box::from)
}

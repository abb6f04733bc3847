//! What the keys of the ConfigMap say of routes, and of all that is not clients and endpoints.

use std::sync::Arc;

use http::StatusCode;

use super::reader::Keys;
use super::{auth, trace};
use crate::annotations::{error_statuses, networks, replacement};
use crate::filter::{Blocked, Pace, Policy, Proxied, Replacement, SourceRanges, Sources, Text};
use crate::snippet::{Level, Snippet};
use crate::upstream::{Condition, Conditions, Errors, Upstream};
use crate::{Balance, Risk, Settings};

/// The unit of `limit-rate`.
const KIBIBYTE: u64 = 1024;

/// Takes what the keys say of routes over.
pub(super) fn apply(keys: &mut Keys<'_>, settings: &mut Settings) {
    redirects(keys, settings);
    annotations(keys, settings);
    limits(keys, settings);
    if let Some(all) = keys.boolean("service-upstream") {
        settings.service_upstream = all;
    }
    settings.balance = keys
        .value("load-balance", balance)
        .unwrap_or(settings.balance);
    let mut policy = Policy::clone(&settings.policy);
    if let Some(limit) = keys.size("proxy-body-size") {
        policy.body_limit = (limit > 0).then_some(limit);
    }
    if let Some(relative) = keys.boolean("relative-redirects") {
        policy.relative_redirects = relative;
    }
    policy.pace = pace(keys).or(policy.pace);
    policy.sources = sources(keys).or(policy.sources);
    policy.blocked = blocked(keys).or(policy.blocked);
    policy.proxied = proxied(keys).or(policy.proxied);
    upstream(keys, settings, &mut policy.upstream);
    auth::apply(keys, settings, &mut policy);
    snippets(keys, settings, &mut policy);
    trace::of_routes(keys, settings, &mut policy);
    if policy != *settings.policy {
        settings.policy = Arc::new(policy);
    }
}

/// The snippets of all hosts and paths, and whether Ingresses may have their own.
fn snippets(keys: &mut Keys<'_>, settings: &mut Settings, policy: &mut Policy) {
    if let Some(allow) = keys.boolean("allow-snippet-annotations") {
        settings.allow_snippets = allow;
    }
    let mut read = |key, level, outer: &[&Snippet]| {
        let read =
            |text: &str| Snippet::read(level, text, outer).map_err(|fault| fault.to_string());
        let snippet = keys.value(key, read)?;
        for fault in snippet.idle() {
            keys.left_out(key, fault.to_string());
        }
        Some(Arc::new(snippet)).filter(|snippet| !snippet.is_empty())
    };
    settings.http_snippet = read("http-snippet", Level::Http, &[]);
    settings.server_snippet = read("server-snippet", Level::Server, &[]);
    let outer: Vec<&Snippet> = settings.server_snippet.as_deref().into_iter().collect();
    if let Some(snippet) = read("location-snippet", Level::Location, &outer) {
        snippet.change(policy);
        policy.snippet = Some(snippet);
    }
}

fn redirects(keys: &mut Keys<'_>, settings: &mut Settings) {
    if let Some(redirects) = keys.boolean("ssl-redirect") {
        settings.ssl_redirect = redirects;
    }
    if let Some(redirects) = keys.boolean("force-ssl-redirect") {
        settings.force_ssl_redirect = redirects;
    }
    let code = keys.value("http-redirect-code", |text| match text {
        "301" | "302" | "307" | "308" => status(text),
        _ => Err(format!("{text:?} is none of 301, 302, 307 and 308")),
    });
    settings.https_redirect_code = code.unwrap_or(settings.https_redirect_code);
    if let Some(paths) = keys.list("no-tls-redirect-locations") {
        settings.no_https_redirect = paths.map(Box::from).collect();
    }
}

fn annotations(keys: &mut Keys<'_>, settings: &mut Settings) {
    let risk = keys.value("annotations-risk-level", |text| match text {
        "Low" => Ok(Risk::Low),
        "Medium" => Ok(Risk::Medium),
        "High" => Ok(Risk::High),
        "Critical" => Ok(Risk::Critical),
        _ => Err(format!(
            "{text:?} is none of Low, Medium, High and Critical"
        )),
    });
    settings.risk = risk.unwrap_or(settings.risk);
    if let Some(words) = keys.list("annotation-value-word-blocklist") {
        settings.forbidden_words = words.map(Box::from).collect();
    }
    if let Some(names) = keys.list("global-allowed-response-headers") {
        for name in names {
            match name.parse() {
                Ok(name) => settings.allowed_headers.push(name),
                Err(_) => {
                    let what = format!("{name:?} is no field name");
                    keys.left_out("global-allowed-response-headers", what);
                }
            }
        }
    }
    if let Some(by_path) = keys.boolean("proxy-ssl-location-only") {
        settings.tls_by_path = by_path;
    }
    if let Some(may) = keys.boolean("allow-cross-namespace-resources") {
        settings.cross_namespace = may;
    }
}

fn limits(keys: &mut Keys<'_>, settings: &mut Settings) {
    let names = ["limit-req-status-code", "limit-conn-status-code"];
    for (name, status) in names.into_iter().zip(&mut settings.limit_status) {
        *status = keys.value(name, limit_status).unwrap_or(*status);
    }
    keys.value("limit-conn-zone-variable", |text| match text {
        "$binary_remote_addr" | "$remote_addr" => Ok(()),
        _ => Err(format!(
            "{text:?}: clients are told apart by their address alone"
        )),
    });
}

fn status(text: &str) -> Result<StatusCode, String> {
    StatusCode::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is no status"))
}

/// nginx's `limit_req_status` takes these.
fn limit_status(text: &str) -> Result<StatusCode, String> {
    let read = status(text)?;
    match read.as_u16() {
        400..=599 => Ok(read),
        _ => Err(format!("{text:?} is no status from 400 to 599")),
    }
}

fn balance(text: &str) -> Result<Balance, String> {
    match text {
        "round_robin" => Ok(Balance::RoundRobin),
        "ewma" => Ok(Balance::Ewma),
        _ => Err(format!("{text:?} is neither round_robin nor ewma")),
    }
}

fn pace(keys: &mut Keys<'_>) -> Option<Pace> {
    let rate: Option<u64> = keys.number("limit-rate");
    let after: Option<u64> = keys.number("limit-rate-after");
    let bytes = |number: Option<u64>| number.unwrap_or(0).saturating_mul(KIBIBYTE);
    let (rate, after) = (bytes(rate), bytes(after));
    (rate > 0).then_some(Pace { rate, after })
}

fn ranges(keys: &mut Keys<'_>, key: &'static str) -> Option<SourceRanges> {
    let networks = keys.value(key, networks)?;
    (!networks.is_empty()).then(|| SourceRanges::new(networks))
}

fn sources(keys: &mut Keys<'_>) -> Option<Box<Sources>> {
    let sources = Sources {
        allow: ranges(keys, "whitelist-source-range"),
        deny: ranges(keys, "denylist-source-range"),
    };
    (sources != Sources::default()).then(|| Box::new(sources))
}

fn blocked(keys: &mut Keys<'_>) -> Option<Arc<Blocked>> {
    let blocked = Blocked {
        sources: ranges(keys, "block-cidrs"),
        agents: texts(keys, "block-user-agents"),
        referers: texts(keys, "block-referers"),
    };
    (blocked != Blocked::default()).then(|| Arc::new(blocked))
}

/// A text that is bad is left out alone: the others still keep somebody out.
fn texts(keys: &mut Keys<'_>, key: &'static str) -> Box<[Text]> {
    let Some(parts) = keys.list(key) else {
        return Box::default();
    };
    let mut texts = Vec::new();
    for part in parts {
        match Text::read(part) {
            Ok(text) => texts.push(text),
            Err(why) => keys.left_out(key, why),
        }
    }
    texts.into()
}

fn proxied(keys: &mut Keys<'_>) -> Option<Box<Proxied>> {
    let mut read = |key, read: fn(&str, &str) -> _| keys.value(key, |text| replacement(text, read));
    let cookie_domain = read("proxy-cookie-domain", Replacement::domain).flatten();
    let cookie_path = read("proxy-cookie-path", Replacement::start).flatten();
    let from = keys.text("proxy-redirect-from").unwrap_or("off");
    let to = keys.text("proxy-redirect-to").unwrap_or("off");
    let is_off = matches!(from, "" | "off" | "default") || matches!(to, "" | "off");
    let redirect = keys.value("proxy-redirect-from", |_| match is_off {
        true => Ok(None),
        false => Replacement::start(from, to).map(Some),
    });
    let proxied = Proxied {
        redirect: redirect.flatten(),
        cookie_domain,
        cookie_path,
    };
    (proxied != Proxied::default()).then(|| Box::new(proxied))
}

/// What is done with endpoints.
fn upstream(keys: &mut Keys<'_>, settings: &mut Settings, upstream: &mut Upstream) {
    let retry = &mut upstream.retry;
    retry.on = keys
        .value("proxy-next-upstream", Conditions::read)
        .unwrap_or(retry.on);
    if let Some(all) = keys.boolean("retry-non-idempotent") {
        settings.retries_all = all;
    }
    if settings.retries_all {
        retry.on = retry.on.with(Condition::NonIdempotent);
    }
    retry.tries = keys.number("proxy-next-upstream-tries").or(retry.tries);
    if let Some(seconds) = keys.number("proxy-next-upstream-timeout") {
        retry.timeout = (seconds > 0).then(|| std::time::Duration::from_secs(seconds));
    }
    let buffers = keys.value("proxy-request-buffering", |text| match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    });
    upstream.buffers_requests = buffers.unwrap_or(upstream.buffers_requests);
    let version = keys.value("proxy-http-version", |text| match text {
        "1.0" => Ok(true),
        "1.1" => Ok(false),
        _ => Err(format!("{text:?} is neither 1.0 nor 1.1")),
    });
    upstream.is_http10 = version.unwrap_or(upstream.is_http10);
    let head = keys.size("proxy-buffer-size");
    let head = head.map(|bytes| usize::try_from(bytes).unwrap_or(LONGEST_HEAD));
    upstream.response_head = head
        .map(|head| head.min(LONGEST_HEAD))
        .or(upstream.response_head);
    let passes = keys
        .boolean("disable-proxy-intercept-errors")
        .unwrap_or(false);
    let statuses = keys.value("custom-http-errors", error_statuses);
    if let Some(statuses) = statuses.filter(|statuses| !statuses.is_empty()) {
        upstream.errors = Some(Box::new(Errors {
            statuses,
            intercepts: !passes,
            service: None,
        }));
    }
}

/// The longest response head that may be asked for: one request's memory.
const LONGEST_HEAD: usize = 1 << 20;

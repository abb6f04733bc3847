//! `proxy-redirect-*`, `proxy-cookie-*`, `connection-proxy-header`: what both sides see of the other.

use http::HeaderValue;

use super::reader::{Effect, Reader};
use crate::filter::{Proxied, Replacement};

const REDIRECT_FROM: &str = "proxy-redirect-from";
const REDIRECT_TO: &str = "proxy-redirect-to";

/// What is changed of endpoints' responses.
pub(super) fn read(reader: &mut Reader<'_>, default: Option<&Proxied>) -> Option<Box<Proxied>> {
    let default = default.cloned().unwrap_or_default();
    let is_set = reader.text(REDIRECT_FROM).is_some() || reader.text(REDIRECT_TO).is_some();
    let own = redirect(reader);
    let proxied = Proxied {
        redirect: if is_set { own } else { default.redirect },
        cookie_domain: pair(reader, "proxy-cookie-domain", Replacement::domain)
            .unwrap_or(default.cookie_domain),
        cookie_path: pair(reader, "proxy-cookie-path", Replacement::start)
            .unwrap_or(default.cookie_path),
    };
    (proxied != Proxied::default()).then(|| Box::new(proxied))
}

/// `default` stands for the name that the endpoints have inside nginx, which no endpoint ever sends.
fn redirect(reader: &mut Reader<'_>) -> Option<Replacement> {
    let from = reader.value(REDIRECT_FROM, Effect::Refuse, url)?;
    let to = reader.value(REDIRECT_TO, Effect::Refuse, url)?;
    if matches!(from, "" | "off" | "default") || matches!(to, "" | "off") {
        return None;
    }
    reader.value(REDIRECT_FROM, Effect::Refuse, |from| {
        Replacement::start(from, to)
    })
}

fn url(text: &str) -> Result<&str, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:,?&=".contains(&byte);
    if text.bytes().all(allowed) {
        Ok(text)
    } else {
        Err(format!(
            "{text:?} holds something else than letters, digits and -._~/:,?&="
        ))
    }
}

/// `off`, or what is replaced and by what.
fn pair(
    reader: &mut Reader<'_>,
    name: &'static str,
    read: impl Fn(&str, &str) -> Result<Replacement, String>,
) -> Option<Option<Replacement>> {
    reader.value(name, Effect::Refuse, |text| replacement(text, read))
}

/// `off`, or two words: what is replaced and by what.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn replacement(
    text: &str,
    read: impl Fn(&str, &str) -> Result<Replacement, String>,
) -> Result<Option<Replacement>, String> {
    let visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && !b";\"'".contains(&byte);
    if !text.bytes().all(visible) {
        return Err(format!(
            "{text:?} holds a control character, `;` or a quote"
        ));
    }
    let tokens: Vec<&str> = text.split_whitespace().collect();
    match tokens[..] {
        [] | ["off"] => Ok(None),
        [from, to] => read(from, to).map(Some),
        _ => Err(format!("{text:?} is neither `off` nor two words")),
    }
}

/// What endpoints are told of the connection.
pub(super) fn connection(reader: &mut Reader<'_>) -> Option<HeaderValue> {
    reader.value("connection-proxy-header", Effect::Refuse, |text| match text
        .to_ascii_lowercase()
        .as_str()
    {
        "close" => Ok(HeaderValue::from_static("close")),
        "keep-alive" => Ok(HeaderValue::from_static("keep-alive")),
        _ => Err(format!("{text:?} is neither close nor keep-alive")),
    })
}

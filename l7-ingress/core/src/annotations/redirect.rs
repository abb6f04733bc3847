//! `permanent-redirect`, `temporal-redirect` and their codes.

use http::{HeaderValue, StatusCode};

use super::reader::{Effect, Reader};
use crate::filter::Redirect;

const PERMANENT: &str = "permanent-redirect";
const PERMANENT_CODE: &str = "permanent-redirect-code";
const TEMPORAL: &str = "temporal-redirect";
const TEMPORAL_CODE: &str = "temporal-redirect-code";

/// Where all requests are sent to; the temporary redirect wins.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Redirect> {
    let permanent = one(reader, (PERMANENT, PERMANENT_CODE), 301, 308);
    let temporal = one(reader, (TEMPORAL, TEMPORAL_CODE), 302, 307);
    temporal.or(permanent)
}

fn one(
    reader: &mut Reader<'_>,
    (name, code): (&'static str, &'static str),
    default: u16,
    last: u16,
) -> Option<Redirect> {
    let chosen = reader.integer(code);
    let location = reader.value(name, Effect::Refuse, url)?;
    let status = chosen.map_or(default, |number| match u16::try_from(number) {
        Ok(number) if (300..=last).contains(&number) => number,
        _ => {
            let message = format!("{number} is not between 300 and {last}; {default} is used");
            reader.fault(code, Effect::Skip, message);
            default
        }
    });
    Some(Redirect {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND),
        location,
    })
}

/// An absolute HTTP(S) URL of characters that mean nothing to a template.
fn url(text: &str) -> Result<HeaderValue, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:,?&=".contains(&byte);
    if !text.bytes().all(allowed) {
        return Err(format!(
            "{text:?} holds something else than letters, digits and -._~/:,?&="
        ));
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (head, rest) = text.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let value = rest.filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
    value
        .and_then(|_| HeaderValue::from_str(text).ok())
        .ok_or_else(|| format!("{text:?} is no URL that begins with http:// or https://"))
}

//! `rewrite-target`, `x-forwarded-prefix` and `upstream-vhost`: what the backend sees.

use http::HeaderValue;

use super::reader::{Effect, Reader};
use crate::filter::{Rewrite, Template};
use crate::host;

const TARGET: &str = "rewrite-target";
const PREFIX: &str = "x-forwarded-prefix";

/// What paths are rewritten to.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Box<Rewrite>> {
    let template = |text: &str| {
        let template = Template::parse(text)?;
        Ok((!text.is_empty()).then_some(template))
    };
    let target = reader.value(TARGET, Effect::Refuse, |text| {
        let segments = text.split('/');
        let climbs = segments.into_iter().any(|name| name == "." || name == "..");
        match text {
            _ if climbs => Err(format!("{text:?} holds a dot segment")),
            _ if text.contains("://") => Err(format!(
                "{text:?} is a URL; temporal-redirect sends clients elsewhere"
            )),
            _ => template(text),
        }
    });
    let prefix = reader.value(PREFIX, Effect::Refuse, template).flatten();
    let Some(target) = target.flatten() else {
        if prefix.is_some() {
            let what = "counts together with rewrite-target alone".to_owned();
            reader.fault(PREFIX, Effect::Skip, what);
        }
        return None;
    };
    Some(Box::new(Rewrite { target, prefix }))
}

/// The `Host` that the backend is asked for.
pub(super) fn upstream_host(reader: &mut Reader<'_>) -> Option<HeaderValue> {
    let host = reader.value("upstream-vhost", Effect::Refuse, |text| {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        host::canonical(text).map_err(|error| format!("{text:?}: {error}"))?;
        let value = HeaderValue::from_str(text);
        value.map(Some).map_err(|_| format!("{text:?} is no host"))
    });
    host.flatten()
}

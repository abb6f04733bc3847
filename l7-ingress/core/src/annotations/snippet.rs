//! `configuration-snippet`, `server-snippet` and `auth-snippet`.

use std::sync::Arc;

use http::HeaderName;

use super::reader::{Effect, Reader};
use crate::expression::Expression;
use crate::filter::Policy;
use crate::snippet::{Level, Snippet, joined};
use crate::{Risk, Settings};

const SERVER: &str = "server-snippet";
const LOCATION: &str = "configuration-snippet";

/// The server's; the location's goes into the policy, which it changes.
///
/// A snippet that is not read as a whole refuses the Ingress: what it does not let in, nothing else would keep out.
pub(super) fn read(
    reader: &mut Reader<'_>,
    settings: &Settings,
    policy: &mut Policy,
) -> Option<Arc<Snippet>> {
    let all = settings.server_snippet.as_deref();
    let outer: Vec<&Snippet> = all.into_iter().collect();
    let server = one(reader, settings, (SERVER, Level::Server), &outer);
    let all = settings.policy.snippet.as_deref();
    let outer: Vec<&Snippet> = outer.into_iter().chain(&server).chain(all).collect();
    if let Some(location) = one(reader, settings, (LOCATION, Level::Location), &outer) {
        location.change(policy);
        policy.snippet = joined(Some(location), settings.policy.snippet.as_ref());
    }
    server.map(Arc::new)
}

fn one(
    reader: &mut Reader<'_>,
    settings: &Settings,
    (name, level): (&'static str, Level),
    outer: &[&Snippet],
) -> Option<Snippet> {
    const FORBIDDEN: &str = "ForbiddenAnnotation";
    let text = reader.text(name)?;
    if settings.risk < Risk::Critical {
        let what = format!(
            "risks more (Critical) than annotations-risk-level lets it ({:?})",
            settings.risk
        );
        reader.report(name, FORBIDDEN, Effect::Refuse, what);
        return None;
    }
    if !settings.allow_snippets {
        let what = "allow-snippet-annotations is off; the Ingress is served without it";
        reader.report(name, FORBIDDEN, Effect::Skip, what.to_owned());
        return None;
    }
    match Snippet::read(level, text, outer) {
        Ok(snippet) => {
            for fault in snippet.idle() {
                reader.fault(name, Effect::Skip, fault.to_string());
            }
            Some(snippet).filter(|snippet| !snippet.is_empty())
        }
        Err(fault) => {
            reader.fault(name, Effect::Refuse, fault.to_string());
            None
        }
    }
}

/// Fields that another server gets with its question: all that such a snippet may be about.
pub(super) fn told(
    reader: &mut Reader<'_>,
    settings: &Settings,
    name: &'static str,
) -> Option<Box<[(HeaderName, Expression)]>> {
    let snippet = one(reader, settings, (name, Level::Location), &[])?;
    let told = snippet.into_told();
    if told.is_none() {
        let what = "may hold proxy_set_header alone".to_owned();
        reader.fault(name, Effect::Refuse, what);
    }
    told
}

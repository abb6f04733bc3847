//! Who may come in to all hosts: `global-auth-*`, `no-auth-locations`.

use std::sync::Arc;

use http::HeaderName;

use super::reader::Keys;
use crate::Settings;
use crate::annotations::external;
use crate::expression::Expression;
use crate::filter::{External, Lifetime, Policy};
use crate::snippet::{Level, Snippet};

const URL: &str = "global-auth-url";
const SNIPPET: &str = "global-auth-snippet";

/// Takes over what the keys say.
pub(super) fn apply(keys: &mut Keys<'_>, settings: &mut Settings, policy: &mut Policy) {
    if let Some(paths) = keys.list("no-auth-locations") {
        settings.unguarded = paths.map(Box::from).collect();
    }
    if let Some(text) = keys.text(URL).filter(|text| !text.is_empty()) {
        policy.external = Some(Arc::new(read(keys, text)));
    }
}

fn read(keys: &mut Keys<'_>, url: &str) -> External {
    // To let everybody in for a slip of the pen would be worse than to let nobody in.
    let url = match external::url(url) {
        Ok(url) => Some(url),
        Err(why) => {
            let what = "nobody is let in where it would be asked";
            keys.report(URL, "InvalidValue", format!("{why}; {what}"));
            None
        }
    };
    let param = keys.text("global-auth-signin-redirect-param");
    let signin = keys.value("global-auth-signin", |text| match text {
        "" => Ok(None),
        text => external::signin(text, param.unwrap_or_default()).map(Some),
    });
    let redirect = keys.value("global-auth-request-redirect", external::redirect);
    let key = keys.value("global-auth-cache-key", external::cache_key);
    let lifetimes = keys.value("global-auth-cache-duration", Lifetime::list);
    let method = keys.value("global-auth-method", external::method);
    External {
        url,
        method: method.flatten(),
        signin: signin.flatten(),
        told: told(keys),
        redirect: redirect.unwrap_or_else(external::usual_redirect),
        fields: fields(keys),
        caching: external::caching(key.flatten(), lifetimes),
        keep_alive: None,
        always_sets_cookies: keys.boolean("global-auth-always-set-cookie") == Some(true),
    }
}

/// A name that is bad is left out alone: the others still say what clients may not.
fn told(keys: &mut Keys<'_>) -> Box<[HeaderName]> {
    const NAME: &str = "global-auth-response-headers";
    let mut all = Vec::new();
    for name in keys.list(NAME).into_iter().flatten() {
        match external::told(name) {
            Ok((told, ours)) => {
                all.extend(told);
                for name in ours {
                    keys.left_out(NAME, format!("{name} is for the proxy to set"));
                }
            }
            Err(why) => keys.left_out(NAME, why),
        }
    }
    all.into()
}

fn fields(keys: &mut Keys<'_>) -> Box<[(HeaderName, Expression)]> {
    let told = keys.value(SNIPPET, |text| {
        let snippet = Snippet::read(Level::Location, text, &[]);
        let told = snippet.map_err(|fault| fault.to_string())?.into_told();
        told.ok_or_else(|| "may hold proxy_set_header alone".to_owned())
    });
    told.unwrap_or_default()
}

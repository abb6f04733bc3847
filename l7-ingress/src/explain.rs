//! `l7-ingress explain`: who would answer a request, and why.

use std::process::ExitCode;

use http::Request;
use http::request::Parts;
use l7_ingress_core::{Query, explain as explain_query};

use crate::offline::{self, Offline, OfflineError};
use crate::settings::ExplainArgs;

/// Prints step by step what happens to a request; the exit code is 0 whatever that is, 2 if the
/// folder cannot be read or the URL is none.
#[must_use]
pub fn explain(args: &ExplainArgs) -> ExitCode {
    offline::command("explain", run(args))
}

async fn run(args: &ExplainArgs) -> Result<(String, ExitCode), OfflineError> {
    let https = match args.url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => {
            return Err(OfflineError::Request(
                "http://HOST/PATH or https://HOST/PATH expected",
            ));
        }
    };
    let authority = args
        .url
        .authority()
        .map_or("", |authority| authority.as_str());
    let host = header(args, "host").unwrap_or(authority);
    let folder = Offline::read(&args.manifests, &args.ingress).await?;
    let query = Query {
        https,
        host,
        head: &head(args)?,
        sni: args.url.host(),
    };
    let explanation = explain_query(&folder.compiler, &query);
    Ok((format!("{explanation}\n"), ExitCode::SUCCESS))
}

/// The request's head.
fn head(args: &ExplainArgs) -> Result<Parts, OfflineError> {
    let mut request = Request::get(args.url.clone());
    for header in &args.headers {
        let pair = header.split_once(':');
        let (name, value) = pair.ok_or(OfflineError::Request("a header is NAME: VALUE"))?;
        request = request.header(name.trim(), value.trim());
    }
    let request = request.body(());
    let request =
        request.map_err(|_| OfflineError::Request("the URL or a header cannot be sent"))?;
    Ok(request.into_parts().0)
}

/// The value of a header that was given by `-H`.
fn header<'a>(args: &'a ExplainArgs, name: &str) -> Option<&'a str> {
    args.headers.iter().find_map(|header| {
        let (given, value) = header.split_once(':')?;
        given
            .trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim())
    })
}

//! `l7-ingress explain`: who would answer a request, and why.

use std::process::ExitCode;

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
    let path = args
        .url
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let query = Query {
        https,
        host,
        path,
        sni: args.url.host(),
    };
    let explanation = explain_query(&folder.compiler, &query);
    Ok((format!("{explanation}\n"), ExitCode::SUCCESS))
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

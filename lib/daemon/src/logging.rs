//! Log lines, to standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::{Flags, LogFormat};

/// Begins to write log lines, those of panics included.
///
/// In a process that has a subscriber already (a test), that one stays.
pub(crate) fn install(flags: &Flags) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(&flags.log_level)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let installed = match flags.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if installed.is_ok() {
        // A panic is a log line like any other, else it breaks the JSON of the stream.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            let message = panic.payload_as_str().unwrap_or("no message");
            tracing::error!(place, "panic: {message}");
        }));
    }
    Ok(())
}

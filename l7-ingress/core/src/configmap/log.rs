//! What the keys of the ConfigMap say of the access log.

use std::sync::Arc;

use super::reader::Keys;
use crate::filter::Text;
use crate::global::{Log, LogForm};
use crate::log_format::{Escape, LogTemplate};

/// Takes what the keys say over.
pub(super) fn apply(keys: &mut Keys<'_>, log: &mut Log) {
    let json = keys.boolean("log-format-escape-json").unwrap_or(false);
    let none = keys.boolean("log-format-escape-none").unwrap_or(false);
    let escape = match (json, none) {
        (true, _) => Escape::Json,
        (false, true) => Escape::None,
        (false, false) => Escape::Default,
    };
    let template = keys.value("log-format-upstream", |text| {
        LogTemplate::parse(text, escape).map_err(|unknown| unknown.to_string())
    });
    if let Some(template) = template.filter(|_| log.form != LogForm::Off) {
        log.form = LogForm::Template(Arc::new(template));
    }
    let stream = keys.value("log-format-stream", |text| {
        LogTemplate::parse(text, escape).map_err(|unknown| unknown.to_string())
    });
    if let Some(stream) = stream {
        log.stream = Arc::new(stream);
    }
    if keys.boolean("disable-access-log") == Some(true) {
        log.form = LogForm::Off;
    }
    if let Some(targets) = keys.list("skip-access-log-urls") {
        for target in targets {
            match Text::read(target) {
                Ok(target) => log.skipped.push(target),
                Err(why) => keys.left_out("skip-access-log-urls", why),
            }
        }
    }
}

//! What the keys of the ConfigMap say of compression.

use std::sync::Arc;

use super::reader::Keys;
use crate::filter::{Coding, Compression, Text};
use crate::global::Global;

/// ingress-nginx's, for both.
const TYPES: [&str; 18] = [
    "application/atom+xml",
    "application/javascript",
    "application/json",
    "application/rss+xml",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "application/x-javascript",
    "application/x-web-app-manifest+json",
    "application/xhtml+xml",
    "application/xml",
    "font/opentype",
    "image/svg+xml",
    "image/x-icon",
    "text/css",
    "text/html",
    "text/javascript",
    "text/plain",
    "text/x-component",
];

/// Takes what the keys say over.
pub(super) fn apply(keys: &mut Keys<'_>, global: &mut Global) {
    let gzip = coding(
        keys,
        ["gzip-level", "gzip-min-length", "gzip-types"],
        (1..=9, 1, 256),
    );
    let brotli = coding(
        keys,
        ["brotli-level", "brotli-min-length", "brotli-types"],
        (0..=11, 4, 20),
    );
    let mut not_for = Vec::new();
    for agent in keys
        .text("gzip-disable")
        .into_iter()
        .flat_map(str::split_whitespace)
    {
        let expression = format!("~*{agent}");
        match Text::read(&expression) {
            Ok(text) => not_for.push(text),
            Err(why) => keys.left_out("gzip-disable", why),
        }
    }
    let is_on = |is_on: Option<bool>| is_on == Some(true);
    let compression = Compression {
        gzip: is_on(keys.boolean("use-gzip")).then_some(gzip),
        brotli: is_on(keys.boolean("enable-brotli")).then_some(brotli),
        not_for,
    };
    if compression.gzip.is_some() || compression.brotli.is_some() {
        global.compression = Some(Arc::new(compression));
    }
}

fn coding(
    keys: &mut Keys<'_>,
    [level, shortest, types]: [&'static str; 3],
    (levels, usual, least): (std::ops::RangeInclusive<u32>, u32, u64),
) -> Coding {
    let (first, last) = (*levels.start(), *levels.end());
    let level = keys.value(level, |text| match text.parse() {
        Ok(level) if levels.contains(&level) => Ok(level),
        _ => Err(format!("{text:?} is no level from {first} to {last}")),
    });
    let shortest = keys.number(shortest);
    let types = keys.text(types).map(|text| {
        let types = text.split_whitespace();
        types.map(Box::from).collect()
    });
    Coding {
        level: level.unwrap_or(usual),
        shortest: shortest.unwrap_or(least),
        types: types.unwrap_or_else(|| TYPES.map(Box::from).into()),
    }
}

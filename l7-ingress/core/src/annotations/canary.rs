//! `canary` and what belongs to it.

use http::HeaderName;

use super::reader::{Effect, Reader};
use crate::filter::Pattern;
use crate::upstream::{Canary, Wanted};

/// What weights are parts of, and the least that may be said.
const TOTAL: u32 = 100;

/// `None` for an Ingress that is no canary.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Canary> {
    let is_canary = reader.boolean("canary").unwrap_or_default();
    let header = header(reader);
    let cookie = reader.value("canary-by-cookie", Effect::Refuse, |text| {
        let text = text.trim();
        let is_token = HeaderName::try_from(text).is_ok();
        is_token
            .then(|| text.into())
            .ok_or_else(|| format!("{text:?} is no name of a cookie"))
    });
    let weight = weight(reader, "canary-weight");
    let total = weight_total(reader);
    if !is_canary {
        let rules = [
            "canary-weight",
            "canary-by-header",
            "canary-by-header-value",
            "canary-by-header-pattern",
            "canary-by-cookie",
        ];
        for name in rules {
            if reader.text(name).is_some() {
                let what = "is without effect where canary is not true".to_owned();
                reader.fault(name, Effect::Skip, what);
            }
        }
        return None;
    }
    Some(Canary {
        header,
        cookie,
        weight: weight.unwrap_or_default(),
        total: total.unwrap_or(TOTAL).max(TOTAL),
    })
}

fn weight_total(reader: &mut Reader<'_>) -> Option<u32> {
    weight(reader, "canary-weight-total")
}

fn weight(reader: &mut Reader<'_>, name: &'static str) -> Option<u32> {
    let number = reader.integer(name)?;
    let weight = u32::try_from(number);
    if weight.is_err() {
        let what = format!("{number} is no weight of 0 to {}", u32::MAX);
        reader.fault(name, Effect::Skip, what);
    }
    weight.ok()
}

fn header(reader: &mut Reader<'_>) -> Option<(HeaderName, Wanted)> {
    let name = reader.value("canary-by-header", Effect::Refuse, |text| {
        let text = text.trim();
        HeaderName::try_from(text).map_err(|_| format!("{text:?} is no name of a field"))
    });
    let value = reader.text("canary-by-header-value");
    let pattern = reader.value("canary-by-header-pattern", Effect::Refuse, |text| {
        Pattern::anywhere(text).map_err(|why| format!("{text:?} is no regular expression: {why}"))
    });
    let name = name?;
    let wanted = match (value, pattern) {
        (Some(value), _) if !value.is_empty() => Wanted::Value(value.into()),
        (_, Some(pattern)) => Wanted::Pattern(pattern),
        _ => Wanted::AlwaysOrNever,
    };
    Some((name, wanted))
}

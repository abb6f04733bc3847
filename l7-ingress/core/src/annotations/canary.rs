//! Which requests a canary takes.

use http::HeaderName;

use super::reader::{Effect, Reader};
use super::upstream::choice;
use crate::upstream::{CanaryBehavior, CanaryRules, FieldTest, Share};

const HEADER: &str = "canary-by-header";
const VALUE: &str = "canary-by-header-value";
const PATTERN: &str = "canary-by-header-pattern";

/// None where it is no canary.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<CanaryRules> {
    let is_canary = reader.boolean("canary").unwrap_or(false);
    let test = test(reader);
    let name = plain(reader, HEADER).and_then(|name| {
        let read = name.parse::<HeaderName>();
        if read.is_err() {
            let what = format!("{name:?} is no name of a field; no request has it");
            reader.fault(HEADER, Effect::Skip, what);
        }
        read.ok()
    });
    let weight = reader.integer("canary-weight").unwrap_or(0);
    let total = reader.integer("canary-weight-total").unwrap_or(0);
    let behaviors = [
        ("sticky", CanaryBehavior::Sticky),
        ("legacy", CanaryBehavior::Legacy),
    ];
    let affinity = choice(reader, "affinity-canary-behavior", &behaviors);
    let rules = CanaryRules {
        field: name.map(|name| (name, test)),
        cookie: plain(reader, "canary-by-cookie").map(Box::from),
        share: Share::new(weight, total),
        affinity: affinity.unwrap_or_default(),
    };
    if !is_canary {
        note_useless(reader);
    }
    is_canary.then_some(rules)
}

fn test(reader: &mut Reader<'_>) -> FieldTest {
    let value = plain(reader, VALUE);
    let pattern = reader.value(PATTERN, Effect::Refuse, |text| {
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:^$[](){}*+?|&=\\".contains(&byte);
        match text.bytes().all(allowed) {
            true => Ok(text),
            false => Err(format!(
                "{text:?} holds something else than letters, digits and -._~/:^$[](){{}}*+?|&=\\"
            )),
        }
    });
    match (value, pattern.filter(|text| !text.is_empty())) {
        (Some(value), _) => FieldTest::Value(value.into()),
        (None, None) => FieldTest::Word,
        (None, Some(text)) => FieldTest::pattern(text).unwrap_or_else(|why| {
            let what = format!(
                "{text:?} cannot be matched: {why}; the canary gets none of these requests"
            );
            reader.fault(PATTERN, Effect::Skip, what);
            FieldTest::Broken
        }),
    }
}

/// Letters, digits, `-._~/:` and spaces; none where it is empty.
fn plain<'a>(reader: &mut Reader<'a>, name: &'static str) -> Option<&'a str> {
    let text = reader.value(name, Effect::Refuse, |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/: ".contains(&byte);
        match text.bytes().all(allowed) {
            true => Ok(text),
            false => Err(format!(
                "{text:?} holds something else than letters, digits and -._~/:"
            )),
        }
    });
    text.filter(|text| !text.is_empty())
}

fn note_useless(reader: &mut Reader<'_>) {
    let names = [
        HEADER,
        VALUE,
        PATTERN,
        "canary-by-cookie",
        "canary-weight",
        "canary-weight-total",
    ];
    for name in names {
        if reader.text(name).is_some() {
            let what = "has no effect without canary: \"true\"".to_owned();
            reader.fault(name, Effect::Skip, what);
        }
    }
}

//! The part of JSONPath that printer columns use.

use serde_json::Value;

/// Every value that the path leads to: `.a.b`, `[0]`, `[*]`, `['a.b']`, `[?(@.type=="Ready")]`.
pub(super) fn find<'a>(root: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![root];
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        let (step, after) = split_step(rest);
        found = found
            .into_iter()
            .flat_map(|value| follow(value, step))
            .collect();
        rest = after;
    }
    found
}

/// Splits off the first step: a name, or what is between brackets.
fn split_step(path: &str) -> (Step<'_>, &str) {
    if let Some(rest) = path.strip_prefix('[') {
        let end = rest.find(']').unwrap_or(rest.len());
        return (
            Step::Bracket(&rest[..end]),
            rest.get(end + 1..).unwrap_or_default(),
        );
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    // An escaped dot is part of the name.
    let mut end = path.len();
    let mut escaped = false;
    for (at, char) in path.char_indices() {
        match char {
            '\\' => escaped = !escaped,
            '.' | '[' if !escaped => {
                end = at;
                break;
            }
            _ => escaped = false,
        }
    }
    (Step::Name(&path[..end]), &path[end..])
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Bracket(&'a str),
}

fn follow<'a>(value: &'a Value, step: Step<'_>) -> Vec<&'a Value> {
    match step {
        Step::Name("") => vec![value],
        Step::Name(name) => value.get(name.replace('\\', "")).into_iter().collect(),
        Step::Bracket("*") => children(value),
        Step::Bracket(text) => {
            if let Some(filter) = text
                .strip_prefix("?(@.")
                .and_then(|it| it.strip_suffix(')'))
            {
                return select(value, filter);
            }
            if let Ok(at) = text.parse::<usize>() {
                return value.get(at).into_iter().collect();
            }
            value
                .get(text.trim_matches(['\'', '"']))
                .into_iter()
                .collect()
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    }
}

/// Items whose member equals a text: `type=="Ready"`.
fn select<'a>(value: &'a Value, filter: &str) -> Vec<&'a Value> {
    let Some((name, wanted)) = filter.split_once("==") else {
        return Vec::new();
    };
    let wanted = wanted.trim().trim_matches(['\'', '"']);
    let holds = |it: &&Value| match it.get(name.trim()) {
        Some(Value::String(text)) => text == wanted,
        Some(value) => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| *value == wanted),
        None => false,
    };
    children(value).into_iter().filter(holds).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns() {
        let value = json!({
            "spec": {"addresses": ["a", "b"], "x.y": 1},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        for (path, expect) in [
            (".spec.addresses", json!([["a", "b"]])),
            ("$.spec.addresses[1]", json!(["b"])),
            (".spec.addresses[*]", json!(["a", "b"])),
            (".spec['x.y']", json!([1])),
            (r".spec.x\.y", json!([1])),
            (
                r#".status.conditions[?(@.type=="Ready")].status"#,
                json!(["True"]),
            ),
            (".spec.gone.further", json!([])),
        ] {
            assert_eq!(json!(find(&value, path)), expect, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "[a-z.\\[\\]*?@()='\"\\\\0-9é]{0,24}") {
            find(&json!({"a": [{"b": 1}]}), &path);
        }
    }
}

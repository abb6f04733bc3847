//! Tables: what `kubectl get` prints, made on the server.

mod columns;
mod json_path;

use std::ops::Deref;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    convert,
    object::{Object, metadata_text},
    registry::ResourceType,
    render::{Inclusion, metadata_only},
};

/// The objects as `meta.k8s.io/v1 Table`.
pub(crate) fn of(
    resource: &ResourceType,
    objects: &[impl Deref<Target = Object>],
    include: Inclusion,
    now: Timestamp,
) -> Value {
    let columns = Columns::of(resource);
    let row = |object: &Object| {
        let value = convert::to_served(resource, object.value());
        let mut row = json!({ "cells": columns.cells(&value, now) });
        match include {
            Inclusion::None => {}
            Inclusion::Metadata => row["object"] = metadata_only(&value),
            Inclusion::Object => row["object"] = value,
        }
        row
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": columns.definitions(),
        "rows": objects.iter().map(|object| row(object)).collect::<Vec<_>>(),
    })
}

/// The columns of a type.
enum Columns<'a> {
    Builtin(&'static [columns::Column]),
    Custom(&'a [Value]),
}

impl<'a> Columns<'a> {
    fn of(resource: &'a ResourceType) -> Self {
        match &resource.custom {
            None => Self::Builtin(columns::of(&resource.plural)),
            Some(custom) if custom.columns.is_empty() => Self::Builtin(columns::of("")),
            Some(custom) => Self::Custom(&custom.columns),
        }
    }

    fn definitions(&self) -> Value {
        let define = |name: &Value, kind: &Value, priority: &Value| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": kind, "format": format, "description": "",
                   "priority": priority})
        };
        match self {
            Self::Builtin(columns) => columns
                .iter()
                .map(|it| define(&it.name.into(), &it.kind.into(), &u8::from(it.wide).into()))
                .collect(),
            Self::Custom(columns) => {
                let name = define(&"Name".into(), &"string".into(), &0.into());
                let declared = columns.iter().map(|it| {
                    define(
                        &it["name"],
                        &it["type"],
                        &it["priority"].as_i64().unwrap_or(0).into(),
                    )
                });
                std::iter::once(name).chain(declared).collect()
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match self {
            Self::Builtin(columns) => columns.iter().map(|it| (it.cell)(object, now)).collect(),
            Self::Custom(columns) => {
                let declared = columns.iter().map(|it| custom_cell(it, object, now));
                std::iter::once(metadata_text(object, "name").into())
                    .chain(declared)
                    .collect()
            }
        }
    }
}

fn custom_cell(column: &Value, object: &Value, now: Timestamp) -> Value {
    let path = column["jsonPath"].as_str().unwrap_or_default();
    let found = json_path::find(object, path);
    match (column["type"].as_str(), found.as_slice()) {
        (_, []) => Value::Null,
        (Some("date"), [time, ..]) => age(time.as_str().unwrap_or_default(), now).into(),
        (Some("string"), [Value::String(text)]) => text.as_str().into(),
        (Some("string"), [one]) => one.to_string().into(),
        (Some("string"), many) => {
            let texts: Vec<String> = many
                .iter()
                .map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned))
                .collect();
            texts.join(",").into()
        }
        (_, [one, ..]) => (*one).clone(),
    }
}

/// How long ago that was, as kubectl words it.
fn age(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => human_duration(now.as_second() - time.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Kubernetes' rounding: two units at most, and fewer as it gets longer.
fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |large: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(years, 'y', days % 365, 'd'),
        _ => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_as_kubectl_does() {
        // k8s.io/apimachinery/pkg/util/duration HumanDuration.
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }
}

//! The controller's ConfigMap: from strings to settings, and nowhere else.

mod auth;
mod catalogue;
mod compress;
mod data;
mod fields;
mod keys;
mod log;
mod proxy;
mod reader;
mod trace;

use std::sync::Arc;

use model::{Kind, ObjectName, ObjectRef, Problem, Severity};

use crate::Settings;
use crate::global::Global;

pub use catalogue::{KnownKey, configmap_key, configmap_keys};
pub use data::ConfigData;
pub(crate) use fields::{Lookup, list};
pub(crate) use reader::{time, useless_keys};

use reader::Keys;

/// The keys that name other ConfigMaps.
const NAMES: [&str; 2] = ["add-headers", "proxy-set-headers"];

/// Whether the ConfigMap names another one.
pub(crate) fn refers(data: &ConfigData, other: &ObjectName) -> bool {
    let mut named = NAMES.iter().filter_map(|key| data.get(key));
    named.any(|text| ObjectName::parse(text.trim(), "").as_ref() == Some(other))
}

/// The ConfigMap is not there, or too long to be one of settings.
pub(crate) fn absent(name: &ObjectName) -> Problem {
    Problem {
        object: ObjectRef::new(Kind::ConfigMap, name.clone()),
        field: "data".to_owned(),
        reason: "ConfigMapNotFound",
        message: "does not exist or is longer than 64 KiB; flags and defaults are used".to_owned(),
        severity: Severity::Warning,
    }
}

/// `base` as the ConfigMap changes it, and what is wrong with the ConfigMap.
pub(crate) fn apply(
    base: &Settings,
    name: &ObjectName,
    data: &ConfigData,
    lookup: Lookup<'_>,
) -> (Settings, Vec<Problem>) {
    let mut keys = Keys::new(name, data);
    let mut settings = base.clone();
    keys::apply(&mut keys, &mut settings);
    let mut global = Global::clone(&base.global);
    proxy::apply(&mut keys, &mut global);
    fields::apply(&mut keys, &mut global, lookup);
    compress::apply(&mut keys, &mut global);
    log::apply(&mut keys, &mut global.log);
    global.tracing = trace::of_all(&mut keys);
    if global != *base.global {
        settings.global = Arc::new(global);
    }
    keys.note_names();
    (settings, keys.problems)
}

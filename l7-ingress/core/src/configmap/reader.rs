//! Finds the keys of the controller's ConfigMap and reads their values: one that is bad leaves its key at its default.

use std::str::FromStr;
use std::time::Duration;

use model::{Kind, ObjectName, ObjectRef, Problem, Severity};

use super::catalogue::configmap_key;
use super::{ConfigData, configmap_keys};
use crate::annotations::{Support, boolean, size};

/// The keys of the ConfigMap, while they are read.
pub(crate) struct Keys<'d> {
    name: &'d ObjectName,
    data: &'d ConfigData,
    pub(super) problems: Vec<Problem>,
}

impl<'d> Keys<'d> {
    pub(super) const fn new(name: &'d ObjectName, data: &'d ConfigData) -> Self {
        Self {
            name,
            data,
            problems: Vec::new(),
        }
    }

    /// The value of `key`, if it is set.
    pub(crate) fn text(&self, key: &'static str) -> Option<&'d str> {
        debug_assert!(
            configmap_key(key).is_some(),
            "{key} is not in the catalogue"
        );
        self.data.get(key).map(str::trim)
    }

    /// The value of `key` as `read` understands it; where it does not, a problem.
    pub(crate) fn value<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&'d str) -> Result<T, String>,
    ) -> Option<T> {
        match read(self.text(key)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(key, message);
                None
            }
        }
    }

    /// Notes that `key`, which is set, has a bad value.
    pub(crate) fn fault(&mut self, key: &str, message: String) {
        let message = format!("{message}; its default is used");
        self.report(key, "InvalidValue", message);
    }

    /// Notes that a part of `key` is bad, and not used.
    pub(crate) fn left_out(&mut self, key: &str, message: String) {
        self.report(key, "InvalidValue", format!("{message}; it is left out"));
    }

    pub(super) fn report(&mut self, key: &str, reason: &'static str, message: String) {
        self.problems.push(Problem {
            object: ObjectRef::new(Kind::ConfigMap, self.name.clone()),
            field: format!("data[{key}]"),
            reason,
            message,
            severity: Severity::Warning,
        });
    }

    /// An empty value is false, as for ingress-nginx's decoder.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.value(key, |text| match text {
            "" => Ok(false),
            text => boolean(text),
        })
    }

    /// A whole number from 0 on; an empty value is 0.
    pub(crate) fn number<T: FromStr + Default>(&mut self, key: &'static str) -> Option<T> {
        self.value(key, |text| match text {
            "" => Ok(T::default()),
            text => text
                .parse()
                .map_err(|_| format!("{text:?} is no whole number from 0 on")),
        })
    }

    /// Bytes.
    pub(crate) fn size(&mut self, key: &'static str) -> Option<u64> {
        self.value(key, size)
    }

    /// Seconds above 0 without a unit.
    pub(crate) fn seconds(&mut self, key: &'static str) -> Option<Duration> {
        self.value(key, |text| match text.parse() {
            Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
            _ => Err(format!("{text:?} is no number of seconds above 0")),
        })
    }

    /// nginx's times, such as `5s`, `1m30s` or `1h`.
    pub(crate) fn time(&mut self, key: &'static str) -> Option<Duration> {
        self.value(key, time)
    }

    /// What stands between commas.
    pub(crate) fn list(
        &self,
        key: &'static str,
    ) -> Option<impl Iterator<Item = &'d str> + use<'d>> {
        let parts = self.text(key)?.split(',').map(str::trim);
        Some(parts.filter(|part| !part.is_empty()))
    }

    /// What is said of keys that are set and whose names alone decide.
    pub(super) fn note_names(&mut self) {
        for (key, _) in self.data.iter() {
            let (reason, message) = match configmap_key(key).map(|known| known.support) {
                None => ("UnknownKey", "is not known here".to_owned()),
                Some(Support::Same | Support::Differs(_) | Support::Useless(_)) => continue,
                Some(Support::Refused(why)) => ("UnsupportedKey", why.to_owned()),
                Some(Support::NotYet) => ("UnsupportedKey", "is not honoured".to_owned()),
            };
            self.report(key, reason, message);
        }
    }
}

/// The keys of a ConfigMap that are set and have no effect, with the reason.
pub(crate) fn useless_keys(
    data: &ConfigData,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    configmap_keys().filter_map(|known| match known.support {
        Support::Useless(why) if data.get(known.name).is_some() => Some((known.name, why)),
        _ => None,
    })
}

/// nginx's `ngx_parse_time`: numbers with units, the largest first; seconds without one.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} is no time, such as 500ms, 5s or 1h30m");
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = after.split_at(letters);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "" if after.is_empty() => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(fault()),
        };
        let number: u64 = number.parse().map_err(|_| fault())?;
        let millis = number.checked_mul(millis).ok_or_else(fault)?;
        sum = sum.saturating_add(Duration::from_millis(millis));
        rest = after.trim_start();
    }
    match sum.is_zero() {
        true => Err(fault()),
        false => Ok(sum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_nginx_reads_them() {
        for (text, millis) in [
            ("5", 5000),
            ("5s", 5000),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("1m 1s", 61_000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "5x", "-1", "5 s 3", "0s", "99999999999999999999"] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }
}

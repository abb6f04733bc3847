//! Finds the annotations of one Ingress and reads their values, with ingress-nginx's validators.

use model::ObjectName;

use super::catalogue::{self, Support};
use super::risk;
use crate::secret::Use;
use crate::{Risk, Settings};

/// What is wrong with one annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) key: Box<str>,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) effect: Effect,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The Ingress is not accepted: its last good version goes on serving.
    Refuse,
    /// The paths of the Ingress answer 503.
    Deny,
    /// The Ingress is served as if the annotation were not there.
    Skip,
}

/// The annotations of one Ingress, while they are read.
pub(crate) struct Reader<'a> {
    annotations: &'a [(Box<str>, Box<str>)],
    settings: &'a Settings,
    ingress: &'a ObjectName,
    pub(super) faults: Vec<Fault>,
    /// The Secrets that were asked for.
    pub(super) secrets: Vec<(ObjectName, Use)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        annotations: &'a [(Box<str>, Box<str>)],
        settings: &'a Settings,
        ingress: &'a ObjectName,
    ) -> Self {
        Self {
            annotations,
            settings,
            ingress,
            faults: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// The value of `name`: where it is set under several prefixes, the first prefix decides.
    pub(super) fn text(&self, name: &'static str) -> Option<&'a str> {
        Some(self.entry(name)?.1)
    }

    fn entry(&self, name: &'static str) -> Option<(&'a str, &'a str)> {
        debug_assert!(
            catalogue::find(name).is_some(),
            "{name} is not in the catalogue"
        );
        self.settings.annotation_prefixes.iter().find_map(|prefix| {
            let mut all = self.annotations.iter();
            let found = all.find(|(key, _)| {
                let rest = key
                    .strip_prefix(&**prefix)
                    .and_then(|rest| rest.strip_prefix('/'));
                rest == Some(name)
            });
            found.map(|(key, value)| (&**key, &**value))
        })
    }

    /// The value of `name` as `read` understands it; where it does not, a fault with this effect.
    pub(super) fn value<T>(
        &mut self,
        name: &'static str,
        effect: Effect,
        read: impl FnOnce(&'a str) -> Result<T, String>,
    ) -> Option<T> {
        let (_, text) = self.entry(name)?;
        match read(text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(name, effect, message);
                None
            }
        }
    }

    /// Notes that `name`, which is set, has a bad value.
    pub(super) fn fault(&mut self, name: &'static str, effect: Effect, message: String) {
        self.report(name, "InvalidAnnotation", effect, message);
    }

    pub(super) fn report(
        &mut self,
        name: &'static str,
        reason: &'static str,
        effect: Effect,
        message: String,
    ) {
        let key = self.entry(name).map_or(name, |(key, _)| key).into();
        self.faults.push(Fault {
            key,
            reason,
            message,
            effect,
        });
    }

    /// Whether a fault keeps everybody out.
    pub(super) fn denies(&self) -> bool {
        self.faults.iter().any(|fault| fault.effect == Effect::Deny)
    }

    /// The object that `name` names, with or without its namespace; one of another namespace keeps everybody out,
    /// unless the operator allows it.
    pub(super) fn object(&mut self, name: &'static str) -> Option<ObjectName> {
        let (namespace, may) = (&self.ingress.namespace, self.settings.cross_namespace);
        self.value(name, Effect::Deny, |text| {
            let object = ObjectName::parse(text.trim(), namespace)
                .ok_or_else(|| format!("{text:?} is neither NAME nor NAMESPACE/NAME"))?;
            match may || object.namespace == *namespace {
                true => Ok(object),
                false => Err(format!(
                    "{object} is in another namespace, which is not allowed here"
                )),
            }
        })
    }

    /// The Secret that `name` names, which is wanted for this: when it changes, the Ingress is compiled anew.
    pub(super) fn secret(&mut self, name: &'static str, wanted: Use) -> Option<ObjectName> {
        let secret = self.object(name)?;
        self.secrets.push((secret.clone(), wanted));
        Some(secret)
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.value(name, Effect::Refuse, boolean)
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Option<i64> {
        self.value(name, Effect::Refuse, |text| {
            text.parse()
                .map_err(|_| format!("{text:?} is not a whole number"))
        })
    }

    /// Bytes.
    pub(super) fn size(&mut self, name: &'static str) -> Option<u64> {
        self.value(name, Effect::Refuse, size)
    }

    /// What is said of annotations that are set and whose names alone decide.
    pub(super) fn note_names(&mut self) {
        for (key, value) in self.annotations {
            let Some((prefix, name)) = key.rsplit_once('/') else {
                continue;
            };
            if !self
                .settings
                .annotation_prefixes
                .iter()
                .any(|ours| **ours == *prefix)
            {
                continue;
            }
            if let Some(message) = self.forbidden(name, value) {
                self.faults.push(Fault {
                    key: key.clone(),
                    reason: "ForbiddenAnnotation",
                    message,
                    effect: Effect::Refuse,
                });
                continue;
            }
            let (reason, effect, message) = match catalogue::find(name) {
                None => (
                    "UnknownAnnotation",
                    Effect::Skip,
                    "is not known; the Ingress is served without it".to_owned(),
                ),
                Some(known) => match known.support {
                    Support::Same | Support::Differs(_) | Support::Useless(_) => continue,
                    Support::Refused(why) => {
                        ("UnsupportedAnnotation", Effect::Refuse, why.to_owned())
                    }
                    Support::NotYet if known.guards() => (
                        "UnsupportedAnnotation",
                        Effect::Refuse,
                        "is not honoured, and without it the Ingress would be open".to_owned(),
                    ),
                    Support::NotYet => (
                        "UnsupportedAnnotation",
                        Effect::Skip,
                        "is not honoured; the Ingress is served without it".to_owned(),
                    ),
                },
            };
            self.faults.push(Fault {
                key: key.clone(),
                reason,
                message,
                effect,
            });
        }
    }
}

impl Reader<'_> {
    /// What the cluster's operator has against an annotation.
    fn forbidden(&self, name: &str, value: &str) -> Option<String> {
        let settings = self.settings;
        let risk = risk::of(name);
        // What is refused in any case says more itself.
        if risk > settings.risk && risk < Risk::Critical {
            let most = settings.risk;
            return Some(format!(
                "risks more ({risk:?}) than annotations-risk-level lets it ({most:?})"
            ));
        }
        let mut words = settings.forbidden_words.iter();
        let word = words.find(|word| value.contains(&***word))?;
        Some(format!(
            "holds {word:?}, which annotation-value-word-blocklist forbids"
        ))
    }
}

/// Go's `strconv.ParseBool`.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// A number of bytes, or of KiB, MiB or GiB with a suffix `k`, `m`, `g` in either case.
///
/// # Errors
/// Anything else, with words that say so.
pub fn size(text: &str) -> Result<u64, String> {
    let fault = || format!("{text:?} is no size, such as 512, 8k, 1m or 2g");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" | "b" | "B" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return Err(fault()),
    };
    let number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.then(|| digits.parse::<u64>().ok()).flatten();
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_nginx_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("7b", 7),
            ("8k", 8192),
            ("1M", 1 << 20),
            ("2g", 2 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "m",
            "-1",
            "+1",
            "1 m",
            "1mb",
            "1.5m",
            "18446744073709551615k",
        ] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }
}

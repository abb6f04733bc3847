//! Rules beyond types: what the API server refuses because users would feel it later.

mod ingress;
mod others;
mod service;

use serde_json::Value;

use crate::{
    names,
    object::metadata_text,
    registry::{CRDS, ResourceType},
    status::Cause,
};

/// Checks the object; returns every field at fault.
pub(crate) fn object(resource: &ResourceType, old: Option<&Value>, object: &Value) -> Vec<Cause> {
    let mut faults = Faults::default();
    metadata(resource, old, object, &mut faults);
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "services") => service::service(object, &mut faults),
        ("", "secrets") => others::secret(old, object, &mut faults),
        ("", "configmaps") => others::config_map(old, object, &mut faults),
        ("", "pods") => others::pod(object, &mut faults),
        ("", "events") => others::event(object, &mut faults),
        ("apps", _) => others::workload(object, &mut faults),
        ("coordination.k8s.io", "leases") => others::lease(object, &mut faults),
        ("discovery.k8s.io", "endpointslices") => service::slice(old, object, &mut faults),
        ("networking.k8s.io", "ingresses") => ingress::ingress(old, object, &mut faults),
        ("networking.k8s.io", "ingressclasses") => ingress::class(old, object, &mut faults),
        ("networking.k8s.io", "networkpolicies") => others::network_policy(object, &mut faults),
        _ if *resource.storage == *CRDS => others::definition(object, &mut faults),
        _ => {}
    }
    faults.0
}

/// The faults found so far.
#[derive(Debug, Default)]
struct Faults(Vec<Cause>);

impl Faults {
    fn required(&mut self, field: impl Into<String>, why: &str) {
        self.0.push(Cause::required(field, why));
    }

    fn invalid(&mut self, field: impl Into<String>, value: &Value, why: &str) {
        match value {
            Value::String(text) => self.0.push(Cause::invalid(field, text, why)),
            value => self.0.push(Cause::invalid(field, Plain(value), why)),
        }
    }

    fn forbidden(&mut self, field: impl Into<String>, why: &str) {
        self.0.push(Cause::forbidden(field, why));
    }

    fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        self.0.push(Cause::duplicate(field, Plain(value)));
    }

    /// The text must be one of these.
    fn one_of(&mut self, field: impl Into<String>, value: &Value, allowed: &[&str]) {
        let text = value.as_str().unwrap_or_default();
        if !allowed.contains(&text) {
            self.0.push(Cause::unsupported(field, text, allowed));
        }
    }

    /// The text must follow a spelling rule.
    fn spelled(&mut self, field: impl Into<String>, value: &Value, rule: Rule) {
        if let Err(why) = rule(value.as_str().unwrap_or_default()) {
            self.invalid(field, value, why);
        }
    }

    /// The number must be a port.
    fn port(&mut self, field: impl Into<String>, value: &Value) {
        if !value
            .as_i64()
            .is_some_and(|port| (1..=65535).contains(&port))
        {
            self.invalid(field, value, "must be between 1 and 65535, inclusive");
        }
    }

    /// Once set, the value stays.
    fn fixed(&mut self, field: &str, old: &Value, new: &Value) {
        if old != new {
            self.invalid(field, new, "field is immutable");
        }
    }
}

type Rule = fn(&str) -> Result<(), &'static str>;

/// Prints JSON as JSON where `Debug` is asked for.
struct Plain<'a>(&'a Value);

impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

fn metadata(resource: &ResourceType, old: Option<&Value>, object: &Value, faults: &mut Faults) {
    let metadata = &object["metadata"];
    let rule: Rule = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") => names::dns_label,
        ("", "services") => names::dns_1035_label,
        ("" | "events.k8s.io", "events") => names::path_segment,
        _ => names::dns_subdomain,
    };
    faults.spelled("metadata.name", &metadata["name"], rule);
    if resource.namespaced {
        faults.spelled(
            "metadata.namespace",
            &metadata["namespace"],
            names::dns_label,
        );
    }
    for (key, value) in members(&metadata["labels"]) {
        if let Err(why) = names::label_key(key) {
            faults.invalid("metadata.labels", &key.as_str().into(), why);
        }
        if let Err(why) = names::label_value(value.as_str().unwrap_or_default()) {
            faults.invalid("metadata.labels", value, why);
        }
    }
    let mut size = 0;
    for (key, value) in members(&metadata["annotations"]) {
        // Unlike labels, annotations are checked in lower case.
        if let Err(why) = names::label_key(&key.to_lowercase()) {
            faults.invalid("metadata.annotations", &key.as_str().into(), why);
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MOST_ANNOTATIONS {
        faults.0.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {MOST_ANNOTATIONS} bytes"),
            field: "metadata.annotations".to_owned(),
        });
    }
    finalizers(old, object, faults);
    owners(&metadata["ownerReferences"], faults);
}

/// Bytes of all annotations together.
const MOST_ANNOTATIONS: usize = 256 << 10;

fn finalizers(old: Option<&Value>, object: &Value, faults: &mut Faults) {
    let finalizers = &object["metadata"]["finalizers"];
    for (at, finalizer) in items(finalizers) {
        faults.spelled(
            format!("metadata.finalizers[{at}]"),
            finalizer,
            names::label_key,
        );
    }
    let Some(old) = old else { return };
    let known = old["metadata"]["finalizers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let added = items(finalizers).any(|(_, it)| !known.contains(it));
    if added && !metadata_text(old, "deletionTimestamp").is_empty() {
        let why = "no new finalizers can be added if the object is being deleted";
        faults.forbidden("metadata.finalizers", why);
    }
}

fn owners(references: &Value, faults: &mut Faults) {
    for (at, reference) in items(references) {
        for member in ["apiVersion", "kind", "name", "uid"] {
            if reference[member].as_str().is_none_or(str::is_empty) {
                let why = format!("{member} must not be empty");
                faults.required(format!("metadata.ownerReferences[{at}].{member}"), &why);
            }
        }
    }
    let controllers = items(references)
        .filter(|(_, it)| it["controller"] == true)
        .count();
    if controllers > 1 {
        let why = "only one reference can have Controller set to true";
        faults.invalid("metadata.ownerReferences", references, why);
    }
}

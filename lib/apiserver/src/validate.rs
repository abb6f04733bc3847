//! Rules beyond types.

use serde_json::Value;

use crate::{names, object::metadata_text, registry::ResourceType, status::Cause};

/// Checks the object; returns every field at fault.
pub(crate) fn object(resource: &ResourceType, _old: Option<&Value>, object: &Value) -> Vec<Cause> {
    let name = metadata_text(object, "name");
    let rule = match resource.plural.as_str() {
        "namespaces" => names::dns_label,
        "services" => names::dns_1035_label,
        _ => names::dns_subdomain,
    };
    let mut causes = Vec::new();
    if let Err(why) = rule(name) {
        causes.push(Cause::invalid("metadata.name", name, why));
    }
    causes
}

//! `enable-opentelemetry`, `opentelemetry-trust-incoming-span`, `opentelemetry-operation-name`.

use std::sync::Arc;

use super::reader::{Effect, Reader, boolean};
use crate::Settings;
use crate::expression::{Expression, Known};
use crate::trace::Trace;

const ENABLE: &str = "enable-opentelemetry";
const TRUST: &str = "opentelemetry-trust-incoming-span";
const NAME: &str = "opentelemetry-operation-name";

/// How requests are traced. Without `enable-opentelemetry` on the same Ingress the others say nothing, as in
/// ingress-nginx.
pub(super) fn read(reader: &mut Reader<'_>, settings: &Settings) -> Option<Arc<Trace>> {
    // ingress-nginx's parser passes over what is no boolean here, unlike elsewhere.
    match reader.value(ENABLE, Effect::Skip, boolean) {
        Some(true) => {
            let mut trace = settings.trace.clone();
            let trusts = reader.value(TRUST, Effect::Skip, boolean);
            trace.trusts = trusts.unwrap_or(trace.trusts);
            trace.name = reader
                .value(NAME, Effect::Refuse, name)
                .or(Some(trace.name))
                .flatten();
            Some(Arc::new(trace))
        }
        off => {
            for idle in [TRUST, NAME] {
                if off.is_none() && reader.text(idle).is_some() {
                    let what = format!("has no effect without {ENABLE} on the same Ingress");
                    reader.fault(idle, Effect::Skip, what);
                }
            }
            match off {
                Some(_) => None,
                None => settings.policy.trace.clone(),
            }
        }
    }
}

/// Letters, digits, `_` and `-`: no variables.
fn name(text: &str) -> Result<Option<Expression>, String> {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match text.bytes().all(may) {
        true => Ok(operation(text)?),
        false => Err(format!(
            "{text:?} is not made of letters, digits, `_` and `-` alone"
        )),
    }
}

/// The name of spans, with variables; none if it is empty.
pub(crate) fn operation(text: &str) -> Result<Option<Expression>, String> {
    let read = |text| Expression::read(text, Known::Routes).map_err(|unknown| unknown.to_string());
    (!text.is_empty()).then(|| read(text)).transpose()
}

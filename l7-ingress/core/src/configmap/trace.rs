//! What the keys of the ConfigMap say of traces.

use std::sync::Arc;
use std::time::Duration;

use super::reader::Keys;
use crate::Settings;
use crate::annotations::operation;
use crate::filter::Policy;
use crate::trace::{Collector, Sampler, Tracing};

/// The longest queue: about 64 MiB of spans.
const LONGEST_QUEUE: usize = 1 << 16;

/// Takes what they say of routes over.
pub(super) fn of_routes(keys: &mut Keys<'_>, settings: &mut Settings, policy: &mut Policy) {
    let trace = &mut settings.trace;
    if let Some(trusts) = keys.boolean("opentelemetry-trust-incoming-span") {
        trace.trusts = trusts;
    }
    if let Some(name) = keys.value("opentelemetry-operation-name", operation) {
        trace.name = name;
    }
    if keys.boolean("enable-opentelemetry") == Some(true) {
        policy.trace = Some(Arc::new(trace.clone()));
    }
}

/// What they say of all requests.
pub(super) fn of_all(keys: &mut Keys<'_>) -> Arc<Tracing> {
    let ratio = keys.value("otel-sampler-ratio", |text| match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("{text:?} is no number from 0 to 1")),
    });
    let sampler = keys.value("otel-sampler", |text| match text {
        "AlwaysOn" => Ok(Sampler::On),
        "AlwaysOff" => Ok(Sampler::Off),
        "TraceIdRatioBased" => Ok(Sampler::share(ratio.unwrap_or(0.01))),
        _ => Err(format!(
            "{text:?} is none of AlwaysOn, AlwaysOff and TraceIdRatioBased"
        )),
    });
    let defaults = Tracing::default();
    Arc::new(Tracing {
        collector: collector(keys).map(Arc::new),
        sampler: sampler.unwrap_or(defaults.sampler),
        follows_parent: keys
            .boolean("otel-sampler-parent-based")
            .unwrap_or(defaults.follows_parent),
    })
}

fn collector(keys: &mut Keys<'_>) -> Option<Collector> {
    let above_zero = |text: &str| match text.parse::<u32>() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(format!("{text:?} is no number above 0")),
    };
    let port = keys.value("otlp-collector-port", |text| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!("{text:?} is no port")),
    });
    let queue = keys.value("otel-max-queuesize", above_zero);
    let batch = keys.value("otel-max-export-batch-size", above_zero);
    let delay = keys.value("otel-schedule-delay-millis", above_zero);
    let service = keys.text("otel-service-name").unwrap_or("nginx");
    let host = keys.text("otlp-collector-host")?;
    let size = |number: Option<u32>, default| {
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.unwrap_or(default).min(LONGEST_QUEUE)
    };
    let queue = size(queue, 2048);
    (!host.is_empty()).then(|| Collector {
        host: host.trim_start_matches('[').trim_end_matches(']').into(),
        port: port.unwrap_or(4317),
        service: service.into(),
        queue,
        delay: Duration::from_millis(delay.unwrap_or(5000).into()),
        batch: size(batch, 512).min(queue),
    })
}

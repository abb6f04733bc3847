//! Every key of the ConfigMap that is known here, and what becomes of it: the twin of the catalogue of annotations.

use crate::annotations::Support;
use Support::{NotYet, Refused, Useless};

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it. What is [`Support::Refused`] is reported, and all else is served without it.
    pub support: Support,
}

/// The entry of `name`.
#[must_use]
pub fn configmap_key(name: &str) -> Option<KnownKey> {
    let place = CATALOGUE.binary_search_by(|(known, _)| (*known).cmp(name));
    let (name, support) = *CATALOGUE.get(place.ok()?)?;
    Some(KnownKey { name, support })
}

/// Every key, by name.
pub fn configmap_keys() -> impl Iterator<Item = KnownKey> {
    CATALOGUE.iter().map(|(name, support)| KnownKey {
        name,
        support: *support,
    })
}

const FLAGS_BIND: Support = Useless("`--http` and `--https` name the addresses");
const HASHES: Support = Useless("tables are as large as what is in them");
const JAEGER: Support = Useless("gone from ingress-nginx, too: OpenTelemetry took its place");
const NGINX_TEXT: Support = Refused("text of another program's configuration is never run");
const NO_WAF: Support = Refused("there is no web application firewall here");
const ONE_LOG: Support = Useless("logs go to standard output and standard error");
const STREAMED: Support = Useless("bodies are streamed, with bounded buffers both ways");

/// Sorted by name.
#[rustfmt::skip]
const CATALOGUE: &[(&str, Support)] = &[
    ("access-log-params", ONE_LOG),
    ("access-log-path", ONE_LOG),
    ("add-headers", NotYet),
    ("allow-backend-server-header", NotYet),
    ("allow-cross-namespace-resources", NotYet),
    ("allow-snippet-annotations", NotYet),
    ("annotation-value-word-blocklist", NotYet),
    ("annotations-risk-level", NotYet),
    ("bind-address", FLAGS_BIND),
    ("block-cidrs", NotYet),
    ("block-referers", NotYet),
    ("block-user-agents", NotYet),
    ("brotli-level", NotYet),
    ("brotli-min-length", NotYet),
    ("brotli-types", NotYet),
    ("client-body-buffer-size", STREAMED),
    ("client-body-timeout", NotYet),
    ("client-header-buffer-size", NotYet),
    ("client-header-timeout", NotYet),
    ("compute-full-forwarded-for", NotYet),
    ("custom-http-errors", NotYet),
    ("debug-connections", Useless("`--log-level` decides, for all addresses alike")),
    ("default-type", Useless("what the proxy answers by itself is HTML, and endpoints name the types of their own")),
    ("denylist-source-range", NotYet),
    ("disable-access-log", NotYet),
    ("disable-ipv6", FLAGS_BIND),
    ("disable-ipv6-dns", NotYet),
    ("disable-proxy-intercept-errors", NotYet),
    ("enable-access-log-for-default-backend", NotYet),
    ("enable-aio-write", STREAMED),
    ("enable-brotli", NotYet),
    ("enable-modsecurity", NO_WAF),
    ("enable-multi-accept", Useless("a worker accepts as long as somebody waits")),
    ("enable-ocsp", NotYet),
    ("enable-opentelemetry", NotYet),
    ("enable-owasp-modsecurity-crs", NO_WAF),
    ("enable-real-ip", NotYet),
    ("enable-serial-reloads", Useless("nothing is reloaded")),
    ("enable-syslog", Refused("logs go to standard output")),
    ("enable-underscores-in-headers", NotYet),
    ("error-log-level", Useless("`--log-level` decides, for all addresses alike")),
    ("error-log-path", ONE_LOG),
    ("force-ssl-redirect", NotYet),
    ("forwarded-for-header", NotYet),
    ("forwarded-for-proxy-protocol-header", NotYet),
    ("generate-request-id", NotYet),
    ("geoip2-autoreload-in-minutes", Useless("no variable of it is there to be read")),
    ("global-allowed-response-headers", NotYet),
    ("global-auth-cache-duration", NotYet),
    ("global-auth-cache-key", NotYet),
    ("global-auth-method", NotYet),
    ("global-auth-request-redirect", NotYet),
    ("global-auth-response-headers", NotYet),
    ("global-auth-signin", NotYet),
    ("global-auth-signin-redirect-param", NotYet),
    ("global-auth-snippet", NGINX_TEXT),
    ("global-auth-url", NotYet),
    ("grpc-buffer-size-kb", STREAMED),
    ("gzip-disable", NotYet),
    ("gzip-level", NotYet),
    ("gzip-min-length", NotYet),
    ("gzip-types", NotYet),
    ("hide-headers", NotYet),
    ("hsts", NotYet),
    ("hsts-include-subdomains", NotYet),
    ("hsts-max-age", NotYet),
    ("hsts-preload", NotYet),
    ("http-access-log-path", ONE_LOG),
    ("http-redirect-code", NotYet),
    ("http-snippet", NGINX_TEXT),
    ("http2-max-concurrent-streams", NotYet),
    ("http2-max-field-size", Useless("gone from nginx, too: large-client-header-buffers decides")),
    ("http2-max-header-size", Useless("gone from nginx, too: large-client-header-buffers decides")),
    ("http2-max-requests", Useless("gone from nginx, too: keep-alive-requests decides")),
    ("ignore-invalid-headers", NotYet),
    ("jaeger-baggage-header", JAEGER),
    ("jaeger-collector-host", JAEGER),
    ("jaeger-collector-port", JAEGER),
    ("jaeger-debug-header", JAEGER),
    ("jaeger-endpoint", JAEGER),
    ("jaeger-propagation-format", JAEGER),
    ("jaeger-sampler-host", JAEGER),
    ("jaeger-sampler-param", JAEGER),
    ("jaeger-sampler-port", JAEGER),
    ("jaeger-sampler-type", JAEGER),
    ("jaeger-service-name", JAEGER),
    ("jaeger-trace-baggage-header-prefix", JAEGER),
    ("jaeger-trace-context-header-name", JAEGER),
    ("keep-alive", NotYet),
    ("keep-alive-requests", NotYet),
    ("large-client-header-buffers", NotYet),
    ("limit-conn-status-code", NotYet),
    ("limit-conn-zone-variable", NotYet),
    ("limit-rate", NotYet),
    ("limit-rate-after", NotYet),
    ("limit-req-status-code", NotYet),
    ("load-balance", NotYet),
    ("location-snippet", NGINX_TEXT),
    ("log-format-escape-json", NotYet),
    ("log-format-escape-none", NotYet),
    ("log-format-stream", NotYet),
    ("log-format-upstream", NotYet),
    ("lua-shared-dicts", Useless("there is no Lua")),
    ("main-snippet", NGINX_TEXT),
    ("map-hash-bucket-size", HASHES),
    ("max-worker-connections", NotYet),
    ("max-worker-open-files", Useless("the limit of descriptors is the process's own")),
    ("modsecurity-snippet", NO_WAF),
    ("nginx-status-ipv4-whitelist", Useless("there is no status page of nginx")),
    ("nginx-status-ipv6-whitelist", Useless("there is no status page of nginx")),
    ("no-auth-locations", NotYet),
    ("no-tls-redirect-locations", NotYet),
    ("opentelemetry-config", Useless("the collector is named by otlp-collector-host")),
    ("opentelemetry-operation-name", NotYet),
    ("opentelemetry-trust-incoming-span", NotYet),
    ("otel-max-export-batch-size", NotYet),
    ("otel-max-queuesize", NotYet),
    ("otel-sampler", NotYet),
    ("otel-sampler-parent-based", NotYet),
    ("otel-sampler-ratio", NotYet),
    ("otel-schedule-delay-millis", NotYet),
    ("otel-service-name", NotYet),
    ("otlp-collector-host", NotYet),
    ("otlp-collector-port", NotYet),
    ("proxy-add-original-uri-header", NotYet),
    ("proxy-body-size", NotYet),
    ("proxy-buffer-size", NotYet),
    ("proxy-buffering", STREAMED),
    ("proxy-buffers-number", STREAMED),
    ("proxy-busy-buffers-size", STREAMED),
    ("proxy-connect-timeout", NotYet),
    ("proxy-cookie-domain", NotYet),
    ("proxy-cookie-path", NotYet),
    ("proxy-headers-hash-bucket-size", HASHES),
    ("proxy-headers-hash-max-size", HASHES),
    ("proxy-http-version", NotYet),
    ("proxy-max-temp-file-size", Useless("nothing is kept in files")),
    ("proxy-next-upstream", NotYet),
    ("proxy-next-upstream-timeout", NotYet),
    ("proxy-next-upstream-tries", NotYet),
    ("proxy-protocol-header-timeout", NotYet),
    ("proxy-read-timeout", NotYet),
    ("proxy-real-ip-cidr", NotYet),
    ("proxy-redirect-from", NotYet),
    ("proxy-redirect-to", NotYet),
    ("proxy-request-buffering", NotYet),
    ("proxy-send-timeout", NotYet),
    ("proxy-set-headers", NotYet),
    ("proxy-ssl-location-only", NotYet),
    ("proxy-stream-next-upstream", NotYet),
    ("proxy-stream-next-upstream-timeout", NotYet),
    ("proxy-stream-next-upstream-tries", NotYet),
    ("proxy-stream-responses", NotYet),
    ("proxy-stream-timeout", NotYet),
    ("relative-redirects", NotYet),
    ("retry-non-idempotent", NotYet),
    ("reuse-port", Useless("each worker has listeners of its own, whatever it says")),
    ("server-name-hash-bucket-size", HASHES),
    ("server-name-hash-max-size", HASHES),
    ("server-snippet", NGINX_TEXT),
    ("server-tokens", NotYet),
    ("service-upstream", NotYet),
    ("skip-access-log-urls", NotYet),
    ("ssl-buffer-size", Useless("records are as long as there is something to send, and short at first")),
    ("ssl-ciphers", NotYet),
    ("ssl-dh-param", Useless("finite-field Diffie-Hellman is not spoken")),
    ("ssl-early-data", NotYet),
    ("ssl-ecdh-curve", NotYet),
    ("ssl-protocols", NotYet),
    ("ssl-redirect", NotYet),
    ("ssl-reject-handshake", NotYet),
    ("ssl-session-cache", NotYet),
    ("ssl-session-cache-size", NotYet),
    ("ssl-session-ticket-key", NotYet),
    ("ssl-session-tickets", NotYet),
    ("ssl-session-timeout", NotYet),
    ("stream-access-log-path", ONE_LOG),
    ("stream-snippet", NGINX_TEXT),
    ("strict-validate-path-type", Useless("there is no admission webhook; paths are read strictly")),
    ("syslog-host", Refused("logs go to standard output")),
    ("syslog-port", Refused("logs go to standard output")),
    ("upstream-keepalive-connections", NotYet),
    ("upstream-keepalive-requests", NotYet),
    ("upstream-keepalive-time", NotYet),
    ("upstream-keepalive-timeout", NotYet),
    ("use-forwarded-headers", NotYet),
    ("use-geoip", Useless("no variable of it is there to be read")),
    ("use-geoip2", Refused("addresses are not located")),
    ("use-gzip", NotYet),
    ("use-http2", NotYet),
    ("use-proxy-protocol", NotYet),
    ("variables-hash-bucket-size", HASHES),
    ("variables-hash-max-size", HASHES),
    ("whitelist-source-range", NotYet),
    ("worker-cpu-affinity", Useless("threads run where the kernel puts them")),
    ("worker-processes", Useless("`--workers` says how many")),
    ("worker-shutdown-timeout", Useless("`--drain-deadline` says how long")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_and_every_key_is_found() {
        assert!(CATALOGUE.is_sorted_by(|(a, _), (b, _)| a < b));
        for known in configmap_keys() {
            assert_eq!(configmap_key(known.name), Some(known));
        }
        assert_eq!(configmap_key("ssl-redirects"), None);
    }
}

//! Every key of the ConfigMap that is known here, and what becomes of it: the twin of the catalogue of annotations.

use crate::annotations::Support;
use Support::{Differs, NotYet, Refused, Same, Useless};

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
const SNIPPET: Support = Differs(
    "the directives of docs/snippets.md alone; one outside of them leaves the key out, by its name and line",
);
const NGINX_TEXT: Support = Refused("text of another program's configuration is never run");
const NO_WAF: Support = Refused("there is no web application firewall here");
const ONE_LOG: Support = Useless("logs go to standard output and standard error");
const STREAMED: Support = Useless("bodies are streamed, with bounded buffers both ways");

/// Sorted by name.
#[rustfmt::skip]
const CATALOGUE: &[(&str, Support)] = &[
    ("access-log-params", ONE_LOG),
    ("access-log-path", ONE_LOG),
    ("add-headers", Same),
    ("allow-backend-server-header", Same),
    ("allow-cross-namespace-resources", Same),
    ("allow-snippet-annotations", Same),
    ("annotation-value-word-blocklist", Same),
    ("annotations-risk-level", Same),
    ("bind-address", FLAGS_BIND),
    ("block-cidrs", Differs("403 comes before all else, and for Ingresses with lists of their own too")),
    ("block-referers", Same),
    ("block-user-agents", Same),
    ("brotli-level", Same),
    ("brotli-min-length", Same),
    ("brotli-types", Same),
    ("client-body-buffer-size", STREAMED),
    ("client-body-timeout", Same),
    ("client-header-buffer-size", Useless("large-client-header-buffers says how long heads may be")),
    ("client-header-timeout", Differs("10 s unless it is set")),
    ("compute-full-forwarded-for", Same),
    ("custom-http-errors", Differs("as the annotation; with a default-backend of its own, an Ingress has it answer")),
    ("debug-connections", Useless("`--log-level` decides, for all addresses alike")),
    ("default-type", Useless("what the proxy answers by itself is HTML, and endpoints name the types of their own")),
    ("denylist-source-range", Same),
    ("disable-access-log", Same),
    ("disable-ipv6", FLAGS_BIND),
    ("disable-ipv6-dns", Useless("an address that cannot be reached is left out after its first failure")),
    ("disable-proxy-intercept-errors", Same),
    ("enable-access-log-for-default-backend", Useless("requests that no Ingress matches are logged once in any case")),
    ("enable-aio-write", STREAMED),
    ("enable-brotli", Same),
    ("enable-modsecurity", NO_WAF),
    ("enable-multi-accept", Useless("a worker accepts as long as somebody waits")),
    ("enable-ocsp", NotYet),
    ("enable-opentelemetry", Same),
    ("enable-owasp-modsecurity-crs", NO_WAF),
    ("enable-real-ip", Same),
    ("enable-serial-reloads", Useless("nothing is reloaded")),
    ("enable-syslog", Refused("logs go to standard output")),
    ("enable-underscores-in-headers", Same),
    ("error-log-level", Useless("`--log-level` decides, for all addresses alike")),
    ("error-log-path", ONE_LOG),
    ("force-ssl-redirect", Same),
    ("forwarded-for-header", Same),
    ("forwarded-for-proxy-protocol-header", Useless("no field passes the address on within the proxy")),
    ("generate-request-id", Same),
    ("geoip2-autoreload-in-minutes", Useless("no variable of it is there to be read")),
    ("global-allowed-response-headers", Same),
    ("global-auth-always-set-cookie", Same),
    ("global-auth-cache-duration", Same),
    ("global-auth-cache-key", Differs("kept in the memory of each worker")),
    ("global-auth-method", Differs("CONNECT is refused")),
    ("global-auth-request-redirect", Same),
    ("global-auth-response-headers", Differs("what belongs to the connection or says where a message ends is left out")),
    ("global-auth-signin", Same),
    ("global-auth-signin-redirect-param", Same),
    ("global-auth-snippet", Differs("proxy_set_header alone; anything else is left out as a whole")),
    ("global-auth-url", Differs("as auth-url; a bad one lets nobody in, and not everybody")),
    ("grpc-buffer-size-kb", STREAMED),
    ("gzip-disable", Same),
    ("gzip-level", Same),
    ("gzip-min-length", Same),
    ("gzip-types", Same),
    ("hide-headers", Same),
    ("hsts", Same),
    ("hsts-include-subdomains", Same),
    ("hsts-max-age", Same),
    ("hsts-preload", Same),
    ("http-access-log-path", ONE_LOG),
    ("http-redirect-code", Same),
    ("http-snippet", SNIPPET),
    ("http2-max-concurrent-streams", Same),
    ("http2-max-field-size", Useless("gone from nginx, too: large-client-header-buffers decides")),
    ("http2-max-header-size", Useless("gone from nginx, too: large-client-header-buffers decides")),
    ("http2-max-requests", Useless("gone from nginx, too: keep-alive-requests decides")),
    ("ignore-invalid-headers", Differs("a request with a field whose name is none is answered with 400, whatever it says")),
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
    ("keep-alive", Same),
    ("keep-alive-requests", Same),
    ("large-client-header-buffers", Differs("64k in all at most; until it is set, targets of 16k and fields of 32k")),
    ("limit-conn-status-code", Same),
    ("limit-conn-zone-variable", Differs("clients are told apart by their address alone")),
    ("limit-rate", Same),
    ("limit-rate-after", Same),
    ("limit-req-status-code", Same),
    ("load-balance", Differs("round_robin and ewma")),
    ("location-snippet", SNIPPET),
    ("log-format-escape-json", Same),
    ("log-format-escape-none", Same),
    ("log-format-stream", Differs("as log-format-upstream")),
    ("log-format-upstream", Differs("unknown variables are reported, and the default is kept; $remote_user is empty, $http_host without its port")),
    ("lua-shared-dicts", Useless("there is no Lua")),
    ("main-snippet", NGINX_TEXT),
    ("map-hash-bucket-size", HASHES),
    ("max-worker-connections", Differs("connections of clients alone; no more than --max-connections")),
    ("max-worker-open-files", Useless("the limit of descriptors is the process's own")),
    ("modsecurity-snippet", NO_WAF),
    ("nginx-status-ipv4-whitelist", Useless("there is no status page of nginx")),
    ("nginx-status-ipv6-whitelist", Useless("there is no status page of nginx")),
    ("no-auth-locations", Same),
    ("no-tls-redirect-locations", Same),
    ("opentelemetry-config", Useless("the collector is named by otlp-collector-host")),
    ("opentelemetry-operation-name", Same),
    ("opentelemetry-trust-incoming-span", Same),
    ("otel-max-export-batch-size", Same),
    ("otel-max-queuesize", Same),
    ("otel-sampler", Same),
    ("otel-sampler-parent-based", Same),
    ("otel-sampler-ratio", Same),
    ("otel-schedule-delay-millis", Same),
    ("otel-service-name", Same),
    ("otlp-collector-host", Same),
    ("otlp-collector-port", Same),
    ("proxy-add-original-uri-header", Same),
    ("proxy-body-size", Same),
    ("proxy-buffer-size", Differs("as the annotation")),
    ("proxy-buffering", STREAMED),
    ("proxy-buffers-number", STREAMED),
    ("proxy-busy-buffers-size", STREAMED),
    ("proxy-connect-timeout", Same),
    ("proxy-cookie-domain", Same),
    ("proxy-cookie-path", Same),
    ("proxy-headers-hash-bucket-size", HASHES),
    ("proxy-headers-hash-max-size", HASHES),
    ("proxy-http-version", Same),
    ("proxy-max-temp-file-size", Useless("nothing is kept in files")),
    ("proxy-next-upstream", Differs("as the annotation")),
    ("proxy-next-upstream-timeout", Same),
    ("proxy-next-upstream-tries", Differs("as the annotation")),
    ("proxy-protocol-header-timeout", Same),
    ("proxy-read-timeout", Same),
    ("proxy-real-ip-cidr", Differs("a client outside it sets neither address, scheme, host nor port")),
    ("proxy-redirect-from", Same),
    ("proxy-redirect-to", Same),
    ("proxy-request-buffering", Differs("as the annotation: off unless it is on")),
    ("proxy-send-timeout", Same),
    ("proxy-set-headers", Differs("variables are those of upstream-hash-by; a field replaces the one of the proxy")),
    ("proxy-ssl-location-only", Differs("off, what the oldest Ingress of a host asks for holds for the paths of its own namespace alone")),
    ("proxy-stream-next-upstream", Same),
    ("proxy-stream-next-upstream-timeout", Same),
    ("proxy-stream-next-upstream-tries", Differs("0 tries every endpoint once")),
    ("proxy-stream-responses", Differs("a session that had all its answers is kept for 5 s more, and then takes more of them")),
    ("proxy-stream-timeout", Same),
    ("relative-redirects", Same),
    ("retry-non-idempotent", Same),
    ("reuse-port", Useless("each worker has listeners of its own, whatever it says")),
    ("server-name-hash-bucket-size", HASHES),
    ("server-name-hash-max-size", HASHES),
    ("server-snippet", SNIPPET),
    ("server-tokens", Differs("without it, the Server of endpoints passes; on, it is penstock")),
    ("service-upstream", Same),
    ("skip-access-log-urls", Same),
    ("ssl-buffer-size", Useless("records are as long as there is something to send, and short at first")),
    ("ssl-ciphers", NotYet),
    ("ssl-dh-param", Useless("finite-field Diffie-Hellman is not spoken")),
    ("ssl-early-data", Useless("early data is never taken: anybody could send it again")),
    ("ssl-ecdh-curve", NotYet),
    ("ssl-protocols", NotYet),
    ("ssl-redirect", Same),
    ("ssl-reject-handshake", NotYet),
    ("ssl-session-cache", NotYet),
    ("ssl-session-cache-size", NotYet),
    ("ssl-session-ticket-key", Useless("keys are made at random and change by themselves; no other replica has them")),
    ("ssl-session-tickets", NotYet),
    ("ssl-session-timeout", NotYet),
    ("stream-access-log-path", ONE_LOG),
    ("stream-snippet", NGINX_TEXT),
    ("strict-validate-path-type", Useless("there is no admission webhook; paths are read strictly")),
    ("syslog-host", Refused("logs go to standard output")),
    ("syslog-port", Refused("logs go to standard output")),
    ("upstream-keepalive-connections", Same),
    ("upstream-keepalive-requests", Same),
    ("upstream-keepalive-time", Same),
    ("upstream-keepalive-timeout", Same),
    ("use-forwarded-headers", Same),
    ("use-geoip", Useless("no variable of it is there to be read")),
    ("use-geoip2", Refused("addresses are not located")),
    ("use-gzip", Same),
    ("use-http2", Same),
    ("use-proxy-protocol", Same),
    ("variables-hash-bucket-size", HASHES),
    ("variables-hash-max-size", HASHES),
    ("whitelist-source-range", Same),
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

//! Every annotation that is known here, and what becomes of it: the list that the README's table, the
//! problems and the reading of values share.

use self::Support::{NotYet, Refused, Same, Useless};

/// What becomes of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// As in ingress-nginx.
    Same,
    /// Honoured, not quite as in ingress-nginx.
    Differs(&'static str),
    /// Taken for what it is and without effect: why nothing is lost.
    Useless(&'static str),
    /// The Ingress is not accepted, and why.
    Refused(&'static str),
    /// Not honoured yet: said in a problem, and if it is meant to keep somebody out, the Ingress is not
    /// accepted.
    NotYet,
}

/// One annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name, after the prefix.
    pub name: &'static str,
    /// What becomes of it.
    pub support: Support,
}

impl Known {
    /// Whether leaving it out would let somebody in who is meant to stay out.
    pub(super) fn guards(self) -> bool {
        self.name.starts_with("auth-") || GUARDS.contains(&self.name)
    }
}

/// The entry of `name`.
pub(super) fn find(name: &str) -> Option<Known> {
    let place = CATALOGUE.binary_search_by(|(known, _)| (*known).cmp(name));
    let (name, support) = *CATALOGUE.get(place.ok()?)?;
    Some(Known { name, support })
}

/// Every annotation, by name.
pub fn catalogue() -> impl Iterator<Item = Known> {
    CATALOGUE.iter().map(|(name, support)| Known {
        name,
        support: *support,
    })
}

/// Annotations that keep somebody out, beside those that begin with `auth-`.
const GUARDS: [&str; 6] = [
    "allowlist-source-range",
    "denylist-source-range",
    "enable-modsecurity",
    "limit-connections",
    "satisfy",
    "whitelist-source-range",
];

const NGINX_TEXT: Support = Refused("text of another program's configuration is never run");
const NO_FASTCGI: Support = Refused("FastCGI is not spoken");
const NO_WAF: Support = Refused("there is no web application firewall here");

/// Sorted by name.
#[rustfmt::skip]
const CATALOGUE: &[(&str, Support)] = &[
    ("affinity", NotYet),
    ("affinity-canary-behavior", NotYet),
    ("affinity-mode", NotYet),
    ("allowlist-source-range", NotYet),
    ("app-root", NotYet),
    ("auth-always-set-cookie", NotYet),
    ("auth-cache-duration", NotYet),
    ("auth-cache-key", NotYet),
    ("auth-keepalive", NotYet),
    ("auth-keepalive-requests", NotYet),
    ("auth-keepalive-share-vars", NotYet),
    ("auth-keepalive-timeout", NotYet),
    ("auth-method", NotYet),
    ("auth-proxy-set-headers", NotYet),
    ("auth-realm", NotYet),
    ("auth-request-redirect", NotYet),
    ("auth-response-headers", NotYet),
    ("auth-secret", NotYet),
    ("auth-secret-type", NotYet),
    ("auth-signin", NotYet),
    ("auth-signin-redirect-param", NotYet),
    ("auth-snippet", NGINX_TEXT),
    ("auth-tls-error-page", NotYet),
    ("auth-tls-match-cn", NotYet),
    ("auth-tls-pass-certificate-to-upstream", NotYet),
    ("auth-tls-secret", NotYet),
    ("auth-tls-verify-client", NotYet),
    ("auth-tls-verify-depth", NotYet),
    ("auth-type", NotYet),
    ("auth-url", NotYet),
    ("backend-protocol", Same),
    ("canary", NotYet),
    ("canary-by-cookie", NotYet),
    ("canary-by-header", NotYet),
    ("canary-by-header-pattern", NotYet),
    ("canary-by-header-value", NotYet),
    ("canary-weight", NotYet),
    ("canary-weight-total", NotYet),
    ("client-body-buffer-size", Useless("bodies are streamed")),
    ("configuration-snippet", NGINX_TEXT),
    ("connection-proxy-header", NotYet),
    ("cors-allow-credentials", NotYet),
    ("cors-allow-headers", NotYet),
    ("cors-allow-methods", NotYet),
    ("cors-allow-origin", NotYet),
    ("cors-expose-headers", NotYet),
    ("cors-max-age", NotYet),
    ("custom-headers", NotYet),
    ("custom-http-errors", NotYet),
    ("default-backend", NotYet),
    ("denylist-source-range", NotYet),
    ("disable-proxy-intercept-errors", NotYet),
    ("enable-access-log", NotYet),
    ("enable-cors", NotYet),
    ("enable-global-auth", NotYet),
    ("enable-modsecurity", NO_WAF),
    ("enable-opentelemetry", NotYet),
    ("enable-owasp-core-rules", NO_WAF),
    ("enable-rewrite-log", Useless("there is no rewrite log; `explain` tells")),
    ("fastcgi-index", NO_FASTCGI),
    ("fastcgi-params-configmap", NO_FASTCGI),
    ("force-ssl-redirect", Same),
    ("from-to-www-redirect", NotYet),
    ("http2-push-preload", Useless("browsers no longer take pushes")),
    ("limit-allowlist", NotYet),
    ("limit-burst-multiplier", NotYet),
    ("limit-connections", NotYet),
    ("limit-rate", NotYet),
    ("limit-rate-after", NotYet),
    ("limit-rpm", NotYet),
    ("limit-rps", NotYet),
    ("limit-whitelist", NotYet),
    ("load-balance", NotYet),
    ("mirror-host", NotYet),
    ("mirror-request-body", NotYet),
    ("mirror-target", NotYet),
    ("modsecurity-snippet", NO_WAF),
    ("modsecurity-transaction-id", NO_WAF),
    ("opentelemetry-operation-name", NotYet),
    ("opentelemetry-trust-incoming-span", NotYet),
    ("permanent-redirect", Same),
    ("permanent-redirect-code", Same),
    ("preserve-trailing-slash", Same),
    ("proxy-body-size", Same),
    ("proxy-buffer-size", NotYet),
    ("proxy-buffering", NotYet),
    ("proxy-buffers-number", NotYet),
    ("proxy-busy-buffers-size", NotYet),
    ("proxy-connect-timeout", NotYet),
    ("proxy-cookie-domain", NotYet),
    ("proxy-cookie-path", NotYet),
    ("proxy-http-version", NotYet),
    ("proxy-max-temp-file-size", Useless("nothing is kept in files")),
    ("proxy-next-upstream", NotYet),
    ("proxy-next-upstream-timeout", NotYet),
    ("proxy-next-upstream-tries", NotYet),
    ("proxy-read-timeout", NotYet),
    ("proxy-redirect-from", NotYet),
    ("proxy-redirect-to", NotYet),
    ("proxy-request-buffering", NotYet),
    ("proxy-send-timeout", NotYet),
    ("proxy-ssl-ciphers", NotYet),
    ("proxy-ssl-name", NotYet),
    ("proxy-ssl-protocols", NotYet),
    ("proxy-ssl-secret", NotYet),
    ("proxy-ssl-server-name", NotYet),
    ("proxy-ssl-verify", NotYet),
    ("proxy-ssl-verify-depth", NotYet),
    ("relative-redirects", NotYet),
    ("rewrite-target", NotYet),
    ("satisfy", NotYet),
    ("server-alias", NotYet),
    ("server-snippet", NGINX_TEXT),
    ("service-upstream", NotYet),
    ("session-cookie-change-on-failure", NotYet),
    ("session-cookie-conditional-samesite-none", NotYet),
    ("session-cookie-domain", NotYet),
    ("session-cookie-expires", NotYet),
    ("session-cookie-max-age", NotYet),
    ("session-cookie-name", NotYet),
    ("session-cookie-path", NotYet),
    ("session-cookie-samesite", NotYet),
    ("session-cookie-secure", NotYet),
    ("ssl-ciphers", NotYet),
    ("ssl-passthrough", NotYet),
    ("ssl-prefer-server-ciphers", NotYet),
    ("ssl-redirect", Same),
    ("stream-snippet", NGINX_TEXT),
    ("temporal-redirect", Same),
    ("temporal-redirect-code", Same),
    ("upstream-hash-by", NotYet),
    ("upstream-hash-by-subset", NotYet),
    ("upstream-hash-by-subset-size", NotYet),
    ("upstream-vhost", NotYet),
    ("use-port-in-redirects", NotYet),
    ("use-regex", NotYet),
    ("whitelist-source-range", NotYet),
    ("x-forwarded-prefix", NotYet),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_and_every_name_is_found() {
        assert!(CATALOGUE.is_sorted_by(|(a, _), (b, _)| a < b));
        for known in catalogue() {
            assert_eq!(find(known.name), Some(known));
        }
        assert_eq!(find("ssl-redirects"), None);
    }
}

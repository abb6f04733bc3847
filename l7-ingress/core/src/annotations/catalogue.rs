//! Every annotation that is known here, and what becomes of it: the list that the README's table, the
//! problems and the reading of values share.

use self::Support::{Differs, NotYet, Refused, Same, Useless};

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
    #[must_use]
    pub fn guards(self) -> bool {
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

const SNIPPET: Support = Differs(
    "the directives of docs/snippets.md alone; one outside of them refuses the Ingress, by its name and line",
);
const NGINX_TEXT: Support = Refused("text of another program's configuration is never run");
const NO_FASTCGI: Support = Refused("FastCGI is not spoken");
const NO_WAF: Support = Refused("there is no web application firewall here");

/// Sorted by name.
#[rustfmt::skip]
const CATALOGUE: &[(&str, Support)] = &[
    ("affinity", Same),
    ("affinity-canary-behavior", Differs("legacy asks the rules for every request; there, a session of the main backend stays")),
    ("affinity-mode", Same),
    ("allowlist-source-range", Same),
    ("app-root", Same),
    ("auth-always-set-cookie", Same),
    ("auth-cache-duration", Differs("a bad one answers 503 in any case")),
    ("auth-cache-key", Differs("kept in the memory of each worker; answers of another auth-url count no more")),
    ("auth-keepalive", Differs("connections are kept where it is not set, too; 0 keeps none. Counted for each worker, over HTTP/2 and with variables in the host as well")),
    ("auth-keepalive-requests", Differs("with auth-keepalive alone; without, as upstream-keepalive-requests")),
    ("auth-keepalive-share-vars", Useless("a request has its variables whatever is asked")),
    ("auth-keepalive-timeout", Differs("with auth-keepalive alone; without, as upstream-keepalive-timeout")),
    ("auth-method", Differs("CONNECT is refused")),
    ("auth-proxy-set-headers", Same),
    ("auth-realm", Same),
    ("auth-request-redirect", Same),
    ("auth-response-headers", Differs("what belongs to the connection or says where a message ends is left out")),
    ("auth-secret", Differs("passwords in the DES form of crypt(3) are refused, line by line")),
    ("auth-secret-type", Same),
    ("auth-signin", Same),
    ("auth-signin-redirect-param", Same),
    ("auth-snippet", Differs("proxy_set_header alone; anything else refuses the Ingress")),
    ("auth-tls-error-page", Differs("an http or https URL without variables")),
    ("auth-tls-match-cn", Differs("expressions without look-around and back-references")),
    ("auth-tls-pass-certificate-to-upstream", Same),
    ("auth-tls-secret", Differs("without a ca.crt nobody is let in, and with verification on, nor is plain HTTP")),
    ("auth-tls-verify-client", Same),
    ("auth-tls-verify-depth", Same),
    ("auth-type", Differs("basic alone; digest refuses the Ingress")),
    ("auth-url", Differs("the server is told no X-Original-* of the client, and X-Forwarded-* only with use-forwarded-headers")),
    ("backend-protocol", Same),
    ("canary", Differs("of the paths that lead to one Service, it takes part in those alone that it names; it answers where the main Service has no endpoint, too")),
    ("canary-by-cookie", Same),
    ("canary-by-header", Same),
    ("canary-by-header-pattern", Differs("expressions without look-around and back-references; others match nothing")),
    ("canary-by-header-value", Same),
    ("canary-weight", Same),
    ("canary-weight-total", Same),
    ("client-body-buffer-size", Useless("bodies are streamed")),
    ("configuration-snippet", SNIPPET),
    ("connection-proxy-header", Differs("close or keep-alive alone; both end upgrades")),
    ("cors-allow-credentials", Same),
    ("cors-allow-headers", Same),
    ("cors-allow-methods", Same),
    ("cors-allow-origin", Differs("an Origin has to match as a whole, not with its end alone")),
    ("cors-expose-headers", Same),
    ("cors-max-age", Same),
    ("custom-headers", Same),
    ("custom-http-errors", Differs("answers of filters, such as 401, stay as they are, and so do all without a default backend; a body is not sent twice")),
    ("default-backend", Same),
    ("denylist-source-range", Same),
    ("disable-proxy-intercept-errors", Same),
    ("enable-access-log", Same),
    ("enable-cors", Same),
    ("enable-global-auth", Same),
    ("enable-modsecurity", NO_WAF),
    ("enable-opentelemetry", Same),
    ("enable-owasp-core-rules", NO_WAF),
    ("enable-rewrite-log", Useless("there is no rewrite log; `explain` tells")),
    ("fastcgi-index", NO_FASTCGI),
    ("fastcgi-params-configmap", NO_FASTCGI),
    ("force-ssl-redirect", Same),
    ("from-to-www-redirect", Same),
    ("http2-push-preload", Useless("browsers no longer take pushes")),
    ("limit-allowlist", Same),
    ("limit-burst-multiplier", Same),
    ("limit-connections", Same),
    ("limit-rate", Same),
    ("limit-rate-after", Same),
    ("limit-rpm", Same),
    ("limit-rps", Same),
    ("limit-whitelist", Same),
    ("load-balance", Same),
    ("mirror-host", NotYet),
    ("mirror-request-body", NotYet),
    ("mirror-target", NotYet),
    ("modsecurity-snippet", NO_WAF),
    ("modsecurity-transaction-id", NO_WAF),
    ("opentelemetry-operation-name", Same),
    ("opentelemetry-trust-incoming-span", Same),
    ("permanent-redirect", Same),
    ("permanent-redirect-code", Same),
    ("preserve-trailing-slash", Same),
    ("proxy-body-size", Same),
    ("proxy-buffer-size", Differs("a minimum: heads of responses may have 64k whatever it says, and 1m at most")),
    ("proxy-buffering", Useless("bodies are streamed, with bounded buffers both ways")),
    ("proxy-buffers-number", Useless("bodies are streamed")),
    ("proxy-busy-buffers-size", Useless("bodies are streamed")),
    ("proxy-connect-timeout", Same),
    ("proxy-cookie-domain", Same),
    ("proxy-cookie-path", Same),
    ("proxy-http-version", Same),
    ("proxy-max-temp-file-size", Useless("nothing is kept in files")),
    ("proxy-next-upstream", Differs("an endpoint that failed is not tried again; one that answered is, if there is no other")),
    ("proxy-next-upstream-timeout", Same),
    ("proxy-next-upstream-tries", Differs("0 tries every endpoint once")),
    ("proxy-read-timeout", Same),
    ("proxy-redirect-from", Same),
    ("proxy-redirect-to", Same),
    ("proxy-request-buffering", Differs("off unless it is on; then 16m of a body are held in memory, and the rest is streamed")),
    ("proxy-send-timeout", Same),
    ("proxy-ssl-ciphers", Differs("the suites that are spoken here; below TLS 1.3 alone, as in OpenSSL")),
    ("proxy-ssl-name", Differs("no variables; SERVICE.NAMESPACE.svc or the external name unless it is set; the common name of a certificate does not count")),
    ("proxy-ssl-protocols", Differs("TLSv1.2 and TLSv1.3, both unless it is set; older ones are not spoken")),
    ("proxy-ssl-secret", Differs("its certificate is shown without ca.crt, too, and its ca.crl is honoured; it holds for the others of a host in its own namespace alone")),
    ("proxy-ssl-server-name", Same),
    ("proxy-ssl-verify", Differs("on without ca.crt in the Secret answers 503; there, nothing is verified")),
    ("proxy-ssl-verify-depth", Same),
    ("relative-redirects", Same),
    ("rewrite-target", Differs("no variable but $1 to $9 is known, doubled slashes are merged, and what would climb is answered with 400")),
    ("satisfy", Same),
    ("server-alias", Differs("names and wildcards alone, no regular expressions")),
    ("server-snippet", SNIPPET),
    ("service-upstream", Same),
    ("session-cookie-change-on-failure", Differs("without it a retry goes to another endpoint too, and the cookie stays")),
    ("session-cookie-conditional-samesite-none", Same),
    ("session-cookie-domain", Same),
    ("session-cookie-expires", Same),
    ("session-cookie-max-age", Same),
    ("session-cookie-name", Same),
    ("session-cookie-path", Same),
    ("session-cookie-samesite", Same),
    ("session-cookie-secure", Same),
    ("ssl-ciphers", NotYet),
    ("ssl-passthrough", Differs("to the endpoints of the root path, not to the Service's address; wildcard hosts, too; no Ingress of another namespace can ask for it")),
    ("ssl-passthrough-proxy-protocol", Differs("there is none there: whether endpoints are sent a PROXY header, off unless set")),
    ("ssl-prefer-server-ciphers", NotYet),
    ("ssl-redirect", Same),
    ("stream-snippet", NGINX_TEXT),
    ("temporal-redirect", Same),
    ("temporal-redirect-code", Same),
    ("upstream-hash-by", Differs("rendezvous hashing: as even and as stable, and other endpoints than there")),
    ("upstream-hash-by-subset", Differs("as upstream-hash-by")),
    ("upstream-hash-by-subset-size", Same),
    ("upstream-vhost", Differs("a host alone, no variables")),
    ("use-port-in-redirects", Same),
    ("use-regex", Same),
    ("whitelist-source-range", Same),
    ("x-forwarded-prefix", Differs("no variable but $1 to $9 is known")),
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

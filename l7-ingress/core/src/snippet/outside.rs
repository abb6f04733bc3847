//! What is said of directives that are not read here.

/// The most specific reason: by name, or by what the name begins or ends with.
pub(super) fn reason(name: &str) -> String {
    let known = KNOWN.iter().find(|(pattern, _)| fits(name, pattern));
    match known {
        Some((_, why)) => format!("is not read here: {why}"),
        None => "is not one of the directives that are read here".to_owned(),
    }
}

fn fits(name: &str, pattern: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => name.starts_with(start),
        (_, Some(end)) => name.ends_with(end),
        (None, None) => name == pattern,
    }
}

/// In the order in which they are looked for.
#[rustfmt::skip]
const KNOWN: [(&str, &str); 46] = [
    ("*_by_lua", "no code is run"),
    ("*_by_lua_block", "no code is run"),
    ("*_by_lua_file", "no code is run"),
    ("lua_*", "no code is run"),
    ("js_*", "no code is run"),
    ("perl*", "no code is run"),
    ("load_module", "no code is loaded"),
    ("include", "no file is read"),
    ("root", "no file is served"),
    ("alias", "no file is served"),
    ("index", "no file is served"),
    ("try_files", "no file is served"),
    ("autoindex*", "no file is served"),
    ("location", "paths are for the rules of an Ingress"),
    ("server", "hosts are for the rules of an Ingress"),
    ("server_name", "hosts are for the rules of an Ingress and server-alias"),
    ("listen", "ports are for flags"),
    ("upstream", "endpoints are for Services"),
    ("map", "maps belong to no level that is read; use if and set"),
    ("geo*", "there is no database of places"),
    ("proxy_pass", "the path's Service is where requests go"),
    ("grpc_pass", "use the annotation backend-protocol"),
    ("fastcgi_*", "FastCGI is not spoken"),
    ("uwsgi_*", "uwsgi is not spoken"),
    ("proxy_cache*", "nothing is cached"),
    ("proxy_redirect", "use the annotations proxy-redirect-from and proxy-redirect-to"),
    ("proxy_cookie_domain", "use the annotation proxy-cookie-domain"),
    ("proxy_cookie_path", "use the annotation proxy-cookie-path"),
    ("proxy_next_upstream*", "use the annotation of the same name"),
    ("proxy_ssl_*", "use the annotation of the same name"),
    ("proxy_intercept_errors", "use the annotation custom-http-errors"),
    ("error_page", "use the annotation custom-http-errors"),
    ("auth_basic*", "use the annotations auth-type and auth-secret"),
    ("auth_request_set", "use the annotation auth-response-headers"),
    ("auth_request*", "use the annotation auth-url"),
    ("limit_req*", "use the annotation limit-rps or limit-rpm"),
    ("limit_conn*", "use the annotation limit-connections"),
    ("limit_rate*", "use the annotation limit-rate"),
    ("modsecurity*", "there is no web application firewall"),
    ("sub_filter*", "bodies are not changed"),
    ("gzip*", "use the ConfigMap's use-gzip"),
    ("brotli*", "use the ConfigMap's enable-brotli"),
    ("ssl_*", "use annotations and the ConfigMap"),
    ("underscores_in_headers", "use the ConfigMap's enable-underscores-in-headers"),
    ("set_real_ip_from", "use the ConfigMap's proxy-real-ip-cidr"),
    ("mirror*", "use the annotation mirror-target"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_told_where_they_belong() {
        for (name, part) in [
            ("access_by_lua_block", "no code"),
            ("proxy_cache_valid", "cached"),
            ("proxy_pass", "Service"),
            ("auth_request", "auth-url"),
            ("auth_request_set", "auth-response-headers"),
            ("nonsense", "not one of the directives"),
        ] {
            assert!(reason(name).contains(part), "{name}: {}", reason(name));
        }
    }
}

//! Two lines: a host and a path. Their canonical forms are what they claim to be.

use l7_ingress_core::{host, path};

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (name, target) = text.split_once('\n').unwrap_or((text, "/"));
    if let Ok(canonical) = host::canonical(name) {
        assert!(!canonical.is_empty());
        assert!(!canonical.ends_with('.'));
        assert!(
            !canonical.contains(|char: char| char.is_ascii_uppercase() || "@/ ".contains(char))
        );
        assert_eq!(host::canonical(&canonical).as_deref(), Ok(&*canonical));
        assert_eq!(
            host::same_authority(name, &canonical.to_ascii_uppercase()),
            Ok(has_default_port(name))
        );
    }
    if let Ok(normal) = path::normalise(target) {
        assert!(normal.starts_with('/'));
        assert!(!normal.contains("//"));
        assert!(!normal.contains(|char: char| char.is_ascii_control()));
        assert!(
            !normal
                .split('/')
                .any(|segment| segment == "." || segment == "..")
        );
        assert_eq!(path::normalise(&normal).as_deref(), Ok(&*normal));
    }
}

/// Whether a host that is in order has no port, or one that may be left out.
fn has_default_port(host: &str) -> bool {
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    host.ends_with(']') || port.is_empty() || matches!(port.parse(), Ok(80 | 443))
}

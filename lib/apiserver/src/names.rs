//! The spelling rules of names, labels and annotations.

/// An RFC 1123 label: what namespaces and Services' ports are called.
pub(crate) fn dns_label(name: &str) -> Result<(), &'static str> {
    match name.len() <= 63 && is_dns_label(name) {
        true => Ok(()),
        false => Err(
            "a lowercase RFC 1123 label must consist of at most 63 lower case alphanumeric \
             characters or '-', and must start and end with an alphanumeric character (e.g. \
             'my-name',  or '123-abc')",
        ),
    }
}

/// An RFC 1035 label: what Services are called.
pub(crate) fn dns_1035_label(name: &str) -> Result<(), &'static str> {
    match dns_label(name).is_ok() && name.starts_with(|char: char| char.is_ascii_lowercase()) {
        true => Ok(()),
        false => Err(
            "a DNS-1035 label must consist of at most 63 lower case alphanumeric characters or \
             '-', start with an alphabetic character, and end with an alphanumeric character \
             (e.g. 'my-name',  or 'abc-123')",
        ),
    }
}

/// An RFC 1123 subdomain: what most objects are called.
pub(crate) fn dns_subdomain(name: &str) -> Result<(), &'static str> {
    match name.len() <= 253 && name.split('.').all(is_dns_label) {
        true => Ok(()),
        false => Err(
            "a lowercase RFC 1123 subdomain must consist of at most 253 lower case alphanumeric \
             characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
             'example.com')",
        ),
    }
}

/// A name that can be one segment of a URL path.
pub(crate) fn path_segment(name: &str) -> Result<(), &'static str> {
    match name {
        "." | ".." => Err("may not be '.' or '..'"),
        name if name.contains(['/', '%']) => Err("may not contain '/' or '%'"),
        _ => Ok(()),
    }
}

/// `name`, or `prefix/name` with a DNS subdomain as prefix.
pub(crate) fn label_key(key: &str) -> Result<(), &'static str> {
    const WHY: &str = "a qualified name must consist of at most 63 alphanumeric characters, '-', \
                       '_' or '.', and must start and end with an alphanumeric character, with an \
                       optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
    let (prefix, name) = key
        .rsplit_once('/')
        .map_or((None, key), |(a, b)| (Some(a), b));
    let good = !name.is_empty()
        && label_value(name).is_ok()
        && prefix.is_none_or(|prefix| dns_subdomain(prefix).is_ok());
    good.then_some(()).ok_or(WHY)
}

/// Empty, or up to 63 characters.
pub(crate) fn label_value(value: &str) -> Result<(), &'static str> {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    let good =
        bytes.len() <= 63 && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last());
    good.then_some(()).ok_or(
        "a valid label must be an empty string or consist of at most 63 alphanumeric characters, \
         '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue', \
         or 'my_value', or '12345')",
    )
}

fn is_dns_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty()
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling() {
        let long = "a".repeat(64);
        for (name, label, subdomain, key) in [
            ("a", true, true, true),
            ("", false, false, false),
            ("a.b", false, true, true),
            ("a..b", false, false, true),
            ("-a", false, false, false),
            ("a-", false, false, false),
            ("A", false, false, true),
            ("a_b", false, false, true),
            ("a/b", false, false, true),
            ("A/b", false, false, false),
            ("/b", false, false, false),
            (&long, false, true, false),
        ] {
            assert_eq!(dns_label(name).is_ok(), label, "label {name:?}");
            assert_eq!(dns_subdomain(name).is_ok(), subdomain, "subdomain {name:?}");
            assert_eq!(label_key(name).is_ok(), key, "key {name:?}");
        }
        assert!(dns_1035_label("1a").is_err());
        assert!(dns_1035_label("a1").is_ok());
    }
}

use proptest::prelude::*;

use super::*;

fn check(path: &str, expect: Result<&str, PathError>) {
    assert_eq!(
        normalise(path).as_deref(),
        expect.as_ref().copied(),
        "{path:?}"
    );
}

#[test]
fn nothing_to_do() {
    for path in [
        "/",
        "/a",
        "/a/b/",
        "/a;x=1/b",
        "/.well-known/x",
        "/a..b/.c/...",
        "/ä",
        "/a%25b",
        "/%FF",
        "/a+b",
    ] {
        check(path, Ok(path));
        assert!(matches!(normalise(path), Ok(Cow::Borrowed(_))), "{path}");
    }
    check("*", Ok("/"));
}

#[test]
fn dots_and_slashes() {
    check("/a/./b", Ok("/a/b"));
    check("/a/../admin", Ok("/admin"));
    check("/a/b/..", Ok("/a/"));
    check("/a/b/.", Ok("/a/b/"));
    check("/a/..", Ok("/"));
    check("/.", Ok("/"));
    check("//", Ok("/"));
    check("/a//b", Ok("/a/b"));
    check("/a/b//", Ok("/a/b/"));
    check("///a/.//./b", Ok("/a/b"));
    check("/a//../b", Ok("/b"));
    check("/a/.../b", Ok("/a/.../b"));
    for path in [
        "/..",
        "/../",
        "/a/../..",
        "/a/../../b",
        "//..",
        "/./..",
        "/%2e%2e",
    ] {
        check(path, Err(PathError::AboveRoot));
    }
}

#[test]
fn encodings() {
    check("/%61dmin", Ok("/admin"));
    check("/a/%2e%2e/admin", Ok("/admin"));
    check("/a/.%2E/admin", Ok("/admin"));
    check("/a%2Fb", Ok("/a/b"));
    check("/a%2f..%2Fb", Ok("/b"));
    check("/a%2f%2fb", Ok("/a/b"));
    check("/a%3Fb%23c", Ok("/a?b#c"));
    check("/a%20b", Ok("/a b"));
    check("/%C3%A4", Ok("/ä"));
    check("/%c3", Ok("/%C3"));
    check("/%c0%ae%c0%ae/", Ok("/%C0%AE%C0%AE/"));
    check("/%c3%c3%a4", Ok("/%C3ä"));
    check("/%0d%0aX", Ok("/%0D%0AX"));
    check("/%7f", Ok("/%7F"));
    check("/a\\..\\b", Ok("/a\\..\\b"));
    check("/%5c..%5c", Ok("/\\..\\"));
}

#[test]
fn decoded_only_once() {
    check("/%252e%252e/a", Ok("/%252e%252e/a"));
    check("/%252Fa", Ok("/%252Fa"));
    check("/%25FF", Ok("/%25FF"));
    check("/%25%46%46", Ok("/%25FF"));
}

#[test]
fn refused() {
    for path in ["", "a", "?", "**", "http://a/", "%2Fa", "a:80"] {
        check(path, Err(PathError::NotAbsolute));
    }
    for path in ["/%", "/%1", "/%zz", "/%+1", "/%1g", "/a%", "/%u0041", "/%ä"] {
        check(path, Err(PathError::Encoding));
    }
    check("/a%00b", Err(PathError::Nul));
    check("/a\0b", Err(PathError::Nul));
}

/// What the form stands for: bytes.
fn bytes_of(normal: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(normal).collect()
}

proptest! {
    #[test]
    fn the_form_of_the_form_is_itself(path in r"(/|%2[ef]|\.|%25|%|[a-f0-9]|%[A-Fa-f0-9]{2}|ä|\?|\PC){0,24}") {
        let path = format!("/{path}");
        if let Ok(normal) = normalise(&path) {
            prop_assert!(normal.starts_with('/'));
            prop_assert!(!normal.contains("//"));
            prop_assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."));
            prop_assert!(!normal.chars().any(|char| char.is_ascii_control()));
            let twice = normalise(&normal);
            prop_assert_eq!(twice.as_deref(), Ok(normal.as_ref()));
        }
    }

    #[test]
    fn forms_are_equal_only_if_bytes_are(a in "(/|%[ef][0-9a-f]|%25|f){0,6}", b in "(/|%[ef][0-9a-f]|%25|F){0,6}") {
        if let (Ok(a), Ok(b)) = (normalise(&format!("/{a}")), normalise(&format!("/{b}"))) {
            prop_assert_eq!(a == b, bytes_of(&a) == bytes_of(&b));
        }
    }

    #[test]
    fn encoding_a_byte_changes_nothing(path in "(/[a-c.]{0,3}){1,5}", at in 1_usize..20) {
        let plain = normalise(&path);
        let encoded: String = path.char_indices().map(|(i, char)| match i {
            i if i == at => format!("%{:02x}", u32::from(char)),
            _ => char.to_string(),
        }).collect();
        prop_assert_eq!(normalise(&encoded), plain);
    }
}

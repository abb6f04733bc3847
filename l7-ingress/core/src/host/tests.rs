use proptest::prelude::*;

use super::*;

fn check(host: &str, expect: Result<&str, HostError>) {
    assert_eq!(
        canonical(host).as_deref(),
        expect.as_ref().copied(),
        "{host:?}"
    );
}

#[test]
fn names() {
    check("shop.example", Ok("shop.example"));
    check("Shop.EXAMPLE", Ok("shop.example"));
    check("shop.example.", Ok("shop.example"));
    check("shop.example:8080", Ok("shop.example"));
    check("shop.example.:8080", Ok("shop.example"));
    check("shop.example:", Ok("shop.example"));
    check("a", Ok("a"));
    check("a_b-c.1", Ok("a_b-c.1"));
    check("xn--bcher-kva.example", Ok("xn--bcher-kva.example"));
    check("192.0.2.1:80", Ok("192.0.2.1"));
}

#[test]
fn addresses() {
    check("[::1]", Ok("[::1]"));
    check("[2001:DB8::0001]:443", Ok("[2001:db8::1]"));
    check("[2001:db8:0:0:0:0:0:1]", Ok("[2001:db8::1]"));
    check("[::ffff:192.0.2.1]:1", Ok("[::ffff:192.0.2.1]"));
    for bad in [
        "[",
        "[]",
        "[::1",
        "[::1%eth0]",
        "[v1.fe80]",
        "[1.2.3.4]",
        "[::1::]",
    ] {
        check(bad, Err(HostError::Address));
    }
    check("[::1]x", Err(HostError::Port));
    check("[::1].", Err(HostError::Port));
    check("[::1]80", Err(HostError::Port));
    check("[::1]@b", Err(HostError::Userinfo));
    check("::1", Err(HostError::Port));
}

#[test]
fn refused() {
    let long_label = "a".repeat(64);
    let long_name = ["a".repeat(63).as_str(); 4].join(".");
    let cases: &[(&str, HostError)] = &[
        ("", HostError::Empty),
        (".", HostError::Empty),
        (":80", HostError::Empty),
        ("a:80@b", HostError::Userinfo),
        ("a@b", HostError::Userinfo),
        ("a:b@c:80", HostError::Userinfo),
        ("a b", HostError::Character),
        (" a", HostError::Character),
        ("a\t", HostError::Character),
        ("a\0", HostError::Character),
        ("a/b", HostError::Character),
        ("a\\b", HostError::Character),
        ("a%2eb", HostError::Character),
        ("a,b", HostError::Character),
        ("a?b", HostError::Character),
        ("a#b", HostError::Character),
        ("*.example", HostError::Character),
        ("bücher.example", HostError::Character),
        ("a]", HostError::Character),
        ("a..b", HostError::Label),
        ("a..", HostError::Label),
        (".a", HostError::Label),
        ("..", HostError::Label),
        (&long_label, HostError::Label),
        (&long_name, HostError::TooLong),
        ("a:65536", HostError::Port),
        ("a:-1", HostError::Port),
        ("a:+1", HostError::Port),
        ("a:0x50", HostError::Port),
        ("a:80:80", HostError::Port),
        ("a: 80", HostError::Port),
        ("a:000080", HostError::Port),
    ];
    for &(host, error) in cases {
        check(host, Err(error));
    }
}

#[test]
fn authorities() {
    for (a, b, same) in [
        ("a", "A.", true),
        ("a:80", "a", true),
        ("a", "a:443", true),
        ("a:8080", "a:8080", true),
        ("a:8080", "a", false),
        ("a:80", "a:443", false),
        ("a", "b", false),
        ("[::1]:80", "[0::1]", true),
    ] {
        assert_eq!(same_authority(a, b), Ok(same), "{a} {b}");
        assert_eq!(same_authority(b, a), Ok(same), "{b} {a}");
    }
    assert_eq!(same_authority("a", "a@b"), Err(HostError::Userinfo));
}

#[test]
fn borrows_what_is_canonical() {
    for host in ["shop.example", "shop.example.:80", "[::1]:80"] {
        assert!(matches!(canonical(host), Ok(Cow::Borrowed(_))), "{host}");
    }
}

proptest! {
    #[test]
    fn canonical_is_idempotent(host in r"([\[\]A-Za-z0-9.:_@ -]{0,20}|[A-Za-z0-9.-]{1,12}(:[0-9]{0,6})?|\PC*)") {
        if let Ok(once) = canonical(&host) {
            let twice = canonical(&once);
            prop_assert_eq!(twice.as_deref(), Ok(once.as_ref()));
            prop_assert!(!once.bytes().any(|b| b.is_ascii_uppercase()));
        }
    }

    #[test]
    fn case_port_and_dot_do_not_matter(name in "[A-Za-z0-9_-]{1,10}(\\.[A-Za-z0-9_-]{1,10}){0,3}", port: u16) {
        let expect = name.to_ascii_lowercase();
        let written = [name.clone(), format!("{name}."), format!("{name}:{port}"), format!("{name}.:{port}")];
        for host in written {
            let canonical = canonical(&host);
            prop_assert_eq!(canonical.as_deref(), Ok(expect.as_str()));
        }
    }
}

//! Hashes that htpasswd, OpenSSL and crypt(3) made.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core_v1;

use super::*;

const HASHES: [&str; 9] = [
    "$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ.",
    "$1$saltsalt$Yo6tRKYGO/jWyb1etwHDS/",
    "$5$saltsalt$yrhPKxCqiWcCE9h0g86j6Ugz7SDFdFm.BjU.d8RaQnC",
    "$6$saltsalt$e/5XKibXPLqVcfjpD.ouauaJrAOL5V0uo80Lt7n7EbRdRiCx3HbQ90yjOHr.G0T.mx79PEMRy8nmtr0qSYhQp1",
    "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy",
    "$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy",
    "{SHA}W8r/fyL/UzygmbNAjq2HbA67qac=",
    "{SSHA}EGDaq2GOKibY5p4cZ2MQU+X31EhhYmNk",
    "{PLAIN}open sesame",
];

fn data(entries: &[(&str, &str)]) -> SecretData {
    let entries = entries.iter();
    let entries =
        entries.map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    let secret = core_v1::Secret {
        data: Some(entries.collect()),
        ..core_v1::Secret::default()
    };
    SecretData::read(&secret).unwrap_or_default()
}

fn file(text: &str) -> Passwords {
    Passwords::read_file(&data(&[("auth", text)])).unwrap()
}

#[test]
fn every_format_knows_its_password_and_no_other() {
    for hash in HASHES {
        let users = file(&format!("joe:{hash}\n"));
        assert_eq!(users.faults().count(), 0, "{hash}");
        assert!(users.check(b"joe", b"open sesame"), "{hash}");
        for wrong in ["", "open sesam", "open sesame ", "OPEN SESAME", hash] {
            assert!(!users.check(b"joe", wrong.as_bytes()), "{hash}: {wrong:?}");
        }
        assert!(!users.check(b"eve", b"open sesame"), "{hash}");
    }
}

#[test]
fn passwords_of_any_length_are_hashed_with_md5() {
    for (hash, password) in [
        ("$apr1$ab$S8K6Sgp3W8c9Jb6LxgywZ.", ""),
        (
            "$apr1$12345678$jHQw1WVd3TxS66W/UZH8t0",
            "a password that is much longer than sixteen bytes",
        ),
    ] {
        let users = file(&format!("joe:{hash}"));
        assert!(users.check(b"joe", password.as_bytes()), "{hash}");
        assert!(!users.check(b"joe", b"x"), "{hash}");
    }
}

#[test]
fn the_first_line_of_a_user_counts_and_comments_do_not() {
    let users = file("# joe:{PLAIN}no\r\n\r\njoe:{PLAIN}yes:a comment\r\njoe:{PLAIN}late\n");
    assert_eq!(users.faults().count(), 0);
    assert!(users.check(b"joe", b"yes"));
    for wrong in ["no", "late", "yes:a comment"] {
        assert!(!users.check(b"joe", wrong.as_bytes()), "{wrong}");
    }
    assert!(!users.check(b"# joe", b"no"));
}

#[test]
fn what_is_no_hash_is_named_and_lets_nobody_in() {
    for bad in [
        "rqXexS6ZhobKA",
        "open sesame",
        "",
        "{SHA}short",
        "{SSHA}****",
        "$apr1$saltsalt$short",
        "$apr1$toolongasalt$HIDXe7D36X22w1CH4M1cQ.",
        "$2b$04$short",
        "$2b$31$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy",
        "$6$rounds=999999999$saltsalt$x",
    ] {
        let users = file(&format!("\njoe:{bad}\nann:{{PLAIN}}in"));
        let places: Vec<_> = users.faults().map(|(place, _)| place).collect();
        assert_eq!(places, ["line 2"], "{bad:?}");
        assert!(!users.check(b"joe", bad.as_bytes()), "{bad:?}");
        assert!(users.check(b"ann", b"in"), "{bad:?}");
    }
    assert_eq!(file("joe").faults().next(), Some(("line 1", "has no `:`")));
}

#[test]
fn a_map_has_a_user_for_each_key() {
    let users = Passwords::read_map(&data(&[
        ("joe", HASHES[0]),
        ("ann", "{PLAIN}x\n"),
        ("eve", "?"),
    ]));
    assert!(users.check(b"joe", b"open sesame"));
    assert!(users.check(b"ann", b"x"));
    let faults: Vec<_> = users.faults().map(|(place, _)| place).collect();
    assert_eq!(faults, ["key eve"]);
}

#[test]
fn a_secret_without_a_file_is_refused_and_nothing_is_printed() {
    assert!(Passwords::read_file(&data(&[("other", "x")])).is_err());
    assert!(!format!("{:?}", file("joe:{PLAIN}secret")).contains("secret"));
}

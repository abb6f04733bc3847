//! Which certificate is served, and when plain HTTP is redirected.

use std::slice;

use model::Kind;

use super::world::{World, ingress, object, pem, pem_ed25519, rule, secret, service, tls_secret};
use crate::{Change, SecretData};

impl World {
    fn take(&mut self, change: Change) {
        self.compiler.apply(change);
        self.compile();
    }
}

fn tls(name: &str, age: u32, host: &str, entries: &str) -> String {
    let rule = rule(host, &["Prefix /a web"]);
    ingress(name, age, &format!("{rule}, tls: [{entries}]"))
}

fn shop(objects: &[String], secrets: Vec<Change>) -> World {
    let mut world = World::new(
        &[slice::from_ref(&service("web")), objects]
            .concat()
            .concat(),
    );
    for secret in secrets {
        world.compiler.apply(secret);
    }
    world.compile();
    world
}

#[test]
fn a_listed_host_is_served_with_its_secret_and_redirected() {
    let entry = "{hosts: [foo.com], secretName: foo}";
    let world = shop(
        &[tls("a", 1, "foo.com", entry)],
        vec![tls_secret("foo", &["foo.com"])],
    );
    assert_eq!(world.secrets(Some("foo.com")), ["foo"]);
    assert_eq!(world.secrets(Some("bar.com")), ["default"]);
    assert_eq!(world.secrets(None), ["default"]);
    world.check(&[
        ("http://foo.com/a", "308"),
        ("https://foo.com/a", "web"),
        ("http://foo.com/other", "308"),
        ("https://foo.com/other", "404"),
    ]);
    world.check_problems(&[]);
}

#[test]
fn exact_names_come_before_wildcards_and_those_before_the_default() {
    let world = shop(
        &[
            tls(
                "a",
                1,
                "*.foo.com",
                "{hosts: [\"*.foo.com\"], secretName: wild}",
            ),
            tls(
                "b",
                2,
                "x.foo.com",
                "{hosts: [x.foo.com], secretName: exact}",
            ),
        ],
        vec![
            tls_secret("wild", &["*.foo.com"]),
            tls_secret("exact", &["x.foo.com"]),
        ],
    );
    for (sni, want) in [
        ("x.foo.com", "exact"),
        ("y.foo.com", "wild"),
        ("y.x.foo.com", "default"),
        ("foo.com", "default"),
        (".foo.com", "default"),
    ] {
        assert_eq!(world.secrets(Some(sni)), [want], "{sni}");
    }
}

#[test]
fn a_missing_secret_means_the_default_certificate_until_it_comes() {
    let entry = "{hosts: [foo.com], secretName: foo}";
    let mut world = shop(&[tls("a", 1, "foo.com", entry)], vec![]);
    assert_eq!(world.secrets(Some("foo.com")), ["default"]);
    world.check(&[("http://foo.com/a", "308")]);
    world.check_problems(&["Ingress shop/a: spec.tls[0].secretName: SecretNotFound"]);
    world.take(tls_secret("foo", &["foo.com"]));
    assert_eq!(world.secrets(Some("foo.com")), ["foo"]);
    world.check_problems(&[]);
}

#[test]
fn a_broken_or_deleted_secret_keeps_the_last_good_certificate() {
    let entry = "{hosts: [foo.com], secretName: foo}";
    let mut world = shop(
        &[tls("a", 1, "foo.com", entry)],
        vec![tls_secret("foo", &["foo.com"])],
    );
    let (certificate, key) = pem("foo", &["foo.com"]);
    let (_, other_key) = pem("foo", &["foo.com"]);
    for (certificate, key, field) in [
        ("", &*key, "data[tls.crt]"),
        ("junk", &*key, "data[tls.crt]"),
        (&*certificate, "junk", "data[tls.key]"),
        (&*certificate, &*other_key, "data[tls.key]"),
    ] {
        let broken = secret("foo", certificate, key);
        world.take(Change::Secret(
            object("shop/foo"),
            SecretData::read(&broken),
        ));
        assert_eq!(world.secrets(Some("foo.com")), ["foo"]);
        world.check_problems(&[
            "Ingress shop/a: spec.tls[0].secretName: InvalidCertificate",
            &format!("Secret shop/foo: {field}: InvalidCertificate"),
        ]);
    }
    world.delete(Kind::Secret, "shop/foo");
    assert_eq!(world.secrets(Some("foo.com")), ["foo"]);
    world.check_problems(&["Ingress shop/a: spec.tls[0].secretName: SecretNotFound"]);
    world.delete(Kind::Ingress, "shop/a");
    assert_eq!(world.secrets(Some("foo.com")), ["default"]);
    world.check_problems(&[]);
}

#[test]
fn two_kinds_of_keys_are_served_side_by_side_the_oldest_of_each() {
    let (certificate, key) = pem_ed25519("ed", &["foo.com"]);
    let ed = SecretData::read(&secret("ed", &certificate, &key));
    let world = shop(
        &[
            tls(
                "a",
                2,
                "foo.com",
                "{hosts: [foo.com], secretName: ec}, {hosts: [foo.com], secretName: ed}",
            ),
            tls("b", 3, "foo.com", "{hosts: [foo.com], secretName: late}"),
        ],
        vec![
            tls_secret("ec", &["foo.com"]),
            tls_secret("late", &["foo.com"]),
            Change::Secret(object("shop/ed"), ed),
        ],
    );
    assert_eq!(world.secrets(Some("foo.com")), ["ec", "ed"]);
    world.check_problems(&[
        "Ingress shop/b: spec.rules[0].http.paths[0]: Conflict",
        "Ingress shop/b: spec.tls[0].secretName: CertificateConflict",
    ]);
}

#[test]
fn a_certificate_that_is_not_valid_for_the_host_is_not_served_for_it() {
    let entry = "{hosts: [foo.com], secretName: bar}";
    let world = shop(
        &[tls("a", 1, "foo.com", entry)],
        vec![tls_secret("bar", &["bar.com"])],
    );
    assert_eq!(world.secrets(Some("foo.com")), ["default"]);
    world.check_problems(&["Ingress shop/a: spec.tls[0].secretName: CertificateMismatch"]);
}

#[test]
fn an_entry_that_does_not_list_the_host_serves_it_if_its_certificate_is_valid() {
    for (entry, want, redirect) in [
        ("{secretName: foo}", "foo", "308"),
        ("{hosts: [\"*.com\"], secretName: foo}", "foo", "308"),
        ("{hosts: [other.com], secretName: foo}", "foo", "308"),
        ("{hosts: [other.com], secretName: none}", "default", "web"),
        ("{hosts: [foo.com]}", "default", "308"),
    ] {
        let world = shop(
            &[tls("a", 1, "foo.com", entry)],
            vec![tls_secret("foo", &["foo.com", "*.com", "other.com"])],
        );
        assert_eq!(world.secrets(Some("foo.com")), [want], "{entry}");
        world.check(&[("http://foo.com/a", redirect)]);
    }
}

#[test]
fn an_expired_certificate_is_served_and_reported() {
    let entry = "{hosts: [foo.com], secretName: foo}";
    let mut params = rcgen::CertificateParams::new(vec!["foo.com".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "old");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let old = secret("foo", &certificate, &key.serialize_pem());
    let old = Change::Secret(object("shop/foo"), SecretData::read(&old));
    let world = shop(&[tls("a", 1, "foo.com", entry)], vec![old]);
    assert_eq!(world.secrets(Some("foo.com")), ["old"]);
    world.check_problems(&["Secret shop/foo: data[tls.crt]: CertificateExpired"]);
    let info: Vec<_> = world.compiler.certificates().collect();
    assert_eq!(info.len(), 1);
    assert_eq!(&*info[0].host, "foo.com");
    assert_eq!(info[0].secret, object("shop/foo"));
    assert_eq!(info[0].not_after, 1_577_836_800);
    let identity = &*info[0].identity;
    let serial = &identity.serial;
    assert!(serial.len() > 1 && serial.bytes().all(|digit| digit.is_ascii_digit()));
    assert_eq!(*identity.identifier, *format!("-{serial}"));
    assert_eq!(identity.key_algorithm, "ECDSA");
}

#[test]
fn a_chain_out_of_order_is_served_and_reported() {
    let entry = "{hosts: [foo.com], secretName: foo}";
    let (certificate, key) = pem("foo", &["foo.com"]);
    let (stranger, _) = pem("stranger", &["x"]);
    let chain = secret("foo", &format!("{certificate}{stranger}"), &key);
    let chain = Change::Secret(object("shop/foo"), SecretData::read(&chain));
    let world = shop(&[tls("a", 1, "foo.com", entry)], vec![chain]);
    assert_eq!(world.secrets(Some("foo.com")), ["foo"]);
    world.check_problems(&["Secret shop/foo: data[tls.crt]: CertificateChainOrder"]);
}

#[test]
fn the_default_certificate_may_be_in_a_secret() {
    let settings = || crate::Settings {
        default_certificate: Some(object("shop/star")),
        ..crate::Settings::default()
    };
    let mut world = World::with(settings(), "");
    assert_eq!(world.secrets(None), ["default"]);
    world.check_problems(&["Secret shop/star: data: InvalidDefaultCertificate"]);
    world.take(tls_secret("star", &["example.com"]));
    assert_eq!(world.secrets(None), ["star"]);
    assert_eq!(world.secrets(Some("any")), ["star"]);
    world.check_problems(&[]);
    world.delete(Kind::Secret, "shop/star");
    assert_eq!(world.secrets(None), ["star"]);
    world.check_problems(&["Secret shop/star: data: InvalidDefaultCertificate"]);
}

#[test]
fn another_namespace_cannot_add_a_certificate_to_a_name() {
    let entry = "{hosts: [foo.com], secretName: foo}";
    let other = tls("b", 2, "foo.com", "{hosts: [foo.com], secretName: ed}")
        .replace("namespace: shop", "namespace: other");
    let (certificate, key) = pem_ed25519("ed", &["foo.com"]);
    let ed = SecretData::read(&secret("ed", &certificate, &key));
    let world = shop(
        &[tls("a", 1, "foo.com", entry), other],
        vec![
            tls_secret("foo", &["foo.com"]),
            Change::Secret(object("other/ed"), ed),
        ],
    );
    assert_eq!(world.secrets(Some("foo.com")), ["foo"]);
    let problems = world.problems();
    let lost = "Ingress other/b: spec.tls[0].secretName: CertificateConflict";
    assert!(
        problems.iter().any(|problem| problem == lost),
        "{problems:?}"
    );
}

use k8s_openapi::api::core::v1 as core_v1;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use std::time::Duration;

use super::*;
use crate::SecretData;

type Der = CertificateDer<'static>;

struct Signer {
    issuer: Issuer<'static, KeyPair>,
    own: rcgen::Certificate,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

fn of_signer(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Signer {
    fn new(name: &str) -> Self {
        let (params, key) = (of_signer(name), KeyPair::generate().unwrap());
        let own = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        Self { issuer, own }
    }

    fn below(&self, name: &str) -> Self {
        let (params, key) = (of_signer(name), KeyPair::generate().unwrap());
        let own = params.signed_by(&key, &self.issuer).unwrap();
        let issuer = Issuer::new(params, key);
        Self { issuer, own }
    }

    fn sign(&self, params: &CertificateParams) -> Der {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    fn list(&self, serial: u64, until: i32) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

fn wish(verify: Verify) -> Wish {
    Wish {
        verify,
        depth: 1,
        error_page: None,
        passes: false,
        name: None,
    }
}

fn auth(verify: Verify, trusted: &[&rcgen::Certificate], lists: &str) -> ClientAuth {
    let bundle: String = trusted.iter().map(|one| one.pem()).collect();
    let fields = [("ca.crt", bundle), ("ca.crl", lists.to_owned())];
    let fields = fields.into_iter().filter(|(_, text)| !text.is_empty());
    let secret = core_v1::Secret {
        string_data: Some(fields.map(|(name, text)| (name.to_owned(), text)).collect()),
        ..core_v1::Secret::default()
    };
    let data = SecretData::read(&secret).unwrap();
    ClientAuth {
        wish: wish(verify),
        authorities: Some(Arc::new(Authorities::read(&data).unwrap())),
        open: Box::new([]),
    }
}

fn day(year: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600))
}

fn judged(auth: &ClientAuth, chain: &[Der]) -> String {
    auth.judge(chain, day(2030)).to_string()
}

#[test]
fn certificates_are_judged_in_the_words_of_openssl() {
    let (ca, other) = (Signer::new("ca"), Signer::new("other"));
    let auth = auth(Verify::On, &[&ca.own], "");
    let mut late = params("late");
    late.not_after = date_time_ymd(2025, 1, 1);
    let mut early = params("early");
    early.not_before = date_time_ymd(2035, 1, 1);
    let mut server = params("server");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut client = params("client");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (what, chain, expect) in [
        ("none", vec![], "NONE"),
        ("good", vec![ca.sign(&params("good"))], "SUCCESS"),
        ("for clients", vec![ca.sign(&client)], "SUCCESS"),
        (
            "for servers",
            vec![ca.sign(&server)],
            "FAILED:unsupported certificate purpose",
        ),
        (
            "too old",
            vec![ca.sign(&late)],
            "FAILED:certificate has expired",
        ),
        (
            "too new",
            vec![ca.sign(&early)],
            "FAILED:certificate is not yet valid",
        ),
        (
            "another's",
            vec![other.sign(&params("x"))],
            "FAILED:unable to verify the first certificate",
        ),
        (
            "another's, which it brings along",
            vec![other.sign(&params("x")), other.own.der().clone()],
            "FAILED:unable to verify the first certificate",
        ),
        (
            "nobody's",
            vec![other.own.der().clone()],
            "FAILED:self-signed certificate",
        ),
    ] {
        assert_eq!(judged(&auth, &chain), expect, "{what}");
    }
}

#[test]
fn a_certificate_that_stands_in_the_bundle_itself_is_good_while_it_lasts() {
    let own = Signer::new("client");
    let auth = auth(Verify::On, &[&own.own], "");
    let chain = [own.own.der().clone()];
    for (year, expect) in [
        (2030, "SUCCESS"),
        (2010, "FAILED:certificate is not yet valid"),
        (2050, "FAILED:certificate has expired"),
    ] {
        assert_eq!(auth.judge(&chain, day(year)).to_string(), expect, "{year}");
    }
}

#[test]
fn so_many_authorities_may_stand_in_between() {
    let root = Signer::new("root");
    let first = root.below("first");
    let second = first.below("second");
    let ders = |signers: &[&Signer], leaf: Der| {
        let signers = signers.iter().map(|signer| signer.own.der().clone());
        std::iter::once(leaf).chain(signers).collect::<Vec<Der>>()
    };
    let one = ders(&[&first], first.sign(&params("one")));
    let two = ders(&[&second, &first], second.sign(&params("two")));
    for (depth, chain, expect) in [
        (1, &one, "SUCCESS"),
        (1, &two, "FAILED:certificate chain too long"),
        (2, &two, "SUCCESS"),
    ] {
        let mut auth = auth(Verify::On, &[&root.own], "");
        auth.wish.depth = depth;
        assert_eq!(judged(&auth, chain), expect, "{depth}");
    }
}

#[test]
fn where_there_are_lists_each_authority_needs_one_that_is_fresh() {
    let root = Signer::new("root");
    let between = root.below("between");
    let serial = |number| {
        let mut params = params("x");
        params.serial_number = Some(SerialNumber::from(number));
        params
    };
    let good = vec![root.sign(&serial(1))];
    let bad = vec![root.sign(&serial(7))];
    let below = vec![between.sign(&serial(1)), between.own.der().clone()];
    let (fresh, stale) = (root.list(7, 2040), root.list(7, 2022));
    let both = fresh.clone() + &between.list(7, 2040);
    for (what, lists, chain, expect) in [
        ("not on it", &fresh, &good, "SUCCESS"),
        ("on it", &fresh, &bad, "FAILED:certificate revoked"),
        ("out of date", &stale, &good, "FAILED:CRL has expired"),
        (
            "none of the one between",
            &fresh,
            &below,
            "FAILED:unable to get certificate CRL",
        ),
        ("one of each", &both, &below, "SUCCESS"),
    ] {
        let auth = auth(Verify::On, &[&root.own], lists);
        assert_eq!(judged(&auth, chain), expect, "{what}");
    }
}

#[test]
fn what_is_asked_for_decides_who_comes_in() {
    use Verify::{Off, On, Optional, OptionalNoCa};
    let ca = Signer::new("ca");
    let failed = Judgement::Failed;
    let cases = [
        (Judgement::None, [true, false, true, true]),
        (Judgement::Success, [true, true, true, true]),
        (failed(Fault::UnknownIssuer), [true, false, false, true]),
        (failed(Fault::SelfSigned), [true, false, false, true]),
        (failed(Fault::Expired), [true, false, false, false]),
        (failed(Fault::Revoked), [true, false, false, false]),
    ];
    for (judgement, expect) in cases {
        for (verify, expect) in [Off, On, Optional, OptionalNoCa].into_iter().zip(expect) {
            let auth = auth(verify, &[&ca.own], "");
            let comes_in = |name| matches!(auth.admit("a", name, judgement), Verdict::Continue);
            assert_eq!(comes_in(Some("a")), expect, "{verify:?} {judgement}");
            assert_eq!(comes_in(None), expect, "{verify:?} {judgement} without SNI");
            assert!(!comes_in(Some("b")), "{verify:?} {judgement}");
        }
    }
}

#[test]
fn names_are_written_as_openssl_writes_them() {
    let ca = Signer::new("ca");
    for (name, expect) in [
        (vec![(DnType::CommonName, "a".into())], "CN=a"),
        (
            vec![
                (DnType::CountryName, "CH".into()),
                (DnType::OrganizationName, "Acme, Inc.".into()),
                (DnType::CommonName, "a".into()),
            ],
            "CN=a,O=Acme\\, Inc.,C=CH",
        ),
        (
            vec![(DnType::CommonName, " #\"a\r\nb: c\u{7f} ".into())],
            "CN=\\ #\\\"a\\0D\\0Ab: c\\7F\\ ",
        ),
        (vec![(DnType::CommonName, "#a".into())], "CN=\\#a"),
        (vec![(DnType::CommonName, "é".into())], "CN=\\C3\\A9"),
        (
            vec![(
                DnType::CommonName,
                DnValue::BmpString("é".try_into().unwrap()),
            )],
            "CN=\\C3\\A9",
        ),
        (
            vec![(
                DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
                "a@b".into(),
            )],
            "emailAddress=a@b",
        ),
        (
            vec![(DnType::CustomDnType(vec![1, 2, 3, 4]), "x".into())],
            "1.2.3.4=#0C0178",
        ),
    ] {
        let mut params = params("");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in name {
            let value: DnValue = value;
            params.distinguished_name.push(kind, value);
        }
        let presented = Presented::new(&[ca.sign(&params)]).unwrap();
        assert_eq!(&*presented.subject, expect);
        assert_eq!(&*presented.issuer, "CN=ca");
    }
}

#[test]
fn endpoints_can_read_the_certificate_back() {
    use rustls_pki_types::pem::PemObject as _;
    let leaf = Signer::new("ca").sign(&params("a"));
    let presented = Presented::new(std::slice::from_ref(&leaf)).unwrap();
    assert!(
        presented
            .pem
            .starts_with("-----BEGIN%20CERTIFICATE-----%0A")
    );
    let pem = percent_encoding::percent_decode_str(&presented.pem);
    let pem: Vec<u8> = pem.collect();
    assert!(
        pem.split(|byte| *byte == b'\n')
            .all(|line| line.len() <= 64)
    );
    assert_eq!(Der::from_pem_slice(&pem).unwrap(), leaf);
}

#[test]
fn a_name_is_looked_for_in_the_whole_subject() {
    for (pattern, subject, expect) in [
        ("CN=alice", "CN=alice,O=x", true),
        ("CN=alice", "CN=alice2", true),
        ("CN=alice$", "CN=alice2", false),
        ("CN=(alice|bob)", "CN=bob", true),
        ("CN=alice", "CN=Alice", false),
        ("CN=alice", "", false),
        ("CN=", "", false),
        ("CN=.*", "CN=anyone", true),
    ] {
        let mut auth = auth(Verify::On, &[&Signer::new("ca").own], "");
        auth.wish.name = Some(Subject::new(pattern).unwrap());
        let comes_in = matches!(auth.admit_name(subject), Verdict::Continue);
        assert_eq!(comes_in, expect, "{pattern} {subject}");
    }
    for bad in ["", "alice", "O=x", "CN=(", " CN=alice"] {
        assert!(Subject::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn in_the_clear_only_what_is_never_redirected_is_open() {
    let ca = Signer::new("ca");
    for (verify, path, expect) in [
        (Verify::On, "/", false),
        (Verify::On, "/.well-known/acme-challenge/x", true),
        (Verify::On, "/x/.well-known/acme-challenge/x", false),
        (Verify::Optional, "/", true),
        (Verify::OptionalNoCa, "/", true),
        (Verify::Off, "/", true),
    ] {
        let mut auth = auth(verify, &[&ca.own], "");
        auth.open = Box::new(["/.well-known/acme-challenge".into()]);
        let comes_in = matches!(auth.admit_plain(path), Verdict::Continue);
        assert_eq!(comes_in, expect, "{verify:?} {path}");
    }
}

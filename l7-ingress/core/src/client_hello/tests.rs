use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// What rustls's client says first.
fn hello(name: &str, sni: bool) -> Vec<u8> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.enable_sni = sni;
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of `size` bytes.
fn cut(bytes: &[u8], size: usize) -> Vec<u8> {
    let pieces = bytes[5..].chunks(size);
    let records = pieces.map(|piece| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 3, 1], &length[..], piece].concat()
    });
    records.collect::<Vec<_>>().concat()
}

fn read(bytes: &[u8]) -> Hello {
    ClientHello::default().read(bytes)
}

/// A name of a hello with nothing else in it.
fn naming(name: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let entry = [&[HOST_NAME][..], &length(name), name].concat();
    let list = [&length(&entry)[..], &entry].concat();
    let extension = [&[0, 0][..], &length(&list), &list].concat();
    let fixed = [&[3, 3][..], &[0; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
    let body = [&fixed[..], &length(&extension), &extension].concat();
    let message = [&[CLIENT_HELLO, 0][..], &length(&body), &body].concat();
    [&[HANDSHAKE, 3, 1][..], &length(&message), &message].concat()
}

#[test]
fn the_name_is_found_however_the_hello_is_cut() {
    let whole = hello("Shop.Example", true);
    let expect = Hello::Complete(Some("shop.example".into()));
    assert_eq!(read(&whole), expect);
    for size in [1, 2, 3, 7, 100] {
        let records = cut(&whole, size);
        let mut reader = ClientHello::default();
        for end in 0..records.len() {
            assert_eq!(reader.read(&records[..end]), Hello::Partial, "{size} {end}");
        }
        assert_eq!(reader.read(&records), expect, "{size}");
        assert_eq!(read(&records), expect, "{size}");
    }
}

#[test]
fn what_follows_the_hello_is_not_looked_at() {
    let bytes = [&hello("a.test", true)[..], b"whatever"].concat();
    assert_eq!(read(&bytes), Hello::Complete(Some("a.test".into())));
}

#[test]
fn a_client_may_name_no_server() {
    assert_eq!(read(&hello("a.test", false)), Hello::Complete(None));
    for (name, expect) in [
        (&b"A.test"[..], Some("a.test")),
        (b"a.test.", Some("a.test")),
        (b"", None),
        (b".", None),
        (b"\xff\xfe", None),
    ] {
        let expect = Hello::Complete(expect.map(Into::into));
        assert_eq!(read(&naming(name)), expect, "{name:?}");
    }
}

#[test]
fn what_is_no_hello_is_foreign() {
    let long = [HANDSHAKE, 3, 1, 0, 4, CLIENT_HELLO, 1, 0, 1];
    // Its extensions would end behind its end.
    let mut broken = naming(b"a.test");
    broken[51] += 1;
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"G",
        &[HANDSHAKE, 2],
        &[HANDSHAKE, 3, 1, 0, 0],
        &[HANDSHAKE, 3, 1, 0, 1, 2],
        &[21, 3, 1, 0, 2, 2, 40],
        &[HANDSHAKE, 3, 1, 0, 1, CLIENT_HELLO, 21],
        &long,
        &broken,
    ] {
        assert_eq!(read(bytes), Hello::Foreign, "{bytes:?}");
    }
}

#[test]
fn a_hello_that_never_ends_is_given_up() {
    let endless = [HANDSHAKE, 3, 1, 0, 1, 0];
    let mut bytes = vec![HANDSHAKE, 3, 1, 0, 4, CLIENT_HELLO, 0, 0xf0, 0];
    let mut reader = ClientHello::default();
    while bytes.len() < LONGEST {
        assert_eq!(reader.read(&bytes), Hello::Partial);
        bytes.extend(endless);
    }
    assert_eq!(reader.read(&bytes), Hello::Foreign);
}

proptest! {
    #[test]
    fn no_bytes_break_it(mut bytes in prop::collection::vec(any::<u8>(), 0..256), tls in any::<bool>()) {
        if tls {
            bytes.splice(0..0, [HANDSHAKE, 3, 1, 0, 200, CLIENT_HELLO, 0, 0, 196]);
        }
        let _ = read(&bytes);
    }

    #[test]
    fn a_changed_byte_breaks_nothing(place in 0..200_usize, byte in any::<u8>()) {
        let mut bytes = hello("a.test", true);
        bytes[place] = byte;
        let _ = read(&bytes);
    }
}

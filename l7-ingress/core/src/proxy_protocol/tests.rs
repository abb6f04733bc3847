#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn ends(source: &str, destination: &str) -> Option<Endpoints> {
    Some(Endpoints {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    })
}

/// Read whole and with a request behind it; every shorter piece is incomplete and asks for no more than there is.
fn check(header: &[u8], endpoints: Option<Endpoints>) {
    let len = header.len();
    assert_eq!(
        parse(header),
        Ok(Parsed { len, endpoints }),
        "{}",
        header.escape_ascii()
    );
    let longer = [header, b"GET / HTTP/1.1\r\n"].concat();
    assert_eq!(parse(&longer), Ok(Parsed { len, endpoints }));
    for cut in 0..len {
        match parse(&header[..cut]) {
            Err(Error::Incomplete { need }) => {
                assert!(need > cut && need <= len, "{need} of {len} at {cut}");
            }
            other => panic!("{other:?} after {cut} bytes of {}", header.escape_ascii()),
        }
    }
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &len, body].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0xde, 0xad, 0x01, 0xbb];

fn v6() -> Vec<u8> {
    let address = |last| {
        [
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last,
        ]
    };
    [&address(1)[..], &address(2), &[0xff, 0xff, 0, 80]].concat()
}

#[test]
fn golden_lines() {
    for (line, endpoints) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.7 57005 443\r\n",
            ends("192.0.2.1:57005", "198.51.100.7:443"),
        ),
        (
            "PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n",
            ends("[2001:db8::1]:65535", "[2001:db8::2]:0"),
        ),
        ("PROXY UNKNOWN\r\n", None),
    ] {
        check(line.as_bytes(), endpoints);
        assert_eq!(encode(Version::V1, endpoints), line.as_bytes());
    }
    let longest = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
    check(longest.as_bytes(), None);
    let padding = "f".repeat(MAX_V1 - "PROXY UNKNOWN \r\n".len());
    check(format!("PROXY UNKNOWN {padding}\r\n").as_bytes(), None);
}

#[test]
fn golden_binary() {
    let v4 = ends("192.0.2.1:57005", "198.51.100.7:443");
    let v6_ends = ends("[2001:db8::1]:65535", "[2001:db8::2]:80");
    let golden =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x07\xde\xad\x01\xbb";
    assert_eq!(encode(Version::V2, v4), golden);
    assert_eq!(encode(Version::V2, v6_ends), v2(0x21, 0x21, &v6()));
    assert_eq!(encode(Version::V2, None), v2(0x20, 0, &[]));
    check(golden, v4);
    check(&v2(0x21, 0x12, &V4), v4);
    check(&v2(0x21, 0x21, &v6()), v6_ends);
    check(&v2(0x21, 0x22, &v6()), v6_ends);
    check(&v2(0x21, 0x31, &[0; 216]), None);
    check(&v2(0x21, 0x00, b"\x01\0\x09x"), None);
    check(&v2(0x20, 0x00, &[]), None);
    check(&v2(0x20, 0xff, b"anything at all"), None);
}

#[test]
fn tlvs_are_skipped_and_checked() {
    let endpoints = ends("192.0.2.1:57005", "198.51.100.7:443");
    let with = |tlvs: &[u8]| v2(0x21, 0x11, &[&V4[..], tlvs].concat());
    check(&with(b"\x04\0\0\xea\0\x03abc"), endpoints);
    for cut in 1..7 {
        assert_eq!(
            parse(&with(&b"\x04\0\x04abcd"[..cut])),
            Err(Error::Truncated)
        );
    }
    for (before, after) in [(&b""[..], &b""[..]), (b"\x04\0\x01x", b"\xea\0\x02yz")] {
        let summed = |crc: [u8; 4]| with(&[before, b"\x03\0\x04", &crc, after].concat());
        let crc = crc32c(&[&summed([0; 4])]);
        check(&summed(crc.to_be_bytes()), endpoints);
        assert_eq!(
            parse(&summed((crc ^ 1).to_be_bytes())),
            Err(Error::Checksum)
        );
    }
    assert_eq!(parse(&with(b"\x03\0\x03abc")), Err(Error::Checksum));
}

/// Written down once, so that the checksum is not only compared with itself.
#[test]
fn golden_checksum() {
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x01\xc6\x33\x64\x07\xde\xad\x01\xbb\x03\0\x04\x16\x41\xa9\x8c";
    check(header, ends("192.0.2.1:57005", "198.51.100.7:443"));
}

#[test]
fn refused_lines() {
    for line in [
        "PROXY \r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.7 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.7 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 x\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY TCP4\t192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r\r\n",
        "PROXY UNKNOWN\n\r\n",
        "PROXY UNKNOWNX\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Error::Line), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(100));
    assert_eq!(parse(long.as_bytes()), Err(Error::TooLong));
    assert_eq!(parse(&long.as_bytes()[..MAX_V1]), Err(Error::TooLong));
    let cr_at_the_end = format!("{:f<106}\r\n", "PROXY UNKNOWN ");
    assert_eq!(parse(cr_at_the_end.as_bytes()), Err(Error::TooLong));
}

#[test]
fn refused_bytes() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PROXy",
        b"proxy ",
        b"PROXYT",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\r\nX",
        b"\x16",
    ] {
        assert_eq!(
            parse(bytes),
            Err(Error::Missing),
            "{}",
            bytes.escape_ascii()
        );
    }
    for (command, family) in [
        (0x11, 0x11),
        (0x01, 0x11),
        (0x31, 0x11),
        (0x22, 0x11),
        (0x21, 0x13),
        (0x21, 0x41),
        (0x21, 0x10),
    ] {
        assert_eq!(
            parse(&v2(command, family, &V4)),
            Err(Error::Unknown),
            "{command:#x} {family:#x}"
        );
    }
    assert_eq!(parse(&v2(0x21, 0x11, &V4[..11])), Err(Error::Truncated));
    assert_eq!(parse(&v2(0x21, 0x21, &v6()[..35])), Err(Error::Truncated));
    assert_eq!(parse(&v2(0x21, 0x31, &[0; 215])), Err(Error::Truncated));
    check(&v2(0x20, 0, &[0; MAX_V2 - PREFIX]), None);
    assert_eq!(
        parse(&v2(0x20, 0, &[0; MAX_V2 - PREFIX + 1])),
        Err(Error::TooLong)
    );
}

#[test]
fn two_families_are_written_as_one() {
    let mixed = ends("192.0.2.1:1", "[2001:db8::2]:2");
    let expect = ends("[::ffff:192.0.2.1]:1", "[2001:db8::2]:2");
    for version in [Version::V1, Version::V2] {
        assert_eq!(
            parse(&encode(version, mixed)).map(|parsed| parsed.endpoints),
            Ok(expect)
        );
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(v4: bool, from: u128, to: u128, ports: (u16, u16), binary: bool) {
        let address = |bits: u128| -> IpAddr {
            if v4 {
                Ipv4Addr::from_bits((bits & u128::from(u32::MAX)).try_into().unwrap()).into()
            } else {
                Ipv6Addr::from_bits(bits).into()
            }
        };
        let endpoints = Some(Endpoints {
            source: (address(from), ports.0).into(),
            destination: (address(to), ports.1).into(),
        });
        let version = if binary { Version::V2 } else { Version::V1 };
        check(&encode(version, endpoints), endpoints);
    }

    #[test]
    fn never_panics_and_never_waits_for_too_much(
        start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let bytes = [start, &rest].concat();
        match parse(&bytes) {
            Ok(parsed) => prop_assert!(parsed.len <= bytes.len().min(MAX_V2)),
            Err(Error::Incomplete { need }) => prop_assert!(need > bytes.len() && need <= MAX_V2),
            Err(_) => {}
        }
    }
}

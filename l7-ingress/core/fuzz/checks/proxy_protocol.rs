//! The start of a connection. A header is read once it is whole, and written back it means the same.

use l7_ingress_core::proxy_protocol::{Error, MAX_V2, Parsed, Version, encode, parse};

pub(crate) fn check(data: &[u8]) {
    match parse(data) {
        Ok(Parsed { len, endpoints }) => {
            assert!(len <= data.len() && len <= MAX_V2);
            let (header, _) = data.split_at(len);
            assert_eq!(parse(header), Ok(Parsed { len, endpoints }));
            for cut in 0..len {
                let (start, _) = header.split_at(cut);
                let found = parse(start);
                assert!(
                    matches!(found, Err(Error::Incomplete { need }) if (cut + 1..=len).contains(&need))
                );
            }
            for version in [Version::V1, Version::V2] {
                let written = encode(version, endpoints);
                let len = written.len();
                assert_eq!(parse(&written), Ok(Parsed { len, endpoints }));
            }
        }
        Err(Error::Incomplete { need }) => assert!(need > data.len() && need <= MAX_V2),
        Err(_) => {}
    }
}

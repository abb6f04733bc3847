//! The first bytes of a TLS connection. However they arrive, they say the same, and what has been said stays.

use l7_ingress_core::client_hello::{ClientHello, Hello};

pub(crate) fn check(data: &[u8]) {
    let whole = ClientHello::default().read(data);
    let mut piecemeal = ClientHello::default();
    let mut last = Hello::Partial;
    for end in 0..=data.len() {
        let (start, _) = data.split_at(end);
        let now = piecemeal.read(start);
        if last != Hello::Partial {
            assert_eq!(now, last);
        }
        last = now;
    }
    assert_eq!(last, whole);
    if let Hello::Complete(Some(name)) = whole {
        assert!(!name.is_empty() && name.is_ascii() && *name == name.to_ascii_lowercase());
    }
}

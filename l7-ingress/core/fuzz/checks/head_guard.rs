//! A client's half of a connection. What is found does not depend on how it is cut, and what passes for a head is one
//! for hyper's parser, of the same length.

use l7_ingress_core::head_guard::{HeadGuard, Limits, Phase, Scan};

pub(crate) fn check(data: &[u8]) {
    let tight = Limits {
        target: 24,
        line: 40,
        head: 120,
        fields: 4,
        refuse_underscores: true,
    };
    for limits in [Limits::default(), tight] {
        let whole = HeadGuard::new(limits).scan(data);
        assert_eq!(bytewise(&mut HeadGuard::new(limits), data), whole);
        if let Some(cut) = data.first() {
            let (start, end) = data.split_at(usize::from(*cut).min(data.len()));
            let mut guard = HeadGuard::new(limits);
            let found = match guard.scan(start) {
                Scan::Pass => shift(guard.scan(end), start.len()),
                found => found,
            };
            assert_eq!(found, whole);
        }
    }
}

/// Scans byte by byte and checks every head on the way.
fn bytewise(guard: &mut HeadGuard, data: &[u8]) -> Scan {
    let mut phase = Phase::Idle;
    let mut start = 0;
    for (i, byte) in data.iter().enumerate() {
        let scan = guard.scan(&[*byte]);
        let now = guard.phase();
        if phase == Phase::Idle && now == Phase::Head {
            start = i;
        }
        if phase == Phase::Head && now != Phase::Head && !matches!(scan, Scan::Refuse { .. }) {
            check_head(data.get(start..=i).unwrap_or_default());
        }
        if scan != Scan::Pass {
            return shift(scan, i);
        }
        phase = now;
    }
    Scan::Pass
}

fn check_head(head: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let parsed = httparse::Request::new(&mut fields).parse(head);
    let is_ascii_target = head
        .split(|&b| b == b' ')
        .nth(1)
        .is_some_and(<[u8]>::is_ascii);
    match parsed {
        Ok(status) => assert_eq!(status, httparse::Status::Complete(head.len())),
        // The parser wants UTF-8 there.
        Err(error) => assert!(
            !is_ascii_target && error == httparse::Error::Token,
            "{error}"
        ),
    }
}

fn shift(scan: Scan, by: usize) -> Scan {
    match scan {
        Scan::Pass => Scan::Pass,
        Scan::Pause { at } => Scan::Pause { at: at + by },
        Scan::Refuse { at, why } => Scan::Refuse { at: at + by, why },
    }
}
